from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click
import pytest
import structlog
from click.testing import CliRunner, Result

from holodeck_gen._cli._app import COMMANDS, cli
from holodeck_gen._cli._exit import one_line
from holodeck_gen._cli._logging import REDACTED, redact
from holodeck_gen._cli._options import voice_options
from holodeck_gen._cli._progress import Pace, Progress
from holodeck_gen._cli._results import outcome_line
from holodeck_gen._cli._summary import Tally, duration, first_line, last_line
from holodeck_gen._cli._times import ClockTime, Span, seconds_until
from holodeck_gen._engine.info import StudioInfo
from holodeck_gen._model.artifact import Cost
from holodeck_gen._model.codec import outcome_from_json
from holodeck_gen._model.outcome import Failure
from holodeck_gen._model.outcome import Result as TaskResult
from holodeck_gen._model.task import Task
from holodeck_gen._taskfile.taskfile import read_tasks
from holodeck_gen.errors import JobFailedError
from holodeck_gen.events import SlotsSampled

if TYPE_CHECKING:
    from collections.abc import Iterator

CANARY = "canary-7f3a"

#: A plugin with a provider that is told by its prompts what to do.
PLUGIN = '''
import asyncio
import base64
import time
import attrs
from holodeck_gen import Bytes, JobRef, JobStatus, Limits, Prepared, hookimpl
from holodeck_gen.errors import *

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)

@attrs.frozen(kw_only=True)
class Options:
    """Options.

    Attributes:
        api_key: A secret.
        level: How much.
    """

    api_key: str = attrs.field(default="", repr=False)
    level: int = 1

class Fake:
    name = "fake"
    billing = "free"
    limits = Limits(max_jobs=2, poll_interval_s=0.001)

    def __init__(self, options):
        self.options = options
        self.began = {}

    def account_key(self):
        return "fake"

    def quota_key(self, task):
        return "fake"

    def prepare(self, task):
        if "impossible" in task.prompt:
            raise InvalidTaskError("the fake cannot do that")
        warnings = ["it is only a fake"] if "warn" in task.prompt else []
        return Prepared(request={"prompt": task.prompt}, warnings=warnings)

    async def submit(self, request, *, key):
        if "credentials" in request["prompt"]:
            raise AuthError("the key is wrong")
        if "hang" in request["prompt"]:
            await asyncio.Event().wait()
        return JobRef(job_id="job-" + key, state=request)

    async def poll(self, job):
        prompt = job.state["prompt"]
        if "wait" in prompt:
            return JobStatus(phase="running")
        if "slow" in prompt:
            # In real time, as the time limits of the command are.
            if time.monotonic() < self.began.setdefault(job.job_id, time.monotonic()) + 1.0:
                return JobStatus(phase="running")
        if "fail" in prompt:
            error = JobFailedError("it\\n went \\x1b[31mwrong", job_id=job.job_id)
            return JobStatus(phase="failed", error=error)
        return JobStatus(phase="done", outputs=[Bytes(data=PNG)])

class Twice:
    def expand(self, task):
        if "bad pattern" in task.prompt:
            raise ValueError("no such pattern")
        return [attrs.evolve(task, prompt=task.prompt + " again"), task]

def broken(options, ctx):
    raise RuntimeError("no luck")

@hookimpl
def register_providers(register):
    register("fake", lambda options, ctx: Fake(options), options=Options, summary="Free of charge.")
    register("unlucky", broken)

@hookimpl
def register_expanders(register):
    register("twice", lambda options, ctx: Twice())

@hookimpl
def register_commands(cli):
    import click
    @cli.command()
    def hello():
        """Greet."""
        click.echo("hello")
    @cli.command()
    def crash():
        raise KeyError("surprise")
'''


def install(
    folder: Path, name: str, module: str, text: str | None, *, distribution: str = ""
) -> None:
    """Lay out an installed distribution with one plugin."""
    distribution = distribution or f"{name}-plugin"
    info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[holodeck_gen]\n{name} = {module}\n")
    if text is not None:
        (folder / f"{module}.py").write_text(text)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    install(folder, "fake", "fake_plugin_of_test_cli", PLUGIN)
    return folder


@pytest.fixture(autouse=True)
def surroundings(
    tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A working directory, configuration and plugins of our own; logging as it was."""
    for name in list(os.environ):
        if name.startswith("HOLODECK_GEN_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.syspath_prepend(str(installed))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield
    structlog.reset_defaults()


def invoke(*arguments: str | Path, code: int = 0, stdin: str | bytes | None = None) -> Result:
    result = CliRunner().invoke(cli, [str(each) for each in arguments], input=stdin)
    assert result.exit_code == code, result.output
    return result


def write(name: str, *lines: str | dict[str, Any]) -> Path:
    path = Path(name)
    path.write_text("".join(f"{x if isinstance(x, str) else json.dumps(x)}\n" for x in lines))
    return path


def run(*arguments: str | Path, code: int = 0, stdin: str | bytes | None = None) -> Result:
    return invoke("run", *arguments, "-p", "fake", "-o", "out", code=code, stdin=stdin)


def lines_of(path: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


class TestApp:
    def test_help_imports_nothing_heavy(self) -> None:
        program = (
            "import sys\n"
            "from holodeck_gen._cli import main\n"
            "sys.argv = ['holodeck-gen', '--help']\n"
            "try: main()\n"
            "except SystemExit as end: assert not end.code\n"
            "own = {m for m in sys.modules if m.startswith('holodeck_gen.')}\n"
            "assert own == {'holodeck_gen._cli', 'holodeck_gen._cli._app',"
            " 'holodeck_gen._cli._exit'}, own\n"
            "heavy = {'attrs', 'rich', 'httpx', 'structlog', 'PIL', 'numpy', 'asyncio', 'pluggy'}\n"
            "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "Work through a file of tasks" in done.stdout

    @pytest.mark.parametrize("name", COMMANDS)
    def test_each_command_has_examples(self, name: str) -> None:
        text = invoke(name, "--help").stdout
        assert "Examples:" in text
        assert f"holodeck-gen {name}" in text

    @pytest.mark.parametrize("name", COMMANDS)
    def test_help_in_the_table_is_the_commands_own(self, name: str) -> None:
        assert COMMANDS[name][1] in invoke("--help").stdout

    def test_unknown_commands_name_the_nearest(self) -> None:
        result = invoke("genrate", code=2)
        assert "no command 'genrate'; did you mean generate" in result.stderr
        assert result.stdout == ""

    def test_plugins_add_commands(self) -> None:
        assert invoke("hello").stdout == "hello\n"

    def test_an_unexpected_error_is_one_line_without_a_traceback(self) -> None:
        result = invoke("crash", code=1)
        assert result.stderr == "error: unexpected KeyError: 'surprise' (-vv shows where)\n"

    def test_a_plugin_that_cannot_add_its_commands_is_a_warning(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = (
            "from holodeck_gen import hookimpl\n"
            "@hookimpl\ndef register_commands(cli):\n    raise OSError('no')\n"
        )
        install(tmp_path / "site", "aaa", "plugin_without_commands", text)
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        result = invoke("hullo", code=2)
        assert "warning: plugin 'aaa' could not add its commands: OSError('no')" in result.stderr
        assert "did you mean hello" in result.stderr

    def test_version(self) -> None:
        assert invoke("--version").stdout.startswith("holodeck-gen, version ")

    def test_messages_become_one_harmless_line(self) -> None:
        assert one_line("a\r\nb\x1b[31m\u2028c") == "a b [31m c"
        assert len(one_line("x" * 5000)) < 1000


class TestGenerate:
    def test_prints_the_path_and_nothing_else(self) -> None:
        result = invoke("generate", "a cat", "-p", "fake", "-o", "cat.png")
        assert result.stdout == f"{Path('cat.png').absolute()}\n"
        assert result.stderr == ""
        assert Path("cat.png").read_bytes().startswith(b"\x89PNG")

    def test_output_may_be_a_folder(self) -> None:
        for where in ("new/", "new"):
            path = Path(invoke("generate", "a cat", "-p", "fake", "-o", where).stdout.strip())
            assert path.parent == Path("new").absolute()

    def test_without_an_output_the_configured_folder_or_this_one(self) -> None:
        path = Path(invoke("generate", "a cat", "-p", "fake").stdout.strip())
        assert path.parent == Path.cwd()
        write("holodeck-gen.toml", 'output = "pictures"', 'provider = "fake"')
        path = Path(invoke("generate", "a cat").stdout.strip())
        assert path.parent == Path("pictures").absolute()

    def test_json_is_one_object(self) -> None:
        arguments = ("--seed", "7", "--style", "ink", "--option", "a=1", "--option", "b=x=NaN")
        result = invoke("generate", "晨 warn", "-p", "fake", "-o", "x.png", "--json", *arguments)
        (line,) = result.stdout.splitlines()
        found = json.loads(line)
        assert (found["id"], found["prompt"], found["seed"]) == (None, "晨 warn", 7)
        assert found["task"]["provider_options"] == {"a": 1, "b": "x=NaN"}
        outcome = outcome_from_json(found)
        assert isinstance(outcome, TaskResult)
        assert outcome.path == Path("x.png").absolute()
        assert result.stderr == "warning: it is only a fake\n"

    def test_the_kind_is_said_for_tasks_that_do_not(self) -> None:
        arguments = ("--kind", "model3d", "-o", "x.png", "--json")
        found = json.loads(invoke("generate", "a cup", "-p", "fake", *arguments).stdout)
        assert found["task"]["kind"] == "model3d"

    def test_several_pictures_are_several_lines(self) -> None:
        result = invoke("generate", "a cat", "-p", "fake", "-n", "3", "-o", "cat.png")
        assert len(set(result.stdout.splitlines())) == 3

    def test_expanders_apply(self) -> None:
        result = invoke("generate", "a cat", "-p", "fake", "-o", "o/", "--expand", "twice")
        assert len(result.stdout.splitlines()) == 2

    def test_without_a_provider_the_free_one_draws_and_it_is_said(self) -> None:
        result = invoke("generate", "sea", "--size", "16x16", "-o", "sea.png")
        assert result.stderr == "no provider is configured; procedural draws it, for free\n"
        assert Path("sea.png").exists()
        assert invoke("generate", "sea", "--size", "16x16", "-q").stderr == ""

    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [
            (["a cat", "-p", "fke"], 1, "no provider named 'fke'; did you mean 'fake'"),
            (["a cat", "-p", "unlucky"], 1, "could not be made: RuntimeError('no luck')"),
            (["a cat", "-p", "fake", "--size", "16:9"], 1, "is an aspect ratio"),
            (["a cat", "-p", "fake", "--seed", "-1"], 1, "seed must be from 0"),
            (["", "-p", "fake"], 1, "the prompt is empty"),
            (["impossible", "-p", "fake"], 1, "the fake cannot do that"),
            (["a cat", "-p", "fake", "--process", "none"], 1, "no processor named 'none'"),
            (["a cat", "-p", "fake", "--concurrency", "0"], 1, "concurrency must be"),
            (["a cat", "--set", "provdier=x"], 1, "no setting 'provdier'; did you mean"),
            (["a cat", "-p", "fake", "--set", "providers.fake.level=x"], 1, "'level'"),
            (["a cat", "-p", "fake", "--set", "nothing"], 2, "--set takes KEY=VALUE"),
            (["a cat", "-p", "fake", "--option", "=1"], 2, "--option takes KEY=VALUE"),
            (["a cat", "-p", "fake", "--seed", "x"], 2, "not a valid int"),
            (["a cat", "--resume", "always"], 2, "No such option"),
            (["fail", "-p", "fake"], 3, "error: it went [31mwrong"),
            (["credentials", "-p", "fake"], 4, "the key is wrong"),
        ],
    )
    def test_what_goes_wrong_is_said_once_with_its_code(
        self, arguments: list[str], code: int, words: str
    ) -> None:
        result = invoke("generate", *arguments, "-o", "x.png", "-q", code=code)
        assert result.stdout == ""
        assert result.stderr.count(words) == 1
        assert "Traceback" not in result.stderr
        assert not Path("x.png").exists()

    def test_a_failure_is_json_too(self) -> None:
        result = invoke("generate", "fail", "-p", "fake", "-o", "x.png", "--json", code=3)
        found = json.loads(result.stdout)
        assert found["status"] == "failed"
        assert found["error"]["type"] == "JobFailedError"

    def test_vv_shows_the_traceback(self) -> None:
        result = invoke("generate", "a cat", "-p", "unlucky", "-vv", code=1)
        assert "Traceback" in result.stderr

    def test_a_projects_endpoint_is_announced(self) -> None:
        write("holodeck-gen.toml", "[providers.other]", 'endpoint = "http://evil"')
        result = invoke("generate", "a cat", "-p", "fake", "-o", "x.png")
        assert result.stderr.endswith("sets providers.other.endpoint = http://evil\n")


def kept(folder: str) -> list[str]:
    """What a user sees in a run's folder beside its journal."""
    names = sorted(os.listdir(folder))
    own = {"journal.sqlite3", ".journal.sqlite3.lock"}
    assert own < set(names)
    return [name for name in names if name not in own]


class TestRun:
    def test_writes_pictures_and_results(self) -> None:
        file = write(
            "t.jsonl",
            {"id": "a", "prompt": "one", "seed": 7, "place": "here"},
            {"id": "b", "prompt": "two"},
        )
        result = run(file)
        assert result.stdout == ""
        first, last = result.stderr.splitlines()
        assert first == "fake · 2 to do · 2 jobs at once · free"
        assert last.startswith("2 done · ")
        assert last.endswith(" s")
        found = {line["id"]: line for line in lines_of("out/results.jsonl")}
        assert found["a"]["prompt"] == "one"
        assert found["a"]["seed"] == 7
        assert found["a"]["metadata"] == {"place": "here"}
        assert outcome_from_json(found["b"]).task == Task("two", id="b")
        assert kept("out") == ["a.png", "b.png", "results.jsonl"]

    def test_json_is_a_line_for_each_outcome(self) -> None:
        result = run(write("t.txt", "one", "fail", "two"), "--json", code=3)
        assert [json.loads(line)["status"] for line in result.stdout.splitlines()].count(
            "done"
        ) == 2
        assert len(lines_of("out/results.jsonl")) == 3

    def test_quiet(self) -> None:
        assert run(write("t.txt", "one"), "-q").stderr == ""

    def test_stdin(self) -> None:
        run("-", stdin="# comment\none\n\ntwo\n")
        assert len(lines_of("out/results.jsonl")) == 2
        run("-", "--encoding", "gbk", stdin="晨雾\n".encode("gbk"))
        assert lines_of("out/results.jsonl")[-1]["prompt"] == "晨雾"

    def test_options_apply_where_a_line_says_nothing(self) -> None:
        file = write("t.jsonl", {"prompt": "one"}, {"prompt": "two", "seed": 1})
        run(file, "--seed", "5", "--name", "{seed}")
        assert kept("out") == ["1.png", "5.png", "results.jsonl"]

    def test_failed_tasks_can_be_edited_and_run_again(self) -> None:
        file = write("t.jsonl", {"id": "a", "prompt": "fail", "k": [1]}, {"id": "b", "prompt": "b"})
        result = run(file, code=3)
        assert result.stderr.splitlines()[-1].startswith("1 done · 1 failed · ")
        assert "1 × JobFailedError: it went [31mwrong" in result.stderr
        failed = Path("out/failed.jsonl")
        (line,) = read_tasks(failed)
        assert line.task == Task("fail", id="a", metadata={"k": [1]})
        run(failed, code=3)
        failed.write_text(failed.read_text().replace("fail", "mended"))
        run(failed)
        assert kept("out") == ["a.png", "b.png", "results.jsonl"]
        assert [each["status"] for each in lines_of("out/results.jsonl")].count("failed") == 2

    def test_running_failed_tasks_only_in_part_loses_none(self) -> None:
        prompts = [f"fail {i}" for i in range(40)]
        run(write("t.txt", *prompts), code=3)
        failed = Path("out/failed.jsonl")
        failed.write_text(failed.read_text().replace("fail", "good"))
        run(failed, "--limit", "3", code=4)
        assert failed.read_text().count("good") == 40
        run(failed)
        assert not failed.exists()
        done = [each for each in lines_of("out/results.jsonl") if each["status"] == "done"]
        assert sorted(each["prompt"] for each in done) == sorted(f"good {i}" for i in range(40))

    def test_failed_tasks_that_were_expanded_are_left_where_nobody_can_tell(self) -> None:
        Path("out").mkdir()
        failed = write("out/failed.jsonl", *[{"prompt": f"good {i}"} for i in range(3)])
        before = failed.read_text()
        result = run(failed, "--expand", "twice", "--limit", "1", code=4)
        assert "failed.jsonl is left as it was" in result.stderr
        assert failed.read_text() == before
        run(failed, "--expand", "twice")
        assert not failed.exists()

    def test_what_cannot_be_expanded_can_be_edited_and_run_again(self) -> None:
        tasks = ({"id": "a", "prompt": "bad pattern"}, {"id": "b", "prompt": "fail"})
        run(write("t.jsonl", *tasks), "--expand", "twice", code=3)
        failed = Path("out/failed.jsonl")
        kept = sorted(str(line.task.id) for line in read_tasks(failed) if line.task)
        assert kept == ["a", "b~1", "b~2"]
        failed.write_text(failed.read_text().replace("bad pattern", "mended"))
        run(failed, "--expand", "twice", code=3)
        done = [each for each in lines_of("out/results.jsonl") if each["status"] == "done"]
        assert sorted(each["prompt"] for each in done) == ["mended", "mended again"]

    def test_a_torn_line_of_an_earlier_run_is_mended(self) -> None:
        Path("out").mkdir()
        results = Path("out/results.jsonl")
        results.write_bytes(b'{"status": "done"}\n{"status": "torn')
        run(write("t.txt", "one"))
        assert len(lines_of(results)) == 2
        results.write_bytes(b'{"status": "whole"}')
        run(write("t.txt", "two"))
        # The line of the first run is lost, so that is written again, too.
        assert [each["status"] for each in lines_of(results)] == ["whole", "done", "done"]

    def test_limit_says_how_many_are_left(self) -> None:
        result = run(write("t.txt", *"abcdefgh"), "--limit", "3", code=4)
        assert "fake · 3 to do" in result.stderr
        assert "the limit of 3 is reached: 5 of 8 tasks are left" in result.stderr
        assert "3 done · 5 left" in result.stderr
        run(write("t.txt", "a", "b"), "--limit", "2")

    def test_limit_counts_no_failure_as_left(self) -> None:
        assert "are left" not in run(write("t.txt", "fail"), "--limit", "1", code=3).stderr

    def test_for_begins_nothing_more_and_lets_submitted_jobs_finish(self) -> None:
        result = run(write("t.txt", *["slow"] * 9), "--for", "0.5s", code=4)
        assert "the time is up: 7 of 9 tasks are left" in result.stderr
        assert "2 done" in result.stderr

    def test_expanded_tasks(self) -> None:
        result = run(write("t.txt", "a", "b"), "--expand", "twice")
        assert "fake · 2 to expand" in result.stderr
        assert "4 done" in result.stderr
        result = run(write("t.txt", "c", "d"), "--expand", "twice", "--limit", "1", code=4)
        assert "some tasks may be left" in result.stderr

    def test_a_pause_is_resumable(self) -> None:
        result = run(write("t.txt", "credentials", *["a"] * 200), code=4)
        assert "paused: " in result.stderr
        assert " held · " in result.stderr
        assert "tasks are left" in result.stderr

    def test_warnings_and_equal_reasons_are_said_once(self) -> None:
        result = run(write("t.txt", *["warn", "fail"] * 3), code=3)
        assert result.stderr.count("warning: it is only a fake") == 1
        assert "3 × JobFailedError" in result.stderr

    def test_dry_run_checks_everything_and_writes_nothing(self) -> None:
        result = run(write("t.txt", "a", "b"), "--dry-run")
        assert result.stderr == (
            "fake · 2 to do · 2 jobs at once · free · dry run: nothing was generated\n"
        )
        result = run(write("t.txt", "a", "impossible"), "--dry-run", code=1)
        assert result.stderr.splitlines() == [
            "line 2: the fake cannot do that",
            "error: 1 of 2 tasks cannot be run",
        ]
        assert not Path("out").exists()


class TestBadInput:
    def test_the_whole_file_is_checked_first(self) -> None:
        result = run(write("t.jsonl", {"prompt": "a"}, "x", {"promt": "b"}), code=1)
        assert result.stderr.splitlines()[0].startswith("line 2: not JSON")
        assert "line 3: there is no field 'promt'" in result.stderr
        assert "error: 2 of 3 lines are no task; nothing was generated" in result.stderr
        assert not Path("out").exists()

    def test_only_the_first_are_shown(self) -> None:
        result = run(write("t.jsonl", *["x"] * 30), code=1)
        assert "line 20:" in result.stderr
        assert "line 21:" not in result.stderr
        assert "and 10 more lines" in result.stderr

    def test_skip_invalid_goes_on_and_reports(self) -> None:
        result = run(write("t.jsonl", {"prompt": "a"}, "x"), "--skip-invalid", code=3)
        assert "1 of 2 lines is no task, skipped" in result.stderr
        assert "1 done · 1 lines skipped" in result.stderr
        run(write("t.jsonl", "x"), "--skip-invalid", code=1)

    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [
            (["none.jsonl", "-p", "fake", "-o", "out"], 1, "none.jsonl cannot be read: No such"),
            ([".", "-p", "fake", "-o", "out"], 1, "is a folder"),
            (["empty", "-p", "fake", "-o", "out"], 1, "empty: no tasks"),
            (["t.txt", "-o", "out"], 1, "no provider is named or configured; choose one of: fake"),
            (["t.txt", "-p", "fke", "-o", "out"], 1, "did you mean 'fake'"),
            (["t.txt", "-p", "unlucky", "-o", "out"], 1, "could not be made"),
            (["t.txt", "-p", "fake"], 2, "-o OUT"),
            (["t.txt", "-p", "fake", "-o", "memory://x"], 1, "is gone when this process ends"),
            (["t.txt", "-p", "fake", "-o", "t.txt"], 1, "cannot write into t.txt"),
            (["t.txt", "-p", "fake", "-o", "t.txt/x"], 1, "cannot write into t.txt"),
            (["t.txt", "-p", "fake", "-o", "out", "--size", "0x0"], 1, "at least 1 pixel"),
            (["t.txt", "-p", "fake", "-o", "out", "--encoding", "klingon"], 1, "no encoding"),
            (["t.txt", "-p", "fake", "-o", "out", "--name", "{a.b}"], 1, "plain field name"),
            (["t.txt", "-p", "fake", "-o", "out", "--limit", "0"], 2, "--limit"),
            (["t.txt", "-p", "fake", "-o", "out", "--for", "8"], 2, "not a time"),
            (["t.txt", "-p", "fake", "-o", "out", "--until", "25:00"], 2, "not a time of day"),
            (["t.txt", "-p", "fake", "-o", "out", "--on-uncertain", "pay"], 2, "on-uncertain"),
        ],
    )
    def test_nothing_is_begun(self, arguments: list[str], code: int, words: str) -> None:
        write("t.txt", "a cat")
        write("empty")
        for more in ([], ["--dry-run"]):
            result = invoke("run", *arguments, *more, code=code)
            assert words in result.stderr
            assert "Traceback" not in result.stderr
            assert not Path("out/results.jsonl").exists() or "unlucky" in arguments

    def test_a_result_file_that_is_a_link_is_not_followed(self) -> None:
        Path("out").mkdir()
        victim = write("victim", "precious")
        Path("out/results.jsonl").symlink_to(victim.absolute())
        assert "results.jsonl cannot be written" in run(write("t.txt", "a"), code=1).stderr
        assert victim.read_text() == "precious\n"

    def test_a_broken_configuration_file_is_named_with_its_line(self) -> None:
        write("holodeck-gen.toml", "x = 1", "y = = 2")
        assert "holodeck-gen.toml, line 2" in run(write("t.txt", "a"), code=1).stderr


class TestInspect:
    def test_providers(self) -> None:
        text = invoke("providers").stdout
        assert text.splitlines()[0].split() == ["NAME", "BILLING", "SUMMARY", "OWNER"]
        found = json.loads(invoke("providers", "--json").stdout)
        assert {
            "name": "fake",
            "billing": "free",
            "summary": "Free of charge.",
            "owner": "plugin 'fake' (fake-plugin 1.0)",
        } in found
        assert {each["name"]: each["billing"] for each in found}["unlucky"] is None

    def test_plugins_tells_what_works_and_what_is_broken(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install(tmp_path / "site", "bad", "module_that_is_missing", None)
        install(tmp_path / "site2", "bad", "module_that_is_missing", None, distribution="other")
        install(tmp_path / "site", "worse", "plugin_that_raises", "raise OSError('disk\\ngone')")
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        result = invoke("plugins")
        rows = {line.split()[0]: line for line in result.stdout.splitlines()}
        assert "fake-plugin 1.0" in rows["fake"]
        assert "provider fake, provider unlucky, expander twice, commands" in rows["fake"]
        assert "BROKEN" in rows["bad"]
        assert "module_that_is_missing" in rows["bad"]
        assert "disk" in rows["worse"]
        found = {each["name"]: each for each in json.loads(invoke("plugins", "--json").stdout)}
        assert found["fake"]["broken"] is None
        assert found["bad"]["registers"] == []
        monkeypatch.syspath_prepend(str(tmp_path / "site2"))
        assert "both install a plugin named 'bad'" in invoke("plugins", "bad").stdout

    def test_one_plugin_with_its_options(self) -> None:
        text = invoke("plugins", "fake").stdout
        assert "provider fake: Free of charge." in text
        assert "api_key  str" in text
        assert "level    int   1        How much." in text
        assert "expander twice\nno options" in text
        found = json.loads(invoke("plugins", "fake", "--json").stdout)
        assert found["registers"][0]["options"][1]["doc"] == "How much."
        assert "did you mean 'fake'" in invoke("plugins", "fakke", code=1).stderr

    def test_config_tells_origins_and_masks_secrets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOLODECK_GEN_PROVIDERS__FAKE__API_KEY", CANARY)
        monkeypatch.setenv("SECRET", CANARY)
        write("holodeck-gen.toml", 'provider = "fake"', "[providers.fake]", 'x = {env = "SECRET"}')
        result = invoke("config", "--set", "attempts=3", "-vv", code=1)
        assert "provider 'fake' has no option 'x'" in result.stderr
        assert CANARY not in result.output
        rows = {line.split()[0]: line for line in result.stdout.splitlines()}
        assert "variable HOLODECK_GEN_PROVIDERS__FAKE__API_KEY" in rows["providers.fake.api_key"]
        assert "from SECRET" in rows["providers.fake.x"]
        assert rows["attempts"].endswith("command line")
        found = json.loads(invoke("config", "--json", code=1).stdout)
        assert ("provider", "fake") in [(each["key"], each["value"]) for each in found]
        assert CANARY not in str(found)

    def test_nothing_configured(self) -> None:
        result = invoke("config")
        assert result.stderr == ""
        assert {line.split()[-1] for line in result.stdout.splitlines()} == {"FROM", "default"}
        found = json.loads(invoke("config", "--json").stdout)
        assert {"key": "attempts", "value": 4, "origin": "default", "secret": False} in found

    def test_config_says_what_a_run_would_not_begin_with(self) -> None:
        result = invoke("config", "--set", "provider=fke", "--set", "stages.x.y=1", code=1)
        assert "error: provider names 'fke': there is no provider" in result.stderr
        assert "warning: [stages.x] is of no stage that there is" in result.stderr
        assert "command line" in result.stdout


class TestLogging:
    def test_secrets_prompts_and_signatures_are_redacted(self) -> None:
        event = {
            "event": "x",
            "prompt": CANARY,
            "secret_id": CANARY,
            "options": {"api_key": CANARY, "items": [{"token": CANARY}]},
            "url": f"https://example.com/a.png?sign={CANARY}",
            "task_key": "open",
            "password": None,
        }
        found = redact(None, "info", event)
        assert CANARY not in str(found)
        assert found["prompt"] == REDACTED
        assert found["task_key"] == "open"
        assert found["url"] == "https://example.com/a.png?…"
        assert found["password"] is None

    def test_json_makes_every_line_of_stderr_an_object(self) -> None:
        result = run(write("t.txt", "a", "fail"), "--log-format", "json", "-v", code=3)
        events = [json.loads(line) for line in result.stderr.splitlines()]
        assert events[0]["text"].startswith("fake · 2 to do")
        assert {"job.ended", "task.done"} <= {event["event"] for event in events}

    def test_verbosity(self) -> None:
        assert "task.done" not in run(write("t.txt", "a")).stderr
        assert "task.done" in run(write("t.txt", "b"), "-v").stderr

    @pytest.mark.parametrize("flag", ["-v", "-vv"])
    def test_tracebacks_only_with_vv(self, flag: str) -> None:
        @click.command()
        @voice_options
        def crash(voice: object) -> None:
            try:
                raise ValueError("deep inside")
            except ValueError:
                structlog.get_logger().exception("it.crashed")

        result = CliRunner().invoke(crash, [flag])
        assert "deep inside" in result.stderr
        assert ("Traceback" in result.stderr) == (flag == "-vv")


class TestEndings:
    """With real processes, because signals, pipes and terminals matter."""

    @contextlib.contextmanager
    def start(self, *arguments: str, **streams: Any) -> Iterator[subprocess.Popen[str]]:
        given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        program = "from holodeck_gen._cli import main; main()"
        path = os.pathsep.join(each for each in sys.path if each)
        with subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            **given,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    @pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_is_a_graceful_stop(self, name: signal.Signals) -> None:
        write("t.txt", "quick", *["wait"] * 50)
        with self.start("run", "t.txt", "-p", "fake", "-o", "out", "--json") as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["status"] == "done"
            process.send_signal(name)
            _, text = process.communicate()
        assert process.returncode == 130
        assert "stopping: requests in flight finish" in text
        assert "interrupted: " in text
        assert "Traceback" not in text
        assert len(list(Path("out").glob("*.png"))) == 1

    def test_a_second_signal_does_not_wait_for_requests(self) -> None:
        write("t.txt", "quick", "hang", "wait")
        with self.start("run", "t.txt", "-p", "fake", "-o", "out", "--json") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert json.loads(process.stdout.readline())["status"] == "done"
            process.send_signal(signal.SIGINT)
            for line in process.stderr:
                if line.startswith("stopping"):
                    process.send_signal(signal.SIGINT)
                    break
            text = process.stderr.read()
            assert process.wait() == 130
        assert "stopped at once" in text
        assert "Traceback" not in text

    def test_nobody_reads_the_output(self) -> None:
        write("t.txt", "quick", *["wait"] * 50)
        with self.start("run", "t.txt", "-p", "fake", "-o", "out", "--json") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            text = process.stderr.read()
            assert process.wait() == 4
        assert "nobody reads the output any more" in text
        assert "Exception ignored" not in text

    def test_progress_is_shown_to_a_terminal_and_stdout_stays_clean(self) -> None:
        write("t.txt", "a", "fail", "b")
        ours, theirs = pty.openpty()
        seen: list[bytes] = []
        reader = threading.Thread(target=_drain, args=(ours, seen))
        arguments = ("run", "t.txt", "-p", "fake", "-o", "out", "--json")
        with self.start(*arguments, stderr=theirs) as process:
            os.close(theirs)
            reader.start()
            out, _ = process.communicate()
        reader.join()
        os.close(ours)
        text = b"".join(seen).decode()
        assert process.returncode == 3
        assert "3/3" in text
        assert "1 failed" in text
        assert len([json.loads(line) for line in out.splitlines()]) == 3


def _drain(descriptor: int, seen: list[bytes]) -> None:
    while True:
        try:
            data = os.read(descriptor, 4096)
        except OSError:
            # How Linux says that the other end is closed.
            return
        if not data:
            return
        seen.append(data)


class TestTimes:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("90s", 90), ("30m", 1800), ("8h", 28800), ("1d", 86400), ("1h30m", 5400), ("0.5s", 0.5)],
    )
    def test_spans(self, text: str, seconds: float) -> None:
        assert Span().convert(text, None, None) == seconds

    @pytest.mark.parametrize("text", ["", "8", "h", "-1h", "8 h", "8h!", "1w", "1e3s"])
    def test_what_is_no_span(self, text: str) -> None:
        with pytest.raises(click.BadParameter):
            Span().convert(text, None, None)

    @pytest.mark.parametrize("text", ["", "24:00", "12", "12:60", "12:3", "noon"])
    def test_what_is_no_time_of_day(self, text: str) -> None:
        with pytest.raises(click.BadParameter):
            ClockTime().convert(text, None, None)

    def test_until_is_the_next_such_time(self) -> None:
        now = datetime(2026, 6, 1, 22, 0, 30)
        assert seconds_until(ClockTime().convert("22:01", None, None), now) == 30
        assert seconds_until((21, 0), now) == 23 * 3600 - 30
        assert seconds_until((22, 0), now) == 86400 - 30


class TestProgress:
    @attrs.define
    class Clock:
        now: float = 0.0

        def __call__(self) -> float:
            return self.now

    def test_no_estimate_until_enough_is_known_then_the_recent_pace(self) -> None:
        clock = self.Clock()
        pace = Pace(clock)
        for _ in range(4):
            clock.now += 2
            pace.count()
            assert pace.seconds_left(10) is None
        clock.now += 2
        pace.count()
        assert pace.seconds_left(10) == 20
        for _ in range(50):
            clock.now += 10
            pace.count()
        assert pace.seconds_left(1) == 10

    def test_a_stall_lengthens_the_estimate(self) -> None:
        clock = self.Clock()
        pace = Pace(clock)
        for _ in range(5):
            clock.now += 2
            pace.count()
        clock.now += 100
        assert pace.seconds_left(5) == 110

    def test_words(self) -> None:
        clock = self.Clock()
        progress = Progress(10, shown=False, pace=Pace(clock))
        with progress:
            for _ in range(5):
                clock.now += 60
                progress.advance(failed=2)
        assert progress.words(failed=2) == "2 failed · about 5 min 00 s left"
        assert Progress(None, shown=False).words(failed=0) == ""


class TestSummary:
    def test_first_line(self) -> None:
        info = StudioInfo(provider="a + b", billing="paid", jobs_at_once=1)
        assert first_line(info, 4931) == "a + b · 4 931 to do · 1 job at once · price unknown"

    def test_last_line(self) -> None:
        tally = Tally(bad_lines=2)
        tally.states.update(done=4931, failed=61, held=8, cancelled=3)
        tally.costs = {"CNY": Cost(amount="986.2", currency="CNY").amount}
        assert last_line(tally, left=3, seconds=4.14) == (
            "4 931 done · 61 failed · 8 held · 2 lines skipped · 3 left · ¥986.20 · 4.1 s"
        )

    def test_how_busy_the_slots_were_is_in_the_last_line_and_beside_the_bar(self) -> None:
        slots = [
            SlotsSampled(
                time=0.0,
                account="a",
                quota=quota,
                taken=taken,
                ceiling=4,
                waiting=0,
                refusals=1,
                taken_s=taken_s,
                allowed_s=100.0,
                submit_rate=0.5,
                poll_rate=1.0,
            )
            for quota, taken, taken_s in (("x", 2, 95.0), ("y", 4, 99.0))
        ]
        line = last_line(Tally(), left=0, seconds=1, slots=slots)
        assert line == "0 done · slots 97 % busy · 1.0 s"
        words = Progress(None, shown=False).words(failed=0, slots=slots)
        assert words == "6 of 8 slots · 2 refused · slots 97 % busy"
        assert Progress(None, shown=False).words(failed=0) == ""

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0, "0.0 s"),
            (59.94, "59.9 s"),
            (59.99, "1 min 00 s"),
            (200, "3 min 20 s"),
            (7500, "2 h 05 min"),
        ],
    )
    def test_durations(self, seconds: float, text: str) -> None:
        assert duration(seconds) == text

    def test_costs_add_up(self) -> None:
        tally = Tally()
        for amount in ("0.1", "0.2"):
            tally.add(
                TaskResult(
                    task=Task("a"),
                    index=0,
                    key="k",
                    artifacts=(),
                    prompt="a",
                    provider="p",
                    cost=Cost(amount=amount, currency="CNY"),
                )
            )
        assert "¥0.30" in last_line(tally, left=0, seconds=0)

    def test_an_outcome_line_can_be_read_back(self) -> None:
        failure = Failure(task=Task("a", id="x"), index=3, key="x", error=JobFailedError("no"))
        line = outcome_line(failure)
        assert (line["id"], line["prompt"], line["status"]) == ("x", "a", "failed")
        assert outcome_from_json(line) == failure
