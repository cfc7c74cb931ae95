"""The legacy client on this library against the way the old one worked, side by side.

The old way: a pool of threads, Tencent's official SDK, a poll every 2 s, the download inside
the slot, and every exception answered by submitting again. It is given the right status words,
which the old client did not know. Everything is ten times as fast as in life: jobs of about 30 s
take 3 s, and both poll every 0.2 s. Both ask one service, in turns.

Run: ``python tests/benchmarks/bench_legacy.py``
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
import urllib.request
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

sys.path.insert(0, str(Path(__file__).parents[1]))

from e2e.emulating import Emulator, emulated
from holodeck_core.image_generation import GenerationTask, HunyuanImageClientOptimized
from holodeck_gen_providers.hunyuan._provider import HunyuanProvider

SCALE = 10
POLL_S = 2.0 / SCALE
JOB_S = 30.0 / SCALE
TIMEOUT_S = 120.0 / SCALE
RETRY_DELAY_S = 2.0 / SCALE
SLOTS = 2
TASKS = 24
RUNS = 3
#: Two submits are accepted and their answers are lost.
LOSSES = "drop-after-accept~2@1,drop-after-accept~7@1"


@attrs.frozen
class Figures:
    """Of one run."""

    makespan_s: float
    pictures: int
    jobs: int
    duplicates: int
    queries: int
    cpu_ms: float

    @classmethod
    def of(cls, way: Any, emulator: Emulator, tasks: int) -> Figures:
        """Run `tasks` tasks in one way."""
        emulator.reset()
        folder = Path(tempfile.mkdtemp())
        began, cpu = time.perf_counter(), time.process_time()
        pictures = way(emulator, [f"picture {i}" for i in range(tasks)], folder)
        makespan, cpu = time.perf_counter() - began, time.process_time() - cpu
        shutil.rmtree(folder)
        stats = emulator.stats
        return cls(
            makespan_s=makespan,
            pictures=pictures,
            jobs=stats["jobs_created"],
            duplicates=sum(count - 1 for count in stats["prompts"].values()),
            queries=stats["queries"],
            cpu_ms=1000 * cpu / tasks,
        )


def ours(emulator: Emulator, prompts: list[str], folder: Path) -> int:
    """The legacy client; returns how many pictures there are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = HunyuanImageClientOptimized(
            emulator.environ["HUNYUAN_SECRET_ID"],
            emulator.environ["HUNYUAN_SECRET_KEY"],
            timeout=TIMEOUT_S,
            max_concurrent_jobs=SLOTS,
            retry_delay=RETRY_DELAY_S,
        )
    with client:
        results = client.generate_batch_sync(
            [GenerationTask(each, output_path=folder / f"{each}.png") for each in prompts]
        )
    return sum(result.success for result in results)


def old(emulator: Emulator, prompts: list[str], folder: Path) -> int:
    """The way of old."""
    sdk = _Sdk(emulator)
    with ThreadPoolExecutor(SLOTS) as pool:
        return sum(pool.map(lambda each: sdk.make(each, folder / f"{each}.png"), prompts))


class _Sdk:
    def __init__(self, emulator: Emulator) -> None:
        http = _module("common.profile.http_profile").HttpProfile(
            protocol="http", endpoint=urlsplit(emulator.environ["HUNYUAN_ENDPOINT"]).netloc
        )
        self._models = _module("hunyuan.v20230901.models")
        self._client = _module("hunyuan.v20230901.hunyuan_client").HunyuanClient(
            _module("common.credential").Credential(
                emulator.environ["HUNYUAN_SECRET_ID"], emulator.environ["HUNYUAN_SECRET_KEY"]
            ),
            "ap-guangzhou",
            _module("common.profile.client_profile").ClientProfile(httpProfile=http),
        )

    def make(self, prompt: str, path: Path) -> bool:
        for attempt in range(4):
            try:
                self._once(prompt, path)
            except Exception:
                time.sleep(RETRY_DELAY_S * 2**attempt)
            else:
                return True
        return False

    def _once(self, prompt: str, path: Path) -> None:
        job = self._call("Submit", {"Prompt": prompt, "Resolution": "1024:1024"}).JobId
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            time.sleep(POLL_S)
            answer = self._call("Query", {"JobId": job})
            if answer.JobStatusCode == "5":
                with urllib.request.urlopen(answer.ResultImage[0]) as picture:
                    path.write_bytes(picture.read())
                return
            if answer.JobStatusCode == "4":
                raise RuntimeError(answer.JobErrorMsg)
        raise TimeoutError

    def _call(self, verb: str, parameters: dict[str, Any]) -> Any:
        request = getattr(self._models, f"{verb}HunyuanImageJobRequest")()
        request.from_json_string(json.dumps(parameters))
        return getattr(self._client, f"{verb}HunyuanImageJob")(request)


def _module(name: str) -> Any:
    return import_module(f"tencentcloud.{name}")


def hurry() -> None:
    """Let the provider poll as often as the scale demands."""
    limits = HunyuanProvider._limits

    def scaled(self: HunyuanProvider, model: Any) -> Any:
        return attrs.evolve(limits(self, model), poll_interval_s=POLL_S)

    HunyuanProvider._limits = scaled  # type: ignore[method-assign]


def main() -> None:
    hurry()
    os.environ |= {
        "XDG_STATE_HOME": tempfile.mkdtemp(),
        "HUNYUAN_DIALECT": "hunyuan",
    }
    ways = {"thread pool, SDK": old, "legacy client": ours}
    lines = [
        f"{'':<52}{'makespan s':>12}{'pictures':>10}{'jobs paid':>11}{'twice':>7}"
        f"{'queries/job':>13}{'CPU ms/task':>13}"
    ]
    options = ("--job-seconds", f"{JOB_S},0.3", "--pictures", "cheap")
    lost = ("--faults", LOSSES)
    for title, slots, extra, tasks, runs in (
        (f"{TASKS} tasks", SLOTS, (), TASKS, RUNS),
        # The lost jobs hold the account's slots, which alone keeps others from being made.
        ("10 tasks, 2 lost", SLOTS, lost, 10, 1),
        ("10 tasks, 2 lost, a slot to spare", SLOTS + 1, lost, 10, 1),
    ):
        with emulated(
            "--max-jobs", str(slots), *options, *extra, folder=Path(tempfile.mkdtemp())
        ) as emulator:
            found = _measured(emulator, ways, tasks, runs)
        lines += [_line(f"{title}: {name}", each) for name, each in found.items()]
    sys.stdout.write("\n".join(lines) + "\n")


def _measured(
    emulator: Emulator, ways: dict[str, Any], tasks: int, runs: int
) -> dict[str, list[Figures]]:
    os.environ |= {"HUNYUAN_ENDPOINT": emulator.environ["HUNYUAN_ENDPOINT"], "NO_PROXY": "*"}
    found: dict[str, list[Figures]] = {name: [] for name in ways}
    for way in ways.values():
        # Imports are not what is measured.
        Figures.of(way, emulator, 1)
    for _ in range(runs):
        for name, way in ways.items():
            found[name].append(Figures.of(way, emulator, tasks))
    return found


def _line(title: str, found: list[Figures]) -> str:
    def middle(name: str) -> float:
        return float(statistics.median(getattr(each, name) for each in found))

    return (
        f"{title:<52}{middle('makespan_s'):12.1f}{middle('pictures'):10.0f}{middle('jobs'):11.0f}"
        f"{middle('duplicates'):7.0f}"
        f"{middle('queries') / middle('jobs'):13.1f}{middle('cpu_ms'):13.1f}"
    )


if __name__ == "__main__":
    main()
