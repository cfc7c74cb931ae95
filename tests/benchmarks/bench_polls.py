"""How busy are the slots, and for how many queries?

Run: ``python tests/benchmarks/bench_polls.py [--virtual] [--probe] [--runs N] [--case NAME ...]``;
the names are printed by ``--list``. Two hours for five runs of all, in real time. Cases with the
name of a shape run on virtual time only, and only where they are named or with ``--held-out``,
which runs them all: by them nothing of the planner may be chosen.

For each case an emulator runs in a process of its own. This library's studio, with its journal
and store, and a client that asks every two seconds, the mean time of a job, take turns at it
with the same job times. Everything is counted at the emulator. Beside them: the *greedy ideal*,
where a slot is never empty; and the *optimum*, the best policy for somebody who knows the
distribution, see `optimum`; *turning* is that optimum for somebody who needs as long as we do
from the poll that finds a job ended to the next submit.

With ``--virtual``, the same jobs run on virtual time at a provider that answers at once. Then
nothing but the choice of polls is measured, whatever else the machine is doing. With ``--probe``,
here or there, submits are tried where a slot is probably free; the service refuses what is too
much.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import statistics
import sys
import tempfile
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import attrs

sys.path.insert(0, str(Path(__file__).parents[1]))

import holodeck_gen as hg
from benchmarks.optimum import (
    Frontier,
    Times,
    best_policies,
    greedy,
    lognormal,
    median_of,
    only_policy,
    simulate,
    tabled,
)
from e2e.emulating import Emulator, emulated
from holodeck_gen.testing import Script, ScriptedProvider, run_virtual
from holodeck_gen_providers.hunyuan import HunyuanOptions, make_hunyuan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

MEAN_S = 2.0
#: Equal times that are no multiple of the other client's interval.
EQUAL_S = 2.2
INTERVAL_S = 2.0
#: With one slot, the first jobs are not counted: their times are learnt.
LEARNING = 20


def gamma(age: float) -> float:
    """Four steps that take any time, one after the other."""
    return 1.0 - math.exp(-4 * age) * sum((4 * age) ** i / math.factorial(i) for i in range(4))


def weibull(age: float) -> float:
    """Ever likelier to end."""
    return 1.0 - math.exp(-((age * math.gamma(1 + 1 / 1.5)) ** 1.5))


def two_kinds(age: float) -> float:
    """One of five takes three times as long as the others; each kind scatters by a tenth."""
    middles = (0.8, 1 / 1.4), (0.2, 3 / 1.4)
    scores = [(part, math.log(max(age, 1e-9) / middle) / 0.1) for part, middle in middles]
    return sum(part * NormalDist().cdf(score) for part, score in scores)


def uniform(age: float) -> float:
    """Between half of the mean and once and a half."""
    return min(max(age - 0.5, 0.0), 1.0)


#: The share of jobs that have ended by an age, in units of the mean.
SHAPES = {"gamma": gamma, "weibull": weibull, "two-kinds": two_kinds, "uniform": uniform}
#: Lognormal, and the mean grows by half.
GROWING, GROWING_SIGMA = "growing", 0.25


@attrs.frozen
class Case:
    """Jobs of one distribution in some slots, with some queries a second.

    Attributes:
        shape: Of the distribution; where it has no name, it is lognormal.
    """

    sigma: float
    slots: int
    rate: float
    shape: str = ""

    @property
    def name(self) -> str:
        return f"{self.shape or f'{self.sigma:g}'}/{self.slots}/{self.rate:g}"

    @property
    def median_s(self) -> float:
        return median_of(MEAN_S, self.sigma) if self.sigma else EQUAL_S

    @property
    def mean_s(self) -> float:
        if self.shape == GROWING:
            return 1.25 * MEAN_S
        return MEAN_S if self.sigma or self.shape else EQUAL_S

    @property
    def skipped(self) -> int:
        return LEARNING if self.slots == 1 else 0

    @property
    def times(self) -> Times:
        if self.shape in SHAPES:
            return tabled(SHAPES[self.shape], MEAN_S)
        return lognormal(self.median_s, self.sigma)

    def factors(self, count: int) -> list[float]:
        """By what the time of each job is longer than at first."""
        growth = 0.5 if self.shape == GROWING else 0.0
        return [1.0 + growth * i / count for i in range(count)]

    def seconds(self, count: int, chance: random.Random) -> list[float]:
        """How long each job takes; as the emulator draws it, where it can."""
        factors = self.factors(count)
        if self.shape in SHAPES:
            times = self.times
            return [times.draw(chance) for _ in factors]
        return [self.median_s * chance.lognormvariate(0.0, self.sigma) * each for each in factors]

    def frontier(self, seconds: Sequence[float], turn_s: float = 0.0) -> Frontier:
        """What somebody who knows the distribution can do."""
        factors = self.factors(len(seconds) + self.skipped)[self.skipped :]
        known = self.sigma or self.shape
        policies = best_policies(self.times) if known else only_policy(self.median_s)
        return Frontier(seconds, self.slots, policies, turn_s=turn_s, factors=factors)


CASES = [
    *(Case(sigma, *where) for sigma in (0.1, 0.25, 0.5) for where in ((1, 20.0), (8, 20.0))),
    *(Case(sigma, 64, 80.0) for sigma in (0.1, 0.25, 0.5)),
    *(Case(sigma, 64, 20.0) for sigma in (0.1, 0.25)),
    *(Case(0.0, slots, 20.0) for slots in (1, 8)),
]
HELD_OUT = [
    Case(GROWING_SIGMA if shape == GROWING else 0.0, slots, rate, shape)
    for shape in (*SHAPES, GROWING)
    for slots, rate in ((1, 20.0), (8, 20.0), (64, 80.0))
]


@attrs.frozen
class Figures:
    """Of one client in one run; see the columns."""

    utilization: float
    queries: float
    makespan_s: float
    turn_s: float
    seconds: tuple[float, ...]
    refused: float = 0.0

    @classmethod
    def of(cls, jobs: list[dict[str, float]], case: Case) -> Figures:
        jobs = jobs[case.skipped :]
        seconds = tuple(job["ends"] - job["created"] for job in jobs)
        makespan = max(job["ends"] for job in jobs) - jobs[0]["created"]
        queries = sum(job["queries"] for job in jobs) / len(jobs)
        found = sorted(job["found"] for job in jobs)
        created = sorted(job["created"] for job in jobs)[case.slots :]
        turns = [there - here for here, there in zip(found, created, strict=False)]
        return cls(
            utilization=sum(seconds) / (case.slots * makespan),
            queries=queries,
            makespan_s=makespan,
            turn_s=statistics.median(turns),
            seconds=seconds,
        )


class Benched:
    """The provider of the service, with the limits of a case.

    Attributes:
        refused: Submits that the service has refused as one job too many.
    """

    def __init__(self, provider: hg.Provider, case: Case, *, probe: bool) -> None:
        self._provider: Any = provider
        self.refused = 0
        self.limits = attrs.evolve(
            provider.limits,
            max_jobs=case.slots,
            max_jobs_enforced=probe,
            refusals_free=probe,
            submit_rate=None,
            poll_rate=case.rate,
            poll_interval_s=INTERVAL_S,
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    def limits_for(self, _task: hg.Task) -> hg.Limits:
        return self.limits

    async def submit(self, request: hg.JsonObject, *, key: str) -> Any:
        try:
            return await self._provider.submit(request, key=key)
        except hg.errors.SlotRefusedError:
            self.refused += 1
            raise


@asynccontextmanager
async def opened(
    emulator: Emulator, case: Case, *, probe: bool = False
) -> AsyncIterator[tuple[hg.AsyncStudio, Benched]]:
    """A studio in a folder of its own, and its provider."""
    made: list[Benched] = []

    def make(_options: None, ctx: hg.Context) -> Benched:
        provider = make_hunyuan(HunyuanOptions(dialect="aiart"), ctx)
        made.append(Benched(provider, case, probe=probe))
        return made[-1]

    with tempfile.TemporaryDirectory() as folder:
        async with hg.AsyncStudio(
            make,
            output=folder,
            # A number is never exceeded, not even to try.
            concurrency="auto" if probe else case.slots,
            probe=probe,
            config=hg.Config.of({}, environ=emulator.environ),
        ) as studio:
            yield studio, made[0]


async def ours(emulator: Emulator, case: Case, count: int, *, probe: bool) -> int:
    """This library; returns how many submits were refused."""
    async with opened(emulator, case, probe=probe) as (studio, provider):
        async for outcome in studio.map(hg.Task(f"picture {i}") for i in range(count)):
            assert outcome.ok, outcome
        return provider.refused


async def fixed(emulator: Emulator, case: Case, count: int) -> int:
    """Asks every two seconds; fetches and keeps nothing, which is to its advantage."""
    numbers = iter(range(count))
    async with opened(emulator, case) as (_, provider):

        async def work() -> None:
            for number in numbers:
                request = provider.prepare(hg.Task(f"picture {number}")).request
                job = await provider.submit(request, key=str(number))
                while True:
                    await asyncio.sleep(INTERVAL_S)
                    if (await provider.poll(job)).final:
                        break

        async with asyncio.TaskGroup() as group:
            for _ in range(case.slots):
                group.create_task(work())
        return provider.refused


def on_virtual_time(
    case: Case, count: int, seed: int, *, probe: bool = False
) -> tuple[Figures, Figures]:
    """This library, and the fixed interval, with the job times that an emulator would have."""
    chance = random.Random(f"{seed}/durations")
    seconds = case.seconds(count, chance)
    provider = ScriptedProvider(
        scripts={str(i): Script(job_s=each) for i, each in enumerate(seconds)},
        # What is found out about one service must not begin the next run.
        account=f"{case.name} {seed}",
        quota=case.slots if probe else None,
        limits=hg.Limits(
            max_jobs=case.slots,
            max_jobs_enforced=True,
            refusals_free=True,
            poll_rate=case.rate,
            poll_interval_s=INTERVAL_S,
        ),
    )

    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with hg.AsyncStudio(
                provider,
                output=folder,
                journal=None,
                # A number is never exceeded, not even to try.
                concurrency="auto" if probe else case.slots,
                probe=probe,
                config=hg.Config.of({}, environ={}),
            ) as studio:
                async for outcome in studio.map(str(i) for i in range(count)):
                    assert outcome.ok, outcome

    run_virtual(main())
    it = Figures.of(
        [
            {"created": job.began, "ends": job.ends, "found": job.ends, "queries": job.polls}
            for job in provider.jobs.values()
        ],
        case,
    )
    asked = [INTERVAL_S * i for i in range(1, 100)]
    other = simulate(it.seconds, case.slots, asked, 0.0)
    makespan = sum(it.seconds) / (case.slots * other.utilization)
    refused = len(provider.refusals) / count
    return attrs.evolve(it, turn_s=0.0, refused=refused), attrs.evolve(
        it, utilization=other.utilization, queries=other.queries, makespan_s=makespan
    )


def measure(case: Case, *, runs: int, rounds: int, probe: bool) -> list[tuple[float, ...]]:
    """A row for each run."""
    count = case.slots * rounds + case.skipped
    options = ["--max-jobs", str(case.slots), "--job-seconds", f"{case.median_s},{case.sigma}"]
    options += ["--submit-rate", "0", "--poll-rate", "0", "--pictures", "cheap"]
    rows = []
    for run in range(runs):
        with (
            tempfile.TemporaryDirectory() as folder,
            emulated(*options, "--seed", str(run), folder=Path(folder)) as emulator,
        ):
            found = []
            us = partial(ours, probe=probe)
            for client in (us, fixed) if run % 2 else (fixed, us):
                emulator.reset()
                refused = asyncio.run(client(emulator, case, count))
                figures = Figures.of(emulator.times, case)
                # Of a submit that was tried before the poll there is no turn.
                turn_s = 0.0 if probe else figures.turn_s
                found.append(attrs.evolve(figures, refused=refused / count, turn_s=turn_s))
            it, other = reversed(found) if run % 2 == 0 else found
            rows.append(row(case, it, other))
    return rows


#: Title, width and digits.
COLUMNS = (
    ("busy", 8, 3),
    ("greedy", 8, 3),
    ("optimum", 9, 3),
    ("/optimum", 10, 3),
    ("/cap", 8, 3),
    ("queries", 9, 2),
    ("allowed", 9, 2),
    ("optimum", 9, 2),
    ("/optimum", 10, 2),
    ("turn ms", 9, 0),
    ("/turning", 10, 3),
    ("/turning", 10, 2),
    ("fixed", 8, 3),
    ("queries", 9, 2),
    ("makespan", 10, 2),
    ("refused", 9, 2),
)


def row(case: Case, it: Figures, other: Figures) -> tuple[float, ...]:
    """Figures of one run."""
    frontier = case.frontier(it.seconds)
    allowed = case.rate * it.makespan_s / len(it.seconds)
    best = frontier.utilization(allowed)
    fewest = frontier.queries(it.utilization)
    turning = case.frontier(it.seconds, it.turn_s)
    return (
        it.utilization,
        greedy(it.seconds, case.slots),
        best,
        it.utilization / best,
        it.utilization / min(1.0, case.rate * case.mean_s / case.slots),
        it.queries,
        allowed,
        fewest,
        it.queries / fewest,
        1000 * it.turn_s,
        it.utilization / turning.utilization(allowed),
        it.queries / turning.queries(it.utilization),
        other.utilization,
        other.queries,
        other.makespan_s / it.makespan_s,
        it.refused,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=20, help="jobs for each slot")
    parser.add_argument("--case", nargs="*")
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--virtual", action="store_true")
    parser.add_argument("--probe", action="store_true")
    parser.add_argument("--list", action="store_true")
    told = parser.parse_args()
    if told.list:
        sys.stdout.write("\n".join(each.name for each in CASES + HELD_OUT) + "\n")
        return
    cases = HELD_OUT if told.held_out else CASES
    if told.case is not None:
        cases = [each for each in CASES + HELD_OUT if each.name in told.case]
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp()
    titles = "".join(f"{title:>{width}}" for title, width, _ in COLUMNS)
    sys.stdout.write(f"{'σ/slots/rate':<16}{titles}\n")
    for case in cases:
        if told.virtual or case.shape:
            count = case.slots * told.rounds + case.skipped
            pairs = [
                on_virtual_time(case, count, run, probe=told.probe) for run in range(told.runs)
            ]
            rows = [row(case, *pair) for pair in pairs]
        else:
            rows = measure(case, runs=told.runs, rounds=told.rounds, probe=told.probe)
        medians = [statistics.median(column) for column in zip(*rows, strict=True)]
        line = "".join(
            f"{median:{width}.{digits}f}"
            for median, (_, width, digits) in zip(medians, COLUMNS, strict=True)
        )
        sys.stdout.write(f"{case.name:<16}{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
