"""The ward that benchmarks measure: devices that each send four vitals once a second, as canonical JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator

import orjson
from confluent_kafka import Producer

from schemas.reference import Pairing
from schemas.topics import PAIRINGS, READINGS
from tests.bench.plan import Plan

TENANT = "north"
DEVICES = 1_000
VITALS = (("heart_rate", "/min"), ("spo2", "%"), ("respiratory_rate", "/min"), ("body_temperature", "Cel"))
CHUNK = 10_000
_PAIRED_SINCE = "2020-01-01T00:00:00Z"


def event_seconds(readings: int, devices: int = DEVICES) -> float:
    """How long a span of measurement so many readings cover."""
    return readings / (devices * len(VITALS))


def reading(at: int, began_ms: int, devices: int = DEVICES) -> tuple[str, bytes]:
    """Device and value of the reading with this number: device after device, vital after vital, second after second."""
    turn, device = divmod(at, devices)
    second, kind = divmod(turn, len(VITALS))
    vital, unit = VITALS[kind]
    name = f"mon-{device}"
    value = 36.5 + at % 20 / 10 if vital == "body_temperature" else 60 + (at * 7 + second) % 40
    # devices are not in step with each other: each has its own millisecond of the second
    measured_ms = began_ms + second * 1000 + device % 900
    body = {
        "tenant_id": TENANT, "device_id": name, "type": vital, "value": value, "unit": unit, "time": measured_ms, "seq": turn,
    }  # fmt: skip
    return name, orjson.dumps(body)


def began_ms(readings: int) -> int:
    """The first measurement's time, such that the last is a little before now."""
    return int((time.time() - event_seconds(readings) - 10) * 1000)


def pairings(devices: int = DEVICES) -> Iterator[Pairing]:
    """Each device has measured one patient for years."""
    for device in range(devices):
        intervals = [{"patient_id": f"p-{device}", "from": _PAIRED_SINCE}]
        yield Pairing.model_validate({"tenant_id": TENANT, "device_id": f"mon-{device}", "intervals": intervals})


def fill(bootstrap_servers: str, plan: Plan) -> None:
    """Produce pairings and readings, as an idempotent producer of ours would."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 20,
            "batch.num.messages": 10_000,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    for pairing in pairings():
        key = f"{pairing.tenant_id}|{pairing.device_id}"
        producer.produce(PAIRINGS.name, pairing.model_dump_json(by_alias=True), key)
    first_ms = began_ms(plan.readings)
    starts = range(0, plan.readings, CHUNK)
    for start in plan.each("filling the topic", starts, lambda at: f"{at:,} readings"):
        for at in range(start, min(start + CHUNK, plan.readings)):
            device, value = reading(at, first_ms)
            _produce(producer, device, value)
    if producer.flush(120):
        raise SystemExit("the broker did not confirm every reading of the benchmark's topic")


def _produce(producer: Producer, key: str, value: bytes) -> None:
    while True:
        try:
            producer.produce(READINGS.name, value, key)
        except BufferError:
            producer.poll(0.05)
        else:
            return
