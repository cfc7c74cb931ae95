"""From raw files in the spool to finished files in the store."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from uuid import uuid4

import attrs

from holodeck_gen._calls import DeadlineError, finish, words
from holodeck_gen._journal.spool import WORK
from holodeck_gen._results.inspection import FileFacts, inspect_file, pixels
from holodeck_gen._results.room import Room
from holodeck_gen._results.seals import Seals
from holodeck_gen._results.shelf import BESIDE, Kept, Shelf
from holodeck_gen._stages.in_processes import InProcess, Workers
from holodeck_gen._stages.stages import Processor, processed
from holodeck_gen._stages.threads import StageThreads
from holodeck_gen.errors import PluginError, ProcessingError, StageError, StorageError
from holodeck_gen.files import full_disk, is_full

if TYPE_CHECKING:
    from holodeck_gen._event_queue import StageTimer
    from holodeck_gen._journal.journal import Entry
    from holodeck_gen._journal.spool import RawFile
    from holodeck_gen._model.artifact import Artifact
    from holodeck_gen._model.task import Task

#: What there is to say of a picture: takes the raw file's facts, the files that were stored, and
#: the names of the processors; returns the content of its sidecar.
Describe: TypeAlias = Callable[[FileFacts, Sequence[Kept], Sequence[str]], bytes]


@attrs.frozen
class _File:
    """A file to be stored.

    Attributes:
        path: Where it is.
        facts: What it is.
        extra: What is put behind the picture's name for a file beside it.
    """

    path: Path
    facts: FileFacts
    extra: str = ""


@contextlib.asynccontextmanager
async def _work_folder(raw: Path, copy: str | None) -> AsyncIterator[Path]:
    """A folder beside `raw`, with a copy of it; made and removed in a thread, as disks are slow."""
    folder = raw.with_name(f"{raw.stem}-{uuid4().hex}{WORK}")
    try:
        # Not cancelled half-way: nobody would remove what the thread makes after that.
        await finish(asyncio.ensure_future(asyncio.to_thread(_make_work_folder, folder, raw, copy)))
        yield folder
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _make_work_folder(folder: Path, raw: Path, copy: str | None) -> None:
    folder.mkdir(mode=0o700)
    if copy is not None:
        shutil.copyfile(raw, folder / copy)


def _inspected(file: Path, *, kind: str, declared: str | None) -> FileFacts:
    """The facts of what a processor has made."""
    if beside := BESIDE.get(file.suffix):
        kind, declared = "sidecar", beside
    return inspect_file(file, kind=kind, declared=declared)


def _written(text: bytes, file: Path) -> FileFacts:
    """The facts of a sidecar, which is written first."""
    file.write_bytes(text)
    return _inspected(file, kind="sidecar", declared=None)


@attrs.define(kw_only=True, eq=False)
class Finisher:
    """Runs the processors, then stores what they return and what is told of it.

    Args:
        processors: Names and functions, in order.
        shelf: Where finished files go.
        checks: Decodes pictures to find out whether they are whole.
        timeout_s: Seconds one processor may take.
        processes: Where those run that are `InProcess`; the others run in threads.
    """

    processors: Sequence[tuple[str, Processor | InProcess]]
    shelf: Shelf
    checks: StageThreads
    timeout_s: float
    processes: Workers | None = None
    _threads: StageThreads = attrs.field(factory=StageThreads, init=False)
    _room: Room = attrs.field(factory=Room, init=False)

    def close(self) -> None:
        """Let go of the processors' threads and processes. Blocks."""
        self._threads.close()
        if self.processes is not None:
            self.processes.close()

    async def finish(
        self,
        raw: RawFile,
        entry: Entry,
        *,
        stage: StageTimer,
        made: Task,
        number: int,
        total: int,
        checked: bool,
        describe: Describe | None = None,
    ) -> list[Artifact]:
        """Process and store one raw file, which may become several.

        Args:
            raw: The provider's file.
            entry: Its task.
            stage: Times each processor and the store.
            made: What its job was to make of it, with who made it.
            number: Which of the task's pictures this is, from 1.
            total: How many pictures the task asked for.
            checked: Whether it has been decoded to its end already.
            describe: Makes its sidecar, if it is to have one.

        Raises:
            ProcessingError: A check or processor failed. The raw file stays in the spool.
            StorageError: The store failed. Likewise.
            PausedError: The disk is full. Likewise.
        """
        try:
            facts = await self.check(raw, entry.task, decode=not checked)
            if not self.processors and describe is None:
                with stage("store"):
                    file = _File(raw.path, facts)
                    return [(await self._put(raw, file, entry, made, number, total)).artifact]
            first = f"image{facts.suffix}" if self.processors else None
            async with _work_folder(raw.path, first) as folder:
                files = [_File(raw.path, facts)]
                if first is not None:
                    files = await self._processed(folder / first, raw, facts, made, stage)
                kept: list[Kept] = []
                for file in files:
                    with stage("store"):
                        kept.append(await self._put(raw, file, entry, made, number, total))
                artifacts = [each.artifact for each in kept]
                if describe is not None and kept:
                    text = describe(facts, kept, [name for name, _ in self.processors])
                    with stage("store"):
                        beside = await self._put_sidecar(text, folder, kept[0], entry)
                    artifacts[0] = attrs.evolve(artifacts[0], sidecar=beside)
                return artifacts
        except OSError as error:
            if is_full(error):
                raise full_disk(raw.path.parent) from error
            raise StorageError(
                f"the spool {raw.path.parent}: {error.strerror or error}", stage="spool"
            ) from error
        except StageError as error:
            error.add_note(f"the provider's file is kept as {raw.path}")
            raise

    async def check(self, raw: RawFile, task: Task, *, decode: bool) -> FileFacts:
        """Find out what a raw file is.

        Args:
            raw: The provider's file.
            task: What made it.
            decode: Whether a picture is decoded to its end.

        Raises:
            ProcessingError: It is not what the task was to make.
        """
        decode = decode and task.kind == "image"
        look = partial(
            inspect_file, raw.path, kind=task.kind, declared=raw.media_type, decode=decode
        )
        if not decode:
            return await asyncio.to_thread(look)
        async with self._room.taken(await asyncio.to_thread(pixels, raw.path)):
            try:
                return await self.checks.run(look, timeout_s=self.timeout_s, what="the check")
            except (DeadlineError, PluginError) as error:
                raise ProcessingError(str(error), stage="check") from error

    async def _processed(
        self, first: Path, raw: RawFile, facts: FileFacts, task: Task, stage: StageTimer
    ) -> list[_File]:
        """What the processors make of `first`, a copy of a raw file."""
        async with self._room.taken((facts.width or 0) * (facts.height or 0)):
            files = await self._process(first, task, stage)
        look = partial(_inspected, kind=task.kind, declared=raw.media_type)
        made = await asyncio.to_thread(lambda: [look(file) for file in files])
        return [
            _File(file, each, file.stem.removeprefix(first.stem))
            for file, each in zip(files, made, strict=True)
        ]

    async def _process(self, first: Path, task: Task, stage: StageTimer) -> list[Path]:
        files = [first]
        seals = Seals(task=task.id)
        for name, processor in self.processors:
            done: list[Path] = []
            for file in files:
                with stage("process", name=name):
                    done += await self._apply(name, processor, file, task)
            files = done
            await seals.after(name, processor, files)
        return files

    async def _apply(
        self, name: str, processor: Processor | InProcess, file: Path, task: Task
    ) -> list[Path]:
        what = f"processor {name!r}"
        try:
            if isinstance(processor, InProcess):
                assert self.processes is not None
                return await self.processes.run(
                    processor.name, file, task, timeout_s=self.timeout_s, what=what
                )
            return await self._threads.run(
                processed, processor, file, task, timeout_s=self.timeout_s, what=what
            )
        except ProcessingError:
            raise
        except Exception as error:
            raise ProcessingError(
                f"processor {name!r} failed: {words(error)}", stage=name
            ) from error

    async def _put(
        self,
        raw: RawFile,
        file: _File,
        entry: Entry,
        made: Task,
        number: int,
        total: int,
    ) -> Kept:
        return await self.shelf.put(
            file.path,
            file.facts,
            raw,
            entry,
            provider=made.provider or "",
            number=number,
            total=total,
            extra=file.extra,
        )

    async def _put_sidecar(self, text: bytes, folder: Path, kept: Kept, entry: Entry) -> Artifact:
        # No processor's file has this name: theirs begin as the picture's.
        file = folder / "sidecar.json"
        facts = await asyncio.to_thread(_written, text, file)
        return await self.shelf.put_beside(file, facts, kept, entry)
