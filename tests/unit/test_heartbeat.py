from adapters.metrics import PrometheusObserver
from schemas.heartbeats import Heartbeat
from schemas.topics import HEARTBEATS
from streams.runtime.heartbeat import HeartbeatEmitter
from tests.doubles.ports import MemoryProducer, fixed_clock


def emitter(producer: MemoryProducer, observer: PrometheusObserver, ready: bool) -> HeartbeatEmitter:
    identity = Heartbeat(role="clinical", instance="c-1", at=fixed_clock(), version="0.1.0", ready=False)
    return HeartbeatEmitter(identity, producer, fixed_clock, observer, lambda: ready, lambda: {"partitions": 2})


async def test_a_heartbeat_says_who_lives_and_whether_it_is_ready():
    producer, observer = MemoryProducer(), PrometheusObserver()
    await emitter(producer, observer, True).beat()
    (record,) = producer.to(HEARTBEATS)
    beat = Heartbeat.model_validate_json(record.value)
    assert record.key == b"clinical|c-1"
    assert (beat.ready, beat.detail, beat.at) == (True, {"partitions": 2}, fixed_clock())
    assert 'vitalwire_worker_ready{role="clinical"} 1.0' in observer.exposition().decode()


async def test_a_broker_that_is_away_does_not_end_the_heart():
    producer, observer = MemoryProducer(), PrometheusObserver()
    producer.away = 1
    beating = emitter(producer, observer, True)
    await beating.beat()
    await beating.beat()
    assert len(producer.to(HEARTBEATS)) == 1
    assert 'retries_total{dependency="kafka"} 1.0' in observer.exposition().decode()
