"""Small pictures beside the pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

import holodeck_gen as hg
from holodeck_gen_plugins.processors._metadata import with_metadata
from holodeck_gen_plugins.processors._provenance import new_aigc_label
from holodeck_gen_plugins.processors.thumbnail import ThumbnailOptions, make_thumbnail
from pictures import FORMATS, SUFFIX, context, encoded, gradient, put, read_back, signed

if TYPE_CHECKING:
    from pathlib import Path

TASK = hg.Task("a door")


def thumbnail(file: Path, **options: Any) -> Path:
    made = make_thumbnail(ThumbnailOptions(**options), context())(file, TASK)
    assert isinstance(made, list)
    assert made[0] == file
    return made[1]


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("format", FORMATS)
def test_a_small_picture_is_beside_the_untouched_one(
    source: str, format: str, tmp_path: Path
) -> None:
    data = encoded(source, gradient((640, 480)))
    file = put(tmp_path, source, data)
    small = thumbnail(file, size=32, format=format, suffix="_s")
    assert small == tmp_path / f"image_s{SUFFIX[format]}"
    with Image.open(small) as image:
        assert (image.size, image.format) == ((32, 24), format.upper())
        assert image.getpixel((0, 0)) != image.getpixel((31, 23))
    assert file.read_bytes() == data


def test_a_picture_that_is_small_already_is_not_enlarged(tmp_path: Path) -> None:
    with Image.open(thumbnail(put(tmp_path, "png"))) as image:
        assert image.size == (64, 48)


def test_labels_go_along_and_other_words_do_not(tmp_path: Path) -> None:
    label = new_aigc_label("somebody", "1")
    texts = {"AIGC": label, "parameters": "a secret prompt"}
    small = thumbnail(put(tmp_path, "png", with_metadata(encoded("png"), texts=texts)))
    assert read_back(small)["Xmp.TC260.AIGC"] == label
    assert "secret" not in str(read_back(small))


def test_a_signed_picture_has_one_too(tmp_path: Path) -> None:
    file = put(tmp_path, "jpeg", signed("jpeg"))
    with Image.open(thumbnail(file, size=16)) as image:
        assert image.size == (16, 12)
    assert file.read_bytes() == signed("jpeg")


def test_what_is_no_picture_has_none(tmp_path: Path) -> None:
    file = tmp_path / "image.xmp"
    file.write_text("<x/>")
    assert make_thumbnail(None, context())(file, TASK) == file


@pytest.mark.parametrize("suffix", ["", "thumb", "-../x", "-a.b", "-" * 42])
def test_a_suffix_cannot_lead_elsewhere(suffix: str) -> None:
    with pytest.raises(ValueError, match="suffix"):
        ThumbnailOptions(suffix=suffix)
