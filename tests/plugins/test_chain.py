"""The processors in a row, run by the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image

import holodeck_gen as hg
from helpers import failure_of, result_of
from holodeck_gen.errors import ProcessingError
from holodeck_gen.testing import run_virtual
from pictures import encoded, gradient, read_back, signature_is_valid, signed

if TYPE_CHECKING:
    from pathlib import Path

CHAIN = ["convert", "label", "thumbnail", "dedupe"]
OPTIONS = {
    "convert": {"format": "webp", "max_side": 100},
    "label": {"producer": "us-001"},
    "thumbnail": {"size": 20},
}


def made(data: bytes, output: Path, task: hg.Task, **options: Any) -> hg.Outcome:
    """The outcome of one task at a provider that answers with `data`."""

    async def answer(_request: hg.JsonObject) -> bytes:
        return data

    async def main() -> hg.Outcome:
        async with hg.AsyncStudio(
            hg.DirectProvider("fixed", answer, billing="free"),
            output=output,
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


def test_a_signed_picture_is_kept_with_its_signature(tmp_path: Path) -> None:
    result = result_of(made(signed("png"), tmp_path, hg.Task("a door", id="door")))
    big, _small, beside = result.artifacts
    assert big.read_bytes() == signed("png")
    assert signature_is_valid("png", big.read_bytes())
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
    assert failure.error.stage == "convert"
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
