"""Processors in processes: what hangs or dies takes one picture and its own process with it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

import holodeck_gen as hg
from helpers import collect, failure_of, result_of
from holodeck_gen._calls import DeadlineError
from holodeck_gen._cli._app import cli
from holodeck_gen._cli._work import in_processes
from holodeck_gen._plugins.resolve import Maker, Resolver
from holodeck_gen._stages import worker
from holodeck_gen._stages.in_processes import InProcess, Processes
from holodeck_gen._stages.portable import Failed, failed
from holodeck_gen._stages.processes import StageProcesses, ended_by
from holodeck_gen._stages.worker import Ready, Recipe
from holodeck_gen.errors import ProcessingError
from holodeck_gen.testing import Script, ScriptedProvider
from pictures import encoded, gradient

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A processor that is told by its prompts what to do.
PLUGIN = '''
import os
import signal
import threading
from holodeck_gen import hookimpl
from holodeck_gen.errors import ProcessingError


class Odd(ProcessingError):
    """Cannot be pickled, and cannot be made again from its message."""

    def __init__(self, *, lock):
        super().__init__("odd", stage="far away")
        self.lock = lock


def obey(file, task):
    order, *paths = task.prompt.split()
    match order:
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "odd":
            raise Odd(lock=threading.Lock())
        case "hang":
            threading.Event().wait()
        case "tell-and-hang":
            told = open(paths[0], "w")
            print(os.getpid(), file=told, flush=True)
            threading.Event().wait()
        case "tell-and-wait":
            with open(paths[0], "w") as told:
                print(os.getpid(), file=told)
            with open(paths[1]) as go:
                go.readline()
    return file


def loud(file, ctx):
    ctx.log.warning("picture.seen", pid=os.getpid(), prompt="not for everybody")
    return file


@hookimpl
def register_processors(register):
    register("obey", lambda options, ctx: obey)
    register("loud", lambda options, ctx: lambda file, task: loud(file, ctx))
'''


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the plugin is installed."""
    folder = tmp_path_factory.mktemp("site")
    info = folder / "obedient-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: obedient\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[holodeck_gen]\nobey = obedient_plugin\n")
    (folder / "obedient_plugin.py").write_text(PLUGIN)
    return folder


@pytest.fixture(autouse=True)
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(site))
    # As slight as the command's is; each worker imports it again.
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    yield
    structlog.reset_defaults()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "image.png"
    file.write_bytes(b"a picture")
    return file


@contextlib.contextmanager
def processes(places: int = 1) -> Iterator[StageProcesses]:
    made = StageProcesses(places=places, recipe=Recipe(names=("obey",), given={}))
    yield made
    made.close()


async def tell(workers: StageProcesses, order: str, file: Path, timeout_s: float = 60) -> Any:
    return await workers.run("obey", file, hg.Task(order), timeout_s=timeout_s, what="it")


def fifo(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    os.mkfifo(path)
    return path


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def invoke(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == code, result.output
    return result


def test_files_and_logs_are_those_of_a_thread(own_home: Path) -> None:
    run = ["generate", "a door", "-p", "procedural", "--size", "64x64", "--seed", "7"]
    run += ["--log-format", "json"]
    run += ["--set", "stages.convert.format=webp", "--process", "convert", "--process", "loud"]
    thread = invoke(*run, "-o", "thread.webp")
    process = invoke(*run, "-o", "process.webp", "--processes", "1")
    assert Path("process.webp").read_bytes() == Path("thread.webp").read_bytes()
    lines = [
        next(line for line in result.stderr.splitlines() if "picture.seen" in line)
        for result in (thread, process)
    ]
    assert all('"prompt": "[redacted]"' in line and '"level": "warning"' in line for line in lines)
    assert [f'"pid": {os.getpid()},' in line for line in lines] == [True, False]


def test_what_dies_or_raises_fails_alone(tmp_path: Path) -> None:
    picture = hg.Bytes(data=encoded("png", gradient((4, 3))))
    provider = ScriptedProvider(default=Script(job_s=0.0, outputs=(picture,)))
    orders = ["die", "odd", "fine"]

    async def main() -> list[hg.Outcome]:
        studio = hg.AsyncStudio(
            provider, output=tmp_path, journal=None, process=["obey"], config=hg.Config.of({})
        )
        async with in_processes(studio, Processes(places=1, given={})):
            return await collect(studio.map([hg.Task(each) for each in orders], ordered=True))

    with capture_logs() as logs:
        *bad, fine = asyncio.run(main())
    assert result_of(fine).artifact.width == 4
    errors = [failure_of(each).error for each in bad]
    assert [type(each).__name__ for each in errors] == ["ProcessingError", "Odd"]
    assert all(isinstance(each, ProcessingError) for each in errors)
    assert "processor 'obey' died (SIGKILL, perhaps because memory ran out)" in str(errors[0])
    assert str(errors[1]) == "odd"
    assert errors[1].stage == "far away"  # type: ignore[attr-defined]
    assert [each["event"] for each in logs].count("stage.worker_died") == 1


def test_what_hangs_is_ended_and_nobody_else(file: Path) -> None:
    async def main(workers: StageProcesses) -> None:
        late = asyncio.ensure_future(tell(workers, "hang", file, timeout_s=0.01))
        assert await tell(workers, "fine", file) == [file]
        with pytest.raises(DeadlineError, match=r"it took longer than 0\.01 s; its process was"):
            await late
        # The place is free again, and a new process takes it.
        assert (
            await asyncio.gather(*(tell(workers, "fine", file) for _ in range(2))) == [[file]] * 2
        )

    with processes(places=2) as workers, capture_logs() as logs:
        asyncio.run(main(workers))
    (line,) = logs
    assert (line["event"], line["stage"]) == ("stage.worker_late", "obey")
    assert gone(line["pid"])


@pytest.mark.parametrize(
    ("code", "words"),
    [(7, "exit code 7"), (-11, "SIGSEGV"), (-1000, "exit code -1000"), (None, "exit code None")],
)
def test_how_a_process_died(code: int | None, words: str) -> None:
    assert ended_by(code) == words


def test_workers_end_when_their_parent_says_so_and_an_idle_one_is_replaced(
    file: Path, tmp_path: Path
) -> None:
    told, go = fifo(tmp_path, "told"), fifo(tmp_path, "go")

    async def main(workers: StageProcesses) -> None:
        call = asyncio.ensure_future(tell(workers, f"tell-and-wait {told} {go}", file))
        pid = int(await asyncio.to_thread(told.read_text))
        # Ctrl-C in a terminal, or the end of a service, is for its parent.
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
        # Both ends, so that this does not wait for a worker that is gone.
        line = os.open(go, os.O_RDWR)
        os.write(line, b"go\n")
        assert await call == [file]
        os.close(line)
        os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        call = asyncio.ensure_future(tell(workers, f"tell-and-hang {told}", file))
        with await asyncio.to_thread(told.open) as text:
            pid = int(await asyncio.to_thread(text.readline))
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert gone(pid)

    with processes() as workers, capture_logs() as logs:
        asyncio.run(main(workers))
    assert [each["event"] for each in logs] == ["stage.worker_died"]


def test_who_is_cancelled_twice_leaves_no_error_that_nobody_looks_at(
    tmp_path: Path, file: Path
) -> None:
    """As where a program's own error ends its studio."""
    told = fifo(tmp_path, "told")
    reported: list[dict[str, Any]] = []

    async def main(workers: StageProcesses) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, facts: reported.append(facts))
        call = asyncio.ensure_future(tell(workers, f"tell-and-hang {told}", file))
        with await asyncio.to_thread(told.open) as text:
            await asyncio.to_thread(text.readline)
            call.cancel()
            await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        # Blocks until its thread has told of the worker's end.
        workers.close()
        await asyncio.sleep(0)
        gc.collect()

    with processes() as workers:
        asyncio.run(main(workers))
    assert reported == []


def test_a_parent_that_is_killed_leaves_no_process(tmp_path: Path, site: Path) -> None:
    told = fifo(tmp_path, "told")
    program = [str(Path(sys.executable).with_name("holodeck-gen")), "generate"]
    program += [f"tell-and-hang {told}"]
    options = ["-p", "procedural", "--size", "64x64", "--process", "obey", "--processes", "1"]
    parent = subprocess.Popen([*program, *options], env={**os.environ, "PYTHONPATH": str(site)})
    with told.open() as line:
        assert int(line.readline()) != parent.pid
        parent.kill()
        # Ends when the last one has that has the other end, which is the worker.
        assert line.read() == ""
    assert parent.wait() == -signal.SIGKILL


def test_ctrl_c_does_not_reach_the_first_process_before_it_is_deaf() -> None:
    """What `multiprocessing` starts with the first one takes signals out of the mask."""
    program = """
import signal
from multiprocessing.resource_tracker import ensure_running
from holodeck_gen._stages.processes import _without_interrupts
with _without_interrupts():
    ensure_running()
    print({signal.SIGINT, signal.SIGTERM} <= signal.pthread_sigmask(signal.SIG_BLOCK, ()))
print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "True\nFalse\n"


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_the_number_is_one_at_least(number: str) -> None:
    assert "--processes" in invoke("run", "x.txt", "--processes", number, code=2).stderr


def test_only_what_another_process_can_make_and_need_not_remember_runs_there() -> None:
    config = hg.Config.of({})
    registry = hg.Registry()
    registry.register("processor", "ours", lambda _options, _ctx: lambda file, _task: file)
    resolver = Resolver(registry=registry, config=config)
    given = ["obey", lambda file, _task: file, "ours", "dedupe"]
    stages = resolver.stages("processor", given)
    made = Maker(http=None, environ={}, wall_clock=lambda: 0.0).stages(stages)  # type: ignore[arg-type]
    said = Processes(places=3, given={})
    divided, workers = said.divide(stages, made, config)
    assert divided[0] == ("obey", InProcess(name="obey", seals=False))
    assert list(divided[1:]) == made[1:]
    assert isinstance(workers, StageProcesses)
    assert (workers.places, workers.recipe.names) == (3, ("obey",))
    assert said.divide(stages[1:], made[1:], config) == (made[1:], None)


class _Parent:
    """Listens to a worker; has no calls for it."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def send(self, message: Any) -> None:
        self.heard.append(message)

    @property
    def calls(self) -> Any:
        return self

    def get(self) -> None:
        return None


def test_settings_are_read_where_the_parent_read_them_and_secrets_not_sent(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORMAT", "webp")
    settings = own_home / "holodeck-gen.toml"
    settings.write_text('stages.convert.format = { env = "FORMAT" }\nstages.obey.password = "123x"')
    recipe = Recipe.of(("convert",), {"provider": "any"}, hg.Config.load())
    assert recipe.expected == (("stages.convert.format", "'•••• from FORMAT'"),)
    assert b"webp" not in pickle.dumps(recipe)

    def begun() -> Any:
        parent = _Parent()
        asyncio.run(worker._work(parent, recipe))  # type: ignore[arg-type]
        (message,) = parent.heard
        return message

    assert begun() == Ready()
    settings.write_text("stages.convert.quality = 3")
    answer = begun()
    assert isinstance(answer, Failed)
    with pytest.raises(hg.errors.ConfigError, match="have changed since the run began"):
        raise answer.error()


class Wanting(OSError):
    def __init__(self, *, disk: str) -> None:
        super().__init__(errno.ENOSPC, f"{disk} is full")


class Held(ValueError):
    lock: threading.Lock


def _local() -> Exception:
    class Local(Held):
        def __str__(self) -> str:
            return "in words of its own"

    return Local(1, 2)


def _held() -> Exception:
    error = Held("held", threading.Lock())
    error.lock, error.name = threading.Lock(), "kept"  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "cls"),
    [
        (FileNotFoundError(2, "No such file", "a.png"), FileNotFoundError),
        (ProcessingError("no", stage="x", task_id="y"), ProcessingError),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), UnicodeDecodeError),
        (Wanting(disk="sda"), Wanting),
        (_local(), Held),
        (Exception(threading.Lock()), Exception),
    ],
)
def test_errors_pass_as_they_are(error: Exception, cls: type[Exception]) -> None:
    passed: Exception = pickle.loads(pickle.dumps(failed(error))).error()
    assert type(passed) is cls
    assert str(passed) == str(error)
    assert str(error) in str(passed.__cause__)


def test_what_passes_of_an_error_is_kept() -> None:
    passed = pickle.loads(pickle.dumps(failed(_held()))).error()
    assert (type(passed), passed.name) == (Held, "kept")
