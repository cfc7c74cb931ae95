"""Plugin code may hang, ignore its cancellation, or cancel itself."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from holodeck_gen._calls import GRACE_S, DeadlineError, ForeignCancelError, bounded, finish
from holodeck_gen.testing import run_virtual


async def soon(value: str = "done") -> str:
    await asyncio.sleep(1)
    return value


def test_what_it_returns_and_raises_passes() -> None:
    async def fails() -> None:
        raise ValueError("its own")

    assert run_virtual(bounded(soon(), timeout_s=5, what="it")) == "done"
    with pytest.raises(ValueError, match="its own"):
        run_virtual(bounded(fails(), timeout_s=5, what="it"))


def test_a_call_that_hangs_meets_its_deadline() -> None:
    with pytest.raises(DeadlineError, match="it took longer than 5 s"):
        run_virtual(bounded(asyncio.sleep(1e9), timeout_s=5, what="it"))


def test_a_call_that_ignores_its_cancellation_is_left_alone() -> None:
    async def stubborn() -> None:
        for _ in range(3):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(100)

    async def main() -> float:
        began = asyncio.get_running_loop().time()
        with pytest.raises(DeadlineError):
            await bounded(stubborn(), timeout_s=5, what="it")
        took = asyncio.get_running_loop().time() - began
        await asyncio.sleep(1000)
        return took

    assert run_virtual(main()) == pytest.approx(5 + GRACE_S)


def test_a_cancellation_of_its_own_is_not_ours() -> None:
    async def cancels_itself() -> None:
        raise asyncio.CancelledError

    with pytest.raises(ForeignCancelError):
        run_virtual(bounded(cancels_itself(), timeout_s=5, what="it"))


def test_our_cancellation_reaches_the_call() -> None:
    reached: list[bool] = []

    async def call() -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            reached.append(True)
            raise

    async def main() -> None:
        task = asyncio.ensure_future(bounded(call(), timeout_s=200, what="it"))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(main())
    assert reached == [True]


@pytest.mark.parametrize("answer", [None, 5, "text", b"bytes"])
def test_what_cannot_be_awaited_is_a_type_error(answer: Any) -> None:
    with pytest.raises(TypeError, match="must be awaitable"):
        run_virtual(bounded(answer, timeout_s=5, what="it"))


def test_work_that_must_not_stop_half_way_is_finished_first() -> None:
    async def main() -> list[str]:
        done: list[str] = []

        async def work() -> None:
            await asyncio.sleep(10)
            done.append("work")

        async def caller() -> None:
            await finish(asyncio.ensure_future(work()))
            done.append("never")

        task = asyncio.ensure_future(caller())
        for _ in range(3):
            await asyncio.sleep(1)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return done

    assert run_virtual(main()) == ["work"]
