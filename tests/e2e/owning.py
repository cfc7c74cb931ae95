"""Processes that share one folder, and a paid service that writes down what it is asked for.

Run with ``-m e2e.owning`` it is a zygote: it imports everything once and forks for each process
that it is to start, so that a hundred of them take seconds. It is also a plugin, so that the
real command can be sent to the same service; see `Command`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Self

import attrs

import holodeck_gen as hg
from e2e.crashing import Server, picture
from holodeck_gen._journal.sqlite import SqliteJournal
from holodeck_gen.errors import GenerationError, JournalLockedError

#: Real seconds after which a process, or what one waits for, counts as hanging.
HANGS_S = 20
#: Real seconds between two looks at something that another process is to do.
LOOK_S = 0.005
#: How a process ends that was refused, and one whose run was broken off by an error.
REFUSED, BROKEN_OFF = 3, 4


@attrs.frozen(kw_only=True)
class ServiceOptions:
    """Options of `Service`.

    Attributes:
        server: The file in which everything is written down.
        run: Who asks.
        job_s: Seconds a job takes.
        latency_s: Seconds until a submit is answered.
        max_jobs: Jobs at once.
        gate: A file without which no job ends.
        account: Whose slots they are.
    """

    server: str
    run: int = 0
    job_s: float = 0.0
    latency_s: float = 0.005
    max_jobs: int = 4
    gate: str = ""
    account: str = "test"


@attrs.define(kw_only=True, eq=False)
class Service:
    """A paid service whose jobs outlive everybody who asks for them.

    Attributes:
        reach: Called at each step with its name.
    """

    options: ServiceOptions
    reach: Callable[[str], None] = lambda _: None
    name: str = attrs.field(default="counting", init=False)
    billing: hg.Billing = attrs.field(default="paid", init=False)
    server: Server = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.server = Server(Path(self.options.server), self.options.run)

    @property
    def limits(self) -> hg.Limits:
        """So many jobs, polled without patience."""
        return hg.Limits(max_jobs=self.options.max_jobs, poll_interval_s=0.02)

    def account_key(self) -> str:
        """That of the options."""
        return f"counting:{self.options.account}"

    def quota_key(self, task: hg.Task) -> str:
        """One quota."""
        return task.kind

    def prepare(self, task: hg.Task) -> hg.Prepared:
        """Pass on the prompt."""
        return hg.Prepared(request={"prompt": task.prompt})

    async def submit(self, request: Any, *, key: str) -> hg.JobRef:
        """Make a job."""
        self.reach("sent")
        self.server.add("created", part=key, prompt=request["prompt"])
        self.reach("created")
        ends_at = time.time() + self.options.job_s
        await asyncio.sleep(self.options.latency_s)
        return hg.JobRef(job_id=key, state={"prompt": request["prompt"], "ends_at": ends_at})

    async def poll(self, job: hg.JobRef) -> hg.JobStatus:
        """Tell whether the job's time has come."""
        self.reach("poll")
        self.server.add("poll", part=job.job_id)
        if time.time() < job.state["ends_at"] or not self._gate_is_open():
            return hg.JobStatus(phase="running")
        return hg.JobStatus(
            phase="done", outputs=(hg.Bytes(data=picture(job.state["prompt"], 0, 0)),)
        )

    def _gate_is_open(self) -> bool:
        return not self.options.gate or Path(self.options.gate).exists()


def make_service(options: ServiceOptions | None, ctx: hg.Context) -> hg.Provider:
    """The factory."""
    assert options is not None
    return Service(options=options)


@hg.hookimpl
def register_providers(register: hg.Register) -> None:
    """Register the service."""
    register("counting", make_service, options=ServiceOptions, summary="Counts.")


@attrs.define(eq=False)
class Standstill:
    """Stops the process with SIGSTOP where it comes to a step for the nth time."""

    step: str
    nth: int
    _counts: Counter[str] = attrs.field(factory=Counter, init=False)

    def reach(self, step: str) -> None:
        """Come to a step."""
        self._counts[step] += 1
        if step == self.step and self._counts[step] == self.nth:
            os.kill(os.getpid(), signal.SIGSTOP)


@attrs.frozen(kw_only=True)
class Process:
    """One process that works in a folder, with the library.

    Args:
        home: Holds the folder ``out`` and what the service writes down.
        number: Its number among those that share the folder.
        tasks: How many.
        options: Of the service.
        at: When it begins, by the clock that all processes share (``time.monotonic``).
        standstill: The step at which it stops itself, and the how-manieth.
        settings: More arguments of the studio.
    """

    home: str
    number: int
    tasks: int = 6
    options: dict[str, Any] = attrs.field(factory=dict)
    at: float = 0.0
    standstill: Sequence[Any] | None = None
    settings: dict[str, Any] = attrs.field(factory=dict)

    def main(self) -> int:
        """Work; the exit code."""
        # They contend for a journal; who shares slots waits for the other.
        os.environ["XDG_STATE_HOME"] = str(Path(self.home) / f"state-{self.number}")
        server = Server(Path(self.home) / "server", self.number)
        reach: Callable[[str], None] = lambda _: None  # noqa: E731
        if self.standstill is not None:
            reach = Standstill(*self.standstill).reach
            _watch_records(reach)
        service = Service(
            options=ServiceOptions(
                # Nobody who works elsewhere takes its slots.
                server=str(server.path),
                run=self.number,
                account=Path(self.home).name,
                **self.options,
            ),
            reach=reach,
        )
        while time.monotonic() < self.at:
            pass
        try:
            asyncio.run(self._work(service))
        except JournalLockedError as error:
            server.add("refused", owner=error.owner, text=str(error))
            return REFUSED
        except GenerationError as error:
            server.add("broken off", error=type(error).__name__, text=str(error))
            return BROKEN_OFF
        return 0

    async def _work(self, service: Service) -> None:
        tasks = [hg.Task(f"picture {i}", id=f"task-{i}") for i in range(self.tasks)]
        async with hg.AsyncStudio(
            service,
            output=Path(self.home) / "out",
            config=hg.Config.of({}, environ={}),
            registry=hg.Registry(),
            **self.settings,
        ) as studio:
            service.server.add("opened", pid=os.getpid())
            async for outcome in studio.map(tasks):
                error = None if isinstance(outcome, hg.Result) else type(outcome.error).__name__
                service.server.add("outcome", key=outcome.key, state=outcome.state, error=error)


def _watch_records(reach: Callable[[str], None]) -> None:
    record = SqliteJournal.record

    async def watched(self: SqliteJournal, part: Any, step: Any) -> None:
        reach(f"{step.state} unrecorded")
        await record(self, part, step)
        reach(f"{step.state} recorded")

    setattr(SqliteJournal, "record", watched)  # noqa: B010 -- a method cannot be assigned to


@attrs.define(eq=False)
class Zygote:
    """What the tests talk to: starts processes and waits for them."""

    _process: subprocess.Popen[str]

    @classmethod
    def start(cls) -> Self:
        """Start one."""
        return cls(
            subprocess.Popen(
                [sys.executable, "-m", "e2e.owning"],
                cwd=Path(__file__).parents[1],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )

    def begin(self, process: Process) -> int:
        """Start a process; its id."""
        return int(self._ask("begin", attrs.asdict(process)))

    def first(self, *pids: int) -> tuple[int, int]:
        """Wait for the first of these to end; its id and exit code (or less its signal)."""
        pid, status = self._ask("first", pids)
        return pid, status

    def wait(self, pid: int) -> int:
        """Wait for one to end; its exit code (or less its signal)."""
        return self.first(pid)[1]

    def wait_still(self, pid: int) -> None:
        """Wait until one has stopped itself."""
        assert self._ask("still", pid), "it ended instead"

    def close(self) -> None:
        """End it, and what it has started."""
        asked, answers = self._pipes()
        asked.close()
        answers.close()
        self._process.wait()

    def _ask(self, what: str, about: Any) -> Any:
        asked, answers = self._pipes()
        asked.write(json.dumps([what, about]) + "\n")
        asked.flush()
        return json.loads(answers.readline())

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout


@attrs.define(eq=False)
class _Parent:
    """The zygote's side."""

    _alive: set[int] = attrs.field(factory=set, init=False)

    def serve(self) -> None:
        """Do what is asked, line by line; then end everything that was started."""
        for line in sys.stdin:
            what, about = json.loads(line)
            match what:
                case "begin":
                    answer: object = self._begin(about)
                case "first":
                    answer = self._first(about)
                case _:
                    answer = self._still(about)
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
        for pid in self._alive:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _begin(self, about: dict[str, Any]) -> int:
        pid = os.fork()
        if pid == 0:
            _child(Process(**about))
        self._alive.add(pid)
        return pid

    def _first(self, pids: Sequence[int]) -> tuple[int, int]:
        while True:
            for pid in pids:
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    self._alive.discard(pid)
                    return pid, os.waitstatus_to_exitcode(status)
            time.sleep(LOOK_S)

    def _still(self, pid: int) -> bool:
        _, status = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self._alive.discard(pid)
        return os.WIFSTOPPED(status)


def _child(process: Process) -> None:
    status = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        signal.alarm(HANGS_S)
        log = os.open(f"{process.home}/log-{process.number}", os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(log, sys.stderr.fileno())
        status = process.main()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


@attrs.frozen
class Home:
    """The folder that is shared, and what became of it.

    Args:
        path: Holds ``out``, the journal's folder.
    """

    path: Path

    @property
    def out(self) -> Path:
        return self.path / "out"

    @property
    def journal(self) -> Path:
        return self.out / "journal.sqlite3"

    @property
    def lock_file(self) -> Path:
        return self.out / ".journal.sqlite3.lock"

    @property
    def gate(self) -> Path:
        return self.path / "gate"

    def lines(self, what: str, **facts: Any) -> list[dict[str, Any]]:
        """What was written down so."""
        return Server(self.path / "server", 0).lines(what, **facts)

    def created(self, **facts: Any) -> Counter[str]:
        """How many jobs each task has, by its prompt."""
        return Counter(line["prompt"] for line in self.lines("created", **facts))

    def parts(self) -> dict[str, str]:
        """What the journal says of each task's part: its state, by the task's key."""
        address = f"{self.journal.as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
            return dict(
                connection.execute(
                    "SELECT t.key, p.state FROM tasks t JOIN parts p ON p.task = t.number"
                )
            )

    def wait_for(self, number: int, what: str, **facts: Any) -> None:
        """Wait until so many lines say so."""
        wait_until(lambda: len(self.lines(what, **facts)) >= number, f"{number} × {what} {facts}")


def wait_until(seen: Callable[[], bool], what: str) -> None:
    """Wait for something that another process is to do."""
    end = time.monotonic() + HANGS_S
    while not seen():
        assert time.monotonic() < end, f"it never came: {what}"
        time.sleep(LOOK_S)


@attrs.frozen
class Command:
    """The real command, with the service as a plugin.

    Args:
        home: Where it works.
    """

    home: Home
    _environment: dict[str, str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        plugin = self.home.path / "plugin"
        facts = plugin / "counting-1.dist-info"
        facts.mkdir(parents=True, exist_ok=True)
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1\n")
        (facts / "entry_points.txt").write_text("[holodeck_gen]\ncounting = e2e.owning\n")
        paths = [str(plugin), str(Path(__file__).parents[1])]
        paths += filter(None, [os.environ.get("PYTHONPATH")])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        object.__setattr__(self, "_environment", environment)

    def write_tasks(self, number: int) -> None:
        """Write the task file."""
        lines = [
            json.dumps({"id": f"task-{i}", "prompt": f"picture {i}", "size": "32x32"})
            for i in range(number)
        ]
        (self.home.path / "tasks.jsonl").write_text("\n".join(lines) + "\n")

    def run(self, number: int, *more: str, **options: float | str) -> Running:
        """Start ``run`` with the service; `options` are the service's."""
        # Nobody who works elsewhere takes its slots.
        own = {"server": str(self.home.path / "server"), "account": self.home.path.name}
        options = {**own, "run": number, **options}
        sets = [f"providers.counting.{name}={value}" for name, value in options.items()]
        words = [word for each in sets for word in ("--set", each)]
        return self.start(
            "run", "tasks.jsonl", "-o", "out", "-p", "counting", *words, *more, number=number
        )

    def start(self, *words: str, number: int = 0) -> Running:
        """Start any command."""
        script = Path(sysconfig.get_path("scripts")) / "holodeck-gen"
        stderr = self.home.path / f"stderr-{number}"
        with stderr.open("wb") as file:
            process = subprocess.Popen(
                [str(script), *words],
                cwd=self.home.path,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
            )
        return Running(process, stderr)


@attrs.frozen
class Running:
    """A command that was started."""

    process: subprocess.Popen[bytes]
    _stderr: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stderr(self) -> str:
        return self._stderr.read_text()

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def ended(self) -> int:
        """Wait for its end; its exit code."""
        try:
            return self.process.wait(HANGS_S)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def wait_to_say(self, words: str) -> None:
        """Wait until its stderr has these words."""
        wait_until(lambda: words in self.stderr, f"{words!r} in {self.stderr!r}")


def warm_up(home: Path) -> None:
    """Import and compile in advance all that a process needs."""
    for number in range(2):
        assert Process(home=str(home), number=number).main() == 0
    assert threading.active_count() == 1, "a process with threads cannot be forked"
    gc.collect()
    gc.freeze()


def main() -> None:
    """The zygote."""
    import tempfile

    with tempfile.TemporaryDirectory() as home:
        warm_up(Path(home))
    _Parent().serve()


if __name__ == "__main__":
    main()
