"""Who occupies the slots of a gate, and the seats of a gate that shares them with nobody."""

from __future__ import annotations

import asyncio
from typing import Protocol

import attrs


class Seats(Protocol):
    """Who occupies the slots, over all studios that share them. Quick; never blocks.

    A key names one submit: the part's `submit_key`.
    """

    def others(self) -> int:
        """Slots that are occupied by others than this gate."""
        ...

    def take(self, key: str, limit: int) -> bool:
        """Occupy one slot, unless all together have `limit` already."""
        ...

    def occupy(self, key: str) -> None:
        """Occupy one slot, above every limit if need be."""
        ...

    def sending(self, key: str) -> None:
        """A submit is about to be sent: its job may run from now on."""
        ...

    def keep(self, key: str, at_most_s: float) -> None:
        """The job may run for so many seconds more, also where this process ends."""
        ...

    def abandon(self, key: str) -> float:
        """Watch the job no more: it is one of the others until it has surely ended.

        Returns:
            Seconds until then.
        """
        ...

    def leave(self, key: str, *, ended: bool = False) -> None:
        """Give it back; `ended` where the job was seen to run to its end."""
        ...


@attrs.define(eq=False)
class OwnSeats:
    """Seats that nobody else uses.

    Args:
        timeout_s: Seconds after which a job that nobody watches has surely ended.
    """

    timeout_s: float = 600.0
    _mine: int = attrs.field(default=0, init=False)
    #: Loop times until which abandoned jobs may run.
    _abandoned: list[float] = attrs.field(factory=list, init=False)

    def others(self) -> int:
        if self._abandoned:
            now = asyncio.get_running_loop().time()
            self._abandoned = [until for until in self._abandoned if until > now]
        return len(self._abandoned)

    def take(self, key: str, limit: int) -> bool:
        if self._mine + self.others() >= limit:
            return False
        self._mine += 1
        return True

    def occupy(self, key: str) -> None:
        self._mine += 1

    def sending(self, key: str) -> None:
        pass

    def keep(self, key: str, at_most_s: float) -> None:
        pass

    def abandon(self, key: str) -> float:
        self._mine -= 1
        self._abandoned.append(asyncio.get_running_loop().time() + self.timeout_s)
        return self.timeout_s

    def leave(self, key: str, *, ended: bool = False) -> None:
        self._mine -= 1
