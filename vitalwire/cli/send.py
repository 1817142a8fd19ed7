"""`vitalwire send`: the readings in a file to Kafka, keyed by device, in file order."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from adapters.kafka.producer import KafkaProducer
from schemas.errors import Misconfigured
from schemas.ports.kafka import Outgoing
from schemas.topics import READINGS
from vitalwire.cli.output import as_json, complain, say, transfer_progress
from vitalwire.settings import from_environment

BATCH = 5_000
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file: its number, its size in bytes, and its record; None if it cannot be sent."""

    number: int
    size: int
    record: Outgoing | None


def run_send(file: Path, *, as_json_document: bool) -> int:
    """Send a file; 1 if a line could not be sent. A line must have a device_id; the workers validate the rest."""
    settings = from_environment()
    try:
        opened, size = file.open("rb"), file.stat().st_size
    except OSError:
        raise Misconfigured(f"{file} cannot be read.") from None
    with opened:
        lines = _csv_lines(file, opened) if file.suffix.lower() == ".csv" else _json_lines(opened)
        producer = KafkaProducer(settings.bootstrap_servers(), prefix=settings.topic_prefix)
        try:
            sent, refused = asyncio.run(_send(lines, producer, file.name, size))
        finally:
            producer.close()
    if as_json_document:
        as_json({"sent": sent, "refused_lines": refused})
    else:
        say(f"{sent} sent to {READINGS.prefixed(settings.topic_prefix)}.")
    if refused and not as_json_document:
        numbers = ", ".join(map(str, refused[:SHOWN])) + (", …" if len(refused) > SHOWN else "")
        complain(
            f"{len(refused)} lines have no device_id and were not sent (line {numbers}). Correct and send only those."
        )
    return int(bool(refused))


async def _send(lines: Iterator[Line], producer: KafkaProducer, name: str, size: int) -> tuple[int, list[int]]:
    sent, refused, batch = 0, list[int](), list[Outgoing]()
    with transfer_progress() as progress:
        task = progress.add_task(name, total=size)
        for line in lines:
            progress.advance(task, line.size)
            if line.record is None:
                refused.append(line.number)
                continue
            batch.append(line.record)
            if len(batch) == BATCH:
                await producer.send(batch)
                sent, batch = sent + len(batch), []
        await producer.send(batch)
    return sent + len(batch), refused


def _json_lines(opened: BinaryIO) -> Iterator[Line]:
    for number, raw in enumerate(opened, start=1):
        value = raw.strip()
        if value:
            yield Line(number, len(raw), _record(value))


def _record(value: bytes) -> Outgoing | None:
    """The line unchanged, keyed by its device."""
    try:
        device_id = json.loads(value)["device_id"]
    except (ValueError, KeyError, TypeError):
        return None
    return Outgoing(READINGS, device_id.encode(), value) if isinstance(device_id, str) and device_id else None


def _csv_lines(file: Path, opened: BinaryIO) -> Iterator[Line]:
    """Rows as readings. Columns: device_id, type, value, unit, time; optional: tenant_id, seq, patient_id."""
    text = (raw.decode("utf-8-sig" if number == 0 else "utf-8", "replace") for number, raw in enumerate(opened))
    rows = csv.DictReader(text)
    missing = {"device_id", "type", "value", "unit", "time"} - set(rows.fieldnames or ())
    if missing:
        raise Misconfigured(f"{file} needs a header with the columns {', '.join(sorted(missing))}.")
    for row in rows:
        reading = {name: _typed(name, cell) for name, cell in row.items() if isinstance(cell, str) and cell != ""}
        size = sum(len(cell) + 1 for cell in row.values() if isinstance(cell, str))
        record = _record(json.dumps(reading, ensure_ascii=False).encode()) if reading else None
        yield Line(rows.line_num, size, record)


def _typed(name: str, cell: str) -> Any:
    """A cell in the contract's type: `value` a number, `seq` and an all-digit `time` an integer, others text."""
    if name in {"seq", "time"} and cell.isdecimal():
        return int(cell)
    if name == "value":
        try:
            return json.loads(cell)
        except ValueError:
            return cell
    return cell
