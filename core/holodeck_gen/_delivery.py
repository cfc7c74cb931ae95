"""From an ended job's outputs to finished files in the store, each step recorded."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._artifact import Artifact, Cost
from holodeck_gen._calls import told
from holodeck_gen._fetch import Fetcher, RawFile, pictures
from holodeck_gen._finish import Finisher
from holodeck_gen._job import Job
from holodeck_gen._journal import Entry, Failed, Fetched, Finished, Journal, PartRecord, Stored
from holodeck_gen._provider import Bytes, JobStatus
from holodeck_gen.errors import DownloadError, GenerationError, JobFailedError, StageError

if TYPE_CHECKING:
    from collections.abc import Sequence


@attrs.frozen(kw_only=True)
class Part:
    """What one job made of its share: files, an error, or both."""

    artifacts: tuple[Artifact, ...] = ()
    cost: Cost | None = None
    revised_prompt: str | None = None
    error: GenerationError | None = None


@attrs.define(kw_only=True, eq=False)
class Delivery:
    """One part's way from its outputs to its files.

    Args:
        entry: Its task.
        job: Its job, which has ended.
        pictures: How many were asked for.
        offset: How many pictures come before this part's.
        fetch_s: Seconds spent on bringing files into the spool.
        finish_s: Seconds spent on processing and storing.
        spooled: Raw files that are not needed once it is durable that they are stored.
    """

    journal: Journal
    fetcher: Fetcher
    finisher: Finisher
    entry: Entry
    job: Job
    pictures: int
    offset: int
    fetch_s: float = attrs.field(default=0.0, init=False)
    finish_s: float = attrs.field(default=0.0, init=False)
    spooled: tuple[Path, ...] = attrs.field(default=(), init=False)
    _raws: tuple[RawFile, ...] | None = attrs.field(default=None, init=False)
    _bytes: bool = attrs.field(default=False, init=False)

    async def answered(self, status: JobStatus) -> None:
        """Keep an answer that came at once: its bytes in the spool, or its addresses."""
        made, _ = pictures(status)
        if not made:
            return
        if any(isinstance(output, Bytes) for output in made):
            self._raws = await self.fetch(status)
        else:
            await self.journal.record(
                self.job.key, Finished(outputs=status.outputs, cost=status.cost)
            )

    async def fetch(self, status: JobStatus) -> tuple[RawFile, ...]:
        """Bring what a job made into the spool, and record it.

        Raises:
            JobFailedError: It made nothing.
            DownloadError: It cannot be had.
            PausedError: The disk is full.
        """
        if self._raws is not None:
            return self._raws
        made, missing = pictures(status)
        if not made:
            raise missing[0].error if missing else JobFailedError("it made nothing")
        began = asyncio.get_running_loop().time()
        self._bytes = any(isinstance(output, Bytes) for output in made)
        await self._record_outputs(status)
        try:
            raws = await self._fetch_all(status)
        except DownloadError:
            if self.job.ref is None:
                raise
            # The address may have expired; asking again costs nothing and may renew it.
            fresh = await self.job.renewed()
            if fresh is None or not fresh.outputs or fresh.outputs == status.outputs:
                raise
            await self._record_outputs(fresh)
            raws = await self._fetch_all(fresh)
        finally:
            self.fetch_s += asyncio.get_running_loop().time() - began
        await self.journal.record(self.job.key, Fetched(files=raws, cost=status.cost))
        self._raws = raws
        return raws

    async def store(self, raws: Sequence[RawFile], status: JobStatus) -> Part:
        """Process and store raw files, and record it.

        Args:
            raws: In the spool.
            status: What the job ended with, as far as it is known.

        Raises:
            StageError: The files stay in the spool.
        """
        began = asyncio.get_running_loop().time()
        artifacts: list[Artifact] = []
        for place, raw in enumerate(raws, start=1):
            artifacts += await self.finisher.finish(
                raw,
                self.entry,
                provider=self.job.provider.name,
                number=self.offset + place,
                total=max(self.entry.task.n, len(raws)),
            )
        self.finish_s += asyncio.get_running_loop().time() - began
        error = self._shortfall(status, len(raws))
        await self.journal.record(self.job.key, Stored(artifacts=tuple(artifacts), error=error))
        self.spooled = tuple(raw.path for raw in raws)
        return Part(
            artifacts=tuple(artifacts),
            cost=status.cost,
            revised_prompt=next((raw.revised_prompt for raw in raws if raw.revised_prompt), None),
            error=error,
        )

    async def failed(self, error: GenerationError) -> Part:
        """Record that the part ended without its files."""
        if isinstance(error, StageError):
            error = told(error, job_id=self.job.job_id)
        await self.journal.record(self.job.key, Failed(error=error, cost=self.job.cost))
        return Part(error=error)

    @property
    def unrecorded(self) -> bool:
        """Whether only asking the job again can bring its files."""
        return self._bytes and self._raws is None

    async def _record_outputs(self, status: JobStatus) -> None:
        if not any(isinstance(output, Bytes) for output in status.outputs):
            await self.journal.record(
                self.job.key, Finished(outputs=status.outputs, cost=status.cost)
            )

    async def _fetch_all(self, status: JobStatus) -> tuple[RawFile, ...]:
        made, _ = pictures(status)
        return tuple(
            [
                await self.fetcher.fetch(
                    output,
                    self.job.provider,
                    name=f"{self.job.key.submit_key}-{i}",
                    kind=self.entry.task.kind,
                    pace=self.job.account.pace(self.job.provider, "download"),
                )
                for i, output in enumerate(made)
            ]
        )

    def _shortfall(self, status: JobStatus, made: int) -> GenerationError | None:
        _, missing = pictures(status)
        if missing:
            return missing[0].error
        if made < self.pictures:
            return JobFailedError(f"it made {made} of {self.pictures}", job_id=self.job.job_id)
        return None


def as_recorded(record: PartRecord) -> JobStatus:
    """What a job ended with, from the journal."""
    return JobStatus(phase="done", outputs=record.outputs, cost=record.cost)
