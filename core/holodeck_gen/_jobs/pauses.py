"""Faults of one part that would be those of all others, too."""

from __future__ import annotations

import attrs

from holodeck_gen._accounts.accounts import Accounts
from holodeck_gen._journal.journal import Journal
from holodeck_gen._spending.budget import Budget
from holodeck_gen.errors import (
    ConfigError,
    GenerationError,
    JournalError,
    PausedError,
    StorageError,
)

#: Pictures in a row that the store does not take, after which no more are paid for.
UNSTORED = 5


@attrs.define(kw_only=True, eq=False)
class Pauses:
    """Pauses the run where every further picture would be paid for and come to nothing."""

    accounts: Accounts
    budget: Budget
    journal: Journal
    #: Pictures that the store did not take since the last one that it took.
    _unstored: int = attrs.field(default=0, init=False)

    def stored(self) -> None:
        """The store has taken a picture."""
        self._unstored = 0

    def consider(self, error: GenerationError) -> None:
        """A part has ended with `error`."""
        if isinstance(error, ConfigError):
            # It would end all others in the same way; mended, they can still be made.
            self.accounts.pause(PausedError(f"paused: {error}", reason=str(error)))
        elif self.budget.paused is not None:
            self.accounts.pause(self.budget.paused)
        if self.journal.paused is not None:
            self.accounts.pause(self.journal.paused)
        elif isinstance(error, StorageError) and error.stage == "spool":
            # There is no place for them to go.
            self.accounts.pause(PausedError(f"paused: {error}", reason=str(error)))
        elif isinstance(error, StorageError) and error.stage == "store":
            self._unstored += 1
            if self._unstored >= UNSTORED:
                # Each is kept in the spool and stored by the next run, but they pile up.
                reason = f"the store took none of the last {self._unstored} pictures: {error}"
                self.accounts.pause(PausedError(f"paused: {reason}", reason=reason))
        elif isinstance(error, JournalError):
            self.accounts.pause(PausedError(f"paused: {error}"))
