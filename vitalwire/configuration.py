"""Reading the configuration file for a role."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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


def configuration(config_file: Path) -> Config:
    """The checked configuration; Misconfigured with every finding when something is wrong."""
    try:
        text = config_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise Misconfigured(f"{config_file} cannot be read as UTF-8 text.") from None
    return load_config(text, str(config_file), file_reader(config_file))
