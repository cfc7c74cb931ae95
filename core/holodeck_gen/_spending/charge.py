"""What one part of a task may cost, from before its submit until its job has ended."""

from __future__ import annotations

import attrs

from holodeck_gen._model.artifact import Cost
from holodeck_gen._model.money import FREE
from holodeck_gen._spending.budget import Budget


@attrs.define(kw_only=True, eq=False)
class Charge:
    """What one part may cost; see `Budget`.

    Args:
        price: What a job of it will cost, if known.
        already: What the journal counts for its job, where an earlier run has sent a submit.
        what: The price's name, for errors.
    """

    budget: Budget
    price: Cost | None
    already: Cost | None = None
    what: str = ""
    #: Whether anything is set aside, and how much.
    _open: bool = attrs.field(default=False, init=False)
    _held: Cost | None = attrs.field(default=None, init=False)
    _sent: bool = attrs.field(default=False, init=False)

    def expect(self) -> None:
        """Tell that a submit is going to come.

        Raises:
            ConfigError: There is a limit, and the price cannot be counted.
        """
        self.budget.check(self.price, what=self.what)

    def take_over(self) -> None:
        """Go on with a submit that an earlier run has sent."""
        self._open, self._sent, self._held = True, True, self.already
        self.budget.take_over(self._held)

    async def reserve(self) -> None:
        """Set the price aside, before a submit.

        Raises:
            BudgetExceededError, PausedError: As `Budget.set_aside`.
        """
        if self._open:
            return
        if self.price is not None:
            await self.budget.set_aside(self.price)
        self._open, self._sent, self._held = True, False, self.price

    def sent(self) -> None:
        """A submit is on its way: from now on only proof gives the price back."""
        self._sent = True

    def refund(self) -> None:
        """It is proven that there is no job."""
        if self._open:
            self._open = False
            if self._held is not None:
                self.budget.give_back(self._held)

    def settle(self, cost: Cost | None = None) -> None:
        """The job has ended, or nobody knows whether there is one."""
        if self._open:
            self._open = False
            self.budget.settle(self._held, cost)

    def counted(self, cost: Cost | None) -> Cost | None:
        """What is counted for a job that has ended with `cost`, if the provider said that."""
        return self._held if cost is None else cost

    def close(self, cost: Cost | None = None) -> None:
        """Whatever has become of it, nothing stays set aside."""
        if self._sent:
            self.settle(cost)
        else:
            self.refund()


def untracked() -> Charge:
    """Of a job that nobody counts."""
    return Charge(budget=Budget(), price=FREE)
