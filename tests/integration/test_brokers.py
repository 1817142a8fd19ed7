"""Every kind of local broker: it starts, carries records, comes back after a crash, and leaves nothing behind."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.errors import Misconfigured
from testbed.brokers import Broker, Kind, container, start_broker
from testbed.brokers.broker import ProcessBroker
from testbed.servers.process import free_port
from tests.conditions import wait_until

KINDS: list[Kind] = ["apache", "embedded", *(["container"] if container.is_available() else [])]


@pytest.fixture(params=KINDS)
def started(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    with start_broker(request.param, data_directory=tmp_path, log_file=tmp_path / "log") as one:
        yield one


def create(address: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result()


def produce(address: str, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": address, "enable.idempotence": True, "log_level": 0})
    problems: list[object] = []
    producer.produce(topic, value, on_delivery=lambda problem, _: problems.append(problem))
    assert producer.flush(30) == 0
    assert problems == [None]


def first_value(address: str, topic: str) -> bytes:
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": "g",
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6000,
            "log_level": 0,
        }
    )
    consumer.subscribe([topic])
    try:
        record = wait_until(lambda: consumer.poll(1), 60, what="a record")
        assert record.error() is None
        return record.value()
    finally:
        consumer.close()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_broker_carries_a_record_from_producer_to_consumer_group(started: Broker):
    create(started.bootstrap_servers, "one")

    produce(started.bootstrap_servers, "one", b"72")

    assert first_value(started.bootstrap_servers, "one") == b"72"


def test_a_killed_broker_comes_back_at_its_address(started: Broker):
    address = started.bootstrap_servers

    started.kill()
    started.start()

    assert started.bootstrap_servers == address
    create(address, "after")
    produce(address, "after", b"1")
    assert first_value(address, "after") == b"1"


def test_apache_kafka_still_holds_confirmed_records_after_kill_and_after_stop(tmp_path: Path):
    with start_broker("apache", data_directory=tmp_path, log_file=tmp_path / "log") as started:
        create(started.bootstrap_servers, "kept")
        produce(started.bootstrap_servers, "kept", b"72")
        started.kill()
        started.start()
        assert first_value(started.bootstrap_servers, "kept") == b"72"
        started.stop()
        started.start()
        assert AdminClient({"bootstrap.servers": started.bootstrap_servers}).list_topics(timeout=10).topics["kept"]


def test_a_second_run_finds_the_data_of_the_first_at_the_same_address(tmp_path: Path):
    with start_broker("apache", data_directory=tmp_path, log_file=tmp_path / "log") as first:
        create(first.bootstrap_servers, "kept")
    with start_broker("apache", data_directory=tmp_path, log_file=tmp_path / "log") as second:
        assert second.bootstrap_servers == first.bootstrap_servers
        assert "kept" in AdminClient({"bootstrap.servers": second.bootstrap_servers}).list_topics(timeout=10).topics


@pytest.mark.parametrize("kind", ["apache", "embedded"])
def test_a_stopped_broker_leaves_no_process(kind: Kind, tmp_path: Path):
    with start_broker(kind, data_directory=tmp_path, log_file=tmp_path / "log") as started:
        assert isinstance(started, ProcessBroker)
        pid = started.pid
        assert pid is not None
        assert is_alive(pid)

    assert not is_alive(pid)


@pytest.mark.parametrize("kind", ["apache", "embedded"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_broker_ends_when_the_process_that_started_it_is_killed(kind: Kind, number: signal.Signals, tmp_path: Path):
    script = (
        "import sys, pathlib, testbed.brokers as b; d = pathlib.Path(sys.argv[2]);"
        "x = b.start_broker(sys.argv[1], data_directory=d, log_file=d / 'log'); print(x.pid, flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script, kind, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    with owner.stdin, owner.stdout:
        pid = int(owner.stdout.readline())
        assert is_alive(pid)

        owner.send_signal(number)
        owner.wait()

        wait_until(lambda: not is_alive(pid), 30, what="the broker's end")


def test_a_given_address_is_used_and_never_ended(broker: Broker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("VITALWIRE_KAFKA", broker.bootstrap_servers)

    with start_broker(data_directory=tmp_path, log_file=tmp_path / "log") as given:
        assert (given.kind, given.bootstrap_servers) == ("given", broker.bootstrap_servers)
        with pytest.raises(Misconfigured, match="cannot be killed"):
            given.kill()

    assert AdminClient({"bootstrap.servers": broker.bootstrap_servers}).list_topics(timeout=10).brokers


def test_an_address_that_does_not_answer_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("VITALWIRE_KAFKA", f"127.0.0.1:{free_port()}")
    monkeypatch.setattr("testbed.brokers.given.ANSWER_TIMEOUT_S", 1.0)

    with pytest.raises(Misconfigured, match="Correct VITALWIRE_KAFKA"):
        start_broker(data_directory=tmp_path, log_file=tmp_path / "log")


@pytest.fixture
def nothing_given_and_no_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VITALWIRE_KAFKA", raising=False)
    monkeypatch.setattr(container, "is_available", lambda: False)


@pytest.mark.usefixtures("nothing_given_and_no_containers")
def test_without_java_the_embedded_broker_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with start_broker(data_directory=tmp_path, log_file=tmp_path / "log") as started:
        assert started.kind == "embedded"


@pytest.mark.usefixtures("nothing_given_and_no_containers")
def test_with_java_apache_kafka_is_taken(tmp_path: Path):
    with start_broker(data_directory=tmp_path, log_file=tmp_path / "log") as started:
        assert started.kind == "apache"


def test_forced_apache_without_java_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Misconfigured, match="apt-get install openjdk"):
        start_broker("apache", data_directory=tmp_path, log_file=tmp_path / "log")


def test_a_broker_that_ends_while_starting_names_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("testbed.brokers.embedded._binary", lambda: Path("/bin/false"))

    with pytest.raises(Misconfigured, match="exited while starting") as told:
        start_broker("embedded", data_directory=tmp_path, log_file=tmp_path / "broker.log")

    assert str(tmp_path / "broker.log") in str(told.value)
    assert (tmp_path / "broker.log").exists()
