"""Tasks that may outlive the call that began them, and not the thing that holds them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


@attrs.define(eq=False)
class Background:
    """A set of tasks; unlike a task group, a fault in one does not cancel its neighbours."""

    _tasks: set[asyncio.Task[Any]] = attrs.field(factory=set, init=False)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin `work`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def cancel(self) -> None:
        """Cancel all and wait until they have ended."""
        # A task that ends may leave one behind that watches its slot, so look again.
        while left := [task for task in self._tasks if not task.done()]:
            for task in left:
                task.cancel()
            await asyncio.wait(left)
