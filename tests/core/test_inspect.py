"""A file is what its bytes say."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from holodeck_gen._results.inspection import damage, inspect_file
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


@pytest.mark.parametrize("suffix", ["png", "jpeg", "gif", "webp"])
def test_a_picture_that_is_cut_off_is_not_whole(tmp_path: Path, suffix: str) -> None:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 64).convert("RGB").save(file, suffix)
    assert damage(written(tmp_path, file.getvalue())) is None
    assert damage(written(tmp_path, file.getvalue()[: len(file.getvalue()) * 2 // 3]))


def test_what_is_no_picture_is_not_whole(tmp_path: Path) -> None:
    assert damage(written(tmp_path, b"<html>")) == "it is an HTML page"


def test_what_is_too_large_is_not_decoded(tmp_path: Path) -> None:
    """It would not be smaller if it were fetched again."""
    assert damage(written(tmp_path, claiming(100_000, 100_000))) is None


def test_a_model(tmp_path: Path) -> None:
    facts = inspect_file(written(tmp_path, b"glTF\x02\0\0\0rest"), kind="model3d")
    assert (facts.media_type, facts.suffix) == ("model/gltf-binary", ".glb")


@pytest.mark.parametrize(
    ("data", "declared", "suffix"),
    [
        (b"v 0 0 0\n", "model/obj", ".obj"),
        (b"solid cat", "model/stl", ".stl"),
        (b"Kaydara FBX", "model/x-fbx", ".fbx"),
        (b"PK\x03\x04rest", "model/vnd.usdz+zip", ".usdz"),
        (b"PK\x03\x04rest", "model/obj", ".zip"),
        (b"PK\x03\x04rest", None, ".zip"),
        (b"\x00\x01", None, ""),
    ],
)
def test_other_models_go_by_what_the_provider_says(
    tmp_path: Path, data: bytes, declared: str | None, suffix: str
) -> None:
    facts = inspect_file(written(tmp_path, data), kind="model3d", declared=declared)
    assert facts.suffix == suffix


@pytest.mark.parametrize("data", [b"<!DOCTYPE html>", b" <html>", b"<?xml version='1.0'?><Error>"])
def test_a_page_is_no_model(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ProcessingError, match="not a 3D model"):
        inspect_file(written(tmp_path, data), kind="model3d", declared="model/obj")


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
