"""A server on this machine that answers byte by byte as a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: Gets the request's head and whole body, and writes what it likes.
Handler: TypeAlias = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@attrs.define
class RawServer:
    """Where it listens, and what came in."""

    port: int = 0
    requests: list[bytes] = attrs.field(factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def named_url(self) -> str:
        """The same by name: cookie jars ignore hosts that are only addresses."""
        return f"http://localhost:{self.port}"


def reply(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """An HTTP response; in the names of headers ``_`` stands for ``-``."""
    fields = {"Content-Length": str(len(body)), "Content-Type": "image/png"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def always(*replies: bytes) -> Handler:
    """Give these replies in turn, and the last one from then on."""
    left = list(replies)

    async def handle(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return handle


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[RawServer]:
    """A server that calls `handler` for each request."""
    server = RawServer()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                request = head + await reader.readexactly(int(length or 0))
                server.requests.append(request)
                await handler(request, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await asyncio.sleep(0)
