"""An existing broker at the address in `VITALWIRE_KAFKA`: used, never started or stopped."""

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
        """Check that it responds."""
        if not answers_within(self.bootstrap_servers, ANSWER_TIMEOUT_S):
            raise Misconfigured(
                f"No Kafka broker responds at {self.bootstrap_servers}. Correct VITALWIRE_KAFKA, or unset it for a local one."
            )

    def stop(self) -> None:
        """Does nothing: an existing broker is not stopped."""

    def kill(self) -> None:
        """Raises Misconfigured: an existing broker is not killed."""
        raise Misconfigured("An existing broker cannot be killed. Choose a local kind.")
