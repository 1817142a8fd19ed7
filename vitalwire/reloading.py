"""A changed configuration: taken when it is sound, refused with its findings when it is not, and the old one stays."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from pathlib import Path

from schemas.config import Config
from schemas.errors import Misconfigured
from schemas.ports import Observer
from vitalwire.configuration import configuration

LOOK_EVERY_S = 2.0
_log = logging.getLogger(__name__)


class ConfigurationWatch:
    """Watches the configuration file and the templates it names, from the moment the role read them."""

    def __init__(
        self, config_file: Path, config: Config, observer: Observer, look_every_s: float = LOOK_EVERY_S
    ) -> None:
        self._file, self._observer, self._look_every_s = config_file, observer, look_every_s
        self._templates = _templates(config)
        self._seen = self._fingerprint()

    async def changed(self) -> None:
        """Return when there is another configuration and it is sound. Each refused one is told once."""
        while True:
            await asyncio.sleep(self._look_every_s)
            now = await asyncio.to_thread(self._fingerprint)
            if now == self._seen:
                continue
            self._seen = now
            if await asyncio.to_thread(self._is_sound):
                return

    def _is_sound(self) -> bool:
        try:
            self._templates = _templates(configuration(self._file))
        except Misconfigured as refused:
            _log.error("the changed configuration is refused, the old one stays: %s", refused)
            self._observer.count("configuration_reloads_total", outcome="refused")
            return False
        self._observer.count("configuration_reloads_total", outcome="accepted")
        return True

    def _fingerprint(self) -> bytes:
        """A file that cannot be read now counts as empty: a change, which is then refused."""
        digest = hashlib.sha256()
        for path in (self._file, *(self._file.parent / name for name in self._templates)):
            text = path.read_bytes() if path.is_file() else b""
            digest.update(len(text).to_bytes(8) + text)
        return digest.digest()


def _templates(config: Config) -> list[str]:
    return sorted({endpoint.template for endpoint in config.endpoints.values() if endpoint.template})
