"""Stores are asked before anything is paid for, and the journal knows which one it was."""

from __future__ import annotations

import asyncio
import errno
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import structlog

import holodeck_gen as hg
from helpers import FakeStore, opened
from holodeck_gen._collect import Collector
from holodeck_gen._plugins.store import CHECK_S, StoreNote, check_store
from holodeck_gen._scripted import Script
from holodeck_gen.errors import ConfigError, PausedError, StorageError
from holodeck_gen.testing import ScriptedProvider, run_virtual
from pictures import context
from runs import CAT, DOG, Runs

if TYPE_CHECKING:
    from pathlib import Path


@attrs.define
class Checked(FakeStore):
    """A store that says whether it can be used."""

    answer: Callable[[], Any] = attrs.field(default=lambda: None, kw_only=True)
    asked: int = attrs.field(default=0, init=False)
    where: str = attrs.field(default="the cellar", kw_only=True)

    async def check(self) -> None:
        self.asked += 1
        if (answer := self.answer()) is not None:
            raise answer


class Never(Checked):
    async def check(self) -> None:
        await asyncio.Event().wait()


def opening(store: Any) -> ScriptedProvider:
    """What a provider has seen once a studio with this store was opened and used."""
    provider = ScriptedProvider(default=Script(job_s=1))

    async def main() -> None:
        async with opened(provider, store=store) as studio:
            await studio.generate_all([CAT, DOG])

    run_virtual(main())
    return provider


class TestCheck:
    def test_once_for_all_tasks(self) -> None:
        store = Checked()
        assert len(opening(store).submits) == 2
        assert store.asked == 1

    def test_a_store_that_cannot_tell_is_taken(self) -> None:
        run_virtual(check_store(FakeStore()))

    @pytest.mark.parametrize(
        "answer", [StorageError("no room", stage="store"), ConfigError("no such shelf")]
    )
    def test_what_it_says_ends_the_run_before_it_begins(self, answer: Exception) -> None:
        provider = ScriptedProvider()

        async def main() -> None:
            async with opened(provider, store=Checked(answer=lambda: answer)):
                pytest.fail("it was opened")

        with pytest.raises(type(answer), match=str(answer)):
            run_virtual(main())
        assert provider.submits == []

    def test_what_it_did_not_mean_to_say_is_an_error_of_the_store(self) -> None:
        with pytest.raises(StorageError, match="cannot be used: ZeroDivisionError"):
            run_virtual(check_store(Checked(answer=ZeroDivisionError)))

    def test_it_has_a_deadline(self) -> None:
        with pytest.raises(StorageError, match=f"the cellar has not answered within {CHECK_S:g} s"):
            run_virtual(check_store(Never()))


class TestFolder:
    """The built-in store of folders."""

    def local(self, folder: Path) -> Any:
        registry = hg.Registry()
        made = registry.configure("store", "local", {"folder": str(folder)})
        return made.make(context())

    def test_nothing_is_left(self, tmp_path: Path) -> None:
        run_virtual(check_store(self.local(tmp_path / "a" / "b")))
        assert list((tmp_path / "a" / "b").iterdir()) == []

    def test_a_file_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("")
        for folder in (tmp_path / "a", tmp_path / "a" / "b"):
            with pytest.raises(StorageError, match=f"cannot write into {folder}"):
                run_virtual(check_store(self.local(folder)))

    def test_a_full_disk_is_a_pause(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Room for a name is not yet room for a file."""
        make = tempfile.TemporaryFile

        def full(**arguments: Any) -> Any:
            file = make(**arguments)

            def write(data: bytes) -> int:
                assert data
                raise OSError(errno.ENOSPC, "No space left on device")

            monkeypatch.setattr(file, "write", write, raising=False)
            return file

        monkeypatch.setattr(tempfile, "TemporaryFile", full)
        with pytest.raises(PausedError, match=f"the disk that holds {tmp_path} is full"):
            run_virtual(check_store(self.local(tmp_path)))


class TestNote:
    """What a journal keeps of the store."""

    def test_there_and_back(self) -> None:
        note = StoreNote.of("shelf", Checked())
        assert note == StoreNote(name="shelf", where="the cellar")
        assert StoreNote.read(note.to_json()) == note
        assert StoreNote.read(None) is None

    def test_one_that_a_program_made(self) -> None:
        assert StoreNote.of(Checked(), Checked()).made == "Checked"
        assert StoreNote.of(None, Checked()).made is None

    def test_another_place(self) -> None:
        note = StoreNote.of("shelf", Checked())
        note.expect(Checked())
        with pytest.raises(ConfigError, match="in the cellar, and this store is the attic"):
            note.expect(Checked(where="the attic"))
        made = StoreNote.of(Checked(), Checked())
        with pytest.raises(
            ConfigError, match=r"a program made it \(Checked\), or say with --store"
        ):
            made.expect(FakeStore())
        # Where it was is not known; it may be this one.
        StoreNote(name="shelf").expect(Checked())


class TestCollect:
    def test_a_store_that_only_the_program_has_is_told_of(self, tmp_path: Path) -> None:
        runs = Runs(tmp_path / "out")
        runs.killed(CAT, after_s=5)

        async def main(**arguments: Any) -> list[hg.Outcome]:
            config = hg.Config.of({}, environ={})
            collector = Collector(
                journal=runs.journal, provider=[runs.provider], config=config, **arguments
            )
            return [outcome async for outcome in collector.outcomes()]

        with structlog.testing.capture_logs() as logs:
            (outcome,) = run_virtual(main())
        assert isinstance(outcome, hg.Result)
        assert outcome.artifact.path == runs.folder.resolve() / "cat.png"
        assert [each["store"] for each in logs if each["event"] == "collect.store_unknown"] == [
            "FakeStore"
        ]

    def test_a_program_hands_its_store_in(self, tmp_path: Path) -> None:
        runs = Runs(tmp_path / "out")
        runs.killed(CAT, after_s=5)
        store = Checked(answer=lambda: StorageError("no room", stage="store"))

        async def main() -> list[hg.Outcome]:
            config = hg.Config.of({}, environ={})
            collector = Collector(
                journal=runs.journal, provider=[runs.provider], store=store, config=config
            )
            return [outcome async for outcome in collector.outcomes()]

        (outcome,) = run_virtual(main())
        assert isinstance(outcome, hg.Result)
        # It is not asked: what is paid for is fetched in any case.
        assert store.asked == 0
        assert list(store.files) == ["cat.png"]
