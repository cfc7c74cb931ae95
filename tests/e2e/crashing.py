"""A batch that can be killed at any step, and the server that counts what it is asked for.

Run as a script it is a zygote: it imports everything once and forks for each run, so that
hundreds of crashes take seconds. Every line it reads is a `Trial`; every line it writes tells
what was found. Whatever a killed process has written stays in the page cache, so a SIGKILL
shows what a power cut would show of a disk that keeps what is synced.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import struct
import sys
import tempfile
import threading
import traceback
import zlib
from collections import Counter
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

import holodeck_gen as hg
from holodeck_gen._gate.local import LocalGate
from holodeck_gen._jobs.part import PartRunner
from holodeck_gen._jobs.reports import JobReports
from holodeck_gen._journal.journal import Entry, PartKey
from holodeck_gen._journal.sqlite import SqliteJournal
from holodeck_gen._pacing.pace import Pace
from holodeck_gen.errors import SlotRefusedError, ThrottledError
from holodeck_gen.testing import run_virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from holodeck_gen._journal.steps import Step
    from holodeck_gen._model.values import JsonObject

#: By label, which is the first word of the prompt: how many pictures one job makes, …
PER_JOB = {"pairs": 2}
#: … which answer at once, with their bytes, …
DIRECT = ("direct", "later")
#: … and what the first submits are answered.
REFUSALS: dict[str, Sequence[Callable[[], Exception]]] = {
    "refused": (
        lambda: ThrottledError("slow down", retry_after=3.0, not_created=True),
        lambda: SlotRefusedError("too many jobs at once", not_created=True),
    ),
    "later": (lambda: ThrottledError("slow down", not_created=True),),
}
#: Its processor fails, so its raw file is all that there is of it.
SPOILED = "spoiled"
#: Its processor makes two files of one.
TWIN = "twin"
TASKS = (
    hg.Task("plain picture", id="plain"),
    hg.Task("refused twice", id="refused"),
    hg.Task("three jobs", id="three", n=3),
    hg.Task("pairs of pictures", id="pairs", n=3),
    hg.Task("direct answer", id="direct"),
    hg.Task("later answer", id="later"),
    hg.Task("spoiled by its stage", id=SPOILED),
    hg.Task("twin pictures, no id"),
)
LABELS = tuple(task.prompt.split()[0] for task in TASKS)
#: Virtual seconds that a request is on its way, either way.
LATENCY_S = 0.3
#: Polls until a job is done.
POLLS = 2
#: Real seconds after which a run counts as hanging.
HANGS_S = 60

#: What stays in the folder besides the pictures.
KEPT = (".spool", "journal.sqlite3", ".journal.sqlite3.lock")

#: Steps that are durable when the journal returns; the others can be found out again.
AWAITED = ("submitting", "refused", "submitted", "uncertain", "failed")

#: Which part or task the code that runs belongs to.
_current: ContextVar[str] = ContextVar("current", default="-")
#: Names that are drawn anew each time, and what stands for them.
_RANDOM = (
    (re.compile(r"\.part/\.[0-9a-f]{32}\.part"), ".part/*"),
    (re.compile(r"[0-9a-f]{8}(-\d+-\d+-\d+)(-[0-9a-f]{32}(?=\.work))?"), r"*\1"),
)


def picture(label: str, part: int, number: int) -> bytes:
    """The picture that the server draws: one pixel, of another color for each."""
    color = hashlib.sha256(f"{label}/{part}/{number}".encode()).digest()[:3]

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" + color))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


@attrs.define(eq=False)
class Crash:
    """Names every step that is reached, and kills the process at one of them.

    Args:
        server: Told where it was killed.
        at: The step's name: kind, part, what, and how often it was reached.
        nth: Or its number among all steps.
    """

    server: Server
    at: str | None = None
    nth: int | None = None
    reached: list[str] = attrs.field(factory=list, init=False)
    _counts: Counter[str] = attrs.field(factory=Counter, init=False)
    #: The collector of garbage may close a file while a step is named.
    _lock: Any = attrs.field(factory=threading.RLock, init=False)

    def reach(self, kind: str, what: str, who: str | None = None) -> None:
        """Come to a step."""
        with self._lock:
            name = f"{kind} | {who or _current.get()} | {what}"
            self._counts[name] += 1
            name = f"{name} | {self._counts[name]}"
            self.reached.append(name)
            if name == self.at or len(self.reached) == self.nth:
                self.server.add("killed", at=name)
                os.kill(os.getpid(), signal.SIGKILL)


@attrs.frozen
class Server:
    """The provider's side: everything it knows is in a file, a line for each thing it did."""

    path: Path
    run: int

    def add(self, what: str, **facts: Any) -> None:
        """Write a line, in one piece."""
        line = json.dumps({"run": self.run, "what": what, **facts}) + "\n"
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    def lines(self, what: str, **facts: Any) -> list[dict[str, Any]]:
        """Lines that say so."""
        facts["what"] = what
        return [line for line in _lines(self.path) if facts.items() <= line.items()]

    def expect(self, *states: str, number: str, part: str | None = None) -> None:
        """Complain unless a task or part is durably in one of these states.

        A second connection sees what is committed, and not what is about to be.
        """
        address = f"file:{self.path.parent}/out/journal.sqlite3?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
            (state,) = connection.execute(
                "SELECT state FROM tasks WHERE number = ?"
                if part is None
                else "SELECT state FROM parts WHERE task = ? AND part = ?",
                (number,) if part is None else (number, part),
            ).fetchone() or ("absent",)
        if state not in states:
            self.add("too early", number=number, part=part, state=state, expected=states)


@attrs.define(eq=False)
class CountingProvider:
    """A paid service with jobs, quotas and refusals, as `Server` remembers them."""

    server: Server
    crash: Crash
    name: str = "counting"
    billing: hg.Billing = "paid"
    limits: hg.Limits = attrs.field(
        factory=lambda: hg.Limits(max_jobs=3, submit_rate=2.0, poll_interval_s=2.0)
    )

    def account_key(self) -> str:
        """One account."""
        return "counting:test"

    def quota_key(self, task: hg.Task) -> str:
        """One quota."""
        return task.kind

    def prepare(self, task: hg.Task) -> hg.Prepared:
        """Pass on the prompt and the number."""
        per_job = PER_JOB.get(task.prompt.split()[0], 1)
        return hg.Prepared(request={"prompt": task.prompt, "n": task.n}, per_job=per_job)

    async def submit(self, request: JsonObject, *, key: str) -> hg.JobRef | hg.JobStatus:
        """Make a job, unless the server is to refuse it."""
        _, number, index = key.split("-")
        label, part = request["prompt"].split()[0], int(index)
        self.crash.reach("submit", "sent")
        self.server.expect("submitting", number=number, part=index)
        before = len(self.server.lines("refused", label=label, part=part))
        self.server.add("arrived", label=label, part=part)
        refusals = REFUSALS.get(label, ())
        if before < len(refusals):
            self.server.add("refused", label=label, part=part)
            self.crash.reach("submit", "refused")
            raise refusals[before]()
        again = len(self.server.lines("created", label=label, part=part))
        job_id = f"{label}.{part}.{number}.{again}"
        self.server.add("created", label=label, part=part, job=job_id)
        self.crash.reach("submit", "created")
        await asyncio.sleep(LATENCY_S)
        self.crash.reach("submit", "answered")
        if label not in DIRECT:
            return hg.JobRef(job_id=job_id, state={"n": request["n"]})
        made = [hg.Bytes(data=picture(label, part, i)) for i in range(request["n"])]
        return hg.JobStatus(phase="done", outputs=tuple(made))

    async def poll(self, job: hg.JobRef) -> hg.JobStatus:
        """Tell how the job is doing; it is done when it was asked often enough."""
        label, part, number, _ = job.job_id.split(".")
        self.crash.reach("poll", "sent")
        self.server.expect("submitted", number=number, part=part)
        await asyncio.sleep(LATENCY_S)
        self.server.add("poll", label=label, part=int(part), job=job.job_id)
        polls = len(self.server.lines("poll", job=job.job_id))
        self.crash.reach("poll", "answered")
        if polls < POLLS:
            return hg.JobStatus(phase="running")
        addresses = [f"https://server.invalid/{job.job_id}/{i}" for i in range(job.state["n"])]
        return hg.JobStatus(phase="done", outputs=tuple(hg.Url(url=each) for each in addresses))

    async def fetch(self, url: hg.Url) -> bytes:
        """Hand over a picture."""
        job_id, file = url.url.split("/")[-2:]
        label, part, _, _ = job_id.split(".")
        self.crash.reach("fetch", "sent")
        await asyncio.sleep(LATENCY_S)
        self.server.add("fetch", label=label, part=int(part), job=job_id)
        self.crash.reach("fetch", "answered")
        return picture(label, int(part), int(file))


@attrs.frozen
class Rewriter:
    """Adds to the prompt, and tells the server about it."""

    server: Server
    crash: Crash

    async def rewrite(self, task: hg.Task) -> hg.Task:
        """Lengthen the prompt."""
        self.crash.reach("rewrite", "before", task.prompt)
        self.server.add("rewrite", label=task.prompt.split()[0])
        await asyncio.sleep(LATENCY_S)
        self.crash.reach("rewrite", "after", task.prompt)
        return attrs.evolve(task, prompt=f"{task.prompt}, sharp")


def develop(file: Path, task: hg.Task) -> Path | list[Path]:
    """The processor: what it is given is whole, one fails, one makes two files."""
    label = task.prompt.split()[0]
    if label == SPOILED:
        raise ValueError("the developer was used up")
    if label != TWIN:
        return file
    small = file.with_name(f"{file.stem}-small{file.suffix}")
    small.write_bytes(picture(label, 0, 1))
    return [file, small]


def instrument(crash: Crash, folder: Path) -> None:
    """Make every step of the journal, the files and the waits call `crash`; for ever."""
    _watch_journal(crash)
    _watch_commits(crash)
    _watch_files(crash, folder)
    _watch_waits(crash)
    run = PartRunner.run

    async def run_part(self: PartRunner, life: Any, entry: Entry, share: Any) -> Any:
        _current.set(str(entry.part(share.index)))
        return await run(self, life, entry, share)

    _replace(PartRunner, run=run_part)


def _replace(owner: Any, **methods: Any) -> None:
    for name, method in methods.items():
        setattr(owner, name, method)


def _watch_journal(crash: Crash) -> None:
    def watched(name: str, original: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        async def method(self: SqliteJournal, *args: Any) -> Any:
            who, what = _subject(name, *args)
            if args and isinstance(args[0], PartKey):
                _current.set(who)
            crash.reach("journal", f"{what}:before", who)
            answer = await original(self, *args)
            if what in AWAITED or (what == "fetched" and who.partition("#")[0] in DIRECT):
                part, step = args
                crash.server.expect(step.state, number=str(part.number), part=str(part.index))
            if what == "reserve":
                # Nothing is stored of which the journal does not know that it is there.
                index = _current.get().rpartition("#")[2]
                crash.server.expect("fetched", number=str(args[0].number), part=index)
            crash.reach("journal", f"{what}:after", who)
            return answer

        return method

    names = ("admit", "in_work", "rewritten", "planned", "record", "reserve", "finish", "aclose")
    _replace(SqliteJournal, **{name: watched(name, getattr(SqliteJournal, name)) for name in names})


def _subject(name: str, first: Any = None, second: Any = None, *_: Any) -> tuple[str, str]:
    """Whom an operation is about, and what it is."""
    if isinstance(first, PartKey):
        step: Step = second
        return str(first), type(step).__name__.lower()
    if isinstance(first, Entry):
        return first.key, name
    return "-", name


def _watch_commits(crash: Crash) -> None:
    class Connection(sqlite3.Connection):
        known: ClassVar[set[tuple[str, str]]] = set()

        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            if sql != "COMMIT":
                return super().execute(sql, *args)
            # How a transaction is put together is up to the journal, so it is named after
            # everything that it makes durable.
            now = set(_facts(self))
            news = sorted(now - self.known)
            self.known.update(now)
            for who, what in news:
                crash.reach("commit", f"{what}:before", who)
            cursor = super().execute(sql, *args)
            for who, what in news:
                crash.reach("commit", f"{what}:after", who)
            return cursor

        def executescript(self, script: str) -> sqlite3.Cursor:
            crash.reach("commit", "migrate:before", "-")
            cursor = super().executescript(script)
            crash.reach("commit", "migrate:after", "-")
            return cursor

    _replace(sqlite3, connect=partial(sqlite3.connect, factory=Connection))


def _facts(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Everything that a journal knows: of whom, and what."""
    for number, key, state, rewritten, plan in connection.execute(
        "SELECT number, key, state, rewritten, plan FROM tasks"
    ).fetchall():
        yield key, state
        if rewritten is not None:
            yield key, "rewritten"
        if plan is not None:
            yield key, "planned"
        for part, now, attempt in connection.execute(
            "SELECT part, state, attempt FROM parts WHERE task = ?", (number,)
        ):
            yield f"{key}#{part}", f"{now} {attempt}"
        for (name,) in connection.execute("SELECT name FROM names WHERE task = ?", (number,)):
            yield key, f"reserved {name}"
    for (name,) in connection.execute("SELECT name FROM meta").fetchall():
        yield "-", f"meta {name}"


def _watch_files(crash: Crash, folder: Path) -> None:
    def reach(what: str, path: Any, base: Any = -1) -> None:
        if (name := _file_name(path, base, folder)) is not None:
            crash.reach("file", f"{what} {name}")

    def hook(event: str, args: tuple[Any, ...]) -> None:
        match event:
            case "open" if args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                reach("open", args[0])
            case "os.rename" | "os.link":
                reach(event, args[1], args[3])
            case "os.remove" | "os.rmdir":
                reach(event, args[0], args[1])
            case "os.mkdir" | "os.chmod":
                reach(event, args[0], args[2])
            case "sqlite3.connect" if "mode=ro" not in str(args[0]):
                reach(event, str(args[0]).removeprefix("file://").partition("?")[0])

    sync = os.fsync

    def fsync(file: int) -> None:
        reach("fsync:before", f"/proc/self/fd/{file}")
        sync(file)
        reach("fsync:after", f"/proc/self/fd/{file}")

    _replace(os, fsync=fsync)
    sys.addaudithook(hook)


def _file_name(path: Any, base: Any, folder: Path) -> str | None:
    """A path below `folder`, the same in every run; None for others."""
    if isinstance(path, int):
        return None
    try:
        name = os.fsdecode(path)
        if name.startswith("/proc/self/fd/"):
            name = os.readlink(name)
        elif not name.startswith("/") and isinstance(base, int) and base >= 0:
            name = f"{os.readlink(f'/proc/self/fd/{base}')}/{name}"
    except (OSError, TypeError):
        return None
    if name != str(folder) and not name.startswith(f"{folder}/"):
        return None
    name = name[len(str(folder)) :]
    for pattern, stand_in in _RANDOM:
        name = pattern.sub(stand_in, name)
    return name or "/"


def _watch_waits(crash: Crash) -> None:
    def watched(kind: str, original: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        async def method(*args: Any, **named: Any) -> Any:
            crash.reach(kind, "before")
            loop = asyncio.get_running_loop()
            timer = loop.call_later(0.01, crash.reach, kind, "waiting")
            try:
                return await original(*args, **named)
            finally:
                timer.cancel()
                crash.reach(kind, "after")

        return method

    _replace(Pace, token=watched("token", Pace.token), departure=watched("pace", Pace.departure))
    _replace(LocalGate, slot=watched("slot", LocalGate.slot))
    retried = JobReports.retried

    def backoff(self: JobReports, action: Any, error: Any, wait_s: float) -> None:
        retried(self, action, error, wait_s)
        crash.reach("backoff", "begun")
        asyncio.get_running_loop().call_later(wait_s / 2, crash.reach, "backoff", "asleep")

    _replace(JobReports, retried=backoff)


async def batch(folder: Path, server: Server, crash: Crash, *, late_s: float = 0.0) -> None:
    """Run or resume all tasks; each outcome is a line of the server's file."""
    # Trials run side by side, and each has an account of its own.
    os.environ["XDG_STATE_HOME"] = str(folder.parent / "state")
    async with hg.AsyncStudio(
        CountingProvider(server, crash),
        output=folder,
        rewrite=[Rewriter(server, crash)],
        process=[develop],
        sidecar=True,
        config=hg.Config.of({}, environ={}),
        registry=hg.Registry(),
    ) as studio:
        await asyncio.sleep(late_s)
        async for outcome in studio.map(TASKS):
            crash.reach("outcome", outcome.state, outcome.key)
            state = "open" if outcome.state == "held" else outcome.state
            server.expect(state, number=str(outcome.index + 1))
            server.add(
                "outcome",
                label=LABELS[outcome.index],
                key=outcome.key,
                state=outcome.state,
                resumed=isinstance(outcome, hg.Result) and outcome.resumed,
                error="" if isinstance(outcome, hg.Result) else type(outcome.error).__name__,
                files=sorted(str(each.path) for each in outcome.artifacts),
            )


@attrs.frozen
class Trial:
    """A batch that is killed some times and then resumed to its end.

    Args:
        kills: Where: a step's name, or its number in that run.
        tell: Whether to tell the steps of the last run.
        late_s: Seconds for which a run that resumes is without tasks, and only goes on with
            what the journal says.
    """

    kills: tuple[str | int, ...]
    tell: bool = False
    late_s: float = 0.0

    def run(self) -> dict[str, Any]:
        """Everything that can be known of it afterwards."""
        with tempfile.TemporaryDirectory(prefix="crash-") as name:
            home = Path(name).resolve()
            folder = home / "out"
            runs = []
            for number, kill in enumerate((*self.kills, None)):
                status = self._fork(home, number, kill)
                runs.append({"status": status, "journal": _journal(folder)})
            faults = home / "faults"
            steps = home / "steps"
            return {
                "kills": self.kills,
                "runs": runs,
                "faults": faults.read_text() if faults.exists() else "",
                "server": list(_lines(home / "server")),
                "files": {
                    str(path.relative_to(folder)): (
                        hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
                    )
                    for path in sorted(folder.rglob("*"))
                    if path.name not in KEPT
                },
                "sidecars": {path.name: path.read_text() for path in folder.glob("*.json")},
                "steps": json.loads(steps.read_text()) if steps.exists() else [],
            }

    def _fork(self, home: Path, number: int, kill: str | int | None) -> int:
        """Run in a process of its own; its exit code, or less the signal that ended it."""
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        status = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            signal.alarm(HANGS_S)
            # The jitter of retries decides which steps there are.
            random.seed(number)
            # So does what earlier runs of this trial, and only they, found out of the slots.
            os.environ["XDG_STATE_HOME"] = str(home / "state")
            server = Server(home / "server", number)
            crash = Crash(
                server,
                at=kill if isinstance(kill, str) else None,
                nth=kill if isinstance(kill, int) else None,
            )
            instrument(crash, home / "out")
            run_virtual(batch(home / "out", server, crash, late_s=self.late_s if number else 0.0))
            if self.tell and kill is None:
                (home / "steps").write_text(json.dumps(crash.reached))
            status = 0
        except BaseException:
            (home / "faults").write_text(f"run {number}: {traceback.format_exc()}")
        finally:
            os._exit(status)


def _lines(path: Path) -> Iterable[dict[str, Any]]:
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def _journal(folder: Path) -> dict[str, Any]:
    """What is durable, read from a copy so that nothing is tidied up."""
    known: dict[str, Any] = {"tasks": {}, "parts": {}, "rewritten": []}
    with tempfile.TemporaryDirectory() as aside:
        for path in folder.glob("journal.sqlite3*"):
            if path.suffix != ".reserve":
                shutil.copy(path, aside)
        with contextlib.closing(sqlite3.connect(f"{aside}/journal.sqlite3")) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
                return known
            labels: dict[int, str] = {}
            for number, position, state, rewritten in connection.execute(
                "SELECT number, position, state, rewritten FROM tasks"
            ):
                labels[number] = LABELS[position]
                known["tasks"][LABELS[position]] = state
                if rewritten is not None:
                    known["rewritten"].append(LABELS[position])
            for number, part, state in connection.execute("SELECT task, part, state FROM parts"):
                known["parts"][f"{labels[number]}#{part}"] = state
    return known


def warm_up() -> None:
    """Import and compile in advance all that a run needs."""
    with tempfile.TemporaryDirectory() as home:
        server = Server(Path(home) / "server", 0)
        run_virtual(batch(Path(home) / "out", server, Crash(server)))
    assert threading.active_count() == 1, "a process with threads cannot be forked"
    gc.collect()
    gc.freeze()


def main() -> None:
    """The zygote."""
    warm_up()
    for line in sys.stdin:
        trial = Trial(**json.loads(line))
        sys.stdout.write(json.dumps(trial.run()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
