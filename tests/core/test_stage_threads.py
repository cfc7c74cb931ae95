"""Processors that hang take nothing from anybody but each other."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest

from holodeck_gen._calls import DeadlineError
from holodeck_gen._stages.threads import StageThreads
from holodeck_gen.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds after which a call that hangs is given up; real ones, so few.
SOON_S = 0.02


class Hang:
    """A function that hangs until `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        self.go.wait(60)
        return "late"


@pytest.fixture
def hang() -> Iterator[Hang]:
    hang = Hang()
    yield hang
    hang.go.set()


async def fine(threads: StageThreads, answer: str = "fine") -> str:
    return await threads.run(lambda: answer, timeout_s=60, what="it")


async def give_up(threads: StageThreads, hang: Hang, times: int) -> None:
    for _ in range(times):
        with pytest.raises(DeadlineError, match="it took longer"):
            await threads.run(hang, timeout_s=SOON_S, what="it")


def test_so_many_at_once(hang: Hang) -> None:
    async def main() -> None:
        threads = StageThreads(places=2, spares=1)
        running = [
            asyncio.ensure_future(threads.run(hang, timeout_s=60, what="it")) for _ in range(4)
        ]
        await asyncio.sleep(SOON_S)
        assert hang.calls == 2
        hang.go.set()
        assert await asyncio.gather(*running) == ["late"] * 4
        threads.close()

    asyncio.run(main())


def test_the_wait_for_a_place_is_not_counted(hang: Hang) -> None:
    async def main() -> None:
        threads = StageThreads(places=1, spares=0)
        first = asyncio.ensure_future(threads.run(hang, timeout_s=60, what="it"))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(threads.run(lambda: 2, timeout_s=SOON_S, what="it"))
        await asyncio.sleep(3 * SOON_S)
        hang.go.set()
        assert (await first, await second) == ("late", 2)

    asyncio.run(main())


def test_the_place_of_one_that_hangs_is_taken_by_another(hang: Hang) -> None:
    async def main() -> None:
        threads = StageThreads(places=1, spares=2)
        await give_up(threads, hang, 2)
        assert await fine(threads) == "fine"

    asyncio.run(main())


def test_where_all_hang_nothing_waits(hang: Hang) -> None:
    async def main() -> None:
        threads = StageThreads(places=2, spares=1)
        await give_up(threads, hang, 2)
        third = asyncio.ensure_future(give_up(threads, hang, 1))
        await asyncio.sleep(0)
        waiting = [asyncio.ensure_future(fine(threads)) for _ in range(2)]
        await third
        for each in (*waiting, fine(threads)):
            with pytest.raises(PluginError, match="3 calls before it hang"):
                await each

    asyncio.run(main())


def test_one_that_comes_back_gives_its_place_back(hang: Hang) -> None:
    async def main() -> None:
        threads = StageThreads(places=2, spares=1)
        await give_up(threads, hang, 3)
        with pytest.raises(PluginError):
            await fine(threads)
        hang.go.set()
        async with asyncio.timeout(60):
            while threads._hung:  # noqa: ASYNC110 -- counted by the threads
                await asyncio.sleep(0)
        assert await asyncio.gather(*(fine(threads, str(i)) for i in range(5))) == list("01234")
        hang.go.clear()
        await give_up(threads, hang, 3)
        hang.go.set()

    asyncio.run(main())


def test_the_loop_may_be_gone_when_it_comes_back(hang: Hang) -> None:
    async def main() -> None:
        threads = StageThreads(places=1, spares=1)
        await give_up(threads, hang, 1)
        # Does not wait for it.
        threads.close()

    asyncio.run(main())
    hang.go.set()


def test_it_takes_no_thread_of_the_common_pool(hang: Hang) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        threads = StageThreads(places=1, spares=1)
        await give_up(threads, hang, 1)
        async with asyncio.timeout(60):
            assert await asyncio.to_thread(lambda: "free") == "free"

    asyncio.run(main())


def test_errors_and_context_pass() -> None:
    name: ContextVar[str] = ContextVar("name")

    def fail() -> None:
        raise ValueError(name.get())

    async def main() -> None:
        threads = StageThreads(places=1, spares=0)
        name.set("cat")
        for _ in range(2):
            with pytest.raises(ValueError, match="cat"):
                await threads.run(fail, timeout_s=60, what="it")
        threads.close()

    asyncio.run(main())
