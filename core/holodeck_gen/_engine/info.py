"""What a studio says of itself before it begins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

from holodeck_gen._model.money import Spending

if TYPE_CHECKING:
    from holodeck_gen._plugins.resolve import Pool


@attrs.frozen(kw_only=True)
class StudioInfo:
    """What a studio is about to do, for the first line of a run.

    Attributes:
        provider: The providers' names in their order, with their accounts.
        billing: ``"free"`` only where every provider is.
        jobs_at_once: Job slots to begin with, over all accounts of the first provider.
        journal: The journal's file, where there is one.
        store: Where it keeps files, in the store's own words; None for a folder.
        changed: Settings that differ from those of the last run with this journal.
        spending: What its jobs have cost: over all runs with this journal where there is a
            budget, else in this studio.
    """

    provider: str
    billing: Literal["paid", "free"]
    jobs_at_once: int
    journal: Path | None = None
    store: str | None = None
    changed: tuple[str, ...] = ()
    spending: Spending = attrs.field(factory=Spending)


def label(pool: Pool) -> str:
    """A provider's name, with its account where it tells, or how many there are."""
    first, *others = pool.members
    if others:
        return f"{pool.name} ({len(pool.members)} accounts)"
    account = getattr(first, "account_label", None)
    return f"{pool.name} ({account})" if account else pool.name
