"""``status``, ``audit``, ``collect``, and how ``run`` goes on with an earlier run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

import holodeck_gen as hg
from holodeck_gen._cli._app import cli
from holodeck_gen._cli._exit import BAD_INPUT, DONE, RESUMABLE, SOME_FAILED
from holodeck_gen._cli._run import _command
from holodeck_gen._plugins.plugins import Plugins
from holodeck_gen._scripted import Script
from holodeck_gen.errors import BillingError, ContentRejectedError, DownloadError, ThrottledError
from holodeck_gen.testing import PNG, ScriptedProvider
from runs import CAT, DOG, Runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from holodeck_gen._scripted import ScriptedJob


@pytest.fixture
def runs(own_home: Path) -> Runs:
    provider = ScriptedProvider(default=Script(job_s=0))
    return Runs(own_home / "out", provider)


@pytest.fixture(autouse=True)
def plugin(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripted provider is installed, by its name."""
    import holodeck_gen._plugins.registry as registry

    made = registry.Registry.__init__

    def init(self: registry.Registry, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        if not (args or kwargs):
            self.register("provider", "scripted", lambda _options, _ctx: runs.provider)

    monkeypatch.setattr(registry.Registry, "__init__", init)
    assert Plugins is not None


def invoke(*arguments: str | Path, code: int = DONE) -> Result:
    result = CliRunner().invoke(cli, [str(each) for each in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def run(runs: Runs) -> Callable[..., Result]:
    def call(*arguments: str | Path, code: int = DONE) -> Result:
        return invoke(
            "run", "tasks.jsonl", "-p", "scripted", "-o", runs.folder, *arguments, code=code
        )

    return call


def tasks(*given: hg.Task) -> None:
    lines = [json.dumps({"prompt": task.prompt, "id": task.id}) for task in given]
    Path("tasks.jsonl").write_text("\n".join(lines))


def killed(runs: Runs, *given: hg.Task, **arguments: Any) -> None:
    """A run that dies with its jobs running; they have ended when somebody asks."""
    runs.provider.default = Script(job_s=1000)
    runs.killed(*given, after_s=5, **arguments)
    runs.provider.default = Script(job_s=0)
    for job in runs.provider.jobs.values():
        job.ends = 0.0


def lost(runs: Runs, *given: hg.Task) -> None:
    """A run in which the answers to the cats' submits are lost."""
    runs.provider.scripts = {"a cat": Script(submits=["lose"], job_s=0)}
    runs.run(*given)
    runs.provider.scripts = {}


class TestStatus:
    def test_of_a_folder(self, runs: Runs) -> None:
        lost(runs, CAT, DOG)
        text = invoke("status", runs.folder).stdout
        assert text.startswith(
            f"{runs.folder}: 1 done · 1 held · 2 jobs of unknown price · nobody works on it"
            " · last written"
        )
        assert invoke("status", runs.journal).stdout == text

    def test_as_json(self, runs: Runs) -> None:
        runs.run(CAT)
        found = json.loads(invoke("status", runs.folder, "--json").stdout)
        assert found["tasks"] == {"done": 1, "failed": 0, "held": 0, "working": 0, "waiting": 0}
        assert found["owner"] is None

    @pytest.mark.parametrize("command", ["status", "audit", "collect"])
    def test_a_folder_without_a_journal(self, command: str) -> None:
        Path("empty").mkdir()
        text = invoke(command, "empty", code=BAD_INPUT).stderr
        assert "empty has no journal.sqlite3: nothing was run there" in text
        assert list(Path("empty").iterdir()) == []

    @pytest.mark.parametrize("command", ["status", "audit", "collect"])
    def test_without_a_folder_and_without_a_journal(self, command: str) -> None:
        assert "nothing is unfinished" in invoke(command).stderr

    def test_without_a_folder_the_configured_one(self, runs: Runs) -> None:
        runs.run(CAT)
        assert invoke("status", "--set", f"output={runs.folder}").stdout.startswith(
            str(runs.folder)
        )

    def test_without_a_folder_what_invocations_left(self, runs: Runs) -> None:
        runs.provider.scripts = {"a cat": Script(submits=["lose"], job_s=0)}
        invoke("generate", "a cat", "-p", "scripted", "-o", "cat.png", code=RESUMABLE)
        assert "1 held" in invoke("status").stdout
        assert invoke("audit", code=RESUMABLE).stdout.startswith("uncertain · ")
        assert runs.jobs == 1


class TestAudit:
    def test_nothing_to_see(self, runs: Runs) -> None:
        runs.run(CAT)
        result = invoke("audit", runs.folder, "--no-hashes")
        assert (result.stdout, result.stderr) == ("", "nothing to see\n")

    def test_a_paid_job(self, runs: Runs) -> None:
        killed(runs, CAT)
        result = invoke("audit", runs.folder, code=RESUMABLE)
        assert result.stdout == (
            "job · cat · job job-0 of scripted · submitted · paid for and not finished\n"
        )
        assert f"holodeck-gen collect {runs.folder}" in result.stderr

    def test_a_job_whose_id_controls_a_terminal(self, runs: Runs) -> None:
        submit = ScriptedProvider.submit

        class Rude(ScriptedProvider):
            async def submit(self, request: Any, *, key: str) -> Any:
                await submit(self, request, key=key)
                return hg.JobRef(job_id="job\n\x1b[2J")

        runs.provider = Rude()
        # Before the first poll, which would find no such job.
        runs.killed(CAT, after_s=0.1)
        (line,) = invoke("audit", runs.folder, code=RESUMABLE).stdout.splitlines()
        assert line.isprintable()

    def test_a_file_that_is_gone(self, run: Callable[..., Result], runs: Runs) -> None:
        tasks(CAT, DOG)
        run()
        (runs.folder / "cat.png").unlink()
        (line,) = invoke("audit", runs.folder, "--json", code=SOME_FAILED).stdout.splitlines()
        found = json.loads(line)
        assert (found["kind"], found["task"], found["problem"]) == ("file", "cat", "it is gone")
        assert found["journal"] == str(runs.journal)
        invoke("audit", runs.folder, "--no-hashes")

    def test_salvage(self, runs: Runs) -> None:
        runs.run(CAT, DOG)
        rows = [
            json.loads(x) for x in invoke("audit", runs.folder, "--salvage").stdout.splitlines()
        ]
        assert [row["key"] for row in rows if row["table"] == "tasks"] == ["cat", "dog"]

    def test_a_damaged_journal_says_what_to_do(self, runs: Runs) -> None:
        runs.folder.mkdir()
        runs.journal.write_bytes(b"no database" * 300)
        for command in ("status", "audit", "collect"):
            assert "audit --salvage" in invoke(command, runs.folder, code=BAD_INPUT).stderr


class TestCollect:
    def test_a_folder(self, runs: Runs, run: Callable[..., Result]) -> None:
        killed(runs, CAT, DOG)
        result = invoke("collect", runs.folder)
        assert sorted(result.stdout.splitlines()) == [
            str(runs.folder.resolve() / name) for name in ("cat.png", "dog.png")
        ]
        assert runs.jobs == 2
        lines = (runs.folder / "results.jsonl").read_text().splitlines()
        assert sorted(json.loads(line)["id"] for line in lines) == ["cat", "dog"]
        tasks(CAT, DOG)
        run()
        assert runs.jobs == 2
        assert invoke("collect", runs.folder).stdout == ""

    def test_as_json(self, runs: Runs) -> None:
        killed(runs, CAT)
        (line,) = invoke("collect", runs.folder, "--json").stdout.splitlines()
        assert json.loads(line)["status"] == "done"

    def test_what_is_held_stays_held(self, runs: Runs) -> None:
        lost(runs, CAT)
        invoke("collect", runs.folder, code=RESUMABLE)
        invoke("collect", runs.folder, "--set", "on_uncertain=resubmit", code=RESUMABLE)
        assert runs.jobs == 1

    def test_what_is_held_can_be_given_up(self, runs: Runs) -> None:
        lost(runs, CAT)
        invoke("collect", runs.folder, "--dismiss", "dog", code=BAD_INPUT)
        result = invoke("collect", runs.folder, "--dismiss", "cat")
        assert "cat is not held any more" in result.stderr
        assert "1 failed" in invoke("status", runs.folder).stdout
        invoke("audit", runs.folder)
        assert runs.jobs == 1

    def test_what_an_invocation_left_is_gone_when_it_is_given_up(self, runs: Runs) -> None:
        runs.provider.scripts = {"a cat": Script(submits=["lose"], job_s=0)}
        invoke("generate", "a cat", "-p", "scripted", "-o", "cat.png", code=RESUMABLE)
        (key,) = json.loads(invoke("audit", "--json", code=RESUMABLE).stdout)["task"].split()
        invoke("collect", "--dismiss", key)
        assert "nothing is unfinished" in invoke("status").stderr
        assert runs.jobs == 1

    def test_without_a_folder(self, runs: Runs) -> None:
        killed(runs, CAT)
        invoke("collect", "--set", f"output={runs.folder}")
        assert (runs.folder / "cat.png").exists()


class TestResume:
    def test_if_possible_is_what_is_done(self, run: Callable[..., Result], runs: Runs) -> None:
        tasks(CAT)
        run("--resume", "if-possible")
        tasks(CAT, DOG)
        run()
        assert runs.jobs == 2

    def test_always_wants_a_journal(self, run: Callable[..., Result], runs: Runs) -> None:
        tasks(CAT)
        text = run("--resume", "always", code=BAD_INPUT).stderr
        assert "nothing to resume" in text
        run()
        run("--resume", "always")
        changed = run("--resume", "always", "--name", "{id}-new", code=BAD_INPUT).stderr
        assert "settings have changed" in changed
        assert "name" in changed
        assert runs.jobs == 1

    def test_never_pays_anew_and_keeps_the_old_journal(
        self, run: Callable[..., Result], runs: Runs
    ) -> None:
        tasks(CAT)
        run()
        run("--resume", "never")
        assert runs.jobs == 2
        assert (runs.folder / "journal-1.sqlite3").exists()
        assert (runs.folder / "results-1.jsonl").exists()

    def test_never_does_not_forget_a_paid_job(self, run: Callable[..., Result], runs: Runs) -> None:
        killed(runs, CAT)
        tasks(CAT)
        assert "holodeck-gen collect" in run("--resume", "never", code=BAD_INPUT).stderr
        assert runs.jobs == 1

    def test_another_word(self, run: Callable[..., Result]) -> None:
        tasks(CAT)
        assert "'sometimes' is not one of" in run("--resume", "sometimes", code=2).stderr


class TestRetry:
    def test_failed(self, run: Callable[..., Result], runs: Runs) -> None:
        tasks(CAT, DOG)
        runs.provider.scripts = {"a cat": Script(error=ContentRejectedError("no"), job_s=0)}
        run(code=SOME_FAILED)
        runs.provider.scripts = {}
        assert "--retry-failed tries them again" in run(code=SOME_FAILED).stderr
        assert runs.jobs == 2
        run("--retry-failed")
        assert runs.jobs == 3

    def test_uncertain_of_one(self, run: Callable[..., Result], runs: Runs) -> None:
        other = CAT.__class__("a cat", id="tom")
        lost(runs, CAT, other, DOG)
        tasks(CAT, other, DOG)
        assert "--retry-uncertain" in run(code=RESUMABLE).stderr
        assert runs.jobs == 3
        # The lost jobs may be running, so that a run with two slots would wait for their end.
        run("--concurrency", "8", "--retry-uncertain", "tom", code=RESUMABLE)
        assert runs.jobs == 4
        run("--concurrency", "8", "--retry-uncertain", "dog", "--retry-uncertain", "cat")
        assert runs.jobs == 5

    def test_uncertain_of_all(self, run: Callable[..., Result], runs: Runs) -> None:
        other = CAT.__class__("a cat", id="tom")
        lost(runs, CAT, other)
        tasks(CAT, other)
        run("--concurrency", "8", "--retry-uncertain")
        assert runs.jobs == 4


class TestPayAgain:
    def test_what_is_gone_is_told_with_how_to_have_it(
        self, run: Callable[..., Result], runs: Runs
    ) -> None:
        class Forgetful(ScriptedProvider):
            """What its first two jobs made is gone."""

            def _end(self, job: ScriptedJob) -> hg.JobStatus:
                number = list(self.jobs.values()).index(job)
                address = hg.Url(url=f"https://r.example/{number}.png", expires_at=1e9)
                return hg.JobStatus(phase="done", outputs=(address,))

            async def fetch(self, url: hg.Url) -> bytes:
                if url.url.endswith(("/0.png", "/1.png")):
                    raise DownloadError("HTTP 403: the address has expired")
                return PNG

        runs.provider = Forgetful(default=Script(job_s=0))
        tasks(CAT, DOG)
        told = run("--retry-failed", code=SOME_FAILED).stderr
        assert "2 failed because what their jobs made can no longer be had, 'cat' for" in told
        found = invoke("audit", runs.folder, code=RESUMABLE)
        assert "gone · cat · job job-0 of scripted · failed · paid for, and what it" in found.stdout
        assert "--pay-again ID" in found.stderr
        assert "collect" not in found.stderr
        assert "1 failed because" in run("--pay-again", "dog", code=SOME_FAILED).stderr
        assert runs.jobs == 3
        assert "can no longer" not in run("--pay-again", "cat").stderr
        assert runs.jobs == 4


class TestPause:
    def test_its_reason_is_told_at_the_end_and_by_status_until_something_is_submitted(
        self, runs: Runs, run: Callable[..., Result]
    ) -> None:
        tasks(CAT, DOG)
        runs.provider.default = Script(job_s=0, submits=[BillingError("no credit", code="X")])
        ended = run(code=RESUMABLE)
        assert "paused: the provider refuses the account: no credit" in ended.stderr
        told = invoke("status", runs.folder).stdout
        assert " · paused since " in told
        assert ": no credit · " in told
        found = json.loads(invoke("status", runs.folder, "--json").stdout)["paused"]
        assert found["reason"] == "no credit"
        assert found["since"] > 1e9
        runs.provider.default = Script(job_s=0, submits=[ContentRejectedError("no")])
        runs.provider._sent.clear()
        run("--limit", "1", code=RESUMABLE)
        assert "paused" not in invoke("status", runs.folder).stdout

    def test_when_to_try_again_is_told(self, run: Callable[..., Result], runs: Runs) -> None:
        tasks(CAT)
        asked = ThrottledError("tomorrow", retry_after=86400.0)
        runs.provider.default = Script(submits=[asked])
        assert "; try again after 86400 s" in run(code=RESUMABLE).stderr


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("--resume never", ""),
        ("--resume=never --limit 3", "--limit 3"),
        ("--resume always --limit 3", "--resume always --limit 3"),
        ("--retry-uncertain", ""),
        ("--retry-uncertain cat --retry-uncertain=dog -v", "-v"),
        ("--retry-uncertain --retry-failed", "--retry-failed"),
        ("--pay-again cat --pay-again=dog -v", "-v"),
        ("--on-uncertain resubmit", "--on-uncertain resubmit"),
    ],
)
def test_whoever_types_what_is_told_pays_for_nothing_again(
    typed: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was decided once is not decided for what this run has paid for."""
    before = ["holodeck-gen", "run", "tasks.jsonl", "-o", "out"]
    monkeypatch.setattr("sys.argv", [*before, *typed.split()])
    assert _command("tasks.jsonl") == f"go on with: {' '.join([*before, *told.split()])}"
