"""`adapters.kafka.topics` against the real broker and the embedded one."""

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from adapters.kafka.topics import CO_PARTITIONED, create_or_verify
from schemas.errors import Misconfigured, RetryLater
from schemas.topics import ALL, HEARTBEATS, PAIRINGS, PROGRESS, READINGS
from testbed.brokers import Broker
from testbed.servers.process import free_port


@pytest.fixture(params=["broker", "embedded_broker"])
def address(request: pytest.FixtureRequest) -> str:
    started: Broker = request.getfixturevalue(request.param)
    return started.bootstrap_servers


def make(address: str, name: str, partitions: int, config: dict[str, str]) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result()


def test_every_topic_is_created_and_then_found_correct(address: str, topic_prefix: str):
    first = create_or_verify(address, topic_prefix, partitions=3)
    second = create_or_verify(address, topic_prefix, partitions=3)

    assert [state.name for state in first] == [spec.prefixed(topic_prefix) for spec in ALL]
    assert {state.state for state in first} == {"created"}
    assert {state.state for state in second} == {"correct"}
    assert {state.partitions for state in second} == {3}


def test_apache_kafka_reports_every_setting_we_rely_on(broker: Broker, topic_prefix: str):
    states = create_or_verify(broker.bootstrap_servers, topic_prefix)

    assert [state.name for state in states if state.unverified] == []


def test_a_wrong_setting_is_named_with_the_command_that_mends_it(address: str, topic_prefix: str):
    name = READINGS.prefixed(topic_prefix)
    make(address, name, 4, READINGS.settings | {"message.timestamp.type": "CreateTime"})

    (state,) = create_or_verify(address, topic_prefix, only=[READINGS])

    assert state.state == "differs"
    assert state.differences == ("message.timestamp.type is CreateTime, should be LogAppendTime",)
    assert f"--entity-name {name} --add-config 'message.timestamp.type=LogAppendTime'" in state.remedies[0]


def test_a_list_of_policies_is_the_same_in_any_order_and_is_bracketed_in_the_command(address: str, topic_prefix: str):
    make(address, HEARTBEATS.prefixed(topic_prefix), 1, HEARTBEATS.settings | {"cleanup.policy": "delete,compact"})
    other = f"{topic_prefix}other-"
    make(address, HEARTBEATS.prefixed(other), 1, HEARTBEATS.settings | {"cleanup.policy": "delete"})

    (same,) = create_or_verify(address, topic_prefix, only=[HEARTBEATS])
    (wrong,) = create_or_verify(address, other, only=[HEARTBEATS])

    assert same.state == "correct"
    assert "cleanup.policy=[compact,delete]" in wrong.remedies[0]


def test_topics_that_belong_to_the_readings_take_their_partition_count(address: str, topic_prefix: str):
    make(address, READINGS.prefixed(topic_prefix), 6, READINGS.settings)

    states = create_or_verify(address, topic_prefix, partitions=2)

    for spec, state in zip(ALL, states, strict=True):
        assert state.partitions == (6 if spec.name in CO_PARTITIONED else 2)


def test_progress_with_another_partition_count_than_the_readings_is_refused(address: str, topic_prefix: str):
    make(address, PROGRESS.prefixed(topic_prefix), 2, PROGRESS.settings)

    states = create_or_verify(address, topic_prefix, partitions=4, only=[READINGS, PROGRESS])

    assert [state.state for state in states] == ["created", "differs"]
    assert states[1].differences == ("2 partitions, but telemetry.readings has 4",)
    assert f"--delete --topic {PROGRESS.prefixed(topic_prefix)}" in states[1].remedies[0]


def test_another_partition_count_of_an_independent_topic_is_left_alone(address: str, topic_prefix: str):
    make(address, PAIRINGS.prefixed(topic_prefix), 7, PAIRINGS.settings)

    (state,) = create_or_verify(address, topic_prefix, partitions=4, only=[PAIRINGS])

    assert (state.state, state.partitions) == ("correct", 7)


def test_an_impossible_replication_factor_is_explained(broker: Broker, topic_prefix: str):
    with pytest.raises(Misconfigured, match="replication factor"):
        create_or_verify(broker.bootstrap_servers, topic_prefix, replication_factor=3, only=[PAIRINGS])


def test_where_no_broker_answers_the_work_is_to_be_tried_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("adapters.kafka.topics.TIMEOUT_S", 1.0)

    with pytest.raises(RetryLater, match="No Kafka broker responds"):
        create_or_verify(f"127.0.0.1:{free_port()}", only=[PAIRINGS])
