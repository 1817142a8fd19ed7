"""Identity and content of a window, as hashes: what makes a replay a duplicate and a change an amendment."""

from __future__ import annotations

import hashlib
import hmac

_SEPARATOR = "\x1f"


def window_id(key: bytes, tenant_id: str, patient_id: str, device_id: str, vital: str, span_ms: tuple[int, int]) -> str:
    """Keyed hash (HMAC-SHA-256, 64 hex digits) of the window's identity: without the key no patient can be guessed from it."""
    named = _SEPARATOR.join((tenant_id, patient_id, device_id, vital, str(span_ms[0]), str(span_ms[1])))
    return hmac.digest(key, named.encode(), "sha256").hex()


def content_hash(unit: str, statistics_micro: tuple[int, ...]) -> str:
    """SHA-256 over the unit and the statistics as whole millionths, so that no float spelling matters."""
    return hashlib.sha256(_SEPARATOR.join((unit, *map(str, statistics_micro))).encode()).hexdigest()
