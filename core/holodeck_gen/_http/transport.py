"""What carries requests: httpx on aiohttp, bounded, and honest about what may have been sent.

Imports httpx and aiohttp, so it is imported where it is used. Stock httpx spends most of its
time in its pool; a client on aiohttp's needs a third of the processor time for a request.
"""

from __future__ import annotations

import asyncio
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import aiohttp
import aiohttp.abc
import attrs
import httpx
from httpx_aiohttp import AiohttpTransport

from holodeck_gen._http.addresses import is_allowed
from holodeck_gen._http.timeouts import READ_TIMEOUT_S

#: Requests at once to one host, from sending to the end of the answer: enough for 40 requests a
#: second at a round trip of 0.4 s, and independent of the number of jobs. On aiohttp's pool a
#: request takes the same processor time with 4 and with 256 of them (measured, 0.3 ms), so this
#: spares the service, and its connections, rather than this machine.
SHORT_AT_ONCE = 16
#: The same for requests that wait for a picture. Each of them is a job and so has a job slot;
#: this only keeps them from using up the process's file descriptors.
LONG_AT_ONCE = 256
#: Seconds a connection may be idle. Less than what servers allow (5 s is the shortest that is
#: usual): a submit that is sent while the server closes its connection ends without an answer.
KEEPALIVE_S = 4.0
#: Bytes of a request's body that are handed over at once.
PIECE = 2**18

#: Makes the socket for an address that is about to be connected to.
SocketFactory: TypeAlias = Callable[[Any], socket.socket]


class RefusedAddressError(OSError):
    """A name leads to an address to which no connection is made."""


def guarded(*, local: bool) -> SocketFactory:
    """Makes sockets only for addresses that `is_allowed`.

    This is the one place that sees every address, whether it comes from a URL or from any
    resolver, and nothing can change between here and the connection.
    """

    def make(address: Any) -> socket.socket:
        family, kind, protocol, _, (host, *_) = address
        if not is_allowed(host, local=local):
            raise RefusedAddressError("its name does not lead to a public address")
        return socket.socket(family, kind, protocol)

    return make


def network(
    socket_factory: SocketFactory | None = None,
    *,
    resolver: aiohttp.abc.AbstractResolver | None = None,
) -> httpx.AsyncBaseTransport:
    """A transport over the network with a pool of its own."""
    context = httpx.create_ssl_context()

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=context,
                # Requests are bounded before they come here, and by what they wait for.
                limit=0,
                keepalive_timeout=KEEPALIVE_S,
                resolver=resolver,
                socket_factory=socket_factory,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    return Translated(AiohttpTransport(client=session))


@attrs.define(eq=False)
class Translated(httpx.AsyncBaseTransport):
    """Gives aiohttp's errors their right names.

    httpx-aiohttp 0.2 calls each lost connection a `httpx.ConnectTimeout`, also where the request
    was sent and the answer got lost. Taken at its word, a submit would be repeated and paid twice.
    """

    inner: httpx.AsyncBaseTransport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request, for at most as long as its deadlines add up to.

        Raises:
            httpx.ConnectError, httpx.ConnectTimeout: Nothing was sent.
            httpx.TransportError: Any other: it may have been.
        """
        limits = request.extensions.get("timeout", {})
        steps = [limits.get(step) for step in ("connect", "write", "read")]
        # aiohttp has no deadline of its own for a peer that accepts a request too slowly.
        total = None if None in steps else sum(steps)
        try:
            async with asyncio.timeout(total):
                with _translated():
                    response = await self.inner.handle_async_request(_in_pieces(request))
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"no answer in {total:g} s", request=request) from error
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _TranslatedStream(response.stream)
        return response

    async def aclose(self) -> None:
        await self.inner.aclose()


@attrs.define(eq=False)
class Bounded(httpx.AsyncBaseTransport):
    """Sends a bounded number of requests at once to each host.

    Requests that wait for minutes, as those of services without jobs do, have places of their
    own: otherwise a few of them would hold up every poll. They are known by their read deadline,
    which is longer than the client's.
    """

    inner: httpx.AsyncBaseTransport
    _short: dict[str, asyncio.Semaphore] = attrs.field(
        factory=lambda: defaultdict(lambda: asyncio.Semaphore(SHORT_AT_ONCE)), init=False
    )
    _long: dict[str, asyncio.Semaphore] = attrs.field(
        factory=lambda: defaultdict(lambda: asyncio.Semaphore(LONG_AT_ONCE)), init=False
    )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Wait for a place and send one request; the place is free when its answer is closed.

        Raises:
            httpx.PoolTimeout: There was no place in time; nothing was sent.
        """
        limits = request.extensions.get("timeout", {})
        read = limits.get("read")
        places = self._long if read is None or read > READ_TIMEOUT_S else self._short
        place = places[request.url.netloc.decode("ascii")]
        try:
            async with asyncio.timeout(limits.get("pool")):
                await place.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("too many requests in flight", request=request) from error
        try:
            response = await self.inner.handle_async_request(request)
        except BaseException:
            place.release()
            raise
        if response.is_closed or not isinstance(response.stream, httpx.AsyncByteStream):
            # It came whole, as a fake's answer does, so nobody will close it.
            place.release()
        else:
            response.stream = _PlacedStream(response.stream, place)
        return response

    async def aclose(self) -> None:
        await self.inner.aclose()


def _in_pieces(request: httpx.Request) -> httpx.Request:
    """The same request; a large body, as of pictures in base64, is handed over bit by bit.

    In one piece aiohttp would copy all of it at once, and warns that this holds up the loop.
    """
    try:
        if len(request.content) <= PIECE:
            return request
    except httpx.RequestNotRead:
        return request
    return httpx.Request(
        request.method,
        request.url,
        headers=request.headers,
        stream=_Pieces(request.content),
        extensions=request.extensions,
    )


@attrs.define(eq=False)
class _Pieces(httpx.AsyncByteStream):
    body: bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.body), PIECE):
            yield self.body[start : start + PIECE]


@attrs.define(eq=False)
class _TranslatedStream(httpx.AsyncByteStream):
    inner: httpx.AsyncByteStream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated():
            async for chunk in self.inner:
                yield chunk

    async def aclose(self) -> None:
        with _translated():
            await self.inner.aclose()


@attrs.define(eq=False)
class _PlacedStream(httpx.AsyncByteStream):
    inner: httpx.AsyncByteStream
    place: asyncio.Semaphore
    _open: bool = attrs.field(default=True, init=False)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self.inner:
            yield chunk

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            self.place.release()
            await self.inner.aclose()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (httpx.TransportError, aiohttp.ClientError) as error:
        original = error.__cause__ if isinstance(error, httpx.TransportError) else error
        better = _name(original)
        if better is None:
            raise
        if isinstance(original, aiohttp.ClientResponseError | aiohttp.InvalidURL):
            # These tell the whole URL, which may be signed, and the request's headers.
            raise better("the answer is not HTTP, or the URL none") from None
        raise better(str(original) or type(original).__name__) from original


def _name(error: BaseException | None) -> type[httpx.TransportError] | None:
    match error:
        case aiohttp.ClientConnectorError():
            return httpx.ConnectError
        case aiohttp.ConnectionTimeoutError():
            return httpx.ConnectTimeout
        case aiohttp.ServerTimeoutError():
            return httpx.ReadTimeout
        case aiohttp.InvalidURL():
            return httpx.UnsupportedProtocol
        case aiohttp.ClientOSError() | aiohttp.ClientPayloadError():
            return httpx.ReadError
        case aiohttp.ClientError():
            return httpx.RemoteProtocolError
        case _:
            return None
