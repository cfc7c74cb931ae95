"""The tutorial's plugin: written, installed, used and tested as its page says, word for word."""

from __future__ import annotations

import importlib
import json
import sys
from typing import TYPE_CHECKING

import pytest
from PIL import Image

import holodeck_gen as hg
from environments import SITE, Environment
from holodeck_gen_plugins.pictures import open_picture
from pages import INSTALLS, run_blocks
from pictures import context, encoded, put, signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """What a reader has who installed this project, and nothing else of ours."""
    made = Environment.make(tmp_path_factory.mktemp("tutorial"))
    made.install(wheel)
    made.borrow(SITE)
    return made


@pytest.fixture(scope="module")
def folder(
    environment: Environment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, list[str]]]:
    """The reader's folder at the end of the page, and what the shell blocks wrote."""
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        patch.setenv("HOME", str(environment.folder))
        patch.setenv("XDG_CONFIG_HOME", str(environment.folder))
        patch.setenv("XDG_STATE_HOME", str(environment.folder))
        # The reader's pip may download; this one has what it needs.
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_NO_DEPS", "1")
        patch.setenv("PIP_NO_BUILD_ISOLATION", "0")
        written = run_blocks(INSTALLS, scripts=environment.folder / "venv" / "bin")
        yield folder, written
    sys.modules.pop("holodeck_gen_upscale", None)


def test_every_block_runs(folder: tuple[Path, list[str]]) -> None:
    """The package's own tests are the last of them."""
    assert "3 passed" in folder[1][-1]


def test_the_options_are_listed_as_the_page_shows(folder: tuple[Path, list[str]]) -> None:
    page = INSTALLS.read_text(encoding="utf-8")
    shown = page.partition("```text\n")[2].partition("```")[0]
    assert shown in "".join(folder[1])


def test_the_pictures_are_as_large_as_the_page_says(folder: tuple[Path, list[str]]) -> None:
    sizes = {}
    for file in [*folder[0].glob("larger/*.png"), *folder[0].glob("posters/*.*g")]:
        with Image.open(file) as image:
            sizes[file.relative_to(folder[0]).as_posix()] = image.size
    assert sizes == {
        "larger/harbor.png": (320, 240),
        "larger/ink.png": (240, 320),
        "posters/harbor.png": (640, 480),
        "posters/harbor-thumb.jpg": (256, 192),
        "posters/ink.png": (480, 640),
        "posters/ink-thumb.jpg": (192, 256),
    }


def test_what_the_file_said_is_still_there(folder: tuple[Path, list[str]]) -> None:
    with Image.open(folder[0] / "posters" / "harbor.png") as image:
        assert image.info["Software"] == "holodeck-gen procedural"
        assert "algorithmicMedia" in image.info["XML:com.adobe.xmp"]


def test_the_configuration_says_where_its_options_come_from(
    folder: tuple[Path, list[str]],
) -> None:
    rows = [line.split() for text in folder[1] for line in text.splitlines()]
    found = {row[0]: row[1:] for row in rows if row and row[0].startswith("stages.poster.")}
    assert found["stages.poster.factor"][0] == "4"
    assert found["stages.poster.factor"][1].endswith("holodeck-gen.toml")
    assert found["stages.poster.max_side"] == ["8192", "default"]


def test_a_bad_option_and_a_bad_file_are_told_in_one_line(
    folder: tuple[Path, list[str]], environment: Environment, tmp_path: Path
) -> None:
    """What the page cannot show without stopping there."""
    command = ("holodeck-gen", "run", folder[0] / "tasks.jsonl", "-p", "procedural", "-o", "out")
    bad = (*command, "--process", "upscale", "--set", "stages.upscale.factor=20")
    written = environment.run(*bad, cwd=tmp_path, expect=1)
    assert written == "error: processor 'upscale': 'factor' must be <= 8: 20\n"
    small = (*command, "--process", "upscale", "--set", "stages.upscale.max_side=300", "--json")
    environment.run(*small, cwd=tmp_path, expect=3)
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    errors = {each["error"]["type"] for each in map(json.loads, lines)}
    assert errors == {"ProcessingError"}


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_a_signed_picture_stays_as_it_is(
    folder: tuple[Path, list[str]], format: str, tmp_path: Path
) -> None:
    upscale = importlib.import_module("holodeck_gen_upscale").make_upscale(None, context())
    file = put(tmp_path, format, signed(format))
    assert upscale(file, hg.Task("a door")) == file
    assert file.read_bytes() == signed(format)


def test_what_is_no_picture_is_passed_on(folder: tuple[Path, list[str]], tmp_path: Path) -> None:
    upscale = importlib.import_module("holodeck_gen_upscale").make_upscale(None, context())
    model = tmp_path / "image.glb"
    model.write_bytes(b"glTF")
    assert upscale(model, hg.Task("a door")) == model


def test_another_format_becomes_png(folder: tuple[Path, list[str]], tmp_path: Path) -> None:
    upscale = importlib.import_module("holodeck_gen_upscale").make_upscale(None, context())
    file = tmp_path / "image.gif"
    file.write_bytes(encoded("gif"))
    made = open_picture(upscale(file, hg.Task("a door")))
    assert made is not None
    with made:
        assert (made.format, made.size) == ("png", (128, 96))
