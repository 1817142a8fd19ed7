"""Reading the configuration file for a role."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mappings.linting import load_config
from schemas.config import Config
from schemas.errors import Misconfigured


def file_reader(config_file: Path) -> Callable[[str], str | None]:
    """Reads files that the configuration names, relative to it; None where there is none."""

    def read(name: str) -> str | None:
        try:
            return (config_file.parent / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    return read


class Read(NamedTuple):
    """A checked configuration, and what was seen in each file that it was made from."""

    config: Config
    seen: dict[str, bytes]


def read_configuration(config_file: Path, seen: dict[str, bytes] | None = None) -> Read:
    """The checked configuration; Misconfigured with every finding when something is wrong, and `seen` filled all the same."""
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
    """Of a file's text; of none, where it cannot be read."""
    return hashlib.sha256(b"none" if text is None else b"text" + text.encode()).digest()
