"""What holds of money and results, wherever and however often a run is killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import holodeck_gen as hg
from helpers import opened
from holodeck_gen._journal import file, group_commit
from holodeck_gen._journal.audit import reading
from holodeck_gen._journal.file import JOURNAL, connect_reader
from holodeck_gen._journal.rows import Rows
from holodeck_gen._journal.shares import missing, shares_of
from holodeck_gen._model.identity import digest
from holodeck_gen._scripted import PNG, Script, ScriptedJob
from holodeck_gen._stages import threads
from holodeck_gen.errors import (
    AuthError,
    ContentRejectedError,
    DownloadError,
    JobFailedError,
    ProcessingError,
    SlotRefusedError,
    ThrottledError,
    TransientError,
)
from holodeck_gen.files import place
from holodeck_gen.testing import ScriptedProvider, run_virtual
from runs import Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from holodeck_gen._journal.journal import Entry
    from holodeck_gen._model.values import JsonObject

#: What one picture's job costs at most in work: none of these may pay twice.
BEHAVIORS: Mapping[str, Callable[[], Script]] = {
    "well": Script,
    "throttled": lambda: Script(submits=[ThrottledError("slow down", retry_after=30)]),
    "refused": lambda: Script(submits=[SlotRefusedError("too many")] * 2),
    "lost": lambda: Script(submits=["lose"]),
    "late": lambda: Script(submits=["late"]),
    "rejected": lambda: Script(error=ContentRejectedError("not this", code="Rejected")),
    "failing": lambda: Script(error=JobFailedError("no luck")),
    "unsteady": lambda: Script(polls=[TransientError("again"), "lose", "accept"]),
    "addressed": lambda: Script(outputs=[hg.Url(url="https://example.com/a.png")]),
    "short": lambda: Script(outputs=[hg.Bytes(data=PNG), hg.PartError(error=JobFailedError("no"))]),
    "lossy": lambda: Script(outputs=[hg.Url(url="https://example.com/lossy")]),
}

#: Where a run can die: at the n-th of one kind of step, or of any.
Kind: TypeAlias = Literal[
    "any", "submit", "accepted", "poll", "commit", "committed", "work", "worked", "file", "filed",
    "fetch", "second",
]  # fmt: skip
POINTS = st.one_of(
    st.tuples(
        st.sampled_from(["submit", "accepted", "commit", "committed"]),
        st.integers(1, 12),
    ),
    st.tuples(
        st.sampled_from(["poll", "work", "worked", "file", "filed", "fetch"]), st.integers(1, 40)
    ),
    st.tuples(st.just("any"), st.integers(1, 250)),
    st.tuples(st.just("second"), st.integers(0, 60)),
)


class Inline(ThreadPoolExecutor):
    """Calls at once what should run in a thread, so that a run is the same every time."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            World.step("work")
            answer = fn(*args, **kwargs)
            World.step("worked")
            future.set_result(answer)
        except Exception as error:
            future.set_exception(error)
        return future


class Committing(Inline):
    """The journal's own thread."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        World.step("commit")
        future = super().submit(fn, *args, **kwargs)
        World.step("committed")
        return future


@attrs.define
class World:
    """One run, which dies at a point: then `folder` is copied, and nothing of it counts more."""

    folder: Path
    point: tuple[str, int] | None
    left: Path
    dead: bool = False
    seen: Counter[str] = attrs.field(factory=Counter)

    @staticmethod
    def step(kind: str) -> None:
        """Something was, or is about to be, done."""
        if (world := _running) is not None and not world.dead:
            world.seen.update([kind, "any"])
            if world.point in ((kind, world.seen[kind]), ("any", world.seen["any"])):
                world.die()

    def die(self) -> None:
        """What is on disk now is all that is left."""
        if not self.dead:
            self.dead = True
            ignored = shutil.ignore_patterns("*.reserve")
            shutil.copytree(self.folder, self.left, ignore=ignored)


_running: World | None = None


@contextlib.contextmanager
def stepping(world: World) -> Iterator[None]:
    """Let files and threads tell `world` what they do."""
    global _running
    with pytest.MonkeyPatch.context() as patch:
        for name in ("replace", "rename", "link", "unlink", "rmdir", "fsync"):
            patch.setattr(os, name, _told(getattr(os, name)))
        patch.setattr(group_commit, "ThreadPoolExecutor", Committing)
        patch.setattr(threads, "ThreadPoolExecutor", Inline)
        # It is full of nothing; here its time counts.
        patch.setattr(file, "RESERVE", 4096)
        _running = world
        try:
            yield
        finally:
            _running = None


def _told(operation: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        World.step("file")
        answer = operation(*args, **kwargs)
        World.step("filed")
        return answer

    return call


@attrs.define(kw_only=True)
class Service(ScriptedProvider):
    """A service that outlives every run, and of which a dead run hears nothing more."""

    world: World = attrs.field(init=False)
    #: Addresses that could not be had once.
    missed: set[str] = attrs.field(factory=set)

    async def submit(self, request: JsonObject, *, key: str) -> hg.JobRef | hg.JobStatus:
        World.step("submit")
        self._check_alive()
        answer = await ScriptedProvider.submit(self, request, key=key)
        World.step("accepted")
        self._check_alive()
        return answer

    async def poll(self, job: hg.JobRef) -> hg.JobStatus:
        World.step("poll")
        self._check_alive()
        return await ScriptedProvider.poll(self, job)

    async def fetch(self, output: hg.Url) -> bytes:
        World.step("fetch")
        self._check_alive()
        if output.url.endswith("lossy?1") and output.url not in self.missed:
            self.missed.add(output.url)
            raise DownloadError("HTTP 403", stage="download")
        return PNG

    def _end(self, job: ScriptedJob) -> hg.JobStatus:
        status = ScriptedProvider._end(self, job)
        first, *rest = status.outputs or (None,)
        if isinstance(first, hg.Url):
            made = [hg.Url(url=f"{first.url}?{i}") for i in range(job.request["n"])]
            return attrs.evolve(status, outputs=made)
        again = [rest[-1] if rest else first] * (job.request["n"] - 1)
        return attrs.evolve(status, outputs=[first, *again] if first else ())

    def _check_alive(self) -> None:
        if self.world.dead:
            # It ends everything of a run that only seems to go on.
            raise AuthError("this run is dead")


@attrs.frozen
class Shelf:
    """The local store without a plugin."""

    folder: Path

    async def put(self, file: Path, name: str) -> Path:
        return await asyncio.to_thread(place, file, self.folder, name)


@attrs.frozen(kw_only=True)
class Decisions:
    """What somebody asks of one run."""

    retry_failed: bool = False
    retry_uncertain: bool | tuple[str, ...] = False
    resubmit: bool = False
    broken_stage: bool = False
    renamed: bool = False
    #: Tasks that have another prompt than before.
    changed: frozenset[int] = frozenset()
    #: Positions in the order in which tasks are given; missing ones are left out.
    order: tuple[int, ...] | None = None


decisions = st.builds(
    Decisions,
    retry_failed=st.booleans(),
    retry_uncertain=st.booleans() | st.lists(st.sampled_from(["t0", "t1", "t2"])).map(tuple),
    resubmit=st.sampled_from([False] * 5 + [True]),
    broken_stage=st.sampled_from([False] * 3 + [True]),
    renamed=st.booleans(),
    changed=st.sampled_from([frozenset[int]()] * 3 + [frozenset({0}), frozenset({1, 2})]),
    order=st.none() | st.permutations(range(7)).map(tuple) | st.just((2, 0)),
)


@attrs.frozen
class Kept:
    """A task's row after a run."""

    prompt: str
    state: str
    parts: int
    uncertain: int
    failed: int
    digest: str


class Kills(RuleBasedStateMachine):
    """Runs of one folder, most of which are killed.

    Law: no task is lost; no finished task is run again; without an explicit decision each part
    has at most one job, and exactly one if it is finished; each decision allows at most one more
    for each part that it concerns; each task given ends in exactly one outcome, and the journal
    tells it again as it was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp(prefix="laws-"))
        self.folder = self.base / "0"
        self.folder.mkdir()
        self.number = 0
        #: Jobs that explicit decisions allow beyond one for each part, by prompt.
        self.granted: Counter[str] = Counter()
        #: The outcome of each finished task, by key and what it asks for.
        self.finished: dict[tuple[str, str], hg.Result] = {}

    @initialize(
        behaviors=st.lists(st.sampled_from(sorted(BEHAVIORS)), min_size=1, max_size=5),
        many=st.sampled_from([1, 2, 3]),
        per_job=st.sampled_from([1, 1, 2]),
        direct=st.booleans(),
        cache=st.sampled_from([None, None, "reproducible", "any"]),
    )
    def begin(
        self,
        behaviors: list[str],
        many: int,
        per_job: int,
        direct: bool,
        cache: Literal["reproducible", "any"] | None,
    ) -> None:
        self.cache = cache
        self.tasks = [
            hg.Task(f"task {i}", id=f"t{i}", n=many if i == 0 else 1, seed=i * 10)
            for i in range(len(behaviors))
        ] + [hg.Task("a bird", n=2), hg.Task("a bird", n=2)]
        scripts = {f"task {i}": BEHAVIORS[each]() for i, each in enumerate(behaviors)}
        self.provider = Service(
            scripts=scripts,
            direct=direct,
            per_job=per_job,
            limits=hg.Limits(max_jobs=2, poll_interval_s=3.0, request_timeout_s=60.0),
        )

    @rule(point=POINTS, wanted=decisions)
    def die(self, point: tuple[str, int], wanted: Decisions) -> None:
        """A run that is killed, unless it ends before."""
        self.run(wanted, point)

    @rule(point=POINTS)
    def die_undecided(self, point: tuple[str, int]) -> None:
        self.run(Decisions(), point)

    @rule(wanted=decisions)
    def end(self, wanted: Decisions) -> None:
        """A run that nothing stops."""
        self.run(wanted, None)

    @precondition(lambda self: self.number)
    @rule()
    def move(self) -> None:
        """Somebody moves the folder."""
        self.number += 1
        moved = self.base / str(self.number)
        self.folder.rename(moved)
        self.folder = moved
        self.finished = self._kept_results()

    def teardown(self) -> None:
        if hasattr(self, "provider"):
            self.run(Decisions(), None)
            self.provider.scripts = {}
            healed = Decisions(retry_failed=True, retry_uncertain=True)
            self.run(healed, None)
            last = self.run(healed, None)
            assert [outcome for outcome in last if not outcome.ok] == []
            jobs = self.provider.created.total()
            assert all(getattr(each, "resumed", 0) for each in self.run(Decisions(), None))
            assert self.provider.created.total() == jobs
        shutil.rmtree(self.base, ignore_errors=True)

    def run(self, wanted: Decisions, point: tuple[str, int] | None) -> list[hg.Outcome]:
        self.number += 1
        world = World(self.folder, point, self.base / str(self.number))
        tasks = self._tasks(wanted)
        kept = self._kept()
        self._grant(wanted, kept)
        done = {(_id(key), row.digest) for key, row in kept.items() if row.state == "done"}
        lost = Counter(self._prompts(self.provider.jobs))
        with stepping(world):
            outcomes = self._work(world, tasks, wanted)
        if wanted.resubmit:
            # Each answer that was lost in this run may have been followed by one more submit.
            self.granted.update(Counter(self._prompts(self.provider.jobs)) - lost)
        for outcome in outcomes:
            self._deliver(outcome, done)
        if world.dead:
            shutil.rmtree(self.folder)
            self.folder = world.left
            self.finished = {
                name: self._moved(result, world) for name, result in self.finished.items()
            }
        self._check_money()
        self._check_results(None if world.dead else tasks, outcomes, wanted)
        return outcomes

    def _work(self, world: World, tasks: list[hg.Task], wanted: Decisions) -> list[hg.Outcome]:
        def stage(file: Path, _task: hg.Task) -> Path:
            if wanted.broken_stage:
                raise ProcessingError("the disk is upside down", stage="stage")
            return file

        outcomes: list[hg.Outcome] = []

        async def main() -> None:
            loop = asyncio.get_running_loop()
            loop.set_default_executor(Inline())
            if world.point is not None and world.point[0] == "second":
                loop.call_later(world.point[1], world.die)
            self.provider.world = world
            with contextlib.suppress(hg.errors.PausedError):
                async with opened(
                    self.provider,
                    store=Shelf(self.folder),
                    output=self.folder,
                    journal="automatic",
                    process=[stage],
                    name="{key}-new" if wanted.renamed else "{key}",
                    retry_failed=wanted.retry_failed,
                    retry_uncertain=wanted.retry_uncertain,
                    on_uncertain="resubmit" if wanted.resubmit else "hold",
                    cache=self.folder / "cache" if self.cache else None,
                    cache_reuse=self.cache,
                ) as studio:
                    async for outcome in studio.map(tasks):
                        if world.dead:
                            continue
                        outcomes.append(outcome)
                        if outcome.ok and not getattr(outcome, "resumed", False):
                            self._tell(outcome)

        async def timed() -> None:
            await main()
            # The next run's clock begins at nought again; the service's goes on.
            now = asyncio.get_running_loop().time()
            for job in self.provider.jobs.values():
                job.began -= now
                job.ends -= now

        run_virtual(timed())
        return outcomes

    def _tell(self, outcome: hg.Outcome) -> None:
        """As the command does: evidence beside the journal."""
        with (self.folder / "results.jsonl").open("a") as stream:
            stream.write(json.dumps({"key": outcome.key, "status": "done"}) + "\n")

    def _tasks(self, wanted: Decisions) -> list[hg.Task]:
        tasks = [
            attrs.evolve(task, prompt=f"{task.prompt} changed")
            if i in wanted.changed and task.id
            else task
            for i, task in enumerate(self.tasks)
        ]
        order = range(len(tasks)) if wanted.order is None else wanted.order
        return [tasks[i] for i in order if i < len(tasks)]

    def _entries(self) -> list[Entry]:
        """Every task of the journal as it is on disk."""
        journal = self.folder / JOURNAL
        if not journal.exists() or not journal.stat().st_size:
            return []
        with tempfile.TemporaryDirectory(dir=self.base) as aside, contextlib.ExitStack() as stack:
            # A copy: looking at a log must not be what repairs it.
            for each in self.folder.glob(f"{JOURNAL}*"):
                shutil.copy(each, aside)
            connection = stack.enter_context(
                contextlib.closing(connect_reader(Path(aside) / JOURNAL))
            )
            if not connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
                # The run died before it had written anything.
                return []
            rows = Rows(connection, self.folder)
            rows.name = rows.meta("name") or ""
            keys = rows.connection.execute("SELECT key, state FROM tasks").fetchall()
            entries: list[Entry] = []
            for key, state in keys:
                entry = rows.entry(key)
                assert entry is not None
                assert entry.state == state
                entries.append(entry)
            return entries

    def _kept(self) -> dict[str, Kept]:
        """The rows of the journal, by key."""
        kept: dict[str, Kept] = {}
        for entry in self._entries():
            states = Counter(part.state for part in entry.parts.values())
            unpaid = [
                part
                for part in entry.parts.values()
                if part.state == "failed" and not part.files and not part.outputs
            ]
            kept[entry.key] = Kept(
                prompt=entry.task.prompt,
                state=_end_of(entry),
                parts=-(-entry.task.n // self.provider.per_job),
                uncertain=states["uncertain"] + states["submitting"],
                failed=len(unpaid) + _short(entry),
                digest=digest(entry.task),
            )
        return kept

    def _grant(self, wanted: Decisions, kept: Mapping[str, Kept]) -> None:
        """Count the jobs that this run's decisions allow beyond one for each part."""
        for key, row in kept.items():
            asked = wanted.retry_uncertain
            if wanted.resubmit or (asked if isinstance(asked, bool) else _id(key) in asked):
                self.granted[row.prompt] += row.uncertain
            if wanted.retry_failed:
                self.granted[row.prompt] += row.failed

    def _prompts(self, jobs: Mapping[str, Any]) -> Iterable[str]:
        return [job.request["prompt"] for job in jobs.values()]

    def _deliver(self, outcome: hg.Outcome, done: set[tuple[str, str]]) -> None:
        """What was told to the caller is a promise."""
        if isinstance(outcome, hg.Result):
            name = outcome.key, digest(outcome.task)
            before = self.finished.setdefault(name, outcome)
            assert outcome.resumed == (name in done), f"{name} was run again"
            # Its place in the input is that of each run.
            again = attrs.evolve(outcome, index=before.index, resumed=before.resumed)
            assert again == before, f"{name} is told otherwise"

    def _moved(self, result: hg.Result, world: World) -> hg.Result:
        """As the journal tells it once its folder is another."""
        return attrs.evolve(
            result,
            artifacts=[
                attrs.evolve(each, path=world.left / each.path.name)
                for each in result.artifacts
                if each.path is not None
            ],
        )

    def _kept_results(self) -> dict[tuple[str, str], hg.Result]:
        folder = self.folder
        return {
            name: attrs.evolve(
                result,
                artifacts=[
                    attrs.evolve(each, path=folder / each.path.name)
                    for each in result.artifacts
                    if each.path is not None
                ],
            )
            for name, result in self.finished.items()
        }

    def _check_money(self) -> None:
        """No job more than parts and decisions allow, nor one for what nobody remembers."""
        rows = list(self._kept().values())
        jobs = Counter(self._prompts(self.provider.jobs))
        parts: Counter[str] = Counter()
        for row in rows:
            parts[row.prompt] += row.parts
        for prompt, count in jobs.items():
            assert count <= parts[prompt] + self.granted[prompt], f"{prompt} was paid for twice"
        for prompt in parts if self.cache is None else ():
            done = sum(row.parts for row in rows if row.prompt == prompt and row.state == "done")
            assert jobs[prompt] >= done, f"{prompt} is finished without a job"

    def _check_results(
        self, tasks: list[hg.Task] | None, outcomes: list[hg.Outcome], wanted: Decisions
    ) -> None:
        entries = {entry.key: entry for entry in self._entries()}
        files: Counter[Path | None] = Counter()
        states = {(_id(key), digest(entry.task)): _end_of(entry) for key, entry in entries.items()}
        for (key, asked), result in self.finished.items():
            for artifact in result.artifacts:
                files[artifact.path] += 1
                assert artifact.path is not None
                assert artifact.path.is_file(), f"{key} has lost a file"
            assert states[key, asked] == "done", f"{key} is not finished any more"
        assert set(files.values()) <= {1}, "two tasks share a file"
        if tasks is None:
            return
        assert len(outcomes) == len(tasks), "a task has no outcome, or two"
        assert len({outcome.key for outcome in outcomes}) == len(tasks)
        assert sorted(outcome.index for outcome in outcomes) == list(range(len(tasks)))
        for outcome in outcomes:
            entry = entries[outcome.key]
            assert entry.task == outcome.task == tasks[outcome.index]
            parts = {part.state for part in entry.parts.values()}
            match outcome:
                case hg.Result():
                    assert len(outcome.artifacts) == outcome.task.n
                    assert entry.state == "done"
                case hg.Failure(state="failed"):
                    assert entry.state == "failed"
                case hg.Failure():
                    assert (outcome.state, entry.state) == ("held", "open")
                    assert "uncertain" in parts, outcome
        self._check_told(outcomes)

    def _check_told(self, outcomes: list[hg.Outcome]) -> None:
        """The journal tells every end as it was."""
        with reading(self.folder / JOURNAL) as rows:
            for outcome in outcomes:
                entry = rows.entry(outcome.key)
                assert entry is not None
                if outcome.state == "held":
                    continue
                again = rows.outcome(attrs.evolve(entry, index=outcome.index))
                if isinstance(outcome, hg.Result):
                    assert again == attrs.evolve(outcome, resumed=True)
                    continue
                assert isinstance(outcome, hg.Failure)
                assert isinstance(again, hg.Failure)
                assert again.artifacts == outcome.artifacts
                assert (type(again.error), str(again.error)) == (
                    type(outcome.error),
                    str(outcome.error),
                )


def _id(key: str) -> str:
    """The id of a task, also where another has it by now."""
    return key.partition("~replaced-")[0]


def _short(entry: Entry) -> int:
    """Parts whose jobs made fewer pictures than they were asked for, and that no other makes."""
    if entry.plan is None:
        return 0
    stored = [
        (share, record)
        for share in shares_of(entry.task, entry.plan)
        if (record := entry.parts.get(share.index)) and record.state == "stored"
    ]
    return sum(bool(missing(share, each.files, each.outputs)) for share, each in stored)


def _end_of(entry: Entry) -> str:
    """How a task ended, also where another has its id by now."""
    if entry.state in ("open", "done", "failed"):
        return entry.state
    return str(json.loads(entry.ending or '{"status": "open"}')["status"])


TestKills = Kills.TestCase
TestKills.settings = settings(max_examples=40, stateful_step_count=6)


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("direct", [False, True])
def test_a_follow_up_is_paid_once_wherever_its_run_is_killed(direct: bool, every: int) -> None:
    """Two pictures of one job, of which it makes one; the other is asked for, and again."""
    again = Decisions(retry_failed=True, retry_uncertain=True)
    step, killed = 1, True
    while killed:
        machine = Kills()
        machine.begin(["short"], many=2, per_job=2, direct=direct, cache=None)
        machine.tasks = machine.tasks[:1]
        machine.run(Decisions(), None)
        machine.run(Decisions(retry_failed=True), ("any", step))
        killed = machine.provider.world.dead
        machine.run(Decisions(), None)
        # Never more than one that may have been lost, and that somebody has decided about.
        assert machine.provider.created.total() <= 2
        machine.run(again, None)
        assert all(outcome.ok for outcome in machine.run(again, None))
        assert machine.provider.created.total() <= 3
        shutil.rmtree(machine.base)
        step += every
    assert step > 40


def test_a_decision_reaches_a_task_of_which_another_part_is_in_work(tmp_path: Path) -> None:
    """What is gone on with at once is not what the decision was about."""
    provider = ScriptedProvider()
    runs = Runs(tmp_path / "out", provider)
    task = hg.Task("a cat", id="cat", n=2)
    provider.limits = hg.Limits(max_jobs=1, job_timeout_s=1e6)
    provider.scripts = {"a cat": Script(submits=["late"], job_s=100)}
    runs.killed(task, after_s=5, concurrency=1, request_timeout_s=3600)
    provider.scripts = {"a cat": Script(job_s=100)}
    # The first part has no answer, and its job may run; the second is submitted and runs on.
    runs.killed(task, after_s=50, concurrency=2)
    assert runs.jobs == 2
    assert runs.run(task, retry_uncertain=True, concurrency=3)["cat"].ok
    assert runs.jobs == 3
