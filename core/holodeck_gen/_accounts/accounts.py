"""What tasks of one account share: job slots, request paces, and whether it is paused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._accounts.sample import Sampler
from holodeck_gen._calls import copied
from holodeck_gen._event_queue import EventQueue
from holodeck_gen._gate.levels import Levels
from holodeck_gen._gate.local import LocalGate
from holodeck_gen._gate.proven import Memory
from holodeck_gen._health.health import Health
from holodeck_gen._health.judgement import OUTAGE_S
from holodeck_gen._log import Logger
from holodeck_gen._model.concurrency import Concurrency
from holodeck_gen._model.provider import Action, Limits, Provider
from holodeck_gen._pacing.lane import OwnBook
from holodeck_gen._pacing.pace import Pace
from holodeck_gen._pacing.poll_desk import PollDesk, Timetable
from holodeck_gen._seats.own import OwnSeats
from holodeck_gen._seats.seating import Seating
from holodeck_gen.errors import AuthError, BillingError, GenerationError, PausedError
from holodeck_gen.events import AccountPaused, SlotsSampled

if TYPE_CHECKING:
    from holodeck_gen._gate.gate import Gate
    from holodeck_gen._model.task import Task

_log = Logger("holodeck_gen.accounts")

#: Keys of a provider that tells every job from all others teach nothing, and must not pile up.
MOST_TIMETABLES = 100


@attrs.define(kw_only=True, eq=False)
class Account:
    """One set of credentials at one endpoint.

    Attributes:
        key: The provider's `account_key`.
        paused: Why nothing may be submitted, if so.
        health: Of the service that takes submits and polls.
        results: Of the service that has the results, often another one.
    """

    key: str
    concurrency: Concurrency
    probe: bool = False
    #: Seconds without a good answer after which it is paused.
    outage_s: float = OUTAGE_S
    #: Told of a pause when it begins.
    on_pause: Callable[[PausedError], object] = lambda _reason: None
    #: Called where more jobs at once are allowed than before.
    on_growth: Callable[[], object] = lambda: None
    #: Told of pauses, and now and then how job slots are used.
    events: EventQueue = attrs.field(factory=EventQueue)
    seating: Seating | None = None
    paused: PausedError | None = attrs.field(default=None, init=False)
    health: Health = attrs.field(init=False)
    results: Health = attrs.field(init=False)
    #: Why nothing may be submitted for a quota, by its key.
    _shut: dict[str, PausedError] = attrs.field(factory=dict, init=False)
    _gates: dict[str, LocalGate] = attrs.field(factory=dict, init=False)
    _samplers: dict[str, Sampler] = attrs.field(factory=dict, init=False)
    _paces: dict[Action, Pace] = attrs.field(factory=dict, init=False)
    _desk: PollDesk | None = attrs.field(default=None, init=False)
    _timetables: dict[str, Timetable] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.health = Health(pause=self.pause, outage_s=self.outage_s)
        self.results = Health(pause=self.pause, outage_s=self.outage_s)

    def gate(self, provider: Provider, task: Task) -> Gate:
        """The job slots that `task` shares."""
        quota = provider.quota_key(task)
        if quota not in self._gates:
            # What costs nothing is on this machine: there is nothing to find out.
            memory = None if provider.billing == "free" else Memory.of(self.key, quota)
            limits = limits_of(provider, task)
            seats = (
                OwnSeats() if self.seating is None else self.seating.seats(provider, task, limits)
            )
            gate = LocalGate(
                self.concurrency,
                limits,
                seats=seats,
                memory=memory,
                probe=self.probe and limits.refusals_free,
            )
            sampler = self._samplers[quota] = Sampler(
                account=self.key,
                quota=quota,
                gate=gate,
                submits=self.pace(provider, "submit"),
                polls=self.pace(provider, "poll"),
                events=self.events,
            )
            gate.on_change = self._watch(gate, sampler)
            self._gates[quota] = gate
        return self._gates[quota]

    def _watch(self, gate: LocalGate, sampler: Sampler) -> Callable[[float], None]:
        ceiling = gate.ceiling

        def changed(now: float) -> None:
            nonlocal ceiling
            before, ceiling = ceiling, gate.ceiling
            sampler.changed(now)
            if ceiling > before:
                self.on_growth()

        return changed

    def pace(self, provider: Provider, action: Action) -> Pace:
        """The pace of one action, of all that send at this account."""
        if action not in self._paces:
            rate = provider.limits.rate(action)
            # Where no rate is documented there is nothing that all together could be above.
            shared = self.seating is not None and rate is not None
            book = self.seating.book(provider, action) if shared and self.seating else OwnBook()
            self._paces[action] = Pace(rate, book)
        return self._paces[action]

    def desk(self, provider: Provider) -> PollDesk:
        """Where polls wait for their turn."""
        if self._desk is None:
            self._desk = PollDesk(self.pace(provider, "poll"))
        return self._desk

    def timetable(self, provider: Provider, key: str) -> Timetable:
        """When jobs whose times are alike, as `key` tells, are polled."""
        if key not in self._timetables:
            if len(self._timetables) >= MOST_TIMETABLES:
                del self._timetables[next(iter(self._timetables))]
            self._timetables[key] = Timetable(provider.limits.poll_interval_s)
        return self._timetables[key]

    @property
    def ceiling(self) -> int:
        """Jobs at once that are allowed now, over all quotas."""
        return sum(gate.ceiling for gate in self._gates.values())

    @property
    def takes_submits(self) -> bool:
        """Whether a submit would be sent now, as far as its health goes."""
        return self.paused is None and self.health.admits("submit")

    @property
    def shut(self) -> list[PausedError]:
        """Why nothing more may be submitted for some of the quotas."""
        return [*self._shut.values()]

    def samples(self) -> list[SlotsSampled]:
        """How the slots of each quota are used."""
        now = asyncio.get_running_loop().time()
        return [sampler.sample(now) for sampler in self._samplers.values()]

    def close(self) -> None:
        """Keep what was found out for the next run, and tell how it ended."""
        now = asyncio.get_running_loop().time()
        for quota, gate in self._gates.items():
            gate.close()
            self._samplers[quota].close(now)

    def pause_of(self, quota: str) -> PausedError | None:
        """Why nothing may be submitted for the tasks of a `quota_key`, if so."""
        return self.paused or self._shut.get(quota)

    def check(self, quota: str) -> None:
        """Raise where nothing may be submitted for the tasks of a `quota_key`.

        Raises:
            PausedError: It, or the account, is paused.
        """
        if (pause := self.pause_of(quota)) is not None:
            raise copied(pause)

    def consider(self, error: GenerationError, quota: str) -> None:
        """Pause on refused credentials or credit: no other task would fare better.

        Where the provider refuses but what a quota is for, tasks of other quotas go on.
        """
        if not isinstance(error, AuthError | BillingError) or self.pause_of(quota) is not None:
            return
        what = "credentials" if isinstance(error, AuthError) else "account"
        if isinstance(error, BillingError) and error.quota_only:
            reason = PausedError(
                f"paused: the provider refuses tasks of {quota}: {error}", reason=str(error)
            )
            self._shut[quota] = reason
            self._tell(reason, quota)
            self._gates[quota].dismiss(reason)
            _log.error("quota.paused", account=self.key, quota=quota, reason=type(error).__name__)
            return
        self.pause(
            PausedError(f"paused: the provider refuses the {what}: {error}", reason=str(error))
        )
        _log.error("run.paused", account=self.key, reason=type(error).__name__)

    def pause(self, reason: PausedError) -> None:
        """Submit nothing more; who waits for a slot learns it at once."""
        if self.paused is None:
            self.paused = reason
            self.on_pause(reason)
            self._tell(reason)
            self.health.dismiss(reason)
            for gate in self._gates.values():
                gate.dismiss(reason)

    def _tell(self, reason: PausedError, quota: str | None = None) -> None:
        if self.events:
            self.events.put(
                AccountPaused(
                    time=self.events.clock(),
                    account=self.key,
                    quota=quota,
                    reason=reason.reason or str(reason),
                    resume_after_s=reason.resume_after,
                )
            )


@attrs.define(kw_only=True, eq=False)
class Accounts:
    """Every account in use."""

    concurrency: Concurrency
    probe: bool = False
    outage_s: float = OUTAGE_S
    #: Told of a pause when it is one of all accounts, or keeps tasks of a run from being made.
    on_pause: Callable[[PausedError], object] = lambda _reason: None
    events: EventQueue = attrs.field(factory=EventQueue)
    seating: Seating | None = None
    #: Called where more jobs at once are allowed than before.
    on_growth: set[Callable[[], object]] = attrs.field(factory=set, init=False)
    _accounts: dict[str, Account] = attrs.field(factory=dict, init=False)
    _everywhere: PausedError | None = attrs.field(default=None, init=False)

    def of(self, provider: Provider) -> Account:
        """The account that `provider` uses."""
        key = provider.account_key()
        if key not in self._accounts:
            account = self._accounts[key] = Account(
                key=key,
                concurrency=self.concurrency,
                events=self.events,
                probe=self.probe,
                seating=self.seating,
                outage_s=self.outage_s,
                on_pause=self._one_paused,
                on_growth=self._grown,
            )
            if self._everywhere is not None:
                account.pause(self._everywhere)
        return self._accounts[key]

    def start(self, provider: Provider, task: Task) -> int:
        """Jobs at once that tasks like `task` will begin with."""
        memory = Memory.of(provider.account_key(), provider.quota_key(task))
        known = None if provider.billing == "free" else memory.load()
        return Levels(self.concurrency, limits_of(provider, task), known).best

    def samples(self) -> list[SlotsSampled]:
        """How the slots of each account and quota are used."""
        return [sample for account in self._accounts.values() for sample in account.samples()]

    def close(self) -> None:
        """Keep what was found out for the next run."""
        for account in self._accounts.values():
            account.close()

    def pause(self, reason: PausedError) -> None:
        """Submit nothing more at any account, for a reason that concerns them all."""
        self._everywhere = self._everywhere or reason
        for account in self._accounts.values():
            account.pause(reason)

    @property
    def ceiling(self) -> int:
        """Jobs at once that are allowed now, over all accounts."""
        return sum(account.ceiling for account in self._accounts.values())

    @property
    def paused(self) -> PausedError | None:
        """Why nothing more may be submitted, if every account in use is paused."""
        if self._everywhere is not None or not self._accounts:
            return self._everywhere
        pauses = [each.paused for each in self._accounts.values()]
        return pauses[0] if all(pauses) else None

    @property
    def shut(self) -> PausedError | None:
        """Why nothing more may be submitted for a quota, if there is one of which that is so."""
        return next((pause for each in self._accounts.values() for pause in each.shut), None)

    def _grown(self) -> None:
        for tell in self.on_growth:
            tell()

    def _one_paused(self, _reason: PausedError) -> None:
        # While others work, the run is not paused.
        if (pause := self.paused) is not None:
            self.on_pause(pause)


def limits_of(provider: Provider, task: Task) -> Limits:
    """The limits of the quota that `task` counts for."""
    limits_for = getattr(provider, "limits_for", None)
    limits: Limits = provider.limits if limits_for is None else limits_for(task)
    return limits
