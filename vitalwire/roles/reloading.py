"""A changed configuration: taken when it is sound, refused with its findings when it is not, and the old one stays."""

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
    """Watches the configuration file and the templates it names, against what was `seen` in them when the role read them."""

    def __init__(
        self, config_file: Path, seen: Mapping[str, bytes], observer: Observer, look_every_s: float = LOOK_EVERY_S
    ) -> None:
        self._file, self._observer, self._look_every_s = config_file, observer, look_every_s
        self._seen = dict(seen)

    async def changed(self) -> None:
        """Return when there is another configuration and it is sound. Each refused one is told once."""
        while True:
            await asyncio.sleep(self._look_every_s)
            now = await asyncio.to_thread(self._look)
            if now == self._seen:
                continue
            self._seen = now
            if await asyncio.to_thread(self._is_sound):
                return

    def _is_sound(self) -> bool:
        seen: dict[str, bytes] = {}
        try:
            read_configuration(self._file, seen)
        except Misconfigured as refused:
            _log.error("the changed configuration is refused, the old one stays: %s", refused)
            self._observer.count("configuration_reloads_total", outcome="refused")
            self._seen |= seen  # with templates that it names and the old one did not
            return False
        self._observer.count("configuration_reloads_total", outcome="accepted")
        return True

    def _look(self) -> dict[str, bytes]:
        """A file that cannot be read now is a change too, which is then refused."""
        read = file_reader(self._file)
        return {name: fingerprint(read(name)) for name in self._seen}
