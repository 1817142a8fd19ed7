"""Follows pairings, patients and consents on their compacted topics. Rules: docs/adr/0006-reference-data.md."""

from adapters.reference.following import KafkaReference

__all__ = ["KafkaReference"]
