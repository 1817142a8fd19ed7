"""Progress is read back furthest first, and a readings topic that was recreated is noticed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from array import array

import pytest

from adapters.kafka.producer import KafkaProducer
from adapters.kafka.progress import STEP_BACK_MS, ProgressReader
from adapters.kafka.topics import create_or_verify
from schemas.errors import Unsafe
from schemas.ports.kafka import Outgoing
from schemas.progress import DeviceProgress, PartitionProgress, SeriesProgress
from schemas.reasons import LATE, Reason
from schemas.topics import LATE_READINGS, PROGRESS, QUARANTINE, READINGS
from streams.runtime.fail_fast import EXIT_UNSAFE
from streams.telemetry.kernel.quarantined import QuarantinedReading
from streams.telemetry.quarantine import quarantine_record

WHOLE = PartitionProgress(partition=1, position=3, settled=2, open_readings=1, arrival_ms=5)


def device(offset: int, closed_ms: int) -> bytes:
    streams = {"heart_rate": SeriesProgress(closed_through_ms=closed_ms)}
    progress = DeviceProgress(tenant_id="north", device_id="m", offset=offset, watermark_ms=closed_ms, streams=streams)
    return progress.model_dump_json().encode()


@pytest.fixture(params=["broker", "embedded_broker"])
def servers(request: pytest.FixtureRequest, topic_prefix: str) -> str:
    address: str = request.getfixturevalue(request.param).bootstrap_servers
    create_or_verify(address, topic_prefix, 2, 1, [READINGS, PROGRESS])
    return address


async def written(servers: str, prefix: str, *records: tuple[bytes, bytes | None], readings: int = 0) -> None:
    producer = KafkaProducer(servers, prefix=prefix)
    await producer.send([Outgoing(PROGRESS, key, value, 1) for key, value in records])
    await producer.send([Outgoing(READINGS, b"m", b"{}", 1) for _ in range(readings)])
    await asyncio.to_thread(producer.close)


async def test_the_furthest_progress_counts_whichever_worker_wrote_last(servers, topic_prefix):
    stale = WHOLE.model_copy(update={"position": 2}).model_dump_json().encode()
    whole = (b"#partition", WHOLE.model_dump_json().encode())
    records = (whole, (b"#partition", stale), (b"m", device(9, 60)), (b"m", device(4, 30)))
    await written(servers, topic_prefix, *records, readings=3)
    devices, partition = await ProgressReader(servers, topic_prefix).load(1)
    assert partition == WHOLE
    assert [d.offset for d in devices] == [9]


async def test_earlier_refusals_of_readings_that_come_again_are_found(servers, topic_prefix):
    create_or_verify(servers, topic_prefix, 2, 1, [QUARANTINE, LATE_READINGS])
    producer = KafkaProducer(servers, prefix=topic_prefix)
    readings = [
        QuarantinedReading(reason, "n", "m", n, n % 2, 5, b"1e400")
        for n in range(6)
        for reason in (Reason.UNPAIRED, LATE)
    ]
    await producer.send([quarantine_record(reading, READINGS.name, 1) for reading in readings])
    await producer.send([Outgoing(QUARANTINE, b"m", b"not ours", 1)])
    await asyncio.to_thread(producer.close)
    reader = ProgressReader(servers, topic_prefix)
    now_ms = int(time.time() * 1000)

    assert sorted(batched(await reader.load_quarantined(1, 4, now_ms))) == [(4, 0), (4, 0), (5, 1), (5, 1)]
    assert len(await reader.load_quarantined(1, 0, now_ms)) == 24
    assert len(await reader.load_quarantined(0, 0, now_ms)) == 0


def batched(flat: array[int]) -> list[tuple[int, int]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


@pytest.mark.parametrize("servers", ["broker"], indirect=True)
async def test_readings_refused_long_before_a_reading_arrived_are_not_read_again(servers, topic_prefix):
    create_or_verify(servers, topic_prefix, 2, 1, [QUARANTINE, LATE_READINGS])
    producer = KafkaProducer(servers, prefix=topic_prefix)
    await producer.send([quarantine_record(QuarantinedReading(LATE, "n", "m", 3, 0, 5, b"1"), READINGS.name, 1)])
    await asyncio.to_thread(producer.close)
    long_after_ms = int(time.time() * 1000) + STEP_BACK_MS + 60_000
    assert len(await ProgressReader(servers, topic_prefix).load_quarantined(1, 0, long_after_ms)) == 0


async def test_a_partition_without_progress_gives_none(servers, topic_prefix):
    assert await ProgressReader(servers, topic_prefix).load(0) == ([], None)


@pytest.mark.parametrize("servers", ["broker"], indirect=True)
async def test_a_recreated_readings_topic_does_not_count_as_read(servers, topic_prefix):
    await written(servers, topic_prefix, (b"#partition", WHOLE.model_dump_json().encode()), readings=1)
    with pytest.raises(Unsafe, match="recreated"):
        await ProgressReader(servers, topic_prefix).load(1)


async def test_what_is_not_progress_is_refused_until_a_tombstone_removes_it(servers, topic_prefix):
    await written(servers, topic_prefix, (b"m", b"something else"))
    with pytest.raises(Unsafe, match="tombstone"):
        await ProgressReader(servers, topic_prefix).load(1)


async def test_a_worker_whose_state_cannot_be_trusted_ends_instead_of_going_on(broker, topic_prefix, tmp_path):
    create_or_verify(broker.bootstrap_servers, topic_prefix, 2, 1)
    await written(broker.bootstrap_servers, topic_prefix, (b"#partition", WHOLE.model_dump_json().encode()), readings=1)
    config = tmp_path / "vitalwire.yaml"
    config.write_text(
        "tenants:\n  n: {endpoints: [e]}\nendpoints:\n  e: {kind: fhir, base_url: 'https://fhir.example/r4'}\n"
    )
    environment = os.environ | {
        "VITALWIRE_KAFKA": broker.bootstrap_servers,
        "VITALWIRE_TOPIC_PREFIX": topic_prefix,
        "VITALWIRE_CONFIG": str(config),
        "VITALWIRE_DATA": str(tmp_path),
        "VITALWIRE_IDENTITY_KEY": "5e" * 32,
    }
    worker = [sys.executable, "-m", "vitalwire", "worker", "telemetry"]
    ended = await asyncio.to_thread(
        subprocess.run, worker, env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert ended.returncode == EXIT_UNSAFE
    assert "recreated" in ended.stderr
