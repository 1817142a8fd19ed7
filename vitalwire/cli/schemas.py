"""`vitalwire schemas`."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from schemas.publish import files
from vitalwire import __version__
from vitalwire.cli.output import say
from vitalwire.roles.registry import ROLES


def run_schemas(directory: Path) -> None:
    """Write every published document whose content has changed."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, document in files(__version__, ROLES).items():
        if name.endswith(".yaml"):
            text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
        else:
            text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        target = directory / name
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")
            say(f"wrote {target}")
