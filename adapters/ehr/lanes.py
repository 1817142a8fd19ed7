"""One connection for each place at an endpoint: no patient's request waits behind another's, and none is searched for.

A shared pool looks at all of its connections for every request; with one connection a lane there is nothing to look for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx


class Lanes(httpx.AsyncBaseTransport):
    """As many transports of one connection each as requests may be under way; the one used last is used first."""

    def __init__(self, count: int, lane: Callable[[], httpx.AsyncBaseTransport]) -> None:
        self._all = [lane() for _ in range(count)]
        self._free = list(self._all)
        self._places = asyncio.Semaphore(count)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send on a free lane; it is free again when the response was closed."""
        await self._places.acquire()
        lane = self._free.pop()
        try:
            response = await lane.handle_async_request(request)
        except BaseException:
            self._give_back(lane)
            raise
        response.stream = _Lent(response.stream, lambda: self._give_back(lane))
        return response

    def _give_back(self, lane: httpx.AsyncBaseTransport) -> None:
        self._free.append(lane)
        self._places.release()

    async def aclose(self) -> None:
        """Close every connection."""
        for lane in self._all:
            await lane.aclose()


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
