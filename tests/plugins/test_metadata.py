"""Words in PNG, JPEG and WebP: found, and added without touching the picture."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from holodeck_gen_plugins.processors import _png
from holodeck_gen_plugins.processors._metadata import read_metadata, with_metadata
from holodeck_gen_plugins.processors._xmp import Property, value_of, with_properties
from pictures import FORMATS, encoded, gradient, pixels, put, read_back, signed

if TYPE_CHECKING:
    from pathlib import Path

TITLE = Property("http://example.org/title/", "t", "Title", "画 & <words>")
PACKET = with_properties(None, [TITLE])
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
each_format = pytest.mark.parametrize("format", FORMATS)


def exif() -> Image.Exif:
    tags = Image.Exif()
    tags[0x010E] = "a door"
    return tags


@each_format
def test_xmp_is_added_without_touching_a_pixel(format: str, tmp_path: Path) -> None:
    data = encoded(format, exif=exif().tobytes(), icc_profile=SRGB)
    file = put(tmp_path, format, with_metadata(data, xmp=PACKET))
    words = read_back(file)
    assert words["Xmp.t.Title"] == TITLE.value
    assert words["Exif.Image.ImageDescription"] == "a door"
    assert pixels(file) == pixels(data)
    with Image.open(file) as image:
        assert image.info["icc_profile"] == SRGB


@each_format
def test_xmp_takes_the_place_of_earlier_xmp(format: str) -> None:
    once = with_metadata(encoded(format, exif=exif().tobytes()), xmp=PACKET)
    other = with_properties(PACKET, [Property("http://example.org/b/", "b", "B", "1")])
    twice = with_metadata(once, xmp=other)
    found = read_metadata(twice)
    assert found is not None
    assert found.xmp == other
    assert twice.count(b"example.org/title") == 1
    assert with_metadata(twice, xmp=PACKET) == once


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
@pytest.mark.parametrize("options", [{}, {"lossless": True}], ids=["lossy", "lossless"])
def test_every_kind_of_webp_can_hold_xmp(mode: str, options: dict[str, bool]) -> None:
    image = gradient((33, 17), mode=mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    data = encoded("webp", image, **options)
    assert pixels(with_metadata(data, xmp=PACKET)) == pixels(data)


def test_texts_of_png_are_read_packed_or_not() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("plain", "a")
    info.add_text("packed", "b" * 999, zip=True)
    info.add_itxt("wide", "门")
    info.add_itxt("wide and packed", "门" * 99, zip=True)
    found = read_metadata(encoded("png", pnginfo=info))
    assert found is not None
    assert found.texts == {
        "plain": "a", "packed": "b" * 999, "wide": "门", "wide and packed": "门" * 99,
    }  # fmt: skip


def test_a_text_that_unpacks_to_too_much_is_not_unpacked() -> None:
    packed = b"bomb\0\0" + zlib.compress(bytes(_png.MAX_TEXT + 1))
    chunk = struct.pack(">I", len(packed)) + b"zTXt" + packed + bytes(4)
    data = encoded("png")
    found = read_metadata(data[:33] + chunk + data[33:])
    assert found is not None
    assert found.texts == {}


@given(st.dictionaries(st.sampled_from(["a", "b", "AIGC"]), st.text(max_size=30)))
def test_texts_survive_their_way_through_png(texts: dict[str, str]) -> None:
    found = read_metadata(with_metadata(encoded("png"), texts=texts))
    assert found is not None
    assert found.texts == texts


def test_other_readers_find_the_texts() -> None:
    data = with_metadata(encoded("png"), texts={"one": "é", "two": "门"})
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.info["one"] == "é"
        assert image.info["two"] == "门"


@each_format
def test_a_signature_is_seen(format: str) -> None:
    found, plain = read_metadata(signed(format)), read_metadata(encoded(format))
    assert found is not None
    assert plain is not None
    assert found.signed
    assert not plain.signed


@each_format
def test_a_signature_that_is_kept_elsewhere_is_seen(format: str) -> None:
    where = Property("http://purl.org/dc/terms/", "dcterms", "provenance", "https://example.org/c")
    found = read_metadata(with_metadata(encoded(format), xmp=with_properties(None, [where])))
    assert found is not None
    assert found.signed


def test_what_is_no_picture_has_no_metadata() -> None:
    assert read_metadata(b"glTF") is None
    assert read_metadata(b"") is None


@each_format
@given(data=st.data())
def test_damage_is_a_value_error_or_nothing(format: str, data: st.DataObject) -> None:
    whole = encoded(format, gradient((5, 4)), exif=exif().tobytes())
    cut = data.draw(st.integers(0, len(whole)))
    flips = data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255))))
    broken = bytearray(whole)
    for at, value in flips:
        broken[at] = value
    try:
        found = read_metadata(bytes(broken[:cut]))
        if found is not None:
            with_metadata(bytes(broken[:cut]), xmp=PACKET)
    except ValueError:
        pass


def test_too_much_xmp_for_jpeg_is_refused() -> None:
    with pytest.raises(ValueError, match="takes 65504 bytes of XMP"):
        with_metadata(encoded("jpeg"), xmp=PACKET + b" " * 65_504)


class TestXmp:
    def test_what_others_wrote_is_kept_byte_for_byte(self) -> None:
        foreign = (
            b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r='
            b'"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><r:Description r:about="uuid:1"'
            b' xmlns:q="http://example.org/q/" q:Rating="5"/>\n</r:RDF></x:xmpmeta>   '
        )
        added = with_properties(foreign, [TITLE])
        head, _, tail = foreign.partition(b"</r:RDF>")
        assert added.startswith(head)
        assert added.endswith(b"</r:RDF>" + tail)
        assert b'r:about="uuid:1"' in added[len(head) :]
        assert value_of(added, TITLE) == TITLE.value
        assert value_of(added, Property("http://example.org/q/", "any", "Rating")) == "5"

    @given(
        st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"))
    )
    def test_any_words_come_back(self, words: str) -> None:
        one = Property("http://example.org/w/", "w", "Words", words)
        assert value_of(with_properties(None, [one]), one) == words.strip()

    @pytest.mark.parametrize(
        "packet",
        [
            b"",
            b"<x",
            b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
            PACKET.replace(b"<rdf:RDF", b" " * 2**21 + b"<rdf:RDF"),
            b'<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/>',
            '<a xmlns="b"></a>'.encode("utf-16"),
        ],
    )
    def test_what_cannot_be_added_to_is_refused(self, packet: bytes) -> None:
        with pytest.raises(ValueError, match="XMP"):
            with_properties(packet, [TITLE])
