"""From raw files in the spool to finished files in the store."""

from __future__ import annotations

import asyncio
import inspect
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._artifact import Artifact
from holodeck_gen._calls import bounded
from holodeck_gen._inspect import FileFacts, inspect_file, pixels, without_suffix
from holodeck_gen._journal import Entry, Journal
from holodeck_gen._names import NameTemplate, alternative, numbered
from holodeck_gen._room import Room
from holodeck_gen._seals import Seals
from holodeck_gen._stage_threads import StageThreads
from holodeck_gen._stages import Processor, Store
from holodeck_gen.errors import ProcessingError, StageError, StorageError
from holodeck_gen.files import full_disk, is_full, overwrite

if TYPE_CHECKING:
    from holodeck_gen._event_queue import StageTimer
    from holodeck_gen._fetch import RawFile
    from holodeck_gen._task import Task

#: How the names of folders end in which a raw file is worked on; they begin as the file's.
WORK = ".work"
#: What a processor may write about a picture into a file beside it, by that file's suffix.
SIDECARS = {".json": "application/json", ".xmp": "application/rdf+xml"}
#: Names tried for one file before giving up.
MAX_ALTERNATIVES = 1000


@attrs.define(kw_only=True, eq=False)
class Finisher:
    """Runs the processors in threads, then names and stores what they return.

    Args:
        processors: Names and functions, in order.
        store: Where finished files go.
        template: How they are named.
        timeout_s: Seconds one processor or store may take.
        placed_by: The metadata field that names a task's file, in place of the store; only for
            a task of one file.
    """

    processors: Sequence[tuple[str, Processor]]
    store: Store
    template: NameTemplate
    journal: Journal
    timeout_s: float
    placed_by: str | None = None
    _threads: StageThreads = attrs.field(factory=StageThreads, init=False)
    _room: Room = attrs.field(factory=Room, init=False)

    def close(self) -> None:
        """Let go of the processors' threads. Blocks."""
        self._threads.close()

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
    ) -> list[Artifact]:
        """Process and store one raw file, which may become several.

        Args:
            raw: The provider's file.
            entry: Its task.
            stage: Times each processor and the store.
            made: What its job was to make, with who made it.
            number: Which of the task's pictures this is, from 1.
            total: How many pictures the task asked for.
            checked: Whether it has been decoded to its end already.

        Raises:
            ProcessingError: A check or processor failed. The raw file stays in the spool.
            StorageError: The store failed. Likewise.
            PausedError: The disk is full. Likewise.
        """
        task, provider = entry.task, made.provider or ""
        try:
            facts = await self.check(raw, task, decode=not checked)
            if not self.processors:
                with stage("store"):
                    return [
                        await self._put(raw, raw.path, facts, entry, provider, number, total, "")
                    ]
            with tempfile.TemporaryDirectory(
                prefix=f"{raw.path.stem}-", suffix=WORK, dir=raw.path.parent
            ) as folder:
                first = Path(folder) / f"image{facts.suffix}"
                await asyncio.to_thread(shutil.copyfile, raw.path, first)
                stored: list[Artifact] = []
                async with self._room.taken((facts.width or 0) * (facts.height or 0)):
                    files = await self._process(first, _alone(made, raw), stage)
                for file in files:
                    facts = await self._inspect_made(file, task, raw.media_type)
                    extra = file.stem.removeprefix(first.stem)
                    with stage("store"):
                        stored.append(
                            await self._put(raw, file, facts, entry, provider, number, total, extra)
                        )
                return stored
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
        size = await asyncio.to_thread(pixels, raw.path) if decode else 0
        async with self._room.taken(size):
            return await asyncio.to_thread(
                inspect_file,
                raw.path,
                kind=task.kind,
                declared=raw.media_type,
                decode=decode,
            )

    async def _inspect_made(self, path: Path, task: Task, declared: str | None) -> FileFacts:
        kind, declared = (
            ("sidecar", SIDECARS[path.suffix]) if path.suffix in SIDECARS else (task.kind, declared)
        )
        return await asyncio.to_thread(inspect_file, path, kind=kind, declared=declared)

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

    async def _apply(self, name: str, processor: Processor, file: Path, task: Task) -> list[Path]:
        try:
            answer = await self._threads.run(
                processor, file, task, timeout_s=self.timeout_s, what=f"processor {name!r}"
            )
            if inspect.iscoroutine(answer):
                # Otherwise Python warns at some later time that it was never awaited.
                answer.close()
            if inspect.isawaitable(answer):
                raise TypeError("a processor is a plain function, not a coroutine function")
            files = [answer] if isinstance(answer, Path) else list(answer)
            for each in files:
                if not isinstance(each, Path) or not each.is_file():
                    raise TypeError(f"it returned {each!r}, which is not the path of a file")
        except ProcessingError:
            raise
        except Exception as error:
            raise ProcessingError(
                f"processor {name!r} failed: {error or type(error).__name__}", stage=name
            ) from error
        return files

    async def _put(
        self,
        raw: RawFile,
        file: Path,
        facts: FileFacts,
        entry: Entry,
        provider: str,
        number: int,
        total: int,
        extra: str,
    ) -> Artifact:
        artifact = Artifact(
            path=file,
            media_type=facts.media_type,
            sha256=facts.sha256,
            size_bytes=facts.size_bytes,
            width=facts.width,
            height=facts.height,
            seed=raw.seed,
            number=number,
            metadata=raw.metadata,
        )
        name = self.template.render(entry, artifact, provider=provider)
        suffix = facts.suffix
        if suffix and name.lower().endswith(_spellings(suffix)):
            suffix = name[name.rindex(".") :]
            name = name.removesuffix(suffix)
        elif extra or file.suffix in SIDECARS:
            # What stands beside a.png is a-thumb.jpg.
            name = without_suffix(name)
        own = entry.task.metadata.get(self.placed_by) if self.placed_by else None
        if isinstance(own, str) and total == 1 and not extra:
            return attrs.evolve(artifact, path=await self._place(file, Path(own)))
        name = numbered(name, number, total) + extra
        where = await self._store(file, entry, name, suffix)
        if isinstance(where, Path):
            return attrs.evolve(artifact, path=where)
        return attrs.evolve(artifact, path=None, uri=where)

    async def _place(self, file: Path, target: Path) -> Path:
        try:
            return await asyncio.to_thread(overwrite, file, target)
        except OSError as error:
            if is_full(error):
                raise full_disk(file.parent) from error
            raise StorageError(
                f"{target} could not be written: {error.strerror or error}", stage="store"
            ) from error

    async def _store(self, file: Path, entry: Entry, name: str, suffix: str) -> Path | str:
        for attempt in range(1, MAX_ALTERNATIVES):
            candidate = alternative(name, suffix, attempt)
            if not await self.journal.reserve(entry, candidate):
                continue
            try:
                where = await bounded(
                    self.store.put(file, candidate), timeout_s=self.timeout_s, what="the store"
                )
            except FileExistsError:
                continue
            except StageError:
                raise
            except Exception as error:
                if is_full(error):
                    raise full_disk(file.parent) from error
                raise StorageError(
                    f"{candidate} could not be stored: {error or type(error).__name__}",
                    stage="store",
                ) from error
            if not isinstance(where, Path | str):
                raise StorageError(
                    f"the store returned {type(where).__name__}, not a path or URI", stage="store"
                )
            return where
        raise StorageError(f"{name}{suffix} and its alternatives are all taken", stage="store")


def _alone(made: Task, raw: RawFile) -> Task:
    """A job's task for one of its pictures."""
    seed = made.seed if raw.seed is None and made.n == 1 else raw.seed
    return attrs.evolve(made, n=1, seed=seed)


def _spellings(suffix: str) -> tuple[str, ...]:
    """The suffixes that a user may write for a type."""
    same = {".jpg": (".jpg", ".jpeg"), ".tif": (".tif", ".tiff")}
    return same.get(suffix, (suffix,))
