"""From an ended job's outputs to finished files in the store, each step recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._calls import reworded, told
from holodeck_gen._jobs.bringing import Bringing, addresses
from holodeck_gen._jobs.job import Job
from holodeck_gen._journal.journal import Entry, Journal, PartRecord
from holodeck_gen._journal.shares import Share, missing, unfetched
from holodeck_gen._journal.spool import RawFile
from holodeck_gen._journal.steps import Completed, Failed, Fetched, Stored
from holodeck_gen._model.artifact import Artifact, Cost
from holodeck_gen._model.origin import Origin, this_release
from holodeck_gen._model.provider import Bytes, JobStatus, Url
from holodeck_gen._results.fetch import pictures
from holodeck_gen._results.finish import Finisher
from holodeck_gen._results.sidecar import describe
from holodeck_gen.errors import (
    DownloadError,
    GenerationError,
    JobFailedError,
    StageError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holodeck_gen._model.provider import Output
    from holodeck_gen._model.task import Task


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
        bringing: Brings them into the spool.
        entry: Its task.
        job: Its job, which has ended.
        share: What was asked of it.
        record: What an earlier run remembered of the part.
        wall_clock: Seconds since the epoch.
        fetch_s: Seconds spent on bringing files into the spool.
        finish_s: Seconds spent on processing and storing.
        spooled: Raw files that are not needed once it is durable that they are stored.
    """

    journal: Journal
    bringing: Bringing
    finisher: Finisher
    entry: Entry
    job: Job
    share: Share
    record: PartRecord
    wall_clock: Callable[[], float]
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
            await self.bringing.record(status)

    async def fetch(self, status: JobStatus) -> tuple[RawFile, ...]:
        """Bring what a job made into the spool, as far as it can be had, and record it.

        Raises:
            JobFailedError: It made nothing.
            DownloadError: Nothing of it can be had.
            PausedError: The disk is full.
        """
        if self._raws is not None:
            return self._raws
        made, unmade = pictures(status)
        if not made:
            raise unmade[0].error if unmade else JobFailedError("it made nothing")
        began = asyncio.get_running_loop().time()
        origin = self._origin(status)
        self._bytes = any(isinstance(output, Bytes) for output in made)
        await self.bringing.record(status)
        try:
            with self.job.reports.stage("fetch"):
                raws = _from(origin, await self.bringing.bring(status, {}))
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
        artifacts = await self._finish(raws, status)
        error, outputs = self._shortfall(self.bringing.fresh or status, raws)
        await self.journal.record(
            self.job.key, Stored(artifacts=artifacts, error=error, outputs=outputs)
        )
        self.spooled = tuple(raw.path for raw in raws)
        return Part(
            artifacts=artifacts,
            cost=status.cost,
            revised_prompt=next((raw.revised_prompt for raw in raws if raw.revised_prompt), None),
            error=error,
        )

    async def complete(self, record: PartRecord) -> Part:
        """Try again to have what of a stored part could not be had; nothing is paid for."""
        before = Part(artifacts=record.artifacts, cost=record.cost, error=record.error)
        status = as_recorded(record)
        had = {raw.place: raw for raw in record.files if raw.place is not None}
        try:
            with self.job.reports.stage("fetch"):
                raws = await self.bringing.bring(status, had, stored=True)
            raws = _from(self._origin(status), raws, but=record.files)
            error, outputs = self._shortfall(self.bringing.fresh or status, raws)
            new = [raw for raw in raws if raw not in record.files]
            artifacts = (*record.artifacts, *await self._finish(new, status))
        except StageError as fault:
            # Its place in the journal is as good as it was.
            return attrs.evolve(before, error=told(fault, job_id=self.job.job_id))
        if self.bringing.lost is not None:
            outputs = outputs or record.outputs
        # Also where nothing new could be had: when that was, tells whether it ever can be.
        await self.journal.record(
            self.job.key,
            Completed(artifacts=artifacts, files=raws, error=error, outputs=outputs),
        )
        self.spooled = tuple(raw.path for raw in new)
        return Part(artifacts=artifacts, cost=record.cost, error=error)

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

    async def _finish(self, raws: Sequence[RawFile], status: JobStatus) -> tuple[Artifact, ...]:
        began = asyncio.get_running_loop().time()
        outputs, _ = pictures(status)
        artifacts: list[Artifact] = []
        for i, raw in enumerate(raws):
            made = self._made(raw)
            number = self.share.number(i if raw.place is None else raw.place)
            tell = partial(
                describe,
                raw=raw,
                entry=self.entry,
                share=self.share,
                made=made,
                number=number,
                record=self.record,
                cost=status.cost,
            )
            artifacts += await self.finisher.finish(
                raw,
                self.entry,
                stage=self.job.reports.stage,
                made=made,
                number=number,
                total=max(self.entry.task.n, len(raws), len(outputs)),
                checked=_was_downloaded(raw, status),
                describe=tell if self.job.settings.sidecar else None,
            )
        self.finish_s += asyncio.get_running_loop().time() - began
        return tuple(artifacts)

    def _made(self, raw: RawFile) -> Task:
        """The job's task for one of its pictures, with who made it."""
        task, plan = self.share.task, self.share.plan
        seed = task.seed if raw.seed is None and task.n == 1 else raw.seed
        model = plan.model or task.model
        return attrs.evolve(task, n=1, seed=seed, provider=self.job.provider.name, model=model)

    def _origin(self, status: JobStatus) -> Origin | None:
        """What of the job is to be remembered with its files; equal in every run that asks."""
        if not self.job.settings.sidecar:
            return None
        record, ref = self.record, self.job.ref
        known = next((raw.origin for raw in record.files if raw.origin), None)
        if known is not None:
            return known
        if record.state in ("fetched", "stored"):
            # From before anybody wanted to know.
            return None
        if record.state == "finished":
            submitted, ended = record.submitted_at, record.changed_at
        else:
            ended = self.wall_clock()
            since = self.job.sent if self.job.accepted is None else self.job.accepted
            passed = 0.0 if since is None else asyncio.get_running_loop().time() - since
            submitted = record.submitted_at if since is None else ended - passed
        ids = (ref.request_id if ref else None, status.request_id)
        return Origin(
            job_id=self.job.job_id,
            request_ids=[each for each in ids if each],
            submitted_at=submitted,
            ended_at=ended,
            release=this_release(),
        )

    def _shortfall(
        self, status: JobStatus, raws: Sequence[RawFile]
    ) -> tuple[GenerationError | None, tuple[Output, ...]]:
        """Why files are missing, and the addresses where some of them may still be had."""
        if lost := unfetched(status.outputs, raws):
            numbers = ", ".join(str(self.share.number(place)) for place in lost)
            error = self.bringing.lost or DownloadError(
                "it could not be downloaded", stage="download"
            )
            error = reworded(error, f"picture {numbers}: {error}")
            return told(error, job_id=self.job.job_id), addresses(status)
        if not missing(self.share, raws):
            return None, ()
        _, told_of = pictures(status)
        if told_of:
            return told_of[0].error, ()
        asked = self.share.task.n
        return JobFailedError(f"it made {len(raws)} of {asked}", job_id=self.job.job_id), ()


def _was_downloaded(raw: RawFile, status: JobStatus) -> bool:
    """Whether it came from an address, and so is known to be whole; see `Fetcher`."""
    place = raw.place
    known = place is not None and place < len(status.outputs)
    return known and isinstance(status.outputs[place or 0], Url)


def _from(
    origin: Origin | None, raws: tuple[RawFile, ...], *, but: Sequence[RawFile] = ()
) -> tuple[RawFile, ...]:
    """Raw files that tell where they come from; what is stored already stays as it is."""
    if origin is None:
        return raws
    return tuple(raw if raw in but else attrs.evolve(raw, origin=origin) for raw in raws)


def as_recorded(record: PartRecord) -> JobStatus:
    """What a job ended with, from the journal."""
    return JobStatus(phase="done", outputs=record.outputs, cost=record.cost)
