"""How many jobs at once the user allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from holodeck_gen.errors import ConfigError

if TYPE_CHECKING:
    from holodeck_gen._model.provider import Limits

#: Jobs at once where neither the user nor the provider says: one is always allowed.
UNKNOWN_QUOTA = 1
#: Jobs at once that an automatic search does not exceed, because some services refuse nothing;
#: whoever has more names a maximum.
AUTOMATIC_TOP = 256


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

    @property
    def fixed(self) -> bool:
        """Whether it is a number: obeyed, not searched."""
        return self.minimum is not None and self.minimum == self.maximum

    def start(self, limits: Limits) -> int:
        """Jobs at once to begin with, where nothing was found out before."""
        documented = limits.max_jobs or UNKNOWN_QUOTA
        low = self.minimum or documented
        return min(low, self.maximum or low)

    def top(self, limits: Limits) -> int:
        """Jobs at once that are never exceeded, whatever the provider accepts."""
        if self.maximum is not None:
            return self.maximum
        if limits.max_jobs is not None and not limits.max_jobs_enforced:
            return limits.max_jobs
        return max(AUTOMATIC_TOP, limits.max_jobs or 0)
