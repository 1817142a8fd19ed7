"""`vitalwire topics`."""

from __future__ import annotations

from dataclasses import asdict

from adapters.kafka.topics import create_or_verify
from vitalwire.cli.output import as_json, say, table
from vitalwire.settings import from_environment


def run_topics(partitions: int, replication: int, *, as_json_document: bool) -> int:
    """Create or verify every topic; 1 if an existing one differs from its specification."""
    settings = from_environment()
    states = create_or_verify(settings.bootstrap_servers(), settings.topic_prefix, partitions, replication)
    if as_json_document:
        as_json([asdict(state) for state in states])
    else:
        rows = ((s.name, s.state, s.partitions, "; ".join(s.differences)) for s in states)
        table("Topics", ("topic", "state", "partitions", "differences"), rows)
        for remedy in (remedy for state in states for remedy in state.remedies):
            say(f"remedy: {remedy}")
    return int(any(state.state == "differs" for state in states))
