"""What stages cost: throughput against the pixel work alone, and how long the loop was held up.

Run: ``python tests/benchmarks/bench_stages.py [PICTURES]``
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import holodeck_gen as hg
from holodeck_gen._config import Config
from holodeck_gen._log import Logger

PROCESS = ["convert", "label", "thumbnail"]
STAGES: dict[str, dict[str, Any]] = {
    "convert": {"format": "webp", "max_side": 768},
    "label": {"producer": "bench"},
    "thumbnail": {"size": 256},
    "template": {"suffix": ", in {{ style }}"},
}
RUNS = 5
#: Seconds between two looks at how late the loop is.
LOOK_S = 0.002


def picture() -> bytes:
    """1024² with a little noise, as models make them."""
    across = np.linspace(0, 255, 1024)
    plane = np.stack([np.add.outer(across, across) / 2, *np.meshgrid(across, across)], axis=-1)
    noisy = plane + np.random.default_rng(1).integers(-4, 5, plane.shape)
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype("uint8")).save(file, "PNG", compress_level=1)
    return file.getvalue()


def pixel_work(data: bytes, number: int) -> float:
    """Seconds that the processors alone take in as many threads as there are processors."""
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
            for processor in chain:
                made = [processor(file, task) for file in files]
                files = [f for each in made for f in (each if isinstance(each, list) else [each])]

    began = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(work, range(number)))
    return time.perf_counter() - began


async def run(data: bytes, number: int, folder: str) -> tuple[float, list[float], list[float]]:
    """Seconds for all of it; how late each look at the loop was, and its work between two."""

    async def answer(_request: hg.JsonObject) -> bytes:
        return data

    late: list[float] = []
    busy: list[float] = []

    async def look() -> None:
        while True:
            due, worked = time.perf_counter() + LOOK_S, time.thread_time()
            await asyncio.sleep(LOOK_S)
            late.append(time.perf_counter() - due)
            busy.append(time.thread_time() - worked)

    provider = hg.DirectProvider("bench", answer, billing="free", limits=hg.Limits(max_jobs=8))
    config = Config.of({"stages": STAGES}, environ={})
    async with hg.AsyncStudio(
        provider, output=folder, rewrite=["template"], process=PROCESS, config=config
    ) as studio:
        began = time.perf_counter()
        looking = asyncio.ensure_future(look())
        tasks = [hg.Task("a door", id=f"t{i}", style="ink") for i in range(number)]
        async for outcome in studio.map(tasks):
            assert outcome.ok, outcome
        took = time.perf_counter() - began
        looking.cancel()
    return took, sorted(late), sorted(busy)


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    data = picture()
    pixel_work(data, 2)
    shares: list[float] = []
    tell(f"{number} pictures of 1024², {' → '.join(PROCESS)}, {os.cpu_count()} processors")
    for _ in range(RUNS):
        alone = pixel_work(data, number)
        folder = tempfile.mkdtemp()
        took, late, busy = asyncio.run(run(data, number, folder))
        shutil.rmtree(folder)
        shares.append(alone / took)
        tell(
            f"alone {alone:5.2f} s · with the engine {took:5.2f} s · share {alone / took:.2f}"
            f" · loop late {ms(late)} · loop at work {ms(busy)}"
        )
    tell(f"median share {sorted(shares)[RUNS // 2]:.2f}")


def ms(times: list[float]) -> str:
    return f"{times[len(times) * 99 // 100] * 1e3:.1f} ms (99 %), {times[-1] * 1e3:.1f} ms (most)"


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
