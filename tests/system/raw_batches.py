"""Record batches made byte by byte and produced as they are: what no well-behaved client would send."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence

from aiokafka.record.util import calc_crc32c, encode_varint

Header = tuple[bytes, bytes | None]
NO_CODEC, GZIP, SNAPPY, LZ4, ZSTD = range(5)


def varint(number: int) -> bytes:
    out = bytearray()
    encode_varint(number, out.append)
    return bytes(out)


def nullable(text: bytes | None) -> bytes:
    return varint(-1) if text is None else varint(len(text)) + text


def record(delta: int, value: bytes | None, key: bytes | None = None, headers: Sequence[Header] = ()) -> bytes:
    """One record of format v2; its header names are bytes, sound or not."""
    told = b"".join(varint(len(name)) + name + nullable(content) for name, content in headers)
    body = b"\x00" + varint(0) + varint(delta) + nullable(key) + nullable(value) + varint(len(headers)) + told
    return varint(len(body)) + body


def batch(
    records: Sequence[bytes],
    *,
    codec: int = NO_CODEC,
    compress: Callable[[bytes], bytes] = bytes,
    attributes: int = 0,
    base_offset: int = 0,
    producer_id: int = -1,
    first_ms: int = 1_700_000_000_000,
    count: int | None = None,
    last_delta: int | None = None,
) -> bytes:
    """A batch of format v2 with a true checksum; it may state another count than it has."""
    body = compress(b"".join(records))
    count = len(records) if count is None else count
    last_delta = count - 1 if last_delta is None else last_delta
    checked = struct.pack(">hiqqqhii", attributes | codec, last_delta, first_ms, first_ms, producer_id, -1, -1, count)
    checked += body
    after = struct.pack(">ibI", -1, 2, calc_crc32c(checked)) + checked
    return struct.pack(">qi", base_offset, len(after)) + after


def produce(bootstrap_servers: str, topic: str, partition: int, records: bytes) -> int:
    """Send a batch to a broker that leads the partition; its error code, 0 where it took the batch."""
    host, _, port = bootstrap_servers.rpartition(":")
    name = topic.encode()
    body = struct.pack(">h", -1) + struct.pack(">hi", -1, 10_000)
    body += struct.pack(">ih", 1, len(name)) + name + struct.pack(">ii", 1, partition)
    body += struct.pack(">i", len(records)) + records
    request = struct.pack(">hhih", 0, 7, 1, 4) + b"test" + body
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = connection.makefile("rb")
        (size,) = struct.unpack(">i", answer.read(4))
        told = answer.read(size)
    (error,) = struct.unpack_from(">h", told, 4 + 4 + 2 + len(name) + 4 + 4)
    return int(error)
