"""Job slots: how many jobs of one account and quota key may be between submit and end.

What the engine asks for them, and what it gets; `LocalGate` answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from holodeck_gen._gate.beliefs import Running
    from holodeck_gen._gate.line import Group
    from holodeck_gen.errors import PausedError


class Slot(Protocol):
    """One job's place; held from before the submit to the job's end."""

    @property
    def probe(self) -> bool:
        """Whether the submit is a try: all slots seem taken, and one is probably free."""
        ...

    def sending(self) -> None:
        """A submit is about to be sent: its job may run from now on."""
        ...

    def accepted(self) -> None:
        """The provider has taken the submit."""
        ...

    def refused(self, *, retry_after_s: float | None = None) -> float:
        """Give the place back: the provider says that there are too many jobs at once.

        Returns:
            Seconds until the next submit is tried, at the soonest.
        """
        ...

    def watched(self, job: Running) -> AbstractContextManager[None]:
        """Let `job` tell how likely it has ended."""
        ...

    def keep(self, at_most_s: float) -> None:
        """The job may run for so many seconds more, also where this process ends."""
        ...

    def abandon(self) -> float:
        """Give the place to a job that may run and is not watched, for as long as it may.

        Returns:
            Seconds until others can have it.
        """
        ...

    def release(self, *, clean: bool) -> None:
        """Give the place back. Once; `clean` where the job ran to its end."""
        ...


class Gate(Protocol):
    """What the engine asks before it calls a provider."""

    @property
    def ceiling(self) -> int:
        """Jobs at once that are allowed now."""
        ...

    @property
    def held(self) -> int:
        """Slots that are taken now."""
        ...

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        ...

    @property
    def starved_s(self) -> float:
        """Seconds for which every submit was refused although nothing of ours runs."""
        ...

    async def slot(
        self, *, key: str = "", priority: int = 0, group: Group = None, again: bool = False
    ) -> Slot:
        """Wait for a free slot.

        Args:
            key: Of the part that it is for.
            priority: Higher ones first.
            group: Groups of equal priority are served in turn.
            again: It was refused: it comes first among those of its priority.
        """
        ...

    def occupy(self, *, key: str = "") -> Slot:
        """Take a slot for a job that runs already, above the ceiling if need be."""
        ...

    def dismiss(self, reason: PausedError) -> None:
        """Let nobody wait any longer: raise `reason` where they do."""
        ...

    def close(self) -> None:
        """Keep what was found out for the next run."""
        ...
