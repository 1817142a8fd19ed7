"""Reads the configuration file and the files that it names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mappings.linting import load_config
from schemas.config import Config
from schemas.errors import Misconfigured


def file_reader(config_file: Path) -> Callable[[str], str | None]:
    """A function that reads a file named by the configuration, relative to it; None if it cannot be read."""

    def read(name: str) -> str | None:
        try:
            return (config_file.parent / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    return read


class Read(NamedTuple):
    """A valid configuration, and a fingerprint of each file that it was read from."""

    config: Config
    seen: dict[str, bytes]


def read_configuration(config_file: Path, seen: dict[str, bytes] | None = None) -> Read:
    """The valid configuration, or Misconfigured with every finding. `seen` is filled in either case."""
    seen = {} if seen is None else seen
    read = file_reader(config_file)

    def read_once(name: str) -> str | None:
        text = read(name)
        seen.setdefault(name, fingerprint(text))
        return text

    text = read_once(config_file.name)
    if text is None:
        raise Misconfigured(f"{config_file} cannot be read as UTF-8 text.")
    return Read(load_config(text, str(config_file), read_once), seen)


def fingerprint(text: str | None) -> bytes:
    """A hash of a file's text, or of its absence."""
    return hashlib.sha256(b"none" if text is None else b"text" + text.encode()).digest()
