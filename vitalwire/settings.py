"""Settings of one process, from the environment. Hospitals, endpoints and vitals are in the configuration file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import Misconfigured

KEY_BYTES = 32
HOW_TO_MAKE_A_KEY = "Make one with: python3 -c 'import secrets; print(secrets.token_hex(32))' > FILE && chmod 600 FILE"


@dataclass(frozen=True, slots=True)
class Settings:
    """Addresses of Kafka and the database, paths of data and configuration, and the keys as they were given."""

    kafka: str | None
    database: str
    data: Path
    config_file: Path | None
    topic_prefix: str
    identity_key: str | None
    identity_key_file: Path | None
    ledger_key: str | None
    ledger_key_file: Path | None
    metrics_host: str
    metrics_port: int
    session_timeout_s: float

    def __repr__(self) -> str:
        """Without keys, and without the database URL, which may contain a password."""
        return f"Settings(kafka={self.kafka!r}, data={str(self.data)!r}, topic_prefix={self.topic_prefix!r})"

    def bootstrap_servers(self) -> str:
        """The Kafka brokers, or an error that says how to set them."""
        if self.kafka is None:
            raise Misconfigured(
                "No Kafka broker is set. Set VITALWIRE_KAFKA, e.g. kafka-1:9092,kafka-2:9092. "
                "`vitalwire broker` starts a local one and prints its address."
            )
        return self.kafka

    def configuration(self) -> Path:
        """The configuration file, or an error that says how to set it."""
        if self.config_file is None:
            raise Misconfigured(
                "No configuration file is set. Set VITALWIRE_CONFIG to the path of your vitalwire.yaml."
            )
        return self.config_file

    def identity(self) -> bytes:
        """The key of window identities. If it is lost or changed, every replay creates new Observations."""
        key = _key("VITALWIRE_IDENTITY_KEY", self.identity_key, self.identity_key_file)
        if key is None:
            raise Misconfigured(
                "Window identities require a secret key that never changes. Set VITALWIRE_IDENTITY_KEY_FILE. "
                + HOW_TO_MAKE_A_KEY
            )
        return key

    def ledger_encryption(self) -> bytes | None:
        """The key that encrypts requests and responses in the ledger; None: they are only compressed."""
        return _key("VITALWIRE_LEDGER_KEY", self.ledger_key, self.ledger_key_file)


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from VITALWIRE_* variables; an empty variable counts as not set."""
    given = {k: v for k, v in (os.environ if environment is None else environment).items() if v}
    data = Path(given.get("VITALWIRE_DATA", "~/.local/share/vitalwire")).expanduser()
    return Settings(
        kafka=given.get("VITALWIRE_KAFKA"),
        database=given.get("VITALWIRE_DATABASE", f"sqlite:///{data / 'ledger.sqlite'}"),
        data=data,
        config_file=_path(given, "VITALWIRE_CONFIG"),
        topic_prefix=given.get("VITALWIRE_TOPIC_PREFIX", ""),
        identity_key=given.get("VITALWIRE_IDENTITY_KEY"),
        identity_key_file=_path(given, "VITALWIRE_IDENTITY_KEY_FILE"),
        ledger_key=given.get("VITALWIRE_LEDGER_KEY"),
        ledger_key_file=_path(given, "VITALWIRE_LEDGER_KEY_FILE"),
        metrics_host=given.get("VITALWIRE_METRICS_HOST", "127.0.0.1"),
        metrics_port=_port(given, "VITALWIRE_METRICS_PORT"),
        session_timeout_s=_seconds(given, "VITALWIRE_SESSION_TIMEOUT_S", 10.0),
    )


def _path(given: Mapping[str, str], name: str) -> Path | None:
    return Path(given[name]).expanduser() if name in given else None


def _port(given: Mapping[str, str], name: str) -> int:
    """The port of metrics and health checks; 0, the default, means any free port."""
    text = given.get(name, "0")
    if not text.isdecimal() or int(text) > 65_535:
        raise Misconfigured(f"{name} must be a port number from 0 (any free port) to 65535.")
    return int(text)


def _seconds(given: Mapping[str, str], name: str, default: float) -> float:
    """A number of seconds within its limits."""
    try:
        value = float(given.get(name, default))
    except ValueError:
        value = 0.0
    if not 1.0 <= value <= 3600.0:
        raise Misconfigured(f"{name} must be a number of seconds from 1 to 3600.")
    return value


def _key(name: str, inline: str | None, file: Path | None) -> bytes | None:
    """A key of 32 bytes written as 64 hexadecimal digits, in the variable itself or in the file it names."""
    if file is not None:
        try:
            inline = file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            raise Misconfigured(f"{name}_FILE names a file that cannot be read: {file}.") from None
    if inline is None:
        return None
    try:
        key = bytes.fromhex(inline.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise Misconfigured(f"{name} must be 64 hexadecimal digits (32 bytes). {HOW_TO_MAKE_A_KEY}")
    return key
