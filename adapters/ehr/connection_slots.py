"""One connection for each place at an endpoint: no patient's request waits behind another's, and none is searched for.

A shared pool looks at all of its connections for every request; with one connection a lane there is nothing to look for.

A connection on which the server said something while it was idle is given up before the next request: that is how a server
takes leave (GOAWAY, or the end of the connection), and a write that goes onto it is lost and must be searched for. The HTTP
library looks for this with HTTP/1.1 only. If it was something else, a new connection is all that it costs.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx


class ConnectionSlots(httpx.AsyncBaseTransport):
    """As many transports of one connection each as requests may be under way; the one used last is used first."""

    def __init__(self, count: int, connect: Callable[[], httpx.AsyncBaseTransport]) -> None:
        self._all = [_Lane(connect) for _ in range(count)]
        self._free = list(self._all)
        self._places = asyncio.Semaphore(count)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send on a free lane; it is free again when the response was closed."""
        await self._places.acquire()
        lane = self._free.pop()
        try:
            response = await lane.send(request)
        except BaseException:
            self._give_back(lane)
            raise
        response.stream = _Lent(response.stream, lambda: self._give_back(lane))
        return response

    def _give_back(self, lane: _Lane) -> None:
        self._free.append(lane)
        self._places.release()

    async def aclose(self) -> None:
        """Close every connection."""
        for lane in self._all:
            await lane.transport.aclose()


class _Lane:
    """A transport of one connection, and the stream of bytes on which it last had an answer."""

    def __init__(self, connect: Callable[[], httpx.AsyncBaseTransport]) -> None:
        self.transport = connect()
        self._connect = connect
        self._bytes: Any = None

    async def send(self, request: httpx.Request) -> httpx.Response:
        """On the connection there is, unless the server has said something on it since its last answer."""
        if self._bytes is not None and _has_unread(self._bytes):
            left, self.transport, self._bytes = self.transport, self._connect(), None
            await left.aclose()
        response = await self.transport.handle_async_request(request)
        self._bytes = response.extensions.get("network_stream")
        return response


def _has_unread(stream: Any) -> bool:
    """Whether anything (the end too) waits in the socket, or came with the last answer and was not read with it.

    It may take a byte of what is there: after True the connection is of no use.
    """
    if stream.get_extra_info("is_readable"):
        return True
    tls = stream.get_extra_info("ssl_object")
    if tls is None:
        return False
    try:
        tls.read(1)
    except ssl.SSLWantReadError:
        return False
    except (ssl.SSLError, OSError):
        return True
    return True


class _Lent(httpx.AsyncByteStream):
    """A response's bytes, which hold their lane until they are closed."""

    def __init__(self, stream: httpx.SyncByteStream | httpx.AsyncByteStream, closed: Callable[[], None]) -> None:
        assert isinstance(stream, httpx.AsyncByteStream)
        self._stream = stream
        self._closed: Callable[[], None] | None = closed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        """Close once; the lane is free even if that fails."""
        closed, self._closed = self._closed, None
        try:
            await self._stream.aclose()
        finally:
            if closed is not None:
                closed()
