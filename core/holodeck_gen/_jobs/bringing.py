"""A job's outputs on their way into the spool, as far as they can be had."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from holodeck_gen._jobs.job import Job
from holodeck_gen._journal.journal import Entry, Journal
from holodeck_gen._journal.steps import Finished
from holodeck_gen._model.provider import Bytes, JobStatus, PartError
from holodeck_gen._results.fetch import Fetcher, pictures
from holodeck_gen._results.finish import Finisher
from holodeck_gen.errors import DownloadError, ProcessingError

if TYPE_CHECKING:
    from holodeck_gen._journal.spool import RawFile
    from holodeck_gen._model.provider import Output


@attrs.define(kw_only=True, eq=False)
class Bringing:
    """Fetches what one job made, and asks the job again where that cannot be had.

    Args:
        journal: Where addresses are recorded.
        fetcher: Fetches one output.
        finisher: Checks one file.
        entry: The job's task.
        job: It has ended.

    Attributes:
        lost: Why one of the outputs could not be had.
        fresh: Where they were looked for last, if that is not where the job's end told.
    """

    journal: Journal
    fetcher: Fetcher
    finisher: Finisher
    entry: Entry
    job: Job
    lost: DownloadError | None = attrs.field(default=None, init=False)
    fresh: JobStatus | None = attrs.field(default=None, init=False)

    async def record(self, status: JobStatus) -> None:
        """Record where a job's outputs are."""
        if outputs := addresses(status):
            await self.journal.record(self.job.key, Finished(outputs=outputs, cost=status.cost))

    async def bring(
        self, status: JobStatus, had: dict[int, RawFile], *, stored: bool = False
    ) -> tuple[RawFile, ...]:
        """The raw files of all outputs that can be had.

        Args:
            status: What the job ended with.
            had: By their places, those that need not be fetched; filled in.
            stored: Whether the part is stored already, and its record says where they are.

        Raises:
            DownloadError: Nothing can be had.
            PausedError: The disk is full, or the results cannot be reached for too long.
        """
        self.lost = await self._fetch_into(had, status)
        if self.lost is not None and self.job.ref is not None:
            # The address may have expired; asking again costs nothing and may renew it.
            fresh = await self.job.renewed()
            if fresh is not None and fresh.outputs and fresh.outputs != status.outputs:
                self.fresh = fresh
                if not stored:
                    await self.record(fresh)
                self.lost = await self._fetch_into(had, fresh)
        if not had and self.lost is not None:
            raise self.lost
        return tuple(had[place] for place in sorted(had))

    async def _fetch_into(self, had: dict[int, RawFile], status: JobStatus) -> DownloadError | None:
        """Add what can be had; the first error of what cannot."""
        lost: DownloadError | None = None
        several = len(pictures(status)[0]) > 1
        for place, output in enumerate(status.outputs):
            if isinstance(output, PartError) or place in had:
                continue
            name = f"{self.job.key.submit_key}-{place}"
            kind = self.entry.task.kind
            try:
                raw = await self.fetcher.fetch(
                    output,
                    self.job.provider,
                    name=name,
                    kind=kind,
                    account=self.job.account,
                )
            except DownloadError as error:
                assert not isinstance(output, Bytes)
                kept = await self.fetcher.kept(output, name=name, kind=kind)
                if kept is None:
                    lost = lost or error
                    continue
                raw = kept
            if several and (refusal := await self._refusal(raw, output)):
                # One alone is kept, and its part fails; here the others are not to fail with it.
                lost = lost or refusal
                continue
            had[place] = attrs.evolve(raw, place=place)
        return lost

    async def _refusal(self, raw: RawFile, output: Output) -> DownloadError | None:
        """Why the check of a file would fail, if it would."""
        try:
            await self.finisher.check(raw, self.entry.task, decode=isinstance(output, Bytes))
        except ProcessingError as error:
            return DownloadError(str(error), stage="check")
        return None


def addresses(status: JobStatus) -> tuple[Output, ...]:
    """A job's outputs, unless some are bytes, which no journal keeps."""
    return () if any(isinstance(each, Bytes) for each in status.outputs) else status.outputs
