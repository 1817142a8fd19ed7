"""Stores PHI compressed and, with a key, encrypted and authenticated (AES-256-GCM, NIST SP 800-38D)."""

from __future__ import annotations

import hashlib
import hmac
import os
import zlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from schemas.errors import Misconfigured

_PLAIN, _SEALED = b"\x00", b"\x01"
_NONCE_BYTES = 12
_FAST = 1
MIN_KEY_BYTES = 32


class Seal:
    """Encrypts and decrypts bytes, and hashes names. Each purpose has its own key, derived from the given one."""

    def __init__(self, key: bytes | None) -> None:
        if key is not None and len(key) < MIN_KEY_BYTES:
            raise Misconfigured(f"the ledger's encryption key must have at least {MIN_KEY_BYTES} bytes")
        self._cipher = AESGCM(_derive(key, b"content")) if key else None
        self._names = _derive(key, b"names") if key else b""
        self.fingerprint = _derive(key, b"fingerprint").hex() if key else "none"

    def close(self, content: bytes, owner: str) -> bytes:
        """Encrypt; `owner` (the operation_id) is authenticated, so that content cannot be moved to another operation."""
        packed = zlib.compress(content, _FAST)
        if self._cipher is None:
            return _PLAIN + packed
        nonce = os.urandom(_NONCE_BYTES)
        return _SEALED + nonce + self._cipher.encrypt(nonce, packed, owner.encode())

    def open(self, sealed: bytes, owner: str) -> bytes | None:
        """Decrypt; None if the content was changed, belongs to another owner, or was encrypted with another key."""
        kind, nonce, body = sealed[:1], sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            if self._cipher is None:
                return zlib.decompress(sealed[1:]) if kind == _PLAIN else None
            return zlib.decompress(self._cipher.decrypt(nonce, body, owner.encode())) if kind == _SEALED else None
        except (InvalidTag, ValueError, zlib.error):
            return None

    def name(self, *parts: str) -> str:
        """A stable name for these parts that reveals nothing about them without the key."""
        return hmac.new(self._names, joined(*parts), hashlib.sha256).hexdigest()[:32]


def joined(*parts: str) -> bytes:
    """Parts as bytes, each with its length, so that no two lists of parts give the same bytes."""
    return b"".join(b"%d:%b" % (len(raw), raw) for raw in (part.encode("utf-8", "surrogatepass") for part in parts))


def _derive(key: bytes | None, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, None, b"vitalwire ledger " + purpose).derive(key or b"")
