"""Reloading the configuration: a valid change restarts the role; an invalid one is logged and the old one stays in use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from schemas.errors import Misconfigured
from schemas.ports.observer import Observer
from vitalwire.configuration import file_reader, fingerprint, read_configuration

LOOK_EVERY_S = 2.0
_log = logging.getLogger(__name__)


class ConfigurationWatch:
    """Watches the configuration file and the templates it names for changes since the role read them (`seen`: fingerprints)."""

    def __init__(
        self, config_file: Path, seen: Mapping[str, bytes], observer: Observer, look_every_s: float = LOOK_EVERY_S
    ) -> None:
        self._file, self._observer, self._look_every_s = config_file, observer, look_every_s
        self._seen = dict(seen)

    async def changed(self) -> None:
        """Return when the configuration has changed and is valid. Each invalid version is logged once."""
        while True:
            await asyncio.sleep(self._look_every_s)
            now = await asyncio.to_thread(self._look)
            if now == self._seen:
                continue
            self._seen = now
            if await asyncio.to_thread(self._is_valid):
                return

    def _is_valid(self) -> bool:
        seen: dict[str, bytes] = {}
        try:
            read_configuration(self._file, seen)
        except Misconfigured as error:
            _log.error("the changed configuration is invalid, the old one stays in use: %s", error)
            self._observer.count("configuration_reloads_total", outcome="refused")
            self._seen |= seen  # includes templates that only the changed configuration names
            return False
        self._observer.count("configuration_reloads_total", outcome="accepted")
        return True

    def _look(self) -> dict[str, bytes]:
        """A file that cannot be read any more counts as changed, and is then rejected."""
        read = file_reader(self._file)
        return {name: fingerprint(read(name)) for name in self._seen}
