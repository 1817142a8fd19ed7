"""`vitalwire check`."""

from __future__ import annotations

from pathlib import Path

from mappings.linting import check_config
from schemas.errors import Misconfigured
from vitalwire.cli.output import as_json, say
from vitalwire.configuration import file_reader
from vitalwire.settings import from_environment


def run_check(config: Path | None, *, as_json_document: bool) -> int:
    """Lint a configuration and the files that it names; 1 if there is a finding."""
    path = config or from_environment().configuration()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise Misconfigured(f"{path} cannot be read as UTF-8 text.") from None
    findings = check_config(text, str(path), file_reader(path))
    if as_json_document:
        as_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            say(f"{finding.file}:{finding.line}:{finding.column}: {finding.message} {finding.remedy}")
        say(f"Findings: {len(findings)}." if findings else f"{path}: no findings.")
    return int(bool(findings))
