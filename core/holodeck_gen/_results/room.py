"""Room for pictures that are decoded: as many at once as fit, however large each is."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: Pixels in work at once. A processor holds a picture about twice, with four bytes a pixel, so
#: they take about a gigabyte; eight pictures of 4096², the most that a known provider draws.
PIXELS = 2**27


@attrs.define(kw_only=True, eq=False)
class Room:
    """Lets work in as long as its sizes together are within a bound; first come, first served.

    Args:
        total: The bound. What is larger by itself gets in when there is nothing else.
    """

    total: int = attrs.field(factory=lambda: PIXELS)
    _used: int = attrs.field(default=0, init=False)
    _waiting: deque[tuple[int, asyncio.Future[None]]] = attrs.field(factory=deque, init=False)

    @asynccontextmanager
    async def taken(self, size: int) -> AsyncIterator[None]:
        """Wait until there is room for `size`, and hold it until the block is left."""
        size = min(size, self.total)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        self._admit()
        try:
            await turn
        except BaseException:
            if turn.cancelled():
                # It may have been the one that others waited behind.
                self._admit()
            else:
                self._leave(size)
            raise
        try:
            yield
        finally:
            self._leave(size)

    def _leave(self, size: int) -> None:
        self._used -= size
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.cancelled():
                if self._used + size > self.total:
                    return
                self._used += size
                turn.set_result(None)
            self._waiting.popleft()
