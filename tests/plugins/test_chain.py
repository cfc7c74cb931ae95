"""The processors in a row, run by the engine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, features

import holodeck_gen as hg
from helpers import failure_of, result_of
from holodeck_gen.errors import ProcessingError
from holodeck_gen.testing import run_virtual
from holodeck_gen_plugins.processors.c2pa import C2paOptions, make_c2pa
from holodeck_gen_plugins.processors.convert import ConvertOptions, make_convert
from holodeck_gen_plugins.processors.dedupe import make_dedupe
from holodeck_gen_plugins.processors.label import LabelOptions, make_label
from holodeck_gen_plugins.processors.thumbnail import make_thumbnail
from pictures import (
    FORMATS,
    context,
    credentials,
    encoded,
    gradient,
    manifests,
    read_back,
    signature_is_valid,
    signed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CHAIN = ["convert", "label", "thumbnail", "dedupe"]
OPTIONS = {
    "template": {"suffix": ", in ink"},
    "convert": {"format": "webp", "max_side": 100},
    "label": {"producer": "us-001"},
    "thumbnail": {"size": 20},
}


def made(data: bytes, output: Path, task: hg.Task, **options: Any) -> hg.Outcome:
    """The outcome of one task at a provider that answers with `data`."""

    async def answer(request: hg.JsonObject) -> bytes:
        assert request["prompt"].endswith(", in ink")
        return data

    async def main() -> hg.Outcome:
        async with hg.AsyncStudio(
            hg.DirectProvider("fixed", answer, billing="free"),
            output=output,
            rewrite=["template"],
            process=CHAIN,
            config=hg.Config.of({"stages": OPTIONS | options}, environ={}),
        ) as studio:
            return (await studio.generate_all([task]))[0]

    return run_virtual(main())


def test_a_picture_goes_through_all_of_them(tmp_path: Path) -> None:
    data = encoded("png", gradient((200, 150)))
    result = result_of(made(data, tmp_path, hg.Task("a door", id="door")))
    big, small = result.artifacts
    assert big.path == tmp_path / "door.webp"
    assert (big.media_type, big.width, big.height) == ("image/webp", 100, 75)
    assert small.path == tmp_path / "door-thumb.jpg"
    assert (small.media_type, small.width, small.height) == ("image/jpeg", 20, 15)
    labels = [read_back(each.path)["Xmp.TC260.AIGC"] for each in result.artifacts if each.path]
    assert labels[0] == labels[1]


@pytest.mark.parametrize("format", FORMATS)
def test_a_signed_picture_is_kept_with_its_signature(format: str, tmp_path: Path) -> None:
    result = result_of(made(signed(format), tmp_path, hg.Task("a door", id="door")))
    big, _small, beside = result.artifacts
    assert big.read_bytes() == signed(format)
    assert signature_is_valid(format, big.read_bytes())
    assert beside.path
    assert beside.path == tmp_path / "door.xmp"
    assert beside.media_type == "application/rdf+xml"
    assert "us-001" in read_back(beside.path)["Xmp.TC260.AIGC"]


def test_a_model_goes_through_unchanged(tmp_path: Path) -> None:
    data = b"glTF" + bytes(60)
    result = result_of(made(data, tmp_path, hg.Task("a door", id="door", kind="model3d")))
    assert result.path == tmp_path / "door.glb"
    assert result.artifact.read_bytes() == data


def test_a_damaged_picture_fails_its_task_and_is_kept(tmp_path: Path) -> None:
    data = encoded("png", gradient((200, 150)))
    failure = failure_of(made(data[: len(data) // 2], tmp_path, hg.Task("a door", id="door")))
    assert isinstance(failure.error, ProcessingError)
    assert failure.error.stage == "check"
    (raw,) = (tmp_path / ".spool").rglob("*.raw")
    assert raw.read_bytes() == data[: len(data) // 2]


def test_what_stands_beside_is_only_taken_from_a_processor(tmp_path: Path) -> None:
    """A provider that answers with words in place of a picture is still refused."""
    failure = failure_of(made(b'{"error": 1}', tmp_path, hg.Task("a door")))
    assert isinstance(failure.error, ProcessingError)
    assert failure.error.stage == "check"


def test_thumbnails_of_several_pictures_have_names_of_their_own(tmp_path: Path) -> None:
    data = encoded("png", Image.new("RGB", (50, 50), "teal"))
    result = result_of(made(data, tmp_path, hg.Task("a door", id="door", n=2)))
    names = {each.path.name for each in result.artifacts if each.path}
    assert names == {"door-1.webp", "door-1-thumb.jpg", "door-2.webp", "door-2-thumb.jpg"}


def test_what_stands_beside_a_named_file_is_named_after_it(tmp_path: Path) -> None:
    result = result_of(made(signed("png"), tmp_path, hg.Task("a door", output="new/dawn.PNG")))
    names = [each.path.name for each in result.artifacts if each.path]
    assert names == ["dawn.PNG", "dawn-thumb.jpg", "dawn.xmp"]


def _sixteen_bits() -> Image.Image:
    grey = gradient(mode="L")
    return Image.frombytes("I;16", grey.size, b"".join(bytes((0, v)) for v in grey.tobytes()))


def _frames(format: str) -> bytes:
    still = gradient()
    return encoded(format, still, save_all=True, append_images=[still.rotate(90)], duration=50)


def _wide_gamut() -> bytes:
    """Sixteen bits for each of three colors; Pillow reads such files and cannot write them."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    rows = zlib.compress((b"\0" + bytes(range(48)) * 8) * 48)
    head = struct.pack(">IIBBBBB", 64, 48, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


#: How their files end, and what makes one.
ODD: dict[str, tuple[str, Callable[[], bytes]]] = {
    "16 bits grey": (".png", lambda: encoded("png", _sixteen_bits())),
    "16 bits in color": (".png", _wide_gamut),
    "16 bits in TIFF": (".tif", lambda: encoded("tiff", _sixteen_bits())),
    "one bit": (".png", lambda: encoded("png", gradient(mode="1"))),
    "grey with alpha": (".png", lambda: encoded("png", gradient(mode="LA"))),
    "palette": (".png", lambda: encoded("png", gradient(mode="P"))),
    "palette with a hole": (
        ".png", lambda: encoded("png", gradient(mode="P"), transparency=bytes(range(256)))
    ),
    "print colors": (".jpg", lambda: encoded("jpeg", gradient(mode="CMYK"))),
    "print colors in TIFF": (".tif", lambda: encoded("tiff", gradient(mode="CMYK"))),
    "floats in TIFF": (".tif", lambda: encoded("tiff", gradient(mode="F"))),
    "progressive": (".jpg", lambda: encoded("jpeg", progressive=True)),
    "one pixel": (".png", lambda: encoded("png", gradient((1, 1)))),
    "a line": (".png", lambda: encoded("png", gradient((3000, 1)))),
    "animated GIF": (".gif", lambda: _frames("gif")),
    "animated PNG": (".png", lambda: _frames("png")),
    "animated WebP": (".webp", lambda: _frames("webp")),
    "BMP": (".bmp", lambda: encoded("bmp")),
    "GIF": (".gif", lambda: encoded("gif")),
    "AVIF": (".avif", lambda: encoded("avif")),
    "a picture that goes on as a page": (".png", lambda: encoded("png") + b"<html><script>"),
    "a picture that goes on as an archive": (".jpg", lambda: encoded("jpeg") + b"PK\x03\x04..."),
}  # fmt: skip


CREDENTIALS = credentials()


def every_stage(format: Any, *, visible: str = "") -> list[hg.Processor]:
    ctx = context(now=time.time())
    certificate, key = (each.decode() for each in CREDENTIALS)
    return [
        make_convert(ConvertOptions(format=format, max_side=40), ctx),
        make_label(LabelOptions(producer="us-001", visible=visible), ctx),
        make_thumbnail(None, ctx),
        make_dedupe(None, ctx),
        make_c2pa(C2paOptions(certificate=certificate, private_key=key), ctx),
    ]


@pytest.mark.parametrize("what", ODD)
def test_odd_pictures_come_out_of_all_of_them_as_pictures(what: str, tmp_path: Path) -> None:
    suffix, make = ODD[what]
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    for format in (None, "jpeg", "webp"):
        files = [tmp_path / str(format) / f"image{suffix}"]
        files[0].parent.mkdir()
        files[0].write_bytes(make())
        # Words do not fit into a picture of one pixel, which is an error.
        for each in every_stage(format, visible="" if what in ("one pixel", "a line") else "AI"):
            made = [each(file, hg.Task("a door")) for file in files]
            files = [path for m in made for path in ([m] if isinstance(m, Path) else m)]
        pictures = [file for file in files if file.suffix != ".xmp"]
        assert len(pictures) == 2
        for file in pictures:
            with Image.open(file) as image:
                image.load()
                kind = str(image.format).lower()
            assert manifests(kind, file.read_bytes())["validation_state"] == "Valid"


@pytest.mark.parametrize("format", ["gif", "tiff"])
def test_a_signature_in_another_format_is_not_broken_either(format: str, tmp_path: Path) -> None:
    file = tmp_path / f"image.{format}"
    file.write_bytes(encoded(format))
    convert, label, _, _, c2pa = every_stage("png")
    c2pa(file, hg.Task("a door"))
    before = file.read_bytes()
    for each in (convert, label):
        each(file, hg.Task("a door"))
        assert file.read_bytes() == before
    assert {path.suffix for path in tmp_path.iterdir()} == {f".{format}", ".xmp"}
