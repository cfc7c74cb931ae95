"""Whatever comes in place of a picture: refused in words, and the picture still to be had.

A real server on this machine sends it through the whole engine, is mended, and what was paid for
is collected: nothing is ever submitted a second time.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

import holodeck_gen as hg
from bad_files import BAD, GOOD, JPEG, POSTSCRIPT, Story, bomb, told
from helpers import failure_of, result_of
from holodeck_gen._http import download
from holodeck_gen.errors import PartialResultError, ProcessingError
from holodeck_gen.testing import Script, ScriptedProvider
from runs import CAT, Runs


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "MAX_IMAGE", 2**22)
        return asyncio.run(told(tmp_path_factory.mktemp("bad"), what=list(BAD)))


@pytest.mark.parametrize("what", BAD)
def test_it_is_refused_in_words_and_the_picture_is_collected(story: Story, what: str) -> None:
    _, kind, words = BAD[what]
    failure = failure_of(story.first[what])
    assert isinstance(failure.error, kind), failure.error
    assert words in str(failure.error)
    assert failure.error.job_id
    assert "holodeck-gen collect" in str(failure.error)
    assert "secret" not in f"{failure.error} {getattr(failure.error, '__notes__', '')}"
    # It may pass, so it is downloaded again; what is too large would be no smaller.
    assert story.asked[what] == (1 if kind is ProcessingError or "larger" in words else 2)
    (artifact,) = result_of(story.second[what]).artifacts
    assert artifact.path
    assert artifact.path.read_bytes() == GOOD


def test_nothing_is_paid_twice_and_no_other_picture_waits(story: Story) -> None:
    assert story.first["good"].ok
    assert len(story.provider.submits) == len(story.provider.jobs) == len(BAD) + 1


def test_running_again_gets_it_too(tmp_path: Path) -> None:
    what = ["a bomb", "half of it"]
    story = asyncio.run(told(tmp_path, what=what, again=True))
    assert not any(story.first[each].ok for each in what)
    assert all(outcome.ok for outcome in story.second.values())
    assert len(story.provider.submits) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_memory_is_bounded() -> None:
    """All of it at once, through every processor, in a process of its own."""
    program = Path(__file__).parents[1] / "bad_files.py"
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # Unpacked, the bombs alone are a gigabyte.
    assert int(done.stdout.splitlines()[-1]) < 100 * 2**20


class TestInAnAnswer:
    """Bytes that come at once, as those of a direct service do, cannot be asked for again."""

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (GOOD[: len(GOOD) // 2], "not all there"),
            (GOOD[:-12], "not all there"),
            (JPEG[: len(JPEG) * 2 // 3], "not all there"),
            (b"<!doctype html>", "HTML page"),
            (b"", "empty"),
            (b"glTF\x02\0\0\0", "not a picture"),
            (POSTSCRIPT, "not a picture"),
            (bomb(9_000), "9000x9000 pixels"),
        ],
        ids=["half", "no end", "half a JPEG", "a page", "nothing", "model", "PostScript", "bomb"],
    )
    def test_it_is_refused_and_kept(self, data: bytes, words: str, tmp_path: Path) -> None:
        picture = hg.Bytes(data=data, media_type="image/png")
        runs = Runs(tmp_path / "out", ScriptedProvider(default=Script(outputs=(picture,))))
        failure = failure_of(runs.run(CAT)["cat"])
        assert isinstance(failure.error, ProcessingError)
        assert words in str(failure.error)
        assert failure.error.stage == "check"
        (raw,) = runs.folder.rglob("*.raw")
        assert raw.read_bytes() == data
        assert runs.store.files == {}
        assert (runs.run(CAT)["cat"].ok, runs.jobs) == (False, 1)


@attrs.define(kw_only=True)
class Three(ScriptedProvider):
    """One job makes three pictures; the second one is bad for a while."""

    per_job: int = 3
    bad: bytes

    async def fetch(self, url: hg.Url) -> bytes:
        return self.bad if url.url.endswith("/1.png") else GOOD


ADDRESSES = tuple(hg.Url(url=f"https://r.example/{place}.png") for place in range(3))


@pytest.mark.parametrize("bad", [bomb(9_000), GOOD[:-12]], ids=["bomb", "cut off"])
class TestAmongOthers:
    def test_the_others_are_there_and_it_comes_later(self, bad: bytes, tmp_path: Path) -> None:
        provider = Three(bad=bad, default=Script(outputs=ADDRESSES))
        runs = Runs(tmp_path / "out", provider)
        task = attrs.evolve(CAT, n=3)
        failure = failure_of(runs.run(task)["cat"])
        assert isinstance(failure.error, PartialResultError)
        assert [artifact.number for artifact in failure.artifacts] == [1, 3]
        assert "picture 2: " in str(failure.error)
        provider.bad = GOOD
        result = result_of(runs.run(task)["cat"])
        assert [artifact.number for artifact in result.artifacts] == [1, 2, 3]
        assert runs.jobs == 1

    def test_so_they_are_where_they_came_with_the_answer(self, bad: bytes, tmp_path: Path) -> None:
        outputs = tuple(hg.Bytes(data=data) for data in (GOOD, bad, GOOD))
        provider = ScriptedProvider(per_job=3, default=Script(outputs=outputs))
        failure = failure_of(Runs(tmp_path / "out", provider).run(attrs.evolve(CAT, n=3))["cat"])
        assert [artifact.number for artifact in failure.artifacts] == [1, 3]
        assert "picture 2: " in str(failure.error)
