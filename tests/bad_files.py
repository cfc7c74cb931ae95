"""What services may send in place of a picture, and a run in which one sends all of it.

As a program: does that, and prints how many bytes of memory it took more than a good picture.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import sys
import tempfile
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

import holodeck_gen as hg
from helpers import collect, opened
from holodeck_gen._collect import Collector
from holodeck_gen.errors import DownloadError, ProcessingError, StageError
from holodeck_gen.testing import PNG, Script, ScriptedProvider
from holodeck_gen_plugins.processors.convert import ConvertOptions, make_convert
from holodeck_gen_plugins.processors.dedupe import make_dedupe
from holodeck_gen_plugins.processors.label import LabelOptions, make_label
from holodeck_gen_plugins.processors.thumbnail import make_thumbnail
from pictures import context, encoded, gradient
from servers import reply, served

if TYPE_CHECKING:
    from collections.abc import Sequence


@attrs.define(kw_only=True)
class Local(ScriptedProvider):
    """One whose service is on this machine."""

    endpoint: str = "http://127.0.0.1:1"
    limits: hg.Limits = attrs.field(factory=lambda: hg.Limits(poll_interval_s=0.01))


def chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims a size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + PNG[-12:]


def bomb(side: int) -> bytes:
    """A PNG that is well-formed: so many rows of so many black pixels."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return PNG[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", data) + PNG[-12:]


def zeros(size: int, wbits: int) -> bytes:
    """So many zeros, packed by zlib (15) or gzip (31), without ever holding them."""
    packer = zlib.compressobj(1, wbits=wbits)
    piece = bytes(2**20)
    return b"".join(packer.compress(piece) for _ in range(size // 2**20)) + packer.flush()


GOOD = encoded("png", gradient((200, 150)))
JPEG = encoded("jpeg", gradient((200, 150)))
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
TEXT_BOMB = GOOD[:33] + chunk(b"zTXt", b"a\0\0" + zeros(2**28, 15)) + GOOD[33:]

ENDLESS = "too much without an end"
#: What is sent, by what it is; the kind of error; and what the error says.
BAD: dict[str, tuple[bytes, type[StageError], str]] = {
    "a page": (reply(b"<html>x", Content_Type="text/html"), DownloadError, "text/html"),
    "a page that says it is a picture": (reply(b"<!doctype html>"), DownloadError, "HTML"),
    "a page with a picture in it": (reply(b"<html><!--" + GOOD), DownloadError, "HTML"),
    "JSON": (reply(b'{"error": 1}', Content_Type="image/png"), DownloadError, "JSON"),
    "nothing": (reply(b""), DownloadError, "empty"),
    "half of it": (reply(GOOD[: len(GOOD) // 2]), DownloadError, "not all of it"),
    "half a JPEG": (reply(JPEG[: len(JPEG) * 2 // 3]), DownloadError, "not all of it"),
    "all but its end": (reply(GOOD[:-12]), DownloadError, "not all of it"),
    "a model": (reply(b"glTF\x02\0\0\0" + bytes(99)), DownloadError, "no picture"),
    "PostScript": (reply(POSTSCRIPT), DownloadError, "no picture"),
    "a script with a picture's beginning": (reply(b"GIF89a=1;alert(1)//"), DownloadError, "GIF89a"),
    "zeros": (reply(bytes(5000)), DownloadError, "no picture"),
    "too much by its announcement": (
        reply(b"", Content_Length=str(2**40)), DownloadError, "larger than"
    ),
    ENDLESS: (
        b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n", DownloadError, "larger than"
    ),
    "too much when unpacked": (
        reply(zeros(2**28, 31), Content_Encoding="gzip"), DownloadError, "larger than"
    ),
    "a header that claims too much": (reply(claiming(60_000, 60_000)), ProcessingError, "pixels"),
    "a bomb": (reply(bomb(20_000)), ProcessingError, "bomb"),
    "a smaller bomb": (reply(bomb(9_000)), ProcessingError, "9000x9000 pixels"),
    "a text that unpacks to too much": (reply(TEXT_BOMB), DownloadError, "too large"),
}  # fmt: skip


class Service:
    """Sends what is bad, each under an address of its own, until it is mended."""

    def __init__(self, what: Sequence[str]) -> None:
        self.what = what
        self.mended = False
        self.asked: Counter[int] = Counter()

    async def handle(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        number = int(request.partition(b"/")[2].partition(b".")[0])
        self.asked[number] += 1
        if self.mended or number == len(self.what):
            writer.write(reply(GOOD))
            return
        what = self.what[number]
        writer.write(BAD[what][0])
        await writer.drain()
        if what == ENDLESS:
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(bytes(2**16))
                    await writer.drain()
        writer.close()


@attrs.frozen(kw_only=True)
class Story:
    """What became of one task for each kind of badness.

    Attributes:
        first: While the service was ill.
        second: When it was well.
        asked: Downloads while it was ill.
    """

    first: dict[str, hg.Outcome]
    second: dict[str, hg.Outcome]
    asked: dict[str, int]
    provider: Local


async def told(
    folder: Path,
    *,
    what: Sequence[str],
    process: Sequence[hg.Processor] = (),
    again: bool = False,
) -> Story:
    """Let a service send these in place of pictures, mend it, and collect.

    Args:
        folder: Where to.
        what: Keys of `BAD`; a good picture comes with them.
        process: Processors.
        again: Whether the same is run again, in place of being collected.
    """
    service = Service(what)
    tasks = [*what, "good"]
    async with served(service.handle) as server:
        url = f"{server.url}/{{}}.png?sign=secret"
        scripts = {
            each: Script(job_s=0.0, outputs=(hg.Url(url=url.format(i), media_type="image/png"),))
            for i, each in enumerate(tasks)
        }
        provider = Local(scripts=scripts)

        async def run() -> dict[str, hg.Outcome]:
            async with opened(
                provider,
                output=folder,
                journal="automatic",
                state=folder / "state",
                backoff_s=0.01,
                attempts=2,
                process=process,
            ) as studio:
                given = [hg.Task(each, id=each) for each in tasks]
                return {each.key: each for each in await collect(studio.map(given))}

        first = await run()
        asked = {each: service.asked[i] for i, each in enumerate(tasks)}
        service.mended = True
        if again:
            return Story(first=first, second=await run(), asked=asked, provider=provider)
        collector = Collector(
            journal=folder / "journal.sqlite3",
            provider=[provider],
            process=process,
            config=hg.Config.of({}, environ={}),
        )
        second = {each.key: each async for each in collector.outcomes()}
    return Story(first=first, second=second, asked=asked, provider=provider)


def peak() -> int:
    """The most bytes of memory that this program ever had; only Linux tells."""
    # What getrusage tells begins with what the process had that started this one.
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    return int(line.split()[1]) * 1024


def main() -> None:
    options, ctx = ConvertOptions(format="webp", max_side=100), context()
    chain: list[hg.Processor] = [
        make_convert(options, ctx),
        make_label(LabelOptions(producer="us-001"), ctx),
        make_thumbnail(None, ctx),
        make_dedupe(None, ctx),
    ]
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(told(Path(folder, "good"), what=[], process=chain))
        before = peak()
        story = asyncio.run(told(Path(folder, "bad"), what=list(BAD), process=chain))
        after = peak()
    if [key for key, outcome in story.first.items() if outcome.ok] != ["good"]:
        raise AssertionError(f"not all of it was refused: {story.first}")
    if not all(outcome.ok for outcome in story.second.values()):
        raise AssertionError(f"not all of it was collected: {story.second}")
    sys.stdout.write(f"{after - before}\n")


if __name__ == "__main__":
    main()
