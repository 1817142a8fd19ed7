"""The broker somebody else runs, at the address in `VITALWIRE_KAFKA`. We use it and never start or stop it."""

from __future__ import annotations

from schemas.errors import Misconfigured
from testbed.brokers.broker import Kind, StopsOnExit, answers_within

ANSWER_TIMEOUT_S = 10.0


class GivenBroker(StopsOnExit):
    """A broker at a given address."""

    kind: Kind = "given"

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers

    def start(self) -> None:
        """See that it answers."""
        if not answers_within(self.bootstrap_servers, ANSWER_TIMEOUT_S):
            raise Misconfigured(
                f"No Kafka broker answers at {self.bootstrap_servers}. Correct VITALWIRE_KAFKA, or unset it to use a local one."
            )

    def stop(self) -> None:
        """Nothing: it is not ours."""

    def kill(self) -> None:
        """Refused: it is not ours."""
        raise Misconfigured("A given broker is not ours to end. Use a local kind for this.")
