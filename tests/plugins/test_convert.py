"""The converter: what changes, what is kept, and what is left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, ImageCms
from structlog.testing import capture_logs

import holodeck_gen as hg
from holodeck_gen.errors import ConfigError
from holodeck_gen_plugins.processors._metadata import read_metadata, with_metadata
from holodeck_gen_plugins.processors._provenance import AIGC, new_aigc_label
from holodeck_gen_plugins.processors._xmp import Property, value_of, with_properties
from holodeck_gen_plugins.processors.convert import ConvertOptions, make_convert
from pictures import (
    FORMATS,
    SUFFIX,
    context,
    encoded,
    gradient,
    pixels,
    put,
    read_back,
    signature_is_valid,
    signed,
)

if TYPE_CHECKING:
    from pathlib import Path

TASK = hg.Task("a door", id="door")
PACKET = with_properties(None, [Property("http://example.org/t/", "t", "Title", "门")])
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def converted(file: Path, **options: Any) -> Path:
    made = make_convert(ConvertOptions(**options), context())(file, TASK)
    assert made.parent == file.parent
    return made


def facts(file: Path) -> tuple[str | None, str, tuple[int, int]]:
    with Image.open(file) as image:
        image.load()
        return image.format, image.mode, image.size


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("format", FORMATS)
def test_any_format_becomes_any_other(source: str, format: str, tmp_path: Path) -> None:
    made = converted(put(tmp_path, source), format=format)
    assert made.suffix == SUFFIX[format]
    assert facts(made) == (format.upper(), "RGB", (64, 48))
    with Image.open(made) as image:
        assert image.getpixel((0, 0)) != image.getpixel((63, 47))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "options",
    [{}, {"max_side": 64}, {"aspect": "4:3"}, {"size": "64x48"}, {"quality": 3}],
    ids=str,
)
def test_where_nothing_is_to_be_done_the_bytes_stay(
    format: str, options: dict[str, Any], tmp_path: Path
) -> None:
    data = encoded(format)
    file = put(tmp_path, format, data)
    assert converted(file, format=format, **options) == file
    assert converted(file, **options) == file
    assert file.read_bytes() == data


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"max_side": 32}, (32, 24)),
        ({"aspect": "1:1"}, (48, 48)),
        ({"aspect": "1:1", "max_side": 10}, (10, 10)),
        ({"size": "100x20"}, (100, 20)),
    ],
    ids=str,
)
def test_the_shape_is_the_wanted_one(
    options: dict[str, Any], size: tuple[int, int], tmp_path: Path
) -> None:
    file = put(tmp_path, "png")
    assert converted(file, **options) == file
    assert facts(file) == ("PNG", "RGB", size)


def test_the_middle_is_cut_out(tmp_path: Path) -> None:
    image = Image.new("RGB", (90, 30), "red")
    image.paste("blue", (30, 0, 60, 30))
    made = converted(put(tmp_path, "png", encoded("png", image)), aspect="1:1")
    with Image.open(made) as cut:
        assert set(cut.get_flattened_data()) == {(0, 0, 255)}


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("format", FORMATS)
def test_xmp_exif_and_profile_are_kept(source: str, format: str, tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x010E] = "a door"
    data = encoded(source, exif=tags.tobytes(), icc_profile=SRGB)
    file = put(tmp_path, source, with_metadata(data, xmp=PACKET))
    made = converted(file, format=format, max_side=40)
    words = read_back(made)
    assert words["Xmp.t.Title"] == "门"
    assert words["Exif.Image.ImageDescription"] == "a door"
    with Image.open(made) as image:
        assert image.info["icc_profile"] == SRGB


def test_texts_of_png_are_kept_in_png(tmp_path: Path) -> None:
    texts = {"parameters": "a door\nSteps: 2", "AIGC": "{}", "other": "门"}
    made = converted(put(tmp_path, "png", with_metadata(encoded("png"), texts=texts)), max_side=40)
    found = read_metadata(made.read_bytes())
    assert found is not None
    assert found.texts == texts


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_a_label_in_a_text_of_png_is_not_lost_in_other_formats(format: str, tmp_path: Path) -> None:
    label = new_aigc_label("somebody", "1")
    texts = {"AIGC": label, "parameters": "门, a door\nSeed: 1"}
    file = put(tmp_path, "png", with_metadata(encoded("png"), texts=texts, xmp=PACKET))
    words = read_back(converted(file, format=format))
    assert words["Xmp.TC260.AIGC"] == label
    assert words["Xmp.t.Title"] == "门"
    assert words["Exif.Photo.UserComment"].endswith("门, a door\nSeed: 1")


def test_a_label_in_xmp_is_not_replaced_by_one_in_a_text(tmp_path: Path) -> None:
    packet = with_properties(None, [Property(AIGC.namespace, "TC260", "AIGC", "in xmp")])
    data = with_metadata(encoded("png"), texts={"AIGC": "in text"}, xmp=packet)
    found = read_metadata(converted(put(tmp_path, "png", data), format="webp").read_bytes())
    assert found is not None
    assert value_of(found.xmp, AIGC) == "in xmp"


def test_a_turned_picture_is_turned_for_good(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    turned = Property("http://ns.adobe.com/tiff/1.0/", "tiff", "Orientation", "6")
    data = encoded("jpeg", gradient((64, 48)), exif=tags.tobytes(), quality=95)
    data = with_metadata(data, xmp=with_properties(None, [turned]))
    made = converted(put(tmp_path, "jpeg", data), format="png", aspect="3:4")
    assert facts(made) == ("PNG", "RGB", (48, 64))
    words = read_back(made)
    assert words.get("Exif.Image.Orientation", "1") in ("1", "top, left")
    assert words["Xmp.tiff.Orientation"] in ("1", "top, left")


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("format", FORMATS)
def test_damaged_exif_does_not_spoil_a_picture(source: str, format: str, tmp_path: Path) -> None:
    data = encoded(source, exif=b"Exif\0\0MM\0x neither this nor that")
    made = converted(put(tmp_path, source, data), format=format, max_side=40)
    assert facts(made)[2] == (40, 30)
    found = read_metadata(made.read_bytes())
    assert found is not None
    assert found.exif == b"MM\0x neither this nor that"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("format", FORMATS)
def test_every_mode_of_png_is_taken(mode: str, format: str, tmp_path: Path) -> None:
    image = gradient((80, 40), mode=mode if mode != "I;16" else "L")
    if mode == "I;16":
        image = Image.frombytes(
            "I;16", image.size, b"".join(bytes((0, v)) for v in image.tobytes())
        )
    made = converted(put(tmp_path, "png", encoded("png", image)), format=format, max_side=20)
    assert facts(made)[2] == (20, 10)
    with Image.open(made) as small:
        grey = small.convert("L").tobytes()
    assert max(grey) - min(grey) > 60
    assert sorted(grey)[100] in range(60, 200)


def test_a_print_color_picture_keeps_its_colors_only_in_jpeg(tmp_path: Path) -> None:
    data = encoded("jpeg", gradient(mode="CMYK"))
    assert facts(converted(put(tmp_path, "jpeg", data), max_side=20))[1] == "CMYK"
    assert facts(converted(put(tmp_path, "jpeg", data), format="png"))[1] == "RGB"


def test_the_background_shows_through_in_jpeg(tmp_path: Path) -> None:
    file = put(tmp_path, "png", encoded("png", Image.new("RGBA", (16, 16), (0, 0, 0, 0))))
    with Image.open(converted(file, format="jpeg", background="#ff0000")) as image:
        red, green, blue = image.getpixel((8, 8))  # type: ignore[misc]
    assert red > 250
    assert green < 5
    assert blue < 5


@pytest.mark.parametrize("format", FORMATS)
def test_a_signed_picture_is_left_alone(format: str, tmp_path: Path) -> None:
    file = put(tmp_path, format, signed(format))
    with capture_logs() as logs:
        assert converted(file, format="png", max_side=10) == file
    assert signature_is_valid(format, file.read_bytes())
    assert logs[0]["event"] == "picture.not_converted"
    assert logs[0]["task"] == "door"


def test_a_signed_picture_is_converted_where_that_is_asked_for(tmp_path: Path) -> None:
    made = converted(put(tmp_path, "png", signed("png")), max_side=10, convert_signed=True)
    assert facts(made)[2] == (10, 8)


def test_an_animation_is_left_alone(tmp_path: Path) -> None:
    frames = [gradient(), gradient().rotate(90)]
    data = encoded("webp", frames[0], save_all=True, append_images=frames[1:])
    file = put(tmp_path, "webp", data)
    with capture_logs() as logs:
        assert converted(file, format="png") == file
    assert file.read_bytes() == data
    assert logs[0]["reason"] == "it is animated"


def test_what_is_no_picture_passes(tmp_path: Path) -> None:
    file = tmp_path / "image.glb"
    file.write_bytes(b"glTF" + bytes(20))
    assert converted(file, format="png") == file


def test_a_format_that_pillow_knows_becomes_one_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "image.gif"
    file.write_bytes(encoded("gif"))
    assert facts(converted(file))[0] == "PNG"


def test_a_damaged_picture_is_an_error(tmp_path: Path) -> None:
    whole = encoded("png", gradient((400, 400)))
    with pytest.raises(ValueError, match="within a chunk"):
        converted(put(tmp_path, "png", whole[: len(whole) // 2]), format="jpeg")


@pytest.mark.parametrize(
    "options", [{"quality": 0}, {"aspect": "wide"}, {"size": "1"}, {"max_side": 0}], ids=str
)
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|is not an? "):
        ConvertOptions(**options)


def test_a_color_is_checked_before_the_first_picture() -> None:
    with pytest.raises(ConfigError, match="background"):
        make_convert(ConvertOptions(background="whitish"), context())


def test_pixels_are_not_scaled_twice(tmp_path: Path) -> None:
    """A second run over what came out changes nothing."""
    made = converted(put(tmp_path, "jpeg"), format="png", aspect="1:1", max_side=20)
    before = pixels(made)
    assert converted(made, format="png", aspect="1:1", max_side=20) == made
    assert pixels(made) == before
