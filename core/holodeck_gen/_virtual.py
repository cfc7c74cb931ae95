"""An event loop whose clock is virtual; public as `holodeck_gen.testing`."""

from __future__ import annotations

import asyncio
import gc
import selectors
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Executor

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _Selector(selectors.DefaultSelector):
    """Jumps to the next timer where there is nothing to wait for in the real world."""

    def __init__(self, patience_s: float) -> None:
        super().__init__()
        self.patience_s = patience_s
        self.now = 0.0
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        # A step of the loop takes time: code that waits for less than a number can hold would
        # otherwise ask again and again.
        self.now += 1e-9
        if ready or timeout == 0:
            return ready
        if self.threads:
            # A thread's work takes no virtual time; one that never ends must not stop the clock.
            ready = super().select(self.patience_s)
            if ready:
                return ready
        if timeout is None:
            raise RuntimeError("every task waits for something that will never happen")
        self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time` jumps to the next timer when nothing else can happen.

    Args:
        patience_s: Real seconds for which the clock stands still while a thread works.
    """

    def __init__(self, *, patience_s: float = 10.0) -> None:
        self._virtual = _Selector(patience_s)
        super().__init__(self._virtual)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """As always; the clock stands still until it is done."""
        future = super().run_in_executor(executor, func, *args)
        self._virtual.threads += 1
        future.add_done_callback(self._one_less)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """As always; it joins threads, which is real work, too."""
        self._virtual.threads += 1
        await super().shutdown_default_executor()
        self._virtual.threads -= 1

    def _one_less(self, _future: object) -> None:
        self._virtual.threads -= 1


def run_virtual(main: Coroutine[Any, Any, T], *, patience_s: float = 10.0) -> T:
    """Run `main` on a `VirtualLoop` and return what it returns.

    Args:
        main: The coroutine.
        patience_s: Real seconds for which the clock stands still while a thread works.

    Raises:
        AssertionError: It left tasks running, or something called the loop's exception
            handler ("Task exception was never retrieved").
    """
    complaints: list[dict[str, Any]] = []

    def loop_factory() -> VirtualLoop:
        loop = VirtualLoop(patience_s=patience_s)
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        return loop

    async def watched() -> tuple[T, list[str]]:
        result = await main
        for _ in range(3):
            # What was cancelled or closed at the very end may take a step or two.
            await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        return result, [repr(task) for task in left]

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        result, left = runner.run(watched())
        gc.collect()
    assert not left, f"left running: {left}"
    assert not complaints, f"the loop complained: {complaints}"
    return result
