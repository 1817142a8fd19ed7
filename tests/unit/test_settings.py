"""Settings from the environment: defaults, and errors that say what to do next."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.config import Secret
from schemas.errors import Misconfigured
from vitalwire.secrets import read_secret
from vitalwire.settings import from_environment

KEY = "0123456789abcdef" * 4


def test_the_ledger_is_sqlite_in_the_data_directory_by_default(tmp_path: Path) -> None:
    settings = from_environment({"VITALWIRE_DATA": str(tmp_path)})
    assert settings.database == f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    other = from_environment({"VITALWIRE_DATABASE": "postgresql+psycopg://ledger@db/vitalwire"})
    assert other.database == "postgresql+psycopg://ledger@db/vitalwire"


def test_metrics_are_served_on_loopback_by_default() -> None:
    assert from_environment({}).metrics_host == "127.0.0.1"


def test_an_empty_variable_counts_as_not_set() -> None:
    assert from_environment({"VITALWIRE_KAFKA": ""}).kafka is None


@pytest.mark.parametrize(
    ("ask", "remedy"),
    [
        ("bootstrap_servers", "VITALWIRE_KAFKA"),
        ("configuration", "VITALWIRE_CONFIG"),
        ("identity", "secrets.token_hex"),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(ask: str, remedy: str) -> None:
    with pytest.raises(Misconfigured, match=remedy):
        getattr(from_environment({}), ask)()


def test_the_identity_key_comes_from_a_file_before_the_variable(tmp_path: Path) -> None:
    file = tmp_path / "identity.key"
    file.write_text(KEY + "\n")
    settings = from_environment({"VITALWIRE_IDENTITY_KEY_FILE": str(file), "VITALWIRE_IDENTITY_KEY": "ff" * 32})
    assert settings.identity() == bytes.fromhex(KEY)


@pytest.mark.parametrize("bad", ["", "short", KEY[:-2], KEY + "00", "not hexadecimal at all " * 3])
def test_a_key_that_is_not_32_bytes_is_refused_without_showing_it(tmp_path: Path, bad: str) -> None:
    file = tmp_path / "identity.key"
    file.write_text(bad)
    with pytest.raises(Misconfigured, match="64 hexadecimal digits") as refused:
        from_environment({"VITALWIRE_IDENTITY_KEY_FILE": str(file)}).identity()
    assert not bad or bad not in str(refused.value)


def test_a_key_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"missing\.key"):
        from_environment({"VITALWIRE_IDENTITY_KEY_FILE": str(tmp_path / "missing.key")}).identity()


def test_the_ledger_may_go_without_a_key() -> None:
    assert from_environment({}).ledger_encryption() is None


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_metrics_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(Misconfigured, match="VITALWIRE_METRICS_PORT"):
        from_environment({"VITALWIRE_METRICS_PORT": port})


def test_settings_never_print_a_secret() -> None:
    settings = from_environment({"VITALWIRE_IDENTITY_KEY": KEY, "VITALWIRE_DATABASE": "postgresql://u:hunter2@db/v"})
    assert KEY not in repr(settings)
    assert "hunter2" not in repr(settings)


def test_a_secret_is_read_from_its_file_without_the_line_end(tmp_path: Path) -> None:
    file = tmp_path / "client.secret"
    file.write_text("s3cret\n")
    assert read_secret(Secret(file=str(file))) == "s3cret"


def test_a_secret_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_PASSWORD", "s3cret")
    assert read_secret(Secret(env="SITE_PASSWORD")) == "s3cret"


def test_a_missing_secret_is_named_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SITE_PASSWORD", raising=False)
    with pytest.raises(Misconfigured, match="SITE_PASSWORD"):
        read_secret(Secret(env="SITE_PASSWORD"))
    with pytest.raises(Misconfigured, match=r"gone\.secret"):
        read_secret(Secret(file=str(tmp_path / "gone.secret")))
