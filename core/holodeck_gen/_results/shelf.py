"""Finished files get their names and go into the store."""

from __future__ import annotations

import asyncio
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._calls import bounded, words
from holodeck_gen._journal.journal import Entry, Journal
from holodeck_gen._model.artifact import Artifact
from holodeck_gen._model.names import NameTemplate, alternative, numbered
from holodeck_gen._results.inspection import FileFacts, without_suffix
from holodeck_gen._stages.stages import Store
from holodeck_gen.errors import StageError, StorageError
from holodeck_gen.files import full_disk, is_full, overwrite

if TYPE_CHECKING:
    from holodeck_gen._journal.spool import RawFile

#: What a processor may write about a picture into a file beside it, by that file's suffix.
BESIDE = {".json": "application/json", ".xmp": "application/rdf+xml"}
#: Names tried for one file before giving up.
MAX_ALTERNATIVES = 1000


@attrs.frozen(kw_only=True)
class Kept:
    """A file in the store.

    Attributes:
        artifact: Where it is, and its facts.
        stem: Its name there, without the suffix.
        suffix: With its dot; empty where there is none.
    """

    artifact: Artifact
    stem: str
    suffix: str

    @property
    def name(self) -> str:
        """Its name in its folder."""
        path = self.artifact.path or PurePosixPath(self.stem + self.suffix)
        return path.name


@attrs.frozen(kw_only=True)
class Shelf:
    """Names files and stores them; a name is the task's before anything has it.

    Args:
        store: Where finished files go.
        template: How they are named.
        timeout_s: Seconds that storing one may take.
        placed_by: The metadata field that names a task's file, in place of the store; only for
            a task of one file.
    """

    store: Store
    template: NameTemplate
    journal: Journal
    timeout_s: float
    placed_by: str | None = None

    async def put(
        self,
        file: Path,
        facts: FileFacts,
        raw: RawFile,
        entry: Entry,
        *,
        provider: str,
        number: int,
        total: int,
        extra: str,
    ) -> Kept:
        """Store one file that was made of `raw`.

        Args:
            file: The file.
            facts: Its facts.
            raw: The provider's file.
            entry: Its task.
            provider: Who made it.
            number: Which of the task's pictures it is, from 1.
            total: How many pictures the task asked for.
            extra: What is put behind the picture's name for a file beside it.

        Raises:
            StorageError: The store failed.
            PausedError: The disk is full.
        """
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
        name = self.template.render(
            entry.task, artifact, key=entry.key, index=entry.index, provider=provider
        )
        suffix = facts.suffix
        if suffix and name.lower().endswith(_spellings(suffix)):
            suffix = name[name.rindex(".") :]
            name = name.removesuffix(suffix)
        elif extra or file.suffix in BESIDE:
            # What stands beside a.png is a-thumb.jpg.
            name = without_suffix(name)
        own = entry.task.metadata.get(self.placed_by) if self.placed_by else None
        if isinstance(own, str) and total == 1 and not extra:
            path = await self._place(file, Path(own))
            return Kept(artifact=attrs.evolve(artifact, path=path), stem=name, suffix=suffix)
        return await self._store(artifact, entry, numbered(name, number, total) + extra, suffix)

    async def put_beside(self, file: Path, facts: FileFacts, kept: Kept, entry: Entry) -> Artifact:
        """Store a file about `kept` under its name with another suffix; errors as of `put`."""
        artifact = Artifact(
            path=file,
            media_type=facts.media_type,
            sha256=facts.sha256,
            size_bytes=facts.size_bytes,
            number=kept.artifact.number,
        )
        beside = await self._store(artifact, entry, kept.stem, facts.suffix)
        return beside.artifact

    async def _place(self, file: Path, target: Path) -> Path:
        try:
            return await asyncio.to_thread(overwrite, file, target)
        except OSError as error:
            if is_full(error):
                raise full_disk(file.parent) from error
            raise StorageError(
                f"{target} could not be written: {error.strerror or error}", stage="store"
            ) from error

    async def _store(self, artifact: Artifact, entry: Entry, name: str, suffix: str) -> Kept:
        file = artifact.path
        assert file is not None
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
                    f"{candidate} could not be stored: {words(error)}",
                    stage="store",
                ) from error
            if not isinstance(where, Path | str):
                raise StorageError(
                    f"the store returned {type(where).__name__}, not a path or URI", stage="store"
                )
            stored = (
                attrs.evolve(artifact, path=where)
                if isinstance(where, Path)
                else attrs.evolve(artifact, path=None, uri=where)
            )
            return Kept(artifact=stored, stem=candidate.removesuffix(suffix), suffix=suffix)
        raise StorageError(f"{name}{suffix} and its alternatives are all taken", stage="store")


def _spellings(suffix: str) -> tuple[str, ...]:
    """The suffixes that a user may write for a type."""
    same = {".jpg": (".jpg", ".jpeg"), ".tif": (".tif", ".tiff")}
    return same.get(suffix, (suffix,))
