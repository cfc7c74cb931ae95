"""A job slot between the gate that gave it and the job that needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._accounts.accounts import Account
from holodeck_gen._gate.gate import Gate, Slot
from holodeck_gen.errors import PausedError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds until it is looked again whether an account is well.
LOOK_AGAIN_S = 5.0


class MovesOnError(TransientError):
    """A job has better chances at another account; nothing of it was made here."""

    proves_not_created = True


@attrs.define(eq=False)
class Berth:
    """A slot that a task got before there was a job to hold it; empty where its job waits itself.

    Attributes:
        wait_s: Seconds until it was free.
        others: Accounts that could take the job instead.
    """

    _slot: Slot | None = None
    wait_s: float = attrs.field(default=0.0, kw_only=True)
    others: Sequence[Account] = attrs.field(default=(), kw_only=True)

    def take(self) -> Slot | None:
        """The slot, for the one who gives it back from now on."""
        slot, self._slot = self._slot, None
        return slot

    def close(self) -> None:
        """Give it back where nobody took it."""
        if slot := self.take():
            slot.release(clean=False)


async def first_slot(
    gates: Sequence[Gate],
    *,
    welcome: Callable[[int], bool],
    key: str,
    priority: int,
    group: str | None,
    again: bool,
) -> tuple[int, Slot]:
    """Wait at several gates, and leave the others when one has given a slot.

    So each of them knows how many wait, and hands its slots out in its order.

    Args:
        gates: Where; of those with room now the one with most comes first.
        welcome: Whether to begin to wait at the gate of this place in `gates`; looked at again
            every `LOOK_AGAIN_S`. Where none is, all are.
        key: As for `Gate.slot`, like the others.

    Returns:
        The place of the gate in `gates`, and its slot.

    Raises:
        PausedError: Every gate has dismissed those who wait.
    """
    left = sorted(range(len(gates)), key=lambda place: gates[place].held - gates[place].ceiling)
    turns: dict[asyncio.Future[Slot], int] = {}
    pause = PausedError("paused: there is nothing to wait for")
    try:
        while left or turns:
            for place in [each for each in left if welcome(each)] or ([] if turns else [*left]):
                left.remove(place)
                waiting = gates[place].slot(key=key, priority=priority, group=group, again=again)
                turns[asyncio.ensure_future(waiting)] = place
            look_again = LOOK_AGAIN_S if left else None
            done, _ = await asyncio.wait(
                turns, timeout=look_again, return_when=asyncio.FIRST_COMPLETED
            )
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
