"""One connection for each concurrency slot of an endpoint: no patient's request waits behind another's.

A shared pool looks at all of its connections for every request; with one connection a slot there is nothing to look for.

A connection on which the server sent anything while it was idle is closed before the next request: that is how a server
announces that it closes (GOAWAY, or the end of the connection), and a write on it is lost and must be searched for. The
HTTP library checks this with HTTP/1.1 only. If the server sent something else, a new connection is all that it costs.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx


class ConnectionSlots(httpx.AsyncBaseTransport):
    """As many transports of one connection each as concurrent requests; the one used last is used first."""

    def __init__(self, count: int, connect: Callable[[], httpx.AsyncBaseTransport]) -> None:
        self._all = [_Slot(connect) for _ in range(count)]
        self._free = list(self._all)
        self._available = asyncio.Semaphore(count)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send on a free slot, which is free again when the response is closed."""
        await self._available.acquire()
        slot = self._free.pop()
        try:
            response = await slot.send(request)
        except BaseException:
            self._release(slot)
            raise
        response.stream = _SlotStream(response.stream, lambda: self._release(slot))
        return response

    def _release(self, slot: _Slot) -> None:
        self._free.append(slot)
        self._available.release()

    async def aclose(self) -> None:
        """Close every connection."""
        for slot in self._all:
            await slot.transport.aclose()


class _Slot:
    """A transport of one connection, and the byte stream of its last response."""

    def __init__(self, connect: Callable[[], httpx.AsyncBaseTransport]) -> None:
        self.transport = connect()
        self._connect = connect
        self._network_stream: Any = None

    async def send(self, request: httpx.Request) -> httpx.Response:
        """On the open connection, unless the server has sent something on it since its last response."""
        if self._network_stream is not None and _has_unread(self._network_stream):
            closing, self.transport, self._network_stream = self.transport, self._connect(), None
            await closing.aclose()
        response = await self.transport.handle_async_request(request)
        self._network_stream = response.extensions.get("network_stream")
        return response


def _has_unread(stream: Any) -> bool:
    """Whether anything (the end too) waits in the socket, or came with the last response and was not read with it.

    It may consume a byte of it, so the connection must be closed after True.
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


class _SlotStream(httpx.AsyncByteStream):
    """A response's bytes, which hold their slot until they are closed."""

    def __init__(self, stream: httpx.SyncByteStream | httpx.AsyncByteStream, release: Callable[[], None]) -> None:
        assert isinstance(stream, httpx.AsyncByteStream)
        self._stream = stream
        self._release: Callable[[], None] | None = release

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        """Close once; the slot is free even if that fails."""
        release, self._release = self._release, None
        try:
            await self._stream.aclose()
        finally:
            if release is not None:
                release()
