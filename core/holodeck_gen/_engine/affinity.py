"""Groups of tasks that stay with one provider, so that what it makes looks alike.

The first task of a group that is bound decides for all of them, in this run or an earlier one.
"""

from __future__ import annotations

import asyncio

import attrs

from holodeck_gen._journal.journal import Journal


@attrs.define(eq=False)
class AffinityGroup:
    """The tasks of one affinity.

    Attributes:
        provider: The name of the provider that they stay with, once one of them is bound.
    """

    provider: str | None = None
    #: Whether that provider has, or may have, made something of it: then the look is set.
    _made: bool = False
    _trying: int = attrs.field(default=0, init=False)
    #: Set and replaced when a task leaves; only where one waits for that.
    _left: asyncio.Event | None = attrs.field(default=None, init=False)

    def join(self, provider: str) -> bool:
        """Bind one more task; False where the group went to another provider meanwhile."""
        if self.provider not in (None, provider):
            return False
        self.provider = provider
        self._trying += 1
        return True

    def leave(self, *, made: bool) -> None:
        """A bound task has ended there, or was refused.

        Args:
            made: Whether the provider has, or may have, made something of it.
        """
        self._trying -= 1
        self._made = self._made or made
        if not self._made and not self._trying:
            self.provider = None
        if self._left is not None:
            self._left.set()
            self._left = None

    async def moves(self) -> bool:
        """Wait until it is known whether the group stays where it is; whether it does not.

        For a task that is refused there while others of the group are being tried.
        """
        before = self.provider
        while self.provider == before and self._trying and not self._made:
            self._left = self._left or asyncio.Event()
            await self._left.wait()
        return self.provider != before


@attrs.define(kw_only=True, eq=False)
class Affinities:
    """Every group of a studio, with what earlier runs have decided."""

    journal: Journal
    _groups: dict[str, AffinityGroup] | None = attrs.field(default=None, init=False)
    _reading: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)

    async def group(self, affinity: str) -> AffinityGroup:
        """The group of tasks with this affinity."""
        async with self._reading:
            if self._groups is None:
                # Only now, because it looks at every task of the journal and few runs need it.
                self._groups = {
                    name: AffinityGroup(provider, True)
                    for name, provider in (await self.journal.affinities()).items()
                }
        return self._groups.setdefault(affinity, AffinityGroup())
