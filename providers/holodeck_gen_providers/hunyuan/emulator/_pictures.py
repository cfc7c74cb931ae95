"""Pictures: drawn by the procedural provider, or cheap ones for load."""

from __future__ import annotations

import asyncio
import hashlib
import io
import struct
import zlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import holodeck_gen as hg
    from holodeck_gen_providers.hunyuan.emulator._jobs import Wish

#: Makes the bytes of a file when it is called.
Maker: TypeAlias = Callable[[], Awaitable[bytes]]

CHEAP_SIDE = 16
#: Pixels; the procedural provider draws no more, and what is larger is enlarged.
_MAX_DRAWN = 2048 * 2048
_MIN_SIDE = 16
#: Drawn pictures that are kept, so that a download that is repeated does not draw again.
_KEPT = 16


def cheap_png(name: str) -> bytes:
    """A valid PNG of 16×16 pixels, another one for each name."""
    noise = hashlib.shake_128(name.encode()).digest(3 * CHEAP_SIDE * CHEAP_SIDE)
    row = 3 * CHEAP_SIDE
    rows = b"".join(b"\0" + noise[at : at + row] for at in range(0, len(noise), row))
    return png(CHEAP_SIDE, CHEAP_SIDE, depth=8, color=2, data=zlib.compress(rows, 1))


def png(width: int, height: int, *, depth: int, color: int, data: bytes) -> bytes:
    """A PNG of three chunks.

    Args:
        width: As the header claims; `height` likewise.
        depth: Bits a channel.
        color: The color type: 0 gray, 2 RGB.
        data: Compressed rows.
    """
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def cheap_maker(name: str) -> Maker:
    """Makes `cheap_png`."""

    async def make() -> bytes:
        return cheap_png(name)

    return make


def drawing_maker(wish: Wish) -> Maker:
    """Draws what `wish` says, once; equal wishes give equal pictures."""

    async def make() -> bytes:
        if (kept := _kept.get(wish)) is not None:
            return kept
        while len(_kept) >= _KEPT:
            del _kept[next(iter(_kept))]
        _kept[wish] = drawn = await _draw(wish)
        return drawn

    return make


_kept: dict[Wish, bytes] = {}


async def _draw(wish: Wish) -> bytes:
    import holodeck_gen as hg

    width, height = wish.width, wish.height
    shrink = max(1.0, (width * height / _MAX_DRAWN) ** 0.5)
    size = (max(_MIN_SIDE, int(width / shrink)), max(_MIN_SIDE, int(height / shrink)))
    artist = _artist()
    prepared = artist.prepare(
        hg.Task(
            wish.prompt or "abstract",
            size=size,
            seed=wish.seed,
            style=wish.style,
            negative_prompt=wish.avoid,
        )
    )
    status = await artist.submit(prepared.request, key="emulator#0")
    assert isinstance(status, hg.JobStatus)
    output = status.outputs[0]
    assert isinstance(output, hg.Bytes)
    if size == (width, height):
        return output.data
    return await asyncio.to_thread(_resized, output.data, (width, height))


def _artist() -> hg.Provider:
    from holodeck_gen_providers.procedural import ProceduralOptions
    from holodeck_gen_providers.procedural._provider import ProceduralProvider

    return ProceduralProvider(options=ProceduralOptions(), wall_clock=lambda: 0.0)


def _resized(data: bytes, size: tuple[int, int]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.resize(size).save(file, "PNG", compress_level=1)
    return file.getvalue()
