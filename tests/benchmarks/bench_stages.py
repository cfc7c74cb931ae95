"""What stages cost: throughput against the pixel work alone, and how long the loop was held up.

Run: ``python tests/benchmarks/bench_stages.py [PICTURES [PLACES]]``, where PLACES is how many
processors' calls the engine makes at once, if not as many as it does by itself.

It keeps to two processors. The pixel work is that of the check, which decodes a picture to its end,
and of the processors, in two threads beside a loop that does nothing else; then comes the same with
the engine: a rewriter, a provider that answers at once, the check, processors, a folder, sidecars;
and once more with the loop watched, which takes longer by itself.
Two figures are wanted:

- the share: the time of the former by that of the latter, at least 0.90. On a machine that has
  other work, the share by processor time says more;
- no more than 20 ms for which the loop was held up by one callback. A callback that waits for a
  processor or for Python's lock takes longer than it works, so both are told, and how late the
  loop was; the bare loop's lateness is what the machine does by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from PIL import Image

import holodeck_gen as hg
from holodeck_gen._config.config import Config
from holodeck_gen._log import Logger
from holodeck_gen._results.inspection import inspect_file
from holodeck_gen._stages.threads import PLACES, StageThreads

if TYPE_CHECKING:
    from collections.abc import Iterator

PROCESS = ["convert", "label", "thumbnail"]
STAGES: dict[str, dict[str, Any]] = {
    "convert": {"format": "webp", "max_side": 768},
    "label": {"producer": "bench"},
    "thumbnail": {"size": 256},
    "template": {"suffix": ", in {{ style }}"},
}
RUNS = 5
CORES = 2
#: Seconds between two looks at how late the loop is.
LOOK_S = 0.002
#: What is wanted: at least this share, and at most this many seconds.
SHARE, BLOCKED_S = 0.9, 0.02


@attrs.define
class Loop:
    """How a loop fares.

    Attributes:
        late: By how many seconds each look came too late.
        longest: The longest callback: seconds that it took, seconds that it worked, its name.
        busiest: The one that worked longest, likewise.
    """

    late: list[float] = attrs.field(factory=list)
    longest: tuple[float, float, str] = (0.0, 0.0, "")
    busiest: tuple[float, float, str] = (0.0, 0.0, "")

    async def look(self) -> None:
        """Look at it for ever."""
        while True:
            due = time.perf_counter() + LOOK_S
            await asyncio.sleep(LOOK_S)
            self.late.append(time.perf_counter() - due)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Time every callback, and see how late they are."""
        looking = asyncio.ensure_future(self.look())
        run = asyncio.Handle._run

        def timed(handle: asyncio.Handle) -> None:
            began, worked = time.perf_counter(), time.thread_time()
            run(handle)
            took, work = time.perf_counter() - began, time.thread_time() - worked
            if took > self.longest[0]:
                self.longest = took, work, repr(handle)
            if work > self.busiest[1]:
                self.busiest = took, work, repr(handle)

        asyncio.Handle._run = timed  # type: ignore[assignment,method-assign]
        try:
            yield
        finally:
            asyncio.Handle._run = run  # type: ignore[method-assign]
            looking.cancel()


@attrs.frozen
class Spent:
    """Seconds by the clock, and of the processors."""

    clock: float
    work: float


@contextlib.contextmanager
def counted(into: list[Spent]) -> Iterator[None]:
    """Add what is spent meanwhile."""
    began, worked = time.perf_counter(), time.process_time()
    yield
    into.append(Spent(time.perf_counter() - began, time.process_time() - worked))


def picture() -> bytes:
    """1024² with a little noise, as models make them."""
    across = np.linspace(0, 255, 1024)
    plane = np.stack([np.add.outer(across, across) / 2, *np.meshgrid(across, across)], axis=-1)
    noisy = plane + np.random.default_rng(1).integers(-4, 5, plane.shape)
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype("uint8")).save(file, "PNG", compress_level=1)
    return file.getvalue()


async def pixel_work(data: bytes, number: int, *, watched: bool = False) -> tuple[Spent, Loop]:
    """What the processors alone take in as many threads as there are processors."""
    registry = hg.Registry()
    context = hg.Context(
        http=lambda: sys.exit("unused"), wall_clock=time.time, environ={}, log=Logger("bench")
    )
    chain = [registry.configure("processor", n, STAGES[n]).make(context) for n in PROCESS]
    task = hg.Task("a door", id="a", style="ink")

    def work(place: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / f"{place}.png"]
            files[0].write_bytes(data)
            inspect_file(files[0], kind="image", decode=True)
            for processor in chain:
                made = [processor(file, task) for file in files]
                files = [f for each in made for f in (each if isinstance(each, list) else [each])]

    loop, spent = Loop(), list[Spent]()
    watching = loop.watched() if watched else contextlib.nullcontext()
    with ThreadPoolExecutor(CORES) as pool, watching, counted(spent):
        running = asyncio.get_running_loop().run_in_executor
        await asyncio.gather(*(running(pool, work, place) for place in range(number)))
    return spent[0], loop


async def run(
    data: bytes, number: int, folder: str, places: int, *, watched: bool
) -> tuple[Spent, Loop]:
    """What all of it takes; longer, by some hundredths, where the loop is watched."""

    async def answer(_request: hg.JsonObject) -> bytes:
        return data

    provider = hg.DirectProvider("bench", answer, billing="free", limits=hg.Limits(max_jobs=8))
    config = Config.of({"stages": STAGES}, environ={})
    loop, spent = Loop(), list[Spent]()
    async with hg.AsyncStudio(
        provider, output=folder, rewrite=["template"], process=PROCESS, sidecar=True, config=config
    ) as studio:
        studio._work.engine.parts.finisher._threads = StageThreads(places=places)
        watching = loop.watched() if watched else contextlib.nullcontext()
        tasks = [hg.Task("a door", id=f"t{i}", style="ink") for i in range(number)]
        # As the command does.
        gc.collect()
        gc.freeze()
        with watching, counted(spent):
            async for outcome in studio.map(tasks):
                assert outcome.ok, outcome
    return spent[0], loop


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    places = int(sys.argv[2]) if len(sys.argv) > 2 else PLACES
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    data = picture()
    asyncio.run(pixel_work(data, 2))
    _, quiet = asyncio.run(pixel_work(data, number, watched=True))
    shares: list[Spent] = []
    loops: list[Loop] = []
    chain = " → ".join(["check", *PROCESS])
    tell(f"{number} pictures of 1024², {chain}, {CORES} processors, {places} calls at once")
    tell(f"beside the pixel work alone, a loop is late {latest(quiet)}")
    for _ in range(RUNS):
        alone, _ = asyncio.run(pixel_work(data, number))
        made = []
        for watched in (False, True):
            folder = tempfile.mkdtemp()
            made.append(asyncio.run(run(data, number, folder, places, watched=watched)))
            shutil.rmtree(folder)
        (whole, _), (_, loop) = made
        shares.append(Spent(alone.clock / whole.clock, alone.work / whole.work))
        loops.append(loop)
        tell(
            f"alone {alone.clock:5.2f} s · with the engine {whole.clock:5.2f} s"
            f" · share {shares[-1].clock:.2f}, by processor time {shares[-1].work:.2f}"
            f" · late {latest(loop)}"
        )
    tell_verdict(shares, loops)


def tell_verdict(shares: list[Spent], loops: list[Loop]) -> None:
    """What came of it, beside what is wanted."""
    share = sorted(each.clock for each in shares)[RUNS // 2]
    by_work = sorted(each.work for each in shares)[RUNS // 2]
    longest = max(loop.longest for loop in loops)
    busiest = max((loop.busiest for loop in loops), key=lambda each: each[1])
    good = "reached" if share >= SHARE else "MISSED"
    tell(f"median share {share:.2f}, by processor time {by_work:.2f}; wanted {SHARE}: {good}")
    good = "reached" if longest[0] <= BLOCKED_S else "MISSED"
    wanted = f"wanted {BLOCKED_S * 1e3:.0f} ms: {good}"
    tell(f"longest callback {ms(longest[0])}, of which {ms(longest[1])} at work; {wanted}")
    tell(f"  {longest[2]}")
    tell(f"most work in a callback {ms(busiest[1])}\n  {busiest[2]}")


def latest(loop: Loop) -> str:
    late = sorted(loop.late)
    return f"{ms(late[len(late) * 99 // 100])} (99 %), {ms(late[-1])} (most)"


def ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
