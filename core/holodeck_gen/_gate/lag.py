"""How late a provider frees the slot of a job that has ended.

Some count a job for up to half a minute after they have said that it is done. A slot in that
time is *cooling*: it counts as occupied. Pure: the time is handed in.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

import attrs

#: Seconds for which a slot may stay taken after its job's end; the half minute that Tencent
#: Hunyuan's users report (2025), and a little.
LONGEST_LAG_S = 35.0
#: Seconds by which an accepted submit must rule a longer lag out to speak for the one in use.
CLEARLY_S = 3.0
#: Such submits after which the lag counts as known.
ENOUGH = 5
#: No more of them are counted, so that what changes is noticed.
MOST = 12
#: What a refusal that lasted costs of them.
DOUBT = 4
#: Seconds until a shorter lag is tried; doubled after each try that was refused, up to the other.
FIRST_TRY_S, LONGEST_TRY_S = 60.0, 1200.0
#: Seconds until the next try after one that was accepted.
NEXT_TRY_S = 20.0
#: A lag below is none.
SHORTEST_LAG_S = 1.0


@attrs.define(eq=False)
class Lag:
    """Seconds from a job's end to its slot's, learnt from what is accepted and refused.

    Attributes:
        seconds: The lag in use.
    """

    seconds: float = 0.0
    _settled_s: float = attrs.field(init=False)
    #: A slot of this age was still taken.
    _taken_s: float = attrs.field(default=0.0, init=False)
    _punctual: int = attrs.field(default=0, init=False)
    _ends: deque[float] = attrs.field(factory=deque, init=False)
    _try_at: float = attrs.field(default=float("inf"), init=False)
    _try_wait_s: float = attrs.field(default=FIRST_TRY_S, init=False)

    def __attrs_post_init__(self) -> None:
        self.seconds = self._settled_s = min(self.seconds, LONGEST_LAG_S)
        if self.seconds:
            self._try_at = FIRST_TRY_S

    @property
    def last(self) -> float:
        """When the last job has ended."""
        return self._ends[-1] if self._ends else float("-inf")

    @property
    def known(self) -> bool:
        """Whether a refusal is hardly because of a longer lag."""
        return self._punctual >= ENOUGH

    def may_explain(self, age: float) -> bool:
        """Whether a submit may have been refused because a slot of this age was still taken."""
        if self.known:
            return bool(self.seconds) and age < self.seconds + CLEARLY_S
        return age < LONGEST_LAG_S

    def ended(self, now: float) -> None:
        """A job has ended."""
        self._ends.append(now)
        while self._ends[0] < now - LONGEST_LAG_S:
            self._ends.popleft()

    def cooling(self, now: float) -> int:
        """Slots whose jobs have ended and that the provider may still count."""
        if not self.seconds:
            return 0
        count = 0
        for end in reversed(self._ends):
            if end <= now - self.seconds:
                break
            count += 1
        return count

    def age(self, now: float, spare: int) -> float:
        """Seconds since the end of the `spare`-th last job; infinite where there is none.

        A submit that leaves `spare` slots unused is refused where the lag is longer than this,
        and only then accepted where it is not.
        """
        if not 0 < spare <= len(self._ends):
            return float("inf")
        return now - next(islice(reversed(self._ends), spare - 1, None))

    def accepted(self, age: float) -> None:
        """A submit was accepted with the provider's last slot, its job's end `age` seconds ago."""
        if age < self.seconds + CLEARLY_S:
            self._punctual = min(self._punctual + 1, MOST)
            if self.known:
                self._settled_s = self.seconds

    def doubt(self) -> None:
        """Submits were refused for a while, for no known reason."""
        self._punctual = max(0, self._punctual - DOUBT)

    def refused(self, age: float) -> None:
        """A slot of this age was still taken, if that is what it was."""
        self._taken_s = age

    def learn(self, now: float, age: float) -> None:
        """After refusals, a slot of this age was free."""
        self.seconds = min(max(self.seconds, age), LONGEST_LAG_S)
        self._punctual = 0
        self._try_wait_s = FIRST_TRY_S
        self._try_at = now + FIRST_TRY_S

    def forget(self) -> None:
        """What was learnt last was no lag."""
        self.seconds = self._settled_s

    def early_at(self, now: float) -> float | None:
        """When the oldest cooling slot is old enough to try whether it is free."""
        cooling = self.cooling(now)
        if not cooling or self.seconds - self._taken_s < CLEARLY_S:
            # As well known as it need be.
            return None
        old_enough = now - self.age(now, cooling) + (self._taken_s + self.seconds) / 2
        return max(old_enough, self._try_at)

    def free_at(self, now: float) -> float | None:
        """When the oldest cooling slot counts as free."""
        cooling = self.cooling(now)
        return now - self.age(now, cooling) + self.seconds if cooling else None

    def was_early(self, now: float, age: float, *, accepted: bool) -> None:
        """The answer to such a try."""
        # Infinite where none of the slots that ended was needed: then it says nothing.
        age = min(age, self.seconds)
        if accepted:
            self.seconds = age if age >= SHORTEST_LAG_S else 0.0
            self._punctual = 0
            self._taken_s = min(self._taken_s, self.seconds)
            self._try_wait_s, wait_s = FIRST_TRY_S, NEXT_TRY_S
        else:
            self._taken_s = age
            wait_s = self._try_wait_s
            self._try_wait_s = min(2 * wait_s, LONGEST_TRY_S)
        self._try_at = now + wait_s
