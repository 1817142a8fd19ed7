"""`vitalwire topics` and `vitalwire send` on a real broker: what is in the file is on the topic, keyed by device."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.kafka.topic_reader import KafkaTopicReader
from schemas.ports.kafka import ConsumedRecord
from schemas.topics import ALL, READINGS
from testbed.brokers import Broker
from vitalwire.cli import main

LINE = {"device_id": "mon-1", "type": "heart_rate", "value": 72, "unit": "/min", "time": "2026-01-05T10:00:00Z"}


@pytest.fixture
def bootstrap(broker: Broker, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("VITALWIRE_KAFKA", broker.bootstrap_servers)
    monkeypatch.setenv("VITALWIRE_TOPIC_PREFIX", topic_prefix)
    assert _run("topics", "--partitions", "2") == 0
    return broker.bootstrap_servers


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def _held(bootstrap: str, prefix: str) -> list[ConsumedRecord]:
    return list(KafkaTopicReader(bootstrap, prefix=prefix).read(READINGS))


def test_topics_are_created_once_and_correct_after_that(bootstrap: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bootstrap
    capsys.readouterr()
    assert _run("topics", "--json") == 0
    states = json.loads(capsys.readouterr().out)
    assert len(states) == len(ALL)
    assert {state["state"] for state in states} == {"correct"}


def test_ndjson_goes_to_the_topic_byte_for_byte_keyed_by_device(
    bootstrap: str, topic_prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [json.dumps(LINE | {"device_id": f"mon-{n % 3}", "value": n}).encode() for n in range(20)]
    file = tmp_path / "readings.ndjson"
    file.write_bytes(b"\n".join(lines) + b"\n\n")
    capsys.readouterr()
    assert _run("send", str(file), "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"sent": 20, "refused_lines": []}
    held = _held(bootstrap, topic_prefix)
    assert sorted(record.value or b"" for record in held) == sorted(lines)
    assert all(record.key == json.loads(record.value or b"")["device_id"].encode() for record in held)


def test_csv_rows_become_readings_with_numbers(bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    file = tmp_path / "readings.csv"
    file.write_text(
        "device_id,type,value,unit,time,seq\nmon-1,body_temperature,36.6,°C,2026-01-05T10:00:00Z,7\n"
        "mon-1,heart_rate,72,/min,1767607200000,\n",
        encoding="utf-8",
    )
    assert _run("send", str(file)) == 0
    sent = [json.loads(record.value or b"") for record in _held(bootstrap, topic_prefix)]
    assert sent == [
        LINE | {"type": "body_temperature", "value": 36.6, "unit": "°C", "seq": 7},
        LINE | {"time": 1_767_607_200_000},
    ]


def test_lines_without_a_device_are_named_and_the_others_are_sent(
    bootstrap: str, topic_prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "readings.ndjson"
    file.write_text(json.dumps(LINE) + '\n{"type": "heart_rate"}\nnot json\n')
    assert _run("send", str(file)) == 1
    assert "line 2, 3" in capsys.readouterr().err
    assert len(_held(bootstrap, topic_prefix)) == 1


def test_a_csv_without_its_columns_is_refused_with_their_names(
    bootstrap: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bootstrap
    file = tmp_path / "readings.csv"
    file.write_text("device_id,value\nmon-1,72\n")
    assert _run("send", str(file)) == 2
    assert "time, type, unit" in capsys.readouterr().err
