"""Reads secrets. The configuration names a file or an environment variable, never the secret itself."""

from __future__ import annotations

import os
from pathlib import Path

from schemas.config import Secret
from schemas.errors import Misconfigured


def read_secret(secret: Secret) -> str:
    """The secret's text, without a trailing newline."""
    if secret.env is not None:
        value = os.environ.get(secret.env)
        if not value:
            raise Misconfigured(f"The environment variable {secret.env}, named by the configuration, is not set.")
        return value
    file = Path(secret.file or "")
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise Misconfigured(f"The secret file {file}, named by the configuration, cannot be read.") from None
