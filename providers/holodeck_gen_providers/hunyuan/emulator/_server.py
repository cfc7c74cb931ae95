"""The HTTP server: one event loop, keep-alive, and every way to deliver a reply badly."""

from __future__ import annotations

import asyncio
import contextlib
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from holodeck_gen_providers.hunyuan.emulator._wire import Reply, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from holodeck_gen_providers.hunyuan.emulator._service import Service

#: Bytes; 20 pictures of 20 MB in base64 would be more, but nobody sends them.
MAX_BODY = 64 * 2**20
_CHUNK = bytes(2**16)


@contextlib.asynccontextmanager
async def serving(service: Service, *, host: str, port: int) -> AsyncIterator[str]:
    """Serve until left; yields the address.

    Args:
        service: What answers.
        host: Address to bind.
        port: 0 takes a free one.

    Raises:
        OSError: The address cannot be bound.
    """
    adapter = _Adapter(service)
    # Without an access log and a router, which would cost more than the service itself. Answers
    # that still wait at the end are cut off after the timeout.
    runner = web.ServerRunner(web.Server(adapter.handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, reuse_address=True)
        await site.start()
        name, bound = runner.addresses[0][:2]
        # Bound everywhere is reached here; what else it is called, it cannot know.
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(name)
        if shown is None:
            shown = f"[{name}]" if ":" in name else name
        url = f"http://{shown}:{bound}"
        service.listen_at(url)
        yield url
    finally:
        await runner.cleanup()


class _Adapter:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        path, _, query = request.raw_path.partition("?")
        try:
            body = await _read(request)
        except _TooLargeError:
            return web.Response(status=413)
        reply = self._service.answer(
            Request(
                method=request.method,
                path=path,
                query=query,
                headers={name.lower(): _text(value) for name, value in request.headers.items()},
                body=body,
            )
        )
        if reply.wait_s:
            await asyncio.sleep(reply.wait_s)
        return await self._deliver(request, reply)

    async def _deliver(self, request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        if reply.delivery == "dropped":
            return _dropped(request)
        body = reply.body if isinstance(reply.body, bytes) else await reply.body()
        headers = {
            "Content-Type": reply.media_type,
            "Date": formatdate(self._service.clock(), usegmt=True),
            **reply.headers,
        }
        if reply.delivery == "whole":
            return web.Response(status=reply.status, body=body, headers=headers)
        if reply.delivery == "endless":
            return await _endless(request, headers, body)
        announced = len(body)
        sent = body[: announced // 2] if reply.delivery == "truncated" else body + body
        return _raw(request, reply.status, {**headers, "Content-Length": str(announced)}, sent)


async def _endless(
    request: web.BaseRequest, headers: dict[str, str], body: bytes
) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    response.enable_chunked_encoding()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        await response.write(body)
        while True:
            await response.write(_CHUNK)
    return _dropped(request)


class _TooLargeError(Exception):
    pass


def _text(value: str) -> str:
    # Bytes that are no UTF-8 come as surrogates, which nothing can encode again.
    return value if value.isascii() else value.encode(errors="replace").decode()


async def _read(request: web.BaseRequest) -> bytes:
    if not request.can_read_body:
        return b""
    received = bytearray()
    async for chunk in request.content.iter_any():
        received += chunk
        if len(received) > MAX_BODY:
            raise _TooLargeError
    return bytes(received)


def _raw(
    request: web.BaseRequest, status: int, headers: dict[str, str], body: bytes
) -> web.StreamResponse:
    # The library keeps lengths honest, so a dishonest one has to be written past it.
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    transport = request.transport
    if transport is not None:
        transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        transport.close()
    return _Sent()


def _dropped(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return _Sent()


class _Sent(web.StreamResponse):
    """Stands for an answer that was sent already, or never will be."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send nothing."""
        self._eof_sent = True

    async def write_eof(self, data: bytes = b"") -> None:
        """Send nothing."""
