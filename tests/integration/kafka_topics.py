"""The topics that tests of the Kafka adapters read and write, with few partitions."""

from adapters.kafka.topics import create_or_verify
from schemas.topics import CONSENTS, PAIRINGS, PATIENTS, WINDOWS

PARTITIONS = 3
TOPICS = (WINDOWS, PAIRINGS, PATIENTS, CONSENTS)


def create(bootstrap: str, prefix: str) -> None:
    create_or_verify(bootstrap, prefix, PARTITIONS, only=TOPICS)
