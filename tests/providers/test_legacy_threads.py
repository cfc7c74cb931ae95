"""The legacy client among threads and loops, and what is left of it afterwards."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from holodeck_core.image_generation import GenerationTask
from legacy_service import client, journals, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holodeck_gen_providers.hunyuan.emulator import HunyuanEmulator


@pytest.fixture
def emulator() -> Iterator[HunyuanEmulator]:
    with serving(max_jobs=8) as running:
        yield running


def ours() -> set[str]:
    """Names of the threads that are neither pytest's nor the emulator's."""
    names = {each.name for each in threading.enumerate()} - {"MainThread", "hunyuan-emulator"}
    return {each for each in names if not each.startswith(("asyncio_", "ThreadPool"))}


def wait_for_a_job(emulator: HunyuanEmulator) -> None:
    """Until the service has one."""
    while not emulator.stats()["jobs_created"]:
        time.sleep(0.01)


def wait_for_no_thread() -> None:
    """For those that end by themselves, at once but not in this thread."""
    deadline = time.monotonic() + 10
    while ours() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ours() == set()


def test_eight_threads_share_the_jobs_of_one_client(emulator: HunyuanEmulator) -> None:
    """Although the service would take eight, and whatever the models."""
    made = client(emulator, max_concurrent_jobs=2)
    barrier = threading.Barrier(8)

    def work(i: int) -> list[bool]:
        barrier.wait()
        first = made.generate_image(f"single {i}", model="hunyuan-pro")["status"] == "success"
        batch = [GenerationTask(f"batch {i} {j}") for j in range(2)]
        return [first, *(each.success for each in made.generate_batch_sync(batch))]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(work, range(8)))
    assert answers == [[True] * 3] * 8
    stats = emulator.stats()
    assert stats["max_jobs_at_once"] == 2
    assert stats["jobs_created"] == stats["submits"] == 24
    assert set(stats["prompts"].values()) == {1}
    assert ours() == set()


def test_models_share_the_jobs_of_one_client() -> None:
    with serving(job_s=0.5) as emulator:
        made = client(emulator, max_concurrent_jobs=1)
        tasks = [GenerationTask(f"{i}", model=("hunyuan-pro", "lite")[i % 2]) for i in range(4)]
        assert all(each.success for each in made.generate_batch_sync(tasks))
    # One after the other, although the service counts them apart.
    assert made.stats["wall_time"] > 4 * 0.5


def test_overdue_job_keeps_its_place_between_calls() -> None:
    with serving(faults="slow-job:8~slow", max_jobs=8) as emulator:
        made = client(emulator, max_concurrent_jobs=1, timeout=0.5)
        assert not made.generate_single(GenerationTask("slow")).success
        # Its job goes on for another 0.3 s at least, and no second one beside it.
        assert made.generate_single(GenerationTask("quick")).success
        assert emulator.stats()["max_jobs_at_once"] == 1
        made.close()
    assert ours() == set()


def test_loop_stays_responsive_during_a_batch(emulator: HunyuanEmulator) -> None:
    made = client(emulator, max_concurrent_jobs=4)
    late: list[float] = []

    async def tick() -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + 0.01, loop.time())
            await asyncio.sleep(due - loop.time())
            late.append(loop.time() - due)

    async def main() -> None:
        ticker = asyncio.ensure_future(tick())
        results = await made.generate_batch_async([GenerationTask(f"{i}") for i in range(20)])
        ticker.cancel()
        assert all(each.success for each in results)

    # The emulator works in this process, too, and takes the lock from everybody.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.001)
    try:
        asyncio.run(main())
    finally:
        sys.setswitchinterval(interval)
    assert len(late) > 20
    assert max(late) < 0.05


def test_blocking_calls_work_inside_a_running_loop(emulator: HunyuanEmulator) -> None:
    async def main() -> bool:
        made = client(emulator)
        single = made.generate_single(GenerationTask("a cat")).success
        return single and made.test_connection()

    assert asyncio.run(main())


def test_cancelled_batch_begins_nothing_more(emulator: HunyuanEmulator, own_home: Path) -> None:
    made = client(emulator, max_concurrent_jobs=1)

    async def main() -> None:
        batch = asyncio.ensure_future(
            made.generate_batch_async([GenerationTask(f"{i}") for i in range(50)])
        )
        await asyncio.to_thread(wait_for_a_job, emulator)
        batch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await batch

    asyncio.run(main())
    made.close()
    assert emulator.stats()["jobs_created"] < 10


#: Makes one picture with a job that never ends, without ever closing anything.
PROGRAM = """
import sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from holodeck_core.image_generation import GenerationTask, HunyuanImageClientOptimized
client = HunyuanImageClientOptimized("", "", timeout=float(sys.argv[1]))
print(client.generate_single(GenerationTask("a cat")).error_message)
"""


class TestPrograms:
    """That end in the middle, or never close their client."""

    def program(self, timeout_s: float) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(timeout_s)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def test_ends_quietly_although_a_job_goes_on(self, own_home: Path) -> None:
        with serving(faults="never-ends"), self.program(0.3) as program:
            out, err = program.communicate(timeout=60)
        assert program.returncode == 0, err
        (journal,) = journals(own_home)
        assert f"holodeck-gen collect {journal.parent}" in out
        assert "Traceback" not in err

    def test_interrupted_tells_how_to_get_what_is_paid_for(self, own_home: Path) -> None:
        with serving(faults="never-ends") as emulator, self.program(60.0) as program:
            while not emulator.stats()["queries"]:
                assert program.poll() is None
                time.sleep(0.01)
            program.send_signal(signal.SIGINT)
            _, err = program.communicate(timeout=60)
        assert program.returncode != 0
        (journal,) = journals(own_home)
        assert f"holodeck-gen collect {journal.parent}" in err
        assert emulator.stats()["jobs_created"] == 1


class TestNothingOutlivesTheClient:
    def test_between_calls_there_is_nothing(self, emulator: HunyuanEmulator) -> None:
        made = client(emulator)
        assert made.generate_single(GenerationTask("a cat")).success
        assert ours() == set()

    def test_close_waits_for_other_threads(self, emulator: HunyuanEmulator) -> None:
        made = client(emulator)
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(made.generate_single, GenerationTask("a cat"))
            wait_for_a_job(emulator)
            made.close()
            assert running.done() or running.result(1).success
            assert running.result().success
        assert ours() == set()

    def test_closed_client_takes_nothing(self, emulator: HunyuanEmulator) -> None:
        with client(emulator) as made:
            assert made.generate_single(GenerationTask("a cat")).success
        made.close()
        with pytest.raises(RuntimeError, match="closed"):
            made.generate_single(GenerationTask("a dog"))
        with pytest.raises(RuntimeError, match="closed"):
            made.test_connection()
        assert emulator.stats()["jobs_created"] == 1

    def test_dropped_client_takes_its_studio_along(self, own_home: Path) -> None:
        """An overdue job keeps the studio; with the client nobody can ask for more."""
        with serving(faults="never-ends") as emulator:
            made = client(emulator, timeout=0.2)
            assert not made.generate_single(GenerationTask("a cat")).success
            assert "holodeck-gen" in ours()
            del made
            gc.collect()
            wait_for_no_thread()
        assert len(journals(own_home)) == 1
