"""A plugin of four parts: a provider, a rewriter, a processor and a store."""

import asyncio
import hashlib
import io
from pathlib import Path

import attrs

import holodeck_gen as hg
from holodeck_gen import files


async def paint(request: hg.JsonObject) -> bytes:
    """One color, chosen by the prompt, as an encoded picture."""
    from PIL import Image

    color = hashlib.sha256(request["prompt"].encode()).hexdigest()[:6]
    file = io.BytesIO()
    Image.new("RGB", request.get("size", (256, 256)), f"#{color}").save(file, "PNG")
    return file.getvalue()


@attrs.frozen
class Suffix:
    """Options and rewriter in one: adds words to every prompt."""

    words: str = "in soft light"

    async def rewrite(self, task: hg.Task) -> hg.Task:
        return attrs.evolve(task, prompt=f"{task.prompt}, {self.words}")


def frame(file: Path, task: hg.Task) -> Path:
    """Put a white frame around a picture; the file is the engine's copy."""
    from PIL import Image, ImageOps

    with Image.open(file) as image:
        ImageOps.expand(image, border=8, fill="white").save(file)
    return file


@attrs.frozen
class Checked:
    """Options and store in one: keeps each file with its checksum beside it."""

    folder: str

    async def put(self, file: Path, name: str) -> Path:
        return await asyncio.to_thread(self._put, file, name)

    def _put(self, file: Path, name: str) -> Path:
        placed = files.place(file, Path(self.folder), name)
        digest = hashlib.sha256(placed.read_bytes()).hexdigest()
        placed.with_name(f"{placed.name}.sha256").write_text(f"{digest}  {placed.name}\n")
        return placed


@hg.hookimpl
def register_providers(register: hg.Register) -> None:
    register("swatch", lambda options, ctx: hg.DirectProvider("swatch", paint, billing="free"))


@hg.hookimpl
def register_rewriters(register: hg.Register) -> None:
    register("suffix", lambda options, ctx: options or Suffix(), options=Suffix)


@hg.hookimpl
def register_processors(register: hg.Register) -> None:
    register("frame", lambda options, ctx: frame)


@hg.hookimpl
def register_stores(register: hg.Register) -> None:
    register("checked", lambda options, ctx: options, options=Checked)
