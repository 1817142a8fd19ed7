"""Pairings, patients and consents, followed on their compacted topics. The rules: docs/adr/0006-reference-data.md."""

from adapters.reference.following import KafkaReference

__all__ = ["KafkaReference"]
