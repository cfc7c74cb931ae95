"""One part of a task: its job, then its files, from wherever an earlier run left it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import attrs

from holodeck_gen._accounts.accounts import Accounts
from holodeck_gen._accounts.berth import MovesOnError
from holodeck_gen._config.settings import Settings
from holodeck_gen._event_queue import EventQueue
from holodeck_gen._jobs.bringing import Bringing
from holodeck_gen._jobs.delivery import Delivery, Part, as_recorded
from holodeck_gen._jobs.job import Job, Submits
from holodeck_gen._jobs.life import HELD, Life
from holodeck_gen._jobs.pauses import Pauses
from holodeck_gen._jobs.reports import JobReports
from holodeck_gen._journal.journal import Entry, Journal, PartRecord
from holodeck_gen._journal.shares import Share, missing
from holodeck_gen._journal.steps import Fetched
from holodeck_gen._log import Logger
from holodeck_gen._model.origin import Origin
from holodeck_gen._model.provider import JobStatus, Provider
from holodeck_gen._results.cache import Cache
from holodeck_gen._results.fetch import Fetcher
from holodeck_gen._results.finish import Finisher
from holodeck_gen._spending.budget import Budget
from holodeck_gen._spending.charge import Charge
from holodeck_gen._spending.prices import Prices, price_name
from holodeck_gen.errors import (
    ConfigError,
    GenerationError,
    JobFailedError,
    PausedError,
    ProcessingError,
    ProviderError,
    SlotRefusedError,
    StorageError,
    SubmitUncertainError,
)

if TYPE_CHECKING:
    from holodeck_gen._journal.spool import RawFile

_log = Logger("holodeck_gen.part")


@attrs.define(kw_only=True, eq=False)
class PartRunner:
    """Runs parts. Everything it needs is handed in.

    Attributes:
        submitter: None where nothing may be submitted and only what is paid for is collected.
        cache: Where files of earlier generations are looked for, if anywhere.
    """

    accounts: Accounts
    journal: Journal
    fetcher: Fetcher
    finisher: Finisher
    submitter: Submits | None
    cache: Cache | None
    prices: Prices
    budget: Budget
    settings: Settings
    events: EventQueue
    #: Runs what may outlive a task.
    background: Callable[[Coroutine[Any, Any, None]], object]
    wall_clock: Callable[[], float] = time.time
    _pauses: Pauses = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pauses = Pauses(accounts=self.accounts, budget=self.budget, journal=self.journal)

    async def run(self, life: Life, entry: Entry, share: Share) -> Part:
        """Make one part; its error is a value, so that others go on."""
        record = entry.parts.get(share.index, PartRecord())
        job = self._job(life, entry, share, record)
        bringing = Bringing(
            journal=self.journal,
            fetcher=self.fetcher,
            finisher=self.finisher,
            entry=entry,
            job=job,
        )
        delivery = Delivery(
            journal=self.journal,
            bringing=bringing,
            finisher=self.finisher,
            entry=entry,
            job=job,
            share=share,
            record=record,
            wall_clock=self.wall_clock,
        )
        job.answered = delivery.answered
        life.jobs.append(job)
        life.deliveries.append(delivery)
        try:
            part = await self._run(job, delivery, share, record)
            self._pauses.stored()
            return part
        except GenerationError as error:
            job.account.consider(error, job.quota)
            self._pauses.consider(error)
            if isinstance(error, MovesOnError | SlotRefusedError) and not life.begun:
                # It looks for room elsewhere.
                return Part(error=error)
            # Where the spool did not take an answer's bytes, only asking the job brings them again.
            unspooled = isinstance(error, StorageError) and error.stage == "spool"
            lost = unspooled and delivery.unrecorded and job.ref is not None
            if lost or job.open or isinstance(error, (*HELD, ConfigError)):
                life.held = True
                return Part(error=error)
            return await _failed(life, delivery, error)
        except Exception as fault:
            # A plugin's fault, or ours. It must not cancel the task's other parts.
            _log.exception("part.crashed", part=str(job.key))
            crash = ProviderError(f"unexpected {type(fault).__name__}: {fault}")
            crash.__cause__ = fault
            if job.open or job.ref is not None:
                # It says nothing about the job, which is paid for: its part stays as it is, so
                # that the next run, or whoever collects, still gets what it made.
                life.held = True
                return Part(error=crash)
            return await _failed(life, delivery, crash)
        finally:
            if job.berth is not None:
                # Taken long ago, or not needed: the picture was cached.
                job.berth.close()

    async def _run(self, job: Job, delivery: Delivery, share: Share, record: PartRecord) -> Part:
        key: str | None = None
        match record.state:
            case "stored" if record.outputs:
                return await delivery.complete(record)
            case "stored":
                # What a later part makes up for is not missing any more.
                error = record.error if missing(share, record.files) else None
                return Part(artifacts=record.artifacts, cost=record.cost, error=error)
            case "failed":
                return Part(error=record.error or JobFailedError("it failed in an earlier run"))
            case "fetched" if all(file.path.exists() for file in record.files):
                status = as_recorded(record)
                try:
                    return await delivery.store(record.files, status)
                except ProcessingError as error:
                    if error.stage != "check" or not record.outputs:
                        raise
                    # What was fetched is of no use; by now there may be what should be there.
                    _log.warning("part.fetched_again", part=str(job.key), error=str(error))
            case "finished" | "fetched" if record.outputs:
                # Somebody has deleted what was fetched, but it may still be had.
                status = as_recorded(record)
            case "fetched" if record.job is None:
                raise StorageError(
                    f"{record.files[0].path} is gone; it cannot be had again", stage="store"
                )
            case _:
                # By what the inputs are now, not by what they may be when the job has ended.
                key = await self._cache_key(share) if record.state == "admitted" else None
                if key is not None and (raws := await self._cached(job, key)):
                    return await delivery.store(raws, JobStatus(phase="done"))
                status = await self._status(job, share, record)
        raws = await delivery.fetch(status)
        if self.cache is not None and key is not None and len(raws) >= share.task.n:
            # What is not whole would stand in the way of what could be.
            await asyncio.to_thread(self.cache.put, key, raws)
        return await delivery.store(raws, status)

    async def _cached(self, job: Job, key: str) -> tuple[RawFile, ...] | None:
        """Files that an earlier generation made of the same request, brought into the spool."""
        assert self.cache is not None
        raws = await asyncio.to_thread(
            self.cache.get, key, spool=self.fetcher.folder, name=f"{job.key.submit_key}-cached"
        )
        if raws is None:
            return None
        _log.info("part.cached", part=str(job.key))
        if self.settings.sidecar:
            raws = tuple(_reused(raw) for raw in raws)
        await self.journal.record(job.key, Fetched(files=raws))
        return raws

    async def _cache_key(self, share: Share) -> str | None:
        if self.cache is None:
            return None
        return await asyncio.to_thread(self.cache.key, share.plan, share.task, share.request)

    async def _status(self, job: Job, share: Share, record: PartRecord) -> JobStatus:
        """What the job ends with, which may have to be begun."""
        if record.state != "admitted":
            job.charge.take_over()
        try:
            return await self._ended(job, share, record)
        finally:
            job.charge.close(job.cost)

    async def _ended(self, job: Job, share: Share, record: PartRecord) -> JobStatus:
        if record.state == "uncertain":
            error = record.error or SubmitUncertainError("a submit had no answer")
            if self.submitter is None:
                raise error
            await self.submitter.settle(job, error)
        if job.ref is not None:
            accepted = record.submitted_at or self.wall_clock()
            return await job.resume(job.ref, age_s=max(0.0, self.wall_clock() - accepted))
        if self.submitter is None:
            raise PausedError("not submitted: only what is paid for is collected")
        job.charge.expect()
        return await job.run(
            share.request, self.submitter, priority=share.task.priority, group=share.group
        )

    def _job(self, life: Life, entry: Entry, share: Share, record: PartRecord) -> Job:
        assert life.provider is not None
        account = self.accounts.of(life.provider)
        key = entry.part(share.index)
        job = Job(
            key=key,
            provider=life.provider,
            account=account,
            quota=life.provider.quota_key(share.task),
            gate=account.gate(life.provider, share.task),
            settings=self.settings,
            reports=JobReports(key=key, provider=life.provider.name, events=self.events),
            background=self.background,
            duration_key=_duration_key(life.provider, share),
            attempts=record.attempt,
            charge=self._charge(life.provider, share, record),
        )
        job.ref = record.job
        job.refused = record.state == "admitted"
        job.berth = life.berth if share.index == 0 else None
        return job

    def _charge(self, provider: Provider, share: Share, record: PartRecord) -> Charge:
        model, prices = share.plan.model, share.plan.prices
        price = self.prices.of_job(
            provider,
            model=model,
            pictures=share.task.n,
            estimate=prices[share.index] if prices else None,
        )
        return Charge(
            budget=self.budget,
            price=price,
            already=record.cost or record.price,
            what=price_name(provider.name, model),
        )


def _reused(raw: RawFile) -> RawFile:
    """A raw file of the cache, whose job was another task's."""
    return attrs.evolve(raw, origin=attrs.evolve(raw.origin or Origin(), reused=True))


def _duration_key(provider: Provider, share: Share) -> str:
    """What jobs have in common that take about as long."""
    told = getattr(provider, "duration_key", None)
    if told is not None:
        try:
            return str(told(share.request))
        except Exception as error:
            # It only serves to poll well; a job that is paid for must not end for it.
            _log.warning("provider.no_duration_key", provider=provider.name, error=repr(error))
    return f"{provider.quota_key(share.task)} {share.plan.model}"


async def _failed(life: Life, delivery: Delivery, error: GenerationError) -> Part:
    """A part's end without its files, which the journal may refuse; its siblings go on."""
    try:
        return await delivery.failed(error)
    except GenerationError as refusal:
        life.held = True
        return Part(error=refusal)
