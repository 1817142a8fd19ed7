"""The command line: helpful, quiet about patients, and one line with a remedy for every error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from schemas.errors import RetryLater
from schemas.publish import files
from vitalwire import cli
from vitalwire.cli import main
from vitalwire.roles.registry import ROLES

COMMANDS = (
    "demo",
    "worker",
    "send",
    "reconcile",
    "check",
    "topics",
    "sandbox-ehr",
    "broker",
    "schemas",
    "ledger",
    "audit",
)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KAFKA", "CONFIG", "DATABASE", "TOPIC_PREFIX", "IDENTITY_KEY_FILE", "LEDGER_KEY_FILE"):
        monkeypatch.delenv(f"VITALWIRE_{name}", raising=False)
    monkeypatch.setenv("VITALWIRE_DATA", str(tmp_path))


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    code = ended.value.code
    return code if isinstance(code, int) else 0


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--help") == 0
    shown = capsys.readouterr().out
    assert [name for name in COMMANDS if f" {name} " not in shown] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(command, "--help") == 0
    assert "Usage: vitalwire" in capsys.readouterr().out


def test_an_unknown_command_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("chart-everything") == 2
    assert "chart-everything" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("topics",), "VITALWIRE_KAFKA"),
        (("check",), "VITALWIRE_CONFIG"),
        (("check", "nowhere.yaml"), "nowhere.yaml"),
        (("worker", "surgeon"), "telemetry, clinical"),
        (("send", "nowhere.ndjson"), "nowhere.ndjson"),
        (("broker", "--kind", "rabbit"), "embedded"),
        (("sandbox-ehr", "--profile", "paper"), "oracle-health"),
        (("demo", "--for", "60"), "60s"),
        (("demo", "--broker", "rabbit"), "embedded"),
    ],
)
def test_wrong_settings_end_with_2_and_one_line_that_names_the_remedy(
    arguments: tuple[str, ...], remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.strip().splitlines()) == 1
    assert remedy in shown.err


def test_a_dependency_that_is_away_ends_with_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(**_: object) -> None:
        raise RetryLater("The database does not answer.")

    monkeypatch.setattr(cli, "app", away)
    assert _run("reconcile") == 1
    assert capsys.readouterr().err == "vitalwire: The database does not answer.\n"


def test_a_defect_is_one_line_without_the_text_that_may_hold_patient_data(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: object) -> None:
        raise ValueError("patient p-9 has 72")

    monkeypatch.setattr(cli, "app", broken)
    assert _run("reconcile") == 1
    shown = capsys.readouterr().err
    assert "ValueError in test_command_line.py" in shown
    assert "p-9" not in shown
    assert len(shown.splitlines()) == 1


def test_schemas_writes_every_document_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("schemas", "--out", str(tmp_path / "published")) == 0
    assert {path.name for path in (tmp_path / "published").iterdir()} == set(files("0", ROLES))
    assert "asyncapi.yaml" in capsys.readouterr().out
    assert _run("schemas", "--out", str(tmp_path / "published")) == 0
    assert capsys.readouterr().out == ""


def test_check_names_file_line_and_remedy_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "vitalwire.yaml"
    config.write_text("tenants:\n  north: {endpoints: [north-epik]}\nendpoints: {}\n")
    assert _run("check", str(config)) == 1
    assert f"{config}:2:" in capsys.readouterr().out
    assert _run("check", str(config), "--json") == 1
    (finding, *_) = json.loads(capsys.readouterr().out)
    assert {"file", "line", "message", "remedy"} <= set(finding)


def test_check_is_content_with_a_right_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "vitalwire.yaml"
    config.write_text("vitals:\n  heart_rate: {window: 60s}\n")
    assert _run("check", str(config)) == 0
    assert "no findings" in capsys.readouterr().out
