"""Real commands against ``holodeck-gen emulate hunyuan``, which is a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import signal
import subprocess
import sysconfig
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

DIALECTS = ("tokenhub", "aiart", "hunyuan")
#: Exit codes.
DONE, FAILED, RESUMABLE, INTERRUPTED = 0, 3, 4, 130
#: Seconds after which a process, or what one waits for, counts as hanging.
HANGS_S = 90
LOOK_S = 0.01
#: What may be known to the service and the environment, and to nobody else.
SECRETS = ("HUNYUAN_SECRET_ID", "HUNYUAN_SECRET_KEY", "HUNYUAN_API_KEY")

_SCRIPT = Path(sysconfig.get_path("scripts")) / "holodeck-gen"
#: A proxy of the developer's is nothing to ask for what is on this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@attrs.frozen
class Emulator:
    """A service that is running.

    Args:
        environ: What the lines that it printed make of a shell's environment.
    """

    environ: Mapping[str, str]

    @property
    def stats(self) -> dict[str, Any]:
        """Its counters."""
        found: dict[str, Any] = self._ask("stats")
        return found

    @property
    def times(self) -> list[dict[str, float]]:
        """When each job was submitted and ended, and how often it was asked after."""
        found: list[dict[str, float]] = self._ask("jobs")
        return found

    @property
    def jobs(self) -> Counter[str]:
        """Jobs that were made, by prompt."""
        return Counter(self.stats["prompts"])

    def reset(self) -> None:
        """Forget every job and count."""
        self._ask("reset", b"")

    def _ask(self, what: str, data: bytes | None = None) -> Any:
        url = f"{self.environ['HUNYUAN_ENDPOINT']}/_emulator/{what}"
        with _OPENER.open(url, data, timeout=HANGS_S) as answer:
            return json.load(answer)


@contextlib.contextmanager
def emulated(*options: str, folder: Path) -> Iterator[Emulator]:
    """Start the command, and end it as a user would."""
    told = folder / "emulator"
    with told.open("wb") as file:
        process = subprocess.Popen(
            [str(_SCRIPT), "emulate", "hunyuan", "--port", "0", *options],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
    try:
        wait_until(lambda: "serving at" in told.read_text(), "an emulator", alive=process)
        exports = [line for line in told.read_text().splitlines() if line.startswith("export ")]
        environment = subprocess.run(
            ["sh", "-c", "\n".join([*exports, "env -0"])], capture_output=True, check=True
        ).stdout.decode()
        yield Emulator(dict(line.split("=", 1) for line in environment.split("\0") if line))
        process.send_signal(signal.SIGINT)
        assert process.wait(HANGS_S) == 0, told.read_text()
    finally:
        _end(process)


@contextlib.contextmanager
def slow_line(emulator: Emulator, delay_s: float) -> Iterator[Emulator]:
    """The same service, with answers that are on their way for so long.

    Its results are where they were.
    """
    to = emulator.environ["HUNYUAN_ENDPOINT"].rpartition(":")[2]
    ready: queue.Queue[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = queue.Queue()

    async def main() -> None:
        stop = asyncio.Event()
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        ready.put((asyncio.get_running_loop(), stop, port))
        await stop.wait()
        server.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", int(to))
        # Whoever is killed closes its side; what it has sent arrives all the same.
        await asyncio.gather(_pass_on(reader, back, 0.0), _pass_on(there, writer, delay_s))

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="slow-line")
    thread.start()
    loop, stop, port = ready.get()
    try:
        yield Emulator({**emulator.environ, "HUNYUAN_ENDPOINT": f"http://127.0.0.1:{port}"})
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float
) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            await asyncio.sleep(delay_s)
            writer.write(data)
            await writer.drain()
    writer.close()


def _copied(environ: Mapping[str, str]) -> dict[str, str]:
    return dict(environ)


@attrs.define
class Shell:
    """A shell that points at an emulator, in a folder of its own with a home of its own.

    Args:
        folder: Where it works.
        environ: What its commands see.
        hurried: Whether jobs are polled more often than the provider says.
    """

    folder: Path
    environ: dict[str, str] = attrs.field(converter=_copied)
    hurried: bool = True
    _commands: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in list(self.environ):
            if name.startswith(("HOLODECK_GEN_", "XDG_")):
                del self.environ[name]
        self.environ["HOME"] = str(self.folder / "home")
        if self.hurried:
            facts = self.folder / "plugin" / "hurried-1.dist-info"
            facts.mkdir(parents=True, exist_ok=True)
            (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: hurried\nVersion: 1\n")
            (facts / "entry_points.txt").write_text("[holodeck_gen]\nhurried = e2e.hurried\n")
            paths = [str(facts.parent), str(Path(__file__).parents[1])]
            paths += filter(None, [os.environ.get("PYTHONPATH")])
            self.environ["PYTHONPATH"] = os.pathsep.join(paths)
            # The other plugin of this name is not to be loaded beside it.
            self.environ["HOLODECK_GEN_PLUGINS"] = "hurried,local"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def write_tasks(self, prompts: Sequence[str], **fields: Any) -> None:
        """Write the task file; ``task-3`` is the fourth prompt."""
        lines = [
            json.dumps({"id": f"task-{i}", "prompt": prompt, **fields})
            for i, prompt in enumerate(prompts)
        ]
        (self.folder / "tasks.jsonl").write_text("\n".join(lines) + "\n")

    def start(self, *words: str, **environ: str) -> Command:
        """Start any command; `environ` is for it alone."""
        self._commands += 1
        told = [self.folder / f"{name}-{self._commands}" for name in ("stdout", "stderr")]
        with told[0].open("wb") as stdout, told[1].open("wb") as stderr:
            process = subprocess.Popen(
                [str(_SCRIPT), *words],
                cwd=self.folder,
                env={**self.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        return Command(process, *told)

    def call(self, *words: str, code: int, **environ: str) -> Command:
        """Run any command, which must end with `code`."""
        command = self.start(*words, **environ)
        assert command.ended() == code, command.stderr
        return command

    def run(self, *more: str, code: int, **environ: str) -> Command:
        """Run the tasks, two at once."""
        return self.call(*RUN, *more, code=code, **environ)

    def states(self) -> dict[str, str]:
        """The last word of ``results.jsonl`` on each task."""
        lines = (self.out / "results.jsonl").read_text().splitlines()
        return {line["id"]: line["status"] for line in map(json.loads, lines)}

    def pictures(self) -> set[str]:
        """Tasks that have a picture which is one."""
        found = set()
        for path in self.out.glob("*.png"):
            data = path.read_bytes()
            assert data.startswith(b"\x89PNG\r\n\x1a\n"), path
            assert data.endswith(b"IEND\xaeB\x60\x82"), path
            found.add(path.stem)
        return found

    def findings(self, *, code: int) -> list[dict[str, Any]]:
        """What ``audit`` says."""
        told = self.call("audit", "out", "--json", code=code).stdout
        return [json.loads(line) for line in told.splitlines()]

    def uncertain(self, *, code: int = RESUMABLE) -> set[str]:
        """Tasks of which nobody knows whether they have a job."""
        return {each["task"] for each in self.findings(code=code) if each["kind"] == "uncertain"}

    def leaks(self) -> list[str]:
        """Files with something secret in them, among all that was said and written."""
        secrets = [self.environ[name].encode() for name in SECRETS]
        assert all(len(secret) > 8 for secret in secrets)
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        assert self.out / "journal.sqlite3" in paths
        return [str(path) for path in paths if any(s in path.read_bytes() for s in secrets)]


#: The command that is repeated until all is done.
RUN = (
    "run", "tasks.jsonl", "-o", "out", "-p", "hunyuan", "--concurrency", "2", "-vv",
    "--set", "backoff_s=0.1",
)  # fmt: skip


@attrs.frozen
class Command:
    """A command that was started."""

    process: subprocess.Popen[bytes]
    _stdout: Path
    _stderr: Path

    @property
    def stdout(self) -> str:
        return self._stdout.read_text()

    @property
    def stderr(self) -> str:
        return self._stderr.read_text()

    def ended(self) -> int:
        """Wait for its end; its exit code."""
        try:
            return self.process.wait(HANGS_S)
        finally:
            _end(self.process)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()
        self.process.wait()


def wait_until(
    seen: Callable[[], bool], what: str, *, alive: subprocess.Popen[bytes] | None = None
) -> None:
    """Wait for something that another process is to do."""
    end = time.monotonic() + HANGS_S
    while not seen():
        assert time.monotonic() < end, f"it never came: {what}"
        assert alive is None or alive.poll() is None, f"ended before it came: {what}"
        time.sleep(LOOK_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
