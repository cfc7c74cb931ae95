"""Where a task goes: to which provider, at which of its accounts, and when.

Accounts of one provider are a pool: a task waits for all of them and is bound to the first that
has room. Providers are an order of preference: a task goes on to the next one only where nothing
of it was made, and only for a reason of `fails_over`::

    raised                     by                  goes on to another    to another
                                                   account               provider
    InvalidTaskError           prepare             yes                   yes
    AuthError, BillingError    a refused submit    yes                   yes
    PausedError                account or quota    yes                   yes
    SlotRefusedError           a refused submit    whichever has room    no: it waits
    MovesOnError               an unwell service   whichever is well     no: it waits
    anything else                                  no                    no

Among the rest are `ContentRejectedError`, because what one provider's moderation refuses is not
shopped around, and `SubmitUncertainError`, because there may be a job that costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Self

import attrs

from holodeck_gen._accounts.accounts import Account, Accounts
from holodeck_gen._accounts.berth import Berth, MovesOnError, first_slot
from holodeck_gen._calls import told
from holodeck_gen._engine.affinity import Affinities, AffinityGroup
from holodeck_gen._gate.gate import Gate
from holodeck_gen._jobs.life import HELD, Life
from holodeck_gen._journal.journal import PartKey, Plan
from holodeck_gen._log import Logger
from holodeck_gen._model.provider import Provider
from holodeck_gen._model.task import Task
from holodeck_gen._plugins.resolve import Pool
from holodeck_gen.errors import (
    AuthError,
    BillingError,
    GenerationError,
    InvalidTaskError,
    PausedError,
    SlotRefusedError,
    TaskError,
)

if TYPE_CHECKING:
    from types import TracebackType

    from holodeck_gen._jobs.delivery import Part

_log = Logger("holodeck_gen.route")


def fails_over(error: GenerationError, account: Account, quota: str) -> bool:
    """Whether a task of which nothing was made goes on to another account or provider."""
    if isinstance(error, PausedError):
        # A full disk or a spent budget is a pause, too, and the same everywhere.
        return account.pause_of(quota) is not None
    return isinstance(error, AuthError | BillingError)


@attrs.frozen(kw_only=True)
class _Draft:
    """A task as one account would do it."""

    provider: Provider
    account: Account
    gate: Gate
    plan: Plan


@attrs.define(kw_only=True, eq=False)
class Router:
    """Finds the way of each task.

    Attributes:
        pools: Returns, for a task, the providers in their order.
        affinities: The groups that stay with one provider.
    """

    accounts: Accounts
    pools: Callable[[Task], Sequence[Pool]]
    affinities: Affinities

    async def route(
        self,
        life: Life,
        task: Task,
        key: PartKey,
        draft: Callable[[Task, Provider], Awaitable[Plan]],
    ) -> Route:
        """The way of one task; use it with ``with``.

        Args:
            life: Told of where the task is bound.
            task: After rewriting.
            key: Of its first part, which gets the slot.
            draft: Puts the task to a provider without any cost; raises `InvalidTaskError`.
        """
        pools = self.pools(task)
        for pool in pools:
            for provider in pool.members:
                # From now on a run is paused only where all of these are.
                self.accounts.of(provider)
        grouped = task.affinity is not None
        return Route(
            life=life,
            task=task,
            key=key,
            pools=pools,
            accounts=self.accounts,
            draft=draft,
            affinity=await self.affinities.group(task.affinity or "") if grouped else None,
        )


@attrs.define(kw_only=True, eq=False)
class Route:
    """The way of one task, to one account after the other until one takes it."""

    life: Life
    task: Task
    key: PartKey
    pools: Sequence[Pool]
    accounts: Accounts
    draft: Callable[[Task, Provider], Awaitable[Plan]]
    affinity: AffinityGroup | None
    _refused: set[str] = attrs.field(factory=set, init=False)
    #: Why it did not go to an account, by its key, in their order.
    _reasons: dict[str, GenerationError] = attrs.field(factory=dict, init=False)
    _joined: bool = attrs.field(default=False, init=False)
    _again: bool = attrs.field(default=False, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave(made=self.life.begun)
        if self.life.berth is not None:
            self.life.berth.close()

    async def next(self) -> Plan:
        """Bind the task to an account; waits for room where there are several.

        Raises:
            GenerationError: Why no account takes it.
        """
        while True:
            bound = await self._first()
            if bound is None:
                if self._stays and await self._stays.moves():
                    continue
                raise self._reason()
            draft, berth = bound
            self._joined = self.affinity is not None and self.affinity.join(draft.provider.name)
            if self._stays and not self._joined:
                berth.close()
                continue
            self.life.bind(draft.provider, berth)
            _log.debug("task.bound", task=self.life.key, account=draft.plan.account)
            return draft.plan

    def goes_on(self, parts: Sequence[Part]) -> bool:
        """Whether the task was refused with proof, and `next` may find another account."""
        provider = self.life.provider
        assert provider is not None
        account = self.accounts.of(provider)
        errors = [part.error for part in parts if part.error is not None]
        made = self.life.begun or len(errors) < len(parts)
        self._again = not made and isinstance(errors[0], MovesOnError | SlotRefusedError)
        quota = provider.quota_key(self.task)
        fails = not made and all(fails_over(error, account, quota) for error in errors)
        self._leave(made=made)
        if self._again:
            return True
        if not fails:
            return False
        self._refused.add(account.key)
        self._note(errors[0], provider)
        _log.info(
            "task.refused", task=self.life.key, account=account.key, error=type(errors[0]).__name__
        )
        # What holds it is the account, and there may be another.
        self.life.held = False
        return True

    @property
    def _stays(self) -> AffinityGroup | None:
        """The group that decides where it goes; a provider that the task names comes first."""
        return self.affinity if self.task.provider is None else None

    async def _first(self) -> tuple[_Draft, Berth] | None:
        """The first account with room, of the first provider that takes the task at all."""
        for pool in self._allowed():
            drafts = await self._drafts(pool)
            if not drafts:
                continue
            if len(drafts) == 1:
                # Its first job waits at the gate itself; a picture that is cached needs no slot.
                return drafts[0], Berth()
            try:
                return await self._race(drafts)
            except PausedError as pause:
                self._note(pause, drafts[0].provider)
        return None

    def _allowed(self) -> Sequence[Pool]:
        """The providers that the task may go to."""
        stays_with = self._stays.provider if self._stays else None
        if stays_with is None:
            return self.pools
        allowed = [
            pool for pool in self.pools if any(each.name == stays_with for each in pool.members)
        ]
        if not allowed:
            self._reasons[stays_with] = PausedError(
                f"others of its affinity {self.task.affinity!r} were made by {stays_with}, which"
                " is not part of this run; name that provider, or give the task a provider of its"
                " own",
                reason="the provider of its affinity is missing",
            )
        return allowed

    async def _drafts(self, pool: Pool) -> list[_Draft]:
        """The accounts that may take the task now."""
        drafts: list[_Draft] = []
        for provider in pool.members:
            account = self.accounts.of(provider)
            if account.key in self._refused:
                continue
            try:
                plan = await self.draft(self.task, provider)
                account.check(provider.quota_key(self.task))
            except (InvalidTaskError, PausedError) as error:
                self._note(error, provider)
                continue
            gate = account.gate(provider, self.task)
            drafts.append(_Draft(provider=provider, account=account, gate=gate, plan=plan))
        return drafts

    async def _race(self, drafts: Sequence[_Draft]) -> tuple[_Draft, Berth]:
        """Wait at every gate.

        Raises:
            PausedError: All the accounts are paused.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        chosen, slot = await first_slot(
            [draft.gate for draft in drafts],
            welcome=lambda place: drafts[place].account.takes_submits,
            key=self.key.submit_key,
            priority=self.task.priority,
            group=self.life.group_of(self.task),
            again=self._again,
        )
        draft = drafts[chosen]
        # A task whose parts are on their way already does not move.
        alone = len(draft.plan.requests) == 1
        others = [each.account for each in drafts if each is not draft] if alone else []
        return draft, Berth(slot, wait_s=clock() - began, others=others)

    def _note(self, error: GenerationError, provider: Provider) -> None:
        if isinstance(error, TaskError):
            error = told(error, provider=provider.name)
        self._reasons[provider.account_key()] = error

    def _reason(self) -> GenerationError:
        """Why the task went nowhere: first of all what can be mended without changing it."""
        reasons = list(self._reasons.values())
        return next((each for each in reasons if isinstance(each, HELD)), reasons[0])

    def _leave(self, *, made: bool) -> None:
        if self._joined:
            assert self.affinity is not None
            self._joined = False
            self.affinity.leave(made=made)
