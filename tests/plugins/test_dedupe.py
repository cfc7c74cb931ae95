"""Pictures that look alike are reported, and kept."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from structlog.testing import capture_logs

import holodeck_gen as hg
from holodeck_gen_plugins.processors.dedupe import (
    Dedupe,
    DedupeOptions,
    dhash,
    distance,
    make_dedupe,
)
from pictures import context, encoded, gradient, put

if TYPE_CHECKING:
    from pathlib import Path

NOISE = Image.frombytes("RGB", (8, 6), Random(1).randbytes(8 * 6 * 3)).resize((64, 48))


def look(dedupe: Dedupe, folder: Path, image: Image.Image, id: str) -> list[Any]:
    """What is logged when `dedupe` sees a picture."""
    folder = folder / id
    folder.mkdir()
    data = encoded("png", image)
    file = put(folder, "png", data)
    with capture_logs() as logs:
        assert dedupe(file, hg.Task("a door", id=id, seed=7)) == file
    assert file.read_bytes() == data
    return logs


def test_a_picture_like_an_earlier_one_is_reported(tmp_path: Path) -> None:
    dedupe = make_dedupe(None, context())
    assert look(dedupe, tmp_path, NOISE, "one") == []
    assert look(dedupe, tmp_path, gradient(), "two") == []
    brighter = ImageEnhance.Brightness(NOISE.resize((128, 96))).enhance(1.1)
    (log,) = look(dedupe, tmp_path, brighter, "three")
    assert log["event"] == "picture.looks_alike"
    assert log["log_level"] == "warning"
    assert (log["task"], log["like_task"], log["like_seed"]) == ("three", "one", 7)
    assert log["distance"] <= 4


def test_prompts_are_not_logged(tmp_path: Path) -> None:
    dedupe = make_dedupe(None, context())
    look(dedupe, tmp_path, NOISE, "one")
    assert "door" not in str(look(dedupe, tmp_path, NOISE, "two"))


def test_files_made_of_one_picture_are_not_compared(tmp_path: Path) -> None:
    dedupe = make_dedupe(None, context())
    look(dedupe, tmp_path, NOISE, "one")
    small = tmp_path / "one" / "image-thumb.png"
    NOISE.resize((32, 24)).save(small)
    with capture_logs() as logs:
        dedupe(small, hg.Task("a door"))
    assert logs == []


def test_it_forgets_the_oldest(tmp_path: Path) -> None:
    dedupe = make_dedupe(DedupeOptions(remember=1), context())
    look(dedupe, tmp_path, NOISE, "one")
    look(dedupe, tmp_path, gradient(), "two")
    assert look(dedupe, tmp_path, NOISE, "three") == []


def test_what_is_no_picture_passes(tmp_path: Path) -> None:
    file = tmp_path / "image.xmp"
    file.write_text("<x/>")
    assert make_dedupe(None, context())(file, hg.Task("a door")) == file


def test_a_mirror_image_is_not_alike() -> None:
    mirrored = NOISE.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert distance(dhash(NOISE), dhash(mirrored)) > 16


hashes = st.integers(0, 2**64 - 1)


@given(hashes, hashes, hashes)
def test_distance_is_one(one: int, two: int, three: int) -> None:
    assert distance(one, one) == 0
    assert distance(one, two) == distance(two, one) <= 64
    assert distance(one, three) <= distance(one, two) + distance(two, three)


@pytest.mark.parametrize("options", [{"distance": 65}, {"distance": -1}, {"remember": 0}], ids=str)
def test_options_are_checked(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        DedupeOptions(**options)
