"""The timetable of trials: when one request may find out how a service is that was not well."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from holodeck_gen._model.provider import Action

#: Seconds between two trials.
TRIAL_S = 60.0
#: Seconds until the first one: most trouble is over by then.
FIRST_TRIAL_S = 5.0

#: What is tried; None stands for any action.
Side: TypeAlias = Action | None

_NEVER = float("-inf")


@attrs.define(eq=False)
class Trials:
    """Of one service. All times are the loop's."""

    #: When the last trials in vain began.
    _tried: dict[Side, float] = attrs.field(factory=dict, init=False)
    #: When the next trial may begin.
    _due: dict[Side, float] = attrs.field(factory=dict, init=False)

    def plan(self, side: Side, now: float, *, after_s: float = FIRST_TRIAL_S) -> None:
        """Let there be a first trial after so long, or when one is due again."""
        self._due[side] = max(now + after_s, self.last(side) + TRIAL_S)

    def due(self, side: Side) -> float:
        """When the next one that was planned may begin."""
        return self._due[side]

    def last(self, side: Side) -> float:
        """When the last one in vain began."""
        return self._tried.get(side, _NEVER)

    def begin(self, action: Action, now: float) -> None:
        """One begins."""
        for side in (None, action):
            self._tried[side] = now
            self._due[side] = now + TRIAL_S

    def undo(self, action: Action, now: float) -> None:
        """It found nothing out, and another may begin."""
        for side in (None, action):
            self._tried.pop(side, None)
            self._due[side] = now

    def succeeded(self, action: Action) -> None:
        """It was answered well: what comes now is another spell."""
        for side in (None, action):
            self._tried.pop(side, None)
