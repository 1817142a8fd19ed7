"""Real servers for tests: containers where an engine answers, else started here. Each starts when first asked for."""

import itertools
import os
from collections.abc import Iterator

import pytest

from adapters.brokers import Broker, container, start_broker

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Apache Kafka."""
    place = tmp_path_factory.mktemp("kafka")
    kind = "container" if container.is_available() else "apache"
    with start_broker(kind, data_directory=place, log_file=place / "kafka.log") as started:
        yield started


@pytest.fixture(scope="session")
def embedded_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The demo's broker: Kafka's protocol, memory only."""
    place = tmp_path_factory.mktemp("embedded")
    with start_broker("embedded", data_directory=place, log_file=place / "broker.log") as started:
        yield started


@pytest.fixture
def topic_prefix() -> str:
    """A prefix no other test uses, so that tests on one broker do not meet."""
    return f"t{os.getpid()}-{next(_numbers)}-"
