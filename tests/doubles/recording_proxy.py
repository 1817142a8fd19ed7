"""A TCP proxy in front of a server over plain HTTP/1.1, which keeps every byte that a client sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11


class RecordingProxy:
    """Forwards both ways. `requests` reads what was received as HTTP, not as the client meant it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._received: list[bytearray] = []

    def requests(self, method: str) -> list[bytes]:
        """The body of each request with this method, connection by connection."""
        return [body for stream in self._received for verb, body in _parsed(bytes(stream)) if verb == method]

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = bytearray()
        self._received.append(stream)
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(
            _copy(reader, onward_writer, stream), _copy(onward_reader, writer, bytearray()), return_exceptions=True
        )


@asynccontextmanager
async def recording_proxy(port: int) -> AsyncIterator[tuple[RecordingProxy, int]]:
    """The proxy, and the port it listens on."""
    proxy = RecordingProxy(port)
    server = await asyncio.start_server(proxy.join, "127.0.0.1", 0)
    try:
        yield proxy, server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
    try:
        while data := await reader.read(65_536):
            kept += data
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


def _parsed(stream: bytes) -> list[tuple[str, bytes]]:
    """(method, body) of each request on one connection."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(stream)
    found: list[tuple[str, bytes]] = []
    while True:
        event = server.next_event()
        if isinstance(event, h11.Request):
            found.append((event.method.decode(), b""))
        elif isinstance(event, h11.Data):
            method, body = found.pop()
            found.append((method, body + bytes(event.data)))
        elif isinstance(event, h11.EndOfMessage):
            server.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            server.send(h11.EndOfMessage())
            if server.our_state is h11.MUST_CLOSE:
                return found
            server.start_next_cycle()
        else:
            return found
