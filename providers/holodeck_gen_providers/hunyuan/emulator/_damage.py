"""What a fault makes of a reply."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING

import attrs

from holodeck_gen_providers.hunyuan.emulator._pictures import Maker, png
from holodeck_gen_providers.hunyuan.emulator._wire import Reply, html_page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from holodeck_gen_providers.hunyuan.emulator._faults import Fault

_MIB = 2**20


def damaged(reply: Reply, fault: Fault) -> Reply:
    """`reply` after one of the faults that any request can have; it still takes as long."""
    match fault.name.partition("-")[0]:
        case "drop":
            return Reply(wait_s=reply.wait_s, delivery="dropped")
        case "stall":
            return Reply(wait_s=reply.wait_s + float(fault.value), delivery="dropped")
        case "http":
            return attrs.evolve(html_page(int(float(fault.value))), wait_s=reply.wait_s)
        case "truncate":
            return attrs.evolve(reply, delivery="truncated")
        case "unparsable":
            return attrs.evolve(reply, body=b'{"Response": {"JobId": ')
        case _:
            return reply


def damaged_download(reply: Reply, fault: Fault) -> Reply:
    """`reply` after a fault of downloads."""
    match fault.name:
        case "oversized":
            return attrs.evolve(reply, delivery="oversized")
        case "endless":
            return attrs.evolve(reply, delivery="endless")
        case "html-instead":
            return attrs.evolve(html_page(502), status=200)
        case "wrong-type":
            return attrs.evolve(reply, media_type=fault.value)
        case "broken-picture":
            return attrs.evolve(reply, body=_half(reply.body))
        case "bomb":
            return attrs.evolve(reply, body=_in_thread(_picture_bomb, int(float(fault.value))))
        case "gzip-bomb":
            body = _in_thread(_gzip_bomb, int(float(fault.value)))
            return attrs.evolve(reply, body=body, headers={"Content-Encoding": "gzip"})
        case "redirect":
            return Reply(status=302, media_type="text/plain", headers={"Location": fault.value})
        case _:
            return damaged(reply, fault)


def _half(body: bytes | Maker) -> Maker:
    async def make() -> bytes:
        whole = body if isinstance(body, bytes) else await body()
        return whole[: len(whole) // 2]

    return make


def _in_thread(make: Callable[[int], bytes], value: int) -> Callable[[], Awaitable[bytes]]:
    return lambda: asyncio.to_thread(make, value)


def _picture_bomb(side: int) -> bytes:
    row = bytes(1 + (side + 7) // 8)
    return png(side, side, depth=1, color=0, data=_repeated(row, side, zlib.MAX_WBITS))


def _gzip_bomb(mebibytes: int) -> bytes:
    return _repeated(bytes(_MIB), mebibytes, zlib.MAX_WBITS | 16)


def _repeated(part: bytes, times: int, wbits: int) -> bytes:
    # Never whole in memory: the bomb is for the other side.
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return b"".join(packer.compress(part) for _ in range(times)) + packer.flush()
