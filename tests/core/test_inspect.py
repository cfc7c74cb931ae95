"""A file is what its bytes say."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import pytest

from holodeck_gen._inspect import inspect_file
from holodeck_gen.errors import ProcessingError
from holodeck_gen.testing import PNG

if TYPE_CHECKING:
    from pathlib import Path


def written(tmp_path: Path, data: bytes) -> Path:
    file = tmp_path / "file.raw"
    file.write_bytes(data)
    return file


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims a size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = b"".join(
        struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each))
        for each in (header, data, b"IEND")
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_a_picture(tmp_path: Path) -> None:
    facts = inspect_file(written(tmp_path, PNG), kind="image", declared="text/html")
    assert (facts.media_type, facts.suffix, facts.size_bytes) == ("image/png", ".png", len(PNG))
    assert facts.width
    assert facts.height


def test_a_model(tmp_path: Path) -> None:
    facts = inspect_file(written(tmp_path, b"glTF\x02\0\0\0rest"), kind="model3d")
    assert (facts.media_type, facts.suffix) == ("model/gltf-binary", ".glb")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><p>quota", "an HTML page"),
        (b'{"error": "quota"}', "it is JSON"),
        (b"\x00\x01\x02", "starts with"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(ProcessingError, match=reason):
        inspect_file(written(tmp_path, data), kind="image")


@pytest.mark.parametrize("side", [9_000, 11_000, 20_000])
def test_bombs_are_refused_by_their_header(tmp_path: Path, side: int) -> None:
    with pytest.raises(ProcessingError, match=r"bomb|pixels"):
        inspect_file(written(tmp_path, claiming(side, side)), kind="image")


def test_other_kinds_keep_the_declared_type(tmp_path: Path) -> None:
    facts = inspect_file(written(tmp_path, b"ply\n"), kind="model3d", declared="model/ply")
    assert facts.media_type == "model/ply"
