"""Labels: added where they are missing, never replaced, read back by libexiv2."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from structlog.testing import capture_logs

import holodeck_gen as hg
from holodeck_gen.errors import ConfigError
from holodeck_gen_plugins.processors._metadata import read_metadata, with_metadata
from holodeck_gen_plugins.processors._provenance import AIGC, SOURCE_TYPE, SOURCE_TYPES
from holodeck_gen_plugins.processors._xmp import with_properties
from holodeck_gen_plugins.processors.label import LabelOptions, make_label
from pictures import (
    FORMATS,
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

TASK = hg.Task("a red door, 门", id="door", seed=7, model="m-1", negative_prompt="fog")
THEIRS = '{"Label":"1","ContentProducer":"them","ProduceID":"9"}'
each_format = pytest.mark.parametrize("format", FORMATS)


def labelled(file: Path, task: hg.Task = TASK, **options: Any) -> Path:
    """The labelled file, which must be the only one."""
    made = make_label(LabelOptions(**options), context())(file, task)
    assert made == file
    return file


def texts(file: Path) -> dict[str, str]:
    found = read_metadata(file.read_bytes())
    assert found is not None
    return dict(found.texts)


@each_format
def test_labels_are_read_back_and_no_pixel_changes(format: str, tmp_path: Path) -> None:
    before = encoded(format)
    file = labelled(put(tmp_path, format, before), producer="us-001")
    words = read_back(file)
    assert words["Xmp.iptcExt.DigitalSourceType"] == SOURCE_TYPES + "trainedAlgorithmicMedia"
    label = json.loads(words["Xmp.TC260.AIGC"])
    assert label == {
        "Label": "1",
        "ContentProducer": "us-001",
        "ProduceID": label["ProduceID"],
        "ReservedCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }
    assert re.fullmatch(r"[0-9a-f]{32}", label["ProduceID"])
    assert pixels(file) == pixels(before)


def test_a_png_file_has_its_label_as_text_too(tmp_path: Path) -> None:
    file = labelled(put(tmp_path, "png"), producer="us-001")
    assert texts(file)["AIGC"] == read_back(file)["Xmp.TC260.AIGC"]


@each_format
def test_the_same_picture_is_labelled_alike_again(format: str, tmp_path: Path) -> None:
    once = labelled(put(tmp_path, format), producer="us-001").read_bytes()
    assert labelled(put(tmp_path, format), producer="us-001").read_bytes() == once
    file = put(tmp_path, format, once)
    assert labelled(file, producer="us-002").read_bytes() == once


@each_format
def test_nobody_is_made_up_as_a_producer(format: str, tmp_path: Path) -> None:
    file = labelled(put(tmp_path, format))
    assert b"AIGC" not in file.read_bytes()


class TestProvidersLabels:
    @each_format
    def test_one_in_xmp_stays(self, format: str, tmp_path: Path) -> None:
        import attrs

        said = [
            attrs.evolve(AIGC, value=THEIRS),
            attrs.evolve(SOURCE_TYPE, value=SOURCE_TYPES + "algorithmicMedia"),
        ]
        data = with_metadata(encoded(format), xmp=with_properties(None, said))
        words = read_back(labelled(put(tmp_path, format, data), producer="us-001"))
        assert words["Xmp.TC260.AIGC"] == THEIRS
        assert words["Xmp.iptcExt.DigitalSourceType"].endswith("/algorithmicMedia")

    def test_one_in_a_text_stays_the_only_one(self, tmp_path: Path) -> None:
        data = with_metadata(encoded("png"), texts={"AIGC": THEIRS, "parameters": "theirs"})
        file = labelled(put(tmp_path, "png", data), producer="us-001")
        assert texts(file) == {"AIGC": THEIRS, "parameters": "theirs"}
        assert "Xmp.TC260.AIGC" not in read_back(file)

    @each_format
    @pytest.mark.parametrize("encoding", ["ASCII\0\0\0", "UNICODE\0"])
    @pytest.mark.parametrize("pad", ["", "x"])
    def test_one_in_exif_stays_the_only_one(
        self, format: str, encoding: str, pad: str, tmp_path: Path
    ) -> None:
        wide = encoding == "UNICODE\0"
        words = f'{{"AIGC":{THEIRS}}}'.encode("utf-16-be" if wide else "ascii")
        tags = Image.Exif()
        tags[0x010E] = "a door" + pad
        tags.get_ifd(0x8769)[0x9286] = encoding.encode() + words
        data = encoded(format, exif=tags.tobytes())
        file = labelled(put(tmp_path, format, data), producer="us-001")
        assert "Xmp.TC260.AIGC" not in read_back(file)
        assert b"us-001" not in file.read_bytes()

    def test_one_that_cannot_be_read_is_not_doubled(self, tmp_path: Path) -> None:
        data = with_metadata(encoded("png"), xmp=b"<x:xmpmeta AIGC")
        made = make_label(LabelOptions(producer="us-001"), context())(
            put(tmp_path, "png", data), TASK
        )
        assert isinstance(made, list)
        assert "us-001" not in made[1].read_text()


def test_what_is_nested_without_an_end_fails_no_stage(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x010E] = '{"a":' * 12_000 + '"ContentProducer"'
    file = put(tmp_path, "jpeg", encoded("jpeg", exif=tags.tobytes()))
    words = read_back(labelled(file, producer="us-001"))
    # It seems to be somebody's label, so there is no other.
    assert "Xmp.TC260.AIGC" not in words


class TestSigned:
    @each_format
    def test_it_stays_as_it_is_and_has_a_sidecar(self, format: str, tmp_path: Path) -> None:
        file = put(tmp_path, format, signed(format))
        options = LabelOptions(producer="us-001", visible="AI")
        with capture_logs() as logs:
            made = make_label(options, context())(file, TASK)
        assert made == [file, tmp_path / "image.xmp"]
        assert file.read_bytes() == signed(format)
        assert signature_is_valid(format, file.read_bytes())
        words = read_back(tmp_path / "image.xmp")
        assert json.loads(words["Xmp.TC260.AIGC"])["ContentProducer"] == "us-001"
        assert words["Xmp.iptcExt.DigitalSourceType"].endswith("/trainedAlgorithmicMedia")
        assert [log["event"] for log in logs] == ["picture.not_drawn_on"]

    def test_the_check_of_signatures_can_fail(self) -> None:
        data = bytearray(signed("png"))
        data[-30] ^= 1
        assert not signature_is_valid("png", bytes(data))


class TestParameters:
    def test_they_are_written_as_the_community_does(self, tmp_path: Path) -> None:
        file = labelled(put(tmp_path, "png"))
        assert texts(file)["parameters"].splitlines() == [
            "a red door, 门",
            "Negative prompt: fog",
            "Size: 64x48, Seed: 7, Model: m-1, Batch size: 1,"
            f" Version: holodeck-gen {hg.__version__}",
        ]

    def test_the_last_line_is_taken_for_parameters(self, tmp_path: Path) -> None:
        """The rule of the web interface: at least three pairs, found by this expression."""
        pair = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
        task = hg.Task("a door", model='m "1", large')
        last = texts(labelled(put(tmp_path, "png"), task))["parameters"].splitlines()[-1]
        found = dict(pair.findall(last))
        assert len(found) >= 3
        assert json.loads(found["Model"]) == task.model
        bare = texts(labelled(put(tmp_path, "png"), hg.Task("a door")))["parameters"]
        assert len(pair.findall(bare.splitlines()[-1])) >= 3

    def test_a_seed_that_may_be_another_pictures_is_not_told(self, tmp_path: Path) -> None:
        file = labelled(put(tmp_path, "png"), hg.Task("a door", seed=7, n=2))
        assert "Seed" not in texts(file)["parameters"]

    def test_they_can_be_left_out(self, tmp_path: Path) -> None:
        file = put(tmp_path, "png")
        before = file.read_bytes()
        assert labelled(file, parameters=False, source_type="none").read_bytes() == before

    @pytest.mark.parametrize("format", ["jpeg", "webp"])
    def test_only_png_has_them(self, format: str, tmp_path: Path) -> None:
        assert b"red door" not in labelled(put(tmp_path, format)).read_bytes()


class TestVisible:
    @each_format
    def test_words_are_drawn_and_the_labels_are_there(self, format: str, tmp_path: Path) -> None:
        before = encoded(format, gradient((300, 200)), exif=_exif())
        file = labelled(put(tmp_path, format, before), visible="AI-generated")
        words = read_back(file)
        assert words["Exif.Image.ImageDescription"] == "a door"
        assert words["Xmp.iptcExt.DigitalSourceType"].endswith("/trainedAlgorithmicMedia")
        with Image.open(file) as image:
            assert image.size == (300, 200)
            assert image.format == format.upper()
            corner = image.convert("L").crop((200, 175, 300, 200)).getextrema()
        assert corner[0] < 100  # type: ignore[operator]
        assert corner[1] > 250  # type: ignore[operator]

    def test_a_font_that_lacks_them_is_found_out_before_the_first_picture(self) -> None:
        with pytest.raises(ConfigError, match="label: visible: there is no"):
            make_label(LabelOptions(visible="生成"), context())

    def test_less_than_the_least_height_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"must be >= 0\.05"):
            LabelOptions(visible_share=0.04)


def test_a_format_that_holds_no_label_has_a_sidecar(tmp_path: Path) -> None:
    file = tmp_path / "image.gif"
    file.write_bytes(encoded("gif"))
    made = make_label(None, context())(file, TASK)
    assert made == [file, tmp_path / "image.xmp"]


def test_what_is_no_picture_passes(tmp_path: Path) -> None:
    file = tmp_path / "image.glb"
    file.write_bytes(b"glTF" + bytes(20))
    assert labelled(file).read_bytes() == b"glTF" + bytes(20)


def test_xmp_that_cannot_be_added_to_is_left_alone(tmp_path: Path) -> None:
    data = with_metadata(encoded("jpeg"), xmp=b"<odd/>")
    file = put(tmp_path, "jpeg", data)
    with capture_logs() as logs:
        made = make_label(None, context())(file, TASK)
    assert made == [file, tmp_path / "image.xmp"]
    assert file.read_bytes() == data
    assert logs[0]["event"] == "picture.labelled_beside"


def _exif() -> bytes:
    tags = Image.Exif()
    tags[0x010E] = "a door"
    return tags.tobytes()
