"""Distributions of other people, built, installed and used as they would be."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from environments import SITE, Environment

HERE = Path(__file__).parent
PLUGINS = ("third_party", "broken_plugin", "heavy_plugin")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """All three plugins in one environment, beside the wheel of this project."""
    environment = Environment.make(tmp_path_factory.mktemp("plugins"))
    environment.install(wheel)
    environment.borrow(SITE)
    sources = [environment.folder / name for name in PLUGINS]
    for source in sources:
        # A copy, because a build may write beside what it builds.
        shutil.copytree(HERE / source.name, source)
    environment.install(*sources)
    return environment


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that the heavy plugin makes when it is imported."""
    return tmp_path / "imported"


def test_every_stage_of_a_foreign_plugin_is_used(
    installed: Environment, tmp_path: Path, marker: Path
) -> None:
    tasks = tmp_path / "tasks.txt"
    tasks.write_text("a red door\na blue door\n")
    installed.run(
        *("holodeck-gen", "run", tasks, "--provider", "swatch", "--output", "out"),
        *("--rewrite", "suffix", "--set", "stages.suffix.words=at noon", "--process", "frame"),
        *("--store", "checked", "--set", "stages.checked.folder=kept", "--size", "64x32"),
        cwd=tmp_path,
        HEAVY_PLUGIN_IMPORTED=str(marker),
    )
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    outcomes = [json.loads(line) for line in lines]
    assert sorted(each["task"]["prompt"] for each in outcomes) == ["a blue door", "a red door"]
    assert {each["provider"] for each in outcomes} == {"swatch"}
    pictures = sorted((tmp_path / "kept").glob("*.png"))
    assert len(pictures) == 2
    for picture in pictures:
        with Image.open(picture) as image:
            assert image.size == (64 + 16, 32 + 16)
        digest = hashlib.sha256(picture.read_bytes()).hexdigest()
        checksum = picture.with_name(f"{picture.name}.sha256").read_text()
        assert checksum == f"{digest}  {picture.name}\n"
    sent = sorted(each["prompt"] for each in outcomes)
    assert sent == ["a blue door, at noon", "a red door, at noon"]


def test_foreign_provider_is_listed(installed: Environment, tmp_path: Path, marker: Path) -> None:
    listing = installed.run(
        "holodeck-gen", "providers", cwd=tmp_path, HEAVY_PLUGIN_IMPORTED=str(marker)
    )
    assert "swatch" in listing
    assert "procedural" in listing


class TestBrokenPlugin:
    def test_is_reported_by_name_and_reason(
        self, installed: Environment, tmp_path: Path, marker: Path
    ) -> None:
        listing = installed.run(
            *("holodeck-gen", "plugins", "--json", "--quiet"),
            cwd=tmp_path,
            HEAVY_PLUGIN_IMPORTED=str(marker),
        )
        plugins = {each["name"]: each for each in json.loads(listing)}
        assert "this plugin is broken on purpose" in plugins["broken"]["broken"]
        assert plugins["broken"]["distribution"] == "holodeck-gen-broken 1.0"
        kinds = {each["kind"] for each in plugins["swatch"]["registers"]}
        assert kinds == {"provider", "rewriter", "processor", "store"}

    def test_stops_nothing_that_is_searched_past_it(
        self, installed: Environment, tmp_path: Path, marker: Path
    ) -> None:
        """No plugin has the rewriter's name, so each is asked for it until one has it."""
        written = installed.run(
            *("holodeck-gen", "generate", "a lake", "-p", "procedural", "--size", "32x32"),
            *("--rewrite", "suffix", "-o", "lake.png"),
            cwd=tmp_path,
            HEAVY_PLUGIN_IMPORTED=str(marker),
        )
        assert (tmp_path / "lake.png").exists()
        assert written.count("plugin.broken") == 1


def test_heavy_plugin_that_is_not_used_is_not_imported(
    installed: Environment, tmp_path: Path, marker: Path
) -> None:
    command = ("holodeck-gen", "generate", "a lake", "-p", "procedural", "--size", "32x32")
    installed.run(*command, cwd=tmp_path, HEAVY_PLUGIN_IMPORTED=str(marker))
    assert not marker.exists()
    installed.run("holodeck-gen", "plugins", cwd=tmp_path, HEAVY_PLUGIN_IMPORTED=str(marker))
    assert marker.exists(), "the marker does not work"
