"""Dead letters: records that could not be processed, with key, value and headers, and the reason in the headers of KIP-1034.

Kafka Streams also writes the exception's message and stack trace; they may quote the record, so they are left out here.
A record larger than the topics accept is truncated, and headers give the original length of each truncated part.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.ports.kafka import Outgoing
from schemas.topics import TopicSpec
from streams.runtime.batches import Record, headers_bytes

MOST_WHOLE_BYTES = 3 * 1024 * 1024
"""Key, headers and value together; a larger record is truncated. Dead-letter topics accept records of 4 MiB."""
KEPT_OF_VALUE_BYTES = 2 * 1024 * 1024
KEPT_OF_KEY_BYTES = 64 * 1024
KEPT_OF_HEADERS_BYTES = 64 * 1024

_WHY = "__streams.errors."
_CUT = "vitalwire.whole."
_OURS = (_WHY, _CUT)

Headers = tuple[tuple[str, bytes], ...]


def dead_letter(destination: TopicSpec, topic: str, partition: int, record: Record, code: str) -> Outgoing:
    """The record for a `dlq.…` topic. `code` names the error and contains nothing of the record."""
    context = {"exception": code, "topic": topic, "partition": str(partition), "offset": str(record.offset)}
    why = tuple((_WHY + name, value.encode()) for name, value in context.items())
    key, value = record.key or b"", record.value
    headers = tuple((name, content) for name, content in record.headers if not name.startswith(_OURS))
    sizes = {"key_bytes": len(key), "headers_bytes": headers_bytes(headers), "value_bytes": len(value or b"")}
    if sum(sizes.values()) > MOST_WHOLE_BYTES:
        key, headers = key[:KEPT_OF_KEY_BYTES], tuple(_fitting(headers))
        value = None if value is None else value[:KEPT_OF_VALUE_BYTES]
        left = {"key_bytes": len(key), "headers_bytes": headers_bytes(headers), "value_bytes": len(value or b"")}
        why += tuple((_CUT + part, str(size).encode()) for part, size in sizes.items() if left[part] < size)
    return Outgoing(destination, key, value, headers=headers + why)


def without_payload(letter: Outgoing) -> Outgoing:
    """Only the reason and the coordinates; the record itself stays at its coordinates until retention removes it."""
    return letter._replace(key=b"", value=b"", headers=tuple(h for h in letter.headers if h[0].startswith(_OURS)))


def _fitting(headers: Headers) -> Iterator[tuple[str, bytes]]:
    room = KEPT_OF_HEADERS_BYTES
    for header in headers:
        room -= headers_bytes([header])
        if room < 0:
            return
        yield header
