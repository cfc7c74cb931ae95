"""How many slots may be occupied now.

Pure: the time is handed in, and nothing here waits.
"""

from __future__ import annotations

import attrs

from holodeck_gen._provider import Limits
from holodeck_gen.errors import ConfigError

#: Jobs at once where neither the user nor the provider says: one is always allowed.
UNKNOWN_QUOTA = 1
#: Seconds after a first refusal; doubled for each further one.
FIRST_WAIT_S = 1.0
#: Most seconds between two tries of a submit that is refused again and again.
LONGEST_WAIT_S = 30.0


@attrs.frozen(kw_only=True)
class Concurrency:
    """How many jobs at once the user allows.

    Attributes:
        minimum: Where an automatic search starts; None means at the provider's own figure.
        maximum: Never more; None means what the provider accepts.
    """

    minimum: int | None = None
    maximum: int | None = None

    @classmethod
    def parse(cls, value: int | str | Concurrency) -> Concurrency:
        """Read ``N``, ``"auto"`` or ``"MIN-MAX"``.

        Raises:
            ConfigError: It is none of these.
        """
        if isinstance(value, Concurrency):
            return value
        text = str(value).strip()
        if text == "auto":
            return cls()
        low, dash, high = text.partition("-")
        if not isinstance(value, bool) and low.isdecimal() and (high.isdecimal() or not dash):
            minimum, maximum = int(low), int(high or low)
            if 1 <= minimum <= maximum:
                return cls(minimum=minimum, maximum=maximum)
        raise ConfigError(
            f"concurrency must be a number of at least 1, 'auto' or 'MIN-MAX', not {value!r}"
        )

    def start(self, limits: Limits) -> int:
        """The ceiling to begin with."""
        documented = limits.max_jobs or UNKNOWN_QUOTA
        low = self.minimum or documented
        return min(low, self.maximum or low)

    def top(self, limits: Limits) -> int | None:
        """The ceiling that is never passed."""
        return self.maximum if self.maximum is not None else limits.max_jobs


@attrs.define(eq=False, kw_only=True)
class Grant:
    """One submit that was allowed.

    Attributes:
        level: Slots occupied with this one.
    """

    level: int


@attrs.define(eq=False)
class Ceiling:
    """Decides how many slots may be occupied."""

    concurrency: Concurrency
    limits: Limits
    value: int = attrs.field(init=False)
    starved_since: float | None = attrs.field(default=None, init=False)
    _top: int | None = attrs.field(init=False)
    _fixed: bool = attrs.field(init=False)
    _not_before: float = attrs.field(default=float("-inf"), init=False)
    _refusals: int = attrs.field(default=0, init=False)
    _clean: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.value = self.concurrency.start(self.limits)
        self._top = self.concurrency.top(self.limits)
        least, most = self.concurrency.minimum, self.concurrency.maximum
        self._fixed = least is not None and least == most

    def allowed(self, now: float, occupied: int) -> int:
        """Slots that may be occupied now; `occupied` are."""
        return occupied if now < self._not_before else self.value

    def wake_at(self, now: float, occupied: int) -> float | None:
        """When `allowed` may rise by itself."""
        return self._not_before if now < self._not_before else None

    def grant(self, now: float, occupied: int) -> Grant:
        """One more submit goes out; `occupied` were before it."""
        return Grant(level=occupied + 1)

    def accepted(self, now: float, grant: Grant) -> None:
        """The provider took it."""
        self._refusals = 0
        self.starved_since = None

    def refused(
        self, now: float, grant: Grant, running: int, retry_after_s: float | None = None
    ) -> float:
        """The provider did not take it; `running` are occupied without it.

        Returns:
            Seconds until one is tried again.
        """
        if running == 0 and self.starved_since is None:
            self.starved_since = now
        if not self._fixed:
            self.value = max(1, min(self.value, running))
        wait_s = max(retry_after_s or 0.0, min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**self._refusals))
        self._refusals = min(self._refusals + 1, 32)
        self._not_before = max(self._not_before, now + wait_s)
        self._clean = 0
        return self._not_before - now

    def ended(self, now: float, grant: Grant, occupied: int) -> None:
        """A job has ended; `occupied` were with it."""
        if occupied >= self.value:
            self._clean += 1
            if self._clean >= self.value and (self._top is None or self.value < self._top):
                self.value += 1
                self._clean = 0

    def returned(self, now: float, grant: Grant) -> None:
        """A submit ended without an answer."""
