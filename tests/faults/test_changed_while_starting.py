"""A configuration that is changed while a worker starts, after it was read, is taken all the same."""

from __future__ import annotations

from pathlib import Path

from confluent_kafka.admin import AdminClient

from adapters.kafka.topics import create_or_verify
from schemas.topics import CONSENTS
from testbed.brokers import Broker
from tests.conditions import wait_until
from tests.system.bedside import SECTION
from tests.system.installation import PARTITIONS, Installation


def test_a_configuration_changed_between_its_reading_and_its_watching_is_taken(
    broker: Broker, topic_prefix: str, tmp_path: Path
) -> None:
    with Installation(broker.bootstrap_servers, topic_prefix, tmp_path / "site", SECTION) as installation:
        admin, consents = AdminClient({"bootstrap.servers": broker.bootstrap_servers}), CONSENTS.prefixed(topic_prefix)
        admin.delete_topics([consents])[consents].result()
        wait_until(lambda: consents not in admin.list_topics(timeout=10).topics, what="the end of the consents")
        worker = installation.start_without_waiting("clinical")
        wait_until(lambda: worker.health()[0] == 503, 60, what="a worker that waits for consents")
        config = Path(installation.environment["VITALWIRE_CONFIG"])
        config.write_text(config.read_text() + "\n# reviewed\n")

        create_or_verify(broker.bootstrap_servers, topic_prefix, PARTITIONS)

        wait_until(lambda: "restarting with it" in worker.log_file.read_text(), 60, what="a worker that restarts")
        worker.wait_until_ready()
