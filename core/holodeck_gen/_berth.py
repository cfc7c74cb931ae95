"""A job slot between the gate that gave it and the job that needs it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._gate import Gate, Slot
from holodeck_gen.errors import PausedError

if TYPE_CHECKING:
    from collections.abc import Sequence


@attrs.define(eq=False)
class Berth:
    """A slot that a task got before there was a job to hold it; empty where its job waits itself.

    Attributes:
        wait_s: Seconds until it was free.
        roams: Whether the job, if it is refused its slot, gives way to one at another account.
    """

    _slot: Slot | None = None
    wait_s: float = attrs.field(default=0.0, kw_only=True)
    roams: bool = attrs.field(default=False, kw_only=True)

    def take(self) -> Slot | None:
        """The slot, for the one who gives it back from now on."""
        slot, self._slot = self._slot, None
        return slot

    def close(self) -> None:
        """Give it back where nobody took it."""
        if slot := self.take():
            slot.release(clean=False)


async def first_slot(
    gates: Sequence[Gate], *, key: str, priority: int, group: str | None, again: bool
) -> tuple[int, Slot]:
    """Wait at several gates, and leave the others when one has given a slot.

    So each of them knows how many wait, and hands its slots out in its order.

    Args:
        gates: Where; of those with room now the one with most comes first.
        key: As for `Gate.slot`, like the others.

    Returns:
        The place of the gate in `gates`, and its slot.

    Raises:
        PausedError: Every gate has dismissed those who wait.
    """
    places = sorted(range(len(gates)), key=lambda i: gates[i].held - gates[i].ceiling)
    turns = {
        asyncio.ensure_future(
            gates[place].slot(key=key, priority=priority, group=group, again=again)
        ): place
        for place in places
    }
    pause = PausedError("paused: there is nothing to wait for")
    try:
        while turns:
            done, _ = await asyncio.wait(turns, return_when=asyncio.FIRST_COMPLETED)
            for turn in [each for each in turns if each in done]:
                place = turns.pop(turn)
                try:
                    return place, turn.result()
                except PausedError as error:
                    pause = error
    finally:
        for turn in turns:
            # One that was granted in the same moment is not needed.
            turn.add_done_callback(_give_back)
            turn.cancel()
    raise pause


def _give_back(turn: asyncio.Future[Slot]) -> None:
    if not turn.cancelled() and turn.exception() is None:
        turn.result().release(clean=False)
