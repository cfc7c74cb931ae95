"""The budget of a run: what a job may cost is set aside before its submit.

There is no book beside the journal: each part's row says what it may cost or has cost, and a
`Budget` begins with the sum of the rows.
"""

from __future__ import annotations

import asyncio

import attrs

from holodeck_gen._log import Logger
from holodeck_gen._model.artifact import Cost
from holodeck_gen._model.money import NO_CURRENCY, Spending, Totals, money
from holodeck_gen.errors import BudgetExceededError, ConfigError, PausedError

_log = Logger("holodeck_gen.budget")


@attrs.define(kw_only=True, eq=False)
class Budget:
    """Counts what jobs cost and, where there is a limit, lets no submit pass it.

    A job's price is set aside from before its submit until its end. It is given back where it is
    proven that no job was made; else it is spent: what the provider says that it cost or, where
    it does not say, its price. So only a job that is dearer than its price can pass the limit.

    Args:
        limit: None where there is none. The currency ``XXX`` becomes that of the first price.
        before: What the journal knows of earlier runs.

    Attributes:
        paused: Why nothing may be submitted any more, if so.

    Raises:
        ConfigError: Earlier runs have spent money of another currency.
    """

    limit: Cost | None = None
    before: Spending = attrs.field(factory=Spending)
    paused: PausedError | None = attrs.field(default=None, init=False)
    _spent: Totals = attrs.field(factory=Totals, init=False)
    _held: Totals = attrs.field(factory=Totals, init=False)
    _estimated: bool = attrs.field(default=False, init=False)
    _unpriced: int = attrs.field(default=0, init=False)
    #: First come, first served: else cheap jobs would use up what a dear one waits for.
    _line: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)
    _turn: asyncio.Future[None] | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        if self.limit is None:
            return
        for cost in (*self.before.spent, *self.before.in_flight):
            self.check(cost, what="what earlier runs have spent")
            # Jobs that run already count as spent until this run goes on with them.
            self._spent.add(cost)
        self._estimated = self.before.estimated
        self._unpriced = self.before.unpriced

    @property
    def spending(self) -> Spending:
        """How it stands: of the whole journal where there is a limit, else of this run."""
        return Spending(
            spent=self._spent.costs,
            in_flight=self._held.costs,
            budget=self.limit,
            estimated=self._estimated,
            unpriced=self._unpriced,
        )

    def check(self, price: Cost | None, *, what: str) -> None:
        """Find out whether a price can be counted.

        Raises:
            ConfigError: There is a limit, and the price is unknown or of another currency.
        """
        if self.limit is None or (price is not None and not price.amount):
            return
        if price is None:
            raise ConfigError(
                f"the price of {what} is unknown, so a budget of {money(self.limit)} cannot be"
                f' kept; add [prices."{what}"] with amount and currency to the configuration'
            )
        if self.limit.currency == NO_CURRENCY:
            self.limit = attrs.evolve(self.limit, currency=price.currency)
        if price.currency != self.limit.currency:
            raise ConfigError(
                f"the budget is in {self.limit.currency}, and {what} in {price.currency}"
                f" ({money(price)}); there is no rate between them here"
            )

    async def set_aside(self, price: Cost) -> None:
        """Set `price` aside; wait where jobs that have not ended may leave room for it.

        Jobs that come later wait behind it.

        Raises:
            BudgetExceededError: It is dearer than the whole budget.
            PausedError: The budget is reached: this one or one before it does not fit.
        """
        if self.limit is None or not price.amount:
            self._held.add(price)
            return
        if price.amount > self.limit.amount:
            raise BudgetExceededError(
                f"it costs {money(price)}, more than the whole budget of {money(self.limit)};"
                " a larger one goes on with it"
            )
        async with self._line:
            while not self._has_room(price, self.limit):
                self._turn = asyncio.get_running_loop().create_future()
                await self._turn
            self._held.add(price)

    def _has_room(self, price: Cost, limit: Cost) -> bool:
        """Whether it fits now; False where it may fit later.

        Raises:
            PausedError: Neither.
        """
        if self.paused is not None:
            raise PausedError(str(self.paused), reason=self.paused.reason)
        spent = self._spent.of(limit.currency)
        if spent + price.amount > limit.amount:
            raise self._reached(price, limit)
        return spent + self._held.of(limit.currency) + price.amount <= limit.amount

    def take_over(self, cost: Cost | None) -> None:
        """Set aside what an earlier run has spent on a job that has not ended."""
        known = self.limit is not None
        if cost is None:
            self._unpriced -= known
            return
        if known:
            self._spent.add(cost, -1)
        self._held.add(cost)

    def give_back(self, price: Cost) -> None:
        """There is no job for what was set aside."""
        self._held.add(price, -1)
        self._wake()

    def settle(self, price: Cost | None, cost: Cost | None) -> None:
        """A job has ended, or may have been made.

        Args:
            price: What was set aside.
            cost: What it cost, if the provider says.
        """
        if price is not None:
            self._held.add(price, -1)
        charged = price if cost is None else cost
        if charged is None:
            self._unpriced += 1
        else:
            self._spent.add(charged)
            self._estimated = self._estimated or (cost is None and charged.amount > 0)
            self._check_charge(charged)
        self._wake()

    def _check_charge(self, charged: Cost) -> None:
        if self.limit is None or not charged.amount or charged.currency == self.limit.currency:
            return
        self._pause(
            f"the provider charges {charged.currency}, and the budget is in {self.limit.currency}"
        )

    def _reached(self, price: Cost, limit: Cost) -> PausedError:
        spent = attrs.evolve(limit, amount=self._spent.of(limit.currency))
        held = attrs.evolve(limit, amount=self._held.of(limit.currency))
        running = f", {money(held)} in flight" if held.amount else ""
        return self._pause(
            f"the budget of {money(limit)} is reached: {money(spent)} spent{running}, and the"
            f" next job costs {money(price)}; a larger budget goes on"
        )

    def _pause(self, reason: str) -> PausedError:
        if self.paused is None:
            self.paused = PausedError(f"paused: {reason}", reason=reason)
            _log.warning("run.paused", reason="budget")
        self._wake()
        return self.paused

    def _wake(self) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)
