"""How many of the jobs that are taken for running have ended, as far as anybody can tell.

A poll tells of one job, and the answer to a submit of all of them: how many have ended, if not
which. Pure: the time is handed in.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A chance that is nearer to 0 or 1 is that.
TINY = 1e-12
#: Halvings of the range within which the logarithm of a factor is looked for, and its ends.
HALVINGS, FARTHEST = 40, 60.0


class Running(Protocol):
    """A job that occupies a slot."""

    @property
    def typical_s(self) -> float:
        """Seconds that such a job takes."""
        ...

    @property
    def ran_at(self) -> float:
        """Loop time at which it was last known to run."""
        ...

    def ended_by(self, at: float, since: float) -> float:
        """How likely it has ended by loop time `at`, from 0 to 1, if it ran at `since`.

        0 where nothing is known of how long such jobs take.
        """
        ...

    def ran(self, at: float) -> None:
        """It was found running at loop time `at`."""
        ...


@attrs.define(eq=False)
class Beliefs:
    """Keeps what was told of all jobs at once together with what is found out of single ones.

    Attributes:
        jobs: Those that occupy slots now, as far as polls have told.
    """

    jobs: list[Running] = attrs.field(factory=list)
    #: Of the jobs that ran when it was last told how many have ended: how likely each had.
    _shares: dict[Running, float] = attrs.field(factory=dict, init=False)
    #: How many of these had; not a whole number where one has left of which that is not known.
    _count: float = attrs.field(default=0.0, init=False)
    _told_at: float = attrs.field(default=-math.inf, init=False)

    def ended_by(self, at: float) -> float:
        """How many have probably ended by loop time `at`."""
        self._heed()
        return sum(self._chance(job, at) for job in self.jobs)

    def told(self, at: float, ended: int) -> None:
        """Take note that `ended` of the jobs had ended at loop time `at`."""
        if ended <= 0:
            self._shares = {}
            for job in self.jobs:
                job.ran(at)
            return
        self._heed()
        chances = {job: self._chance(job, at) for job in self.jobs}
        self._shares, self._count, self._told_at = given(chances, ended), ended, at

    def leave(self, job: Running, at: float) -> None:
        """One of the jobs was found ended, or is not watched any more, at loop time `at`."""
        self._heed()
        share = self._shares.get(job, 0.0)
        chance = self._chance(job, at)
        self.jobs.remove(job)
        self._shares.pop(job, None)
        if share:
            # It had ended when that was told, or has since.
            self._count -= share / chance
            self._shares = given(self._shares, self._count)

    def _heed(self) -> None:
        """What a poll has found running did not end before; then another one did."""
        found = [job for job in self._shares if job.ran_at >= self._told_at]
        for job in found:
            del self._shares[job]
        if found:
            self._shares = given(self._shares, self._count)

    def _chance(self, job: Running, at: float) -> float:
        share = self._shares.get(job)
        if share is None:
            return job.ended_by(at, job.ran_at)
        return share + (1.0 - share) * job.ended_by(at, self._told_at)


def given(chances: Mapping[Running, float], count: float) -> dict[Running, float]:
    """The chances of each, where `count` of them came true.

    The odds of all are changed by one factor, which is right for chances that know nothing of
    each other and nearly so for what their sum has to be.
    """
    sure = {job: float(each > 0.5) for job, each in chances.items()}
    odds = {job: p / (1.0 - p) for job, p in chances.items() if TINY < p < 1.0 - TINY}
    left = count - sum(sure[job] for job in sure.keys() - odds.keys())
    if left <= 0.0 or left >= len(odds):
        return sure | dict.fromkeys(odds, float(left > 0.0))
    low, high = -FARTHEST, FARTHEST
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        factor = math.exp(middle)
        if sum(factor * each / (1.0 + factor * each) for each in odds.values()) < left:
            low = middle
        else:
            high = middle
    factor = math.exp(low)
    return sure | {job: factor * each / (1.0 + factor * each) for job, each in odds.items()}
