"""``-o s3://…``: pictures there, and what a run remembers here."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

import holodeck_gen as hg
from holodeck_gen import Bytes, Limits
from holodeck_gen._cli._app import cli
from holodeck_gen._cli._exit import BAD_INPUT, DONE, RESUMABLE
from holodeck_gen._scripted import PNG, Script
from holodeck_gen.testing import ScriptedProvider
from pictures import encoded
from s3 import KEYS, S3, s3_server

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Its jobs cost something.
PAID = ("-p", "scripted")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture
def provider() -> ScriptedProvider:
    # The command works in real time.
    limits = Limits(max_jobs=2, poll_interval_s=0.01, poll_rate=100.0, submit_rate=100.0)
    return ScriptedProvider(default=Script(job_s=0), limits=limits)


@pytest.fixture
def bucket(s3: S3, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket; the scripted provider is installed, and the store is configured."""
    import holodeck_gen._plugins.registry as registry

    made = registry.Registry.__init__

    def init(self: registry.Registry, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        self.register("provider", "scripted", lambda _options, _ctx: provider)

    monkeypatch.setattr(registry.Registry, "__init__", init)
    name = f"b{secrets.token_hex(4)}"
    s3.make(name)
    configure(s3)
    tasks("a")
    return name


def configure(s3: S3, **more: object) -> None:
    options = "\n".join(f"{key} = {json.dumps(value)}" for key, value in s3.stage(**more).items())
    Path("holodeck-gen.toml").write_text(f"[stages.object]\n{options}\n")


def tasks(*ids: str) -> None:
    lines = [json.dumps({"id": each, "prompt": "a door", "size": "64x64"}) for each in ids]
    Path("t.jsonl").write_text("\n".join(lines))


def invoke(*arguments: str | Path, code: int = DONE) -> Result:
    result = CliRunner().invoke(cli, [str(each) for each in arguments])
    assert result.exit_code == code, result.output
    return result


def run(output: str, *arguments: str | Path, code: int = DONE) -> Result:
    return invoke("run", "t.jsonl", "-o", output, *PAID, *arguments, code=code)


def remembered() -> list[Path]:
    return sorted(Path(os.environ["XDG_STATE_HOME"]).glob("holodeck-gen/r*/*"))


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def overdue(provider: ScriptedProvider, output: str, *arguments: str | Path) -> None:
    """A run that leaves a job at the provider, which ends later."""
    provider.default = Script(job_s=1000)
    run(output, *arguments, "--set", "job_timeout_s=0.2", code=RESUMABLE)
    provider.default = Script(job_s=0)
    for job in provider.jobs.values():
        job.ends = 0.0


class TestRun:
    def test_pictures_go_there_and_the_rest_stays_here(
        self, s3: S3, bucket: str, own_home: Path
    ) -> None:
        first = run(f"s3://{bucket}/run").stderr.splitlines()
        assert s3.names(bucket) == ["run/a.png"]
        assert s3.read(bucket, "run/a.png") == PNG
        (folder,) = remembered()
        place = f"s3://{bucket}/run/ at {s3.url}"
        assert f"pictures go to {place} · journal and results are in {folder}" in first
        assert {each.name for each in folder.iterdir()} == {
            "journal.sqlite3", ".journal.sqlite3.lock", "results.jsonl",
        }  # fmt: skip
        (line,) = results(folder)
        assert line["artifacts"][0]["uri"] == f"s3://{bucket}/run/a.png"
        assert {each.name for each in own_home.iterdir()} == {"t.jsonl", "holodeck-gen.toml"}

    @pytest.mark.parametrize("spelling", ["s3://{}/run/", "s3a://{}//r%75n", "S3://{}/run"])
    def test_the_same_address_spelt_otherwise_is_the_same_run(
        self, spelling: str, s3: S3, bucket: str, provider: ScriptedProvider
    ) -> None:
        run(f"s3://{bucket}/run")
        tasks("a", "b")
        assert "2 done (1 before)" in run(spelling.format(bucket)).stderr
        assert provider.created.total() == 2
        assert s3.names(bucket) == ["run/a.png", "run/b.png"]
        assert len(remembered()) == 1

    def test_another_prefix_is_another_run(self, s3: S3, bucket: str) -> None:
        for prefix in ("one", "two"):
            assert "before" not in run(f"s3://{bucket}/{prefix}").stderr
        assert s3.names(bucket) == ["one/a.png", "two/a.png"]

    def test_failed_tasks_are_listed_here_too(
        self, bucket: str, provider: ScriptedProvider
    ) -> None:
        from holodeck_gen.errors import ContentRejectedError

        provider.default = Script(job_s=0, error=ContentRejectedError("no doors"))
        run(f"s3://{bucket}", code=3)
        (folder,) = remembered()
        assert json.loads((folder / "failed.jsonl").read_text())["id"] == "a"
        provider.default = Script(job_s=0)
        again = invoke("run", folder / "failed.jsonl", "-o", f"s3://{bucket}/", *PAID)
        assert "1 done" in again.stderr
        assert not (folder / "failed.jsonl").exists()

    def test_the_journal_goes_where_the_user_puts_it(self, s3: S3, bucket: str) -> None:
        for words in ("1 done", "(1 before)"):
            assert words in run(f"s3://{bucket}", "--journal", "night").stderr
        assert (Path("night") / "journal.sqlite3").is_file()
        assert len(results(Path("night"))) == 1
        assert s3.names(bucket) == ["a.png"]
        assert remembered() == []
        assert invoke("status", "night").stdout.startswith(f"s3://{bucket}: 1 done")

    def test_a_folders_journal_may_be_elsewhere_too(self, bucket: str) -> None:
        """One meaning: what the run remembers, its results for people among it."""
        first = run("out", "--journal", "night").stderr
        assert f"pictures go to out · journal and results are in {Path.cwd() / 'night'}" in first
        assert [each.name for each in Path("out").iterdir()] == ["a.png"]
        assert "(1 before)" in run("out", "--journal", "night/").stderr
        assert len(results(Path("night"))) == 1
        # Who looks for it by its pictures says where it is kept, or finds it in the settings.
        assert "nothing was run there" in invoke("status", "out", code=BAD_INPUT).stderr
        for out in (["out"], []):
            sets = ["--set", "journal=night", "--set", "output=out"]
            assert "1 done" in invoke("status", *out, *sets).stdout
        text = invoke("status", "other", "--set", "journal=night", code=BAD_INPUT).stderr
        assert "nothing was run there" in text

    def test_results_are_kept_without_a_journal_too(self, s3: S3, bucket: str) -> None:
        told = run(f"s3://{bucket}", "--journal", "none").stderr
        (folder,) = remembered()
        assert f"results are in {folder}" in told
        assert [each.name for each in folder.iterdir()] == ["results.jsonl"]

    def test_one_picture(self, s3: S3, bucket: str) -> None:
        """It needs no second run, so nothing of it is kept."""
        hg.generate("a door", provider="scripted", output=f"s3://{bucket}/x/door.png")
        invoke("generate", "a door", *PAID, "-o", f"s3://{bucket}/y/door.png")
        assert s3.names(bucket) == ["x/door.png", "y/door.png"]
        with pytest.raises(hg.errors.ConfigError, match="add the name of the file"):
            hg.generate("a door", provider="scripted", output=f"s3://{bucket}")
        assert [each for each in remembered() if each.is_dir()] == []

    def test_two_machines_at_one_prefix_overwrite_nothing(
        self, s3: S3, bucket: str, provider: ScriptedProvider
    ) -> None:
        """They know nothing of each other; the second one's names make way."""
        for machine, data in (("one", PNG), ("two", encoded("png")), ("three", PNG)):
            provider.default = Script(job_s=0, outputs=[Bytes(data=data)])
            run(f"s3://{bucket}", "--journal", machine)
        # Each has paid for its own; equal bytes under one name are no collision.
        assert provider.created.total() == 3
        assert s3.names(bucket) == ["a.png", "a~2.png"]
        assert s3.read(bucket, "a.png") == PNG
        assert results(Path("two"))[0]["artifacts"][0]["uri"] == f"s3://{bucket}/a~2.png"

    def test_an_address_in_a_projects_file_is_announced(self, s3: S3, bucket: str) -> None:
        """And a store beside a folder is told where its pictures are."""
        configure(s3, url=f"s3://{bucket}/x")
        file = Path("holodeck-gen.toml")
        told = run("out", "--store", "object").stderr
        assert (
            f"pictures go to s3://{bucket}/x/ at {s3.url} · journal and results are in out" in told
        )
        file.write_text(f'output = "s3://{bucket}/x"\n{file.read_text()}')
        told = invoke("run", "t.jsonl", *PAID, "--dry-run").stderr
        assert f"{file.absolute()} sets output = s3://{bucket}/x" in told

    def test_a_dry_run_leaves_nothing_anywhere(self, s3: S3, bucket: str, own_home: Path) -> None:
        assert "nothing was generated" in run(f"s3://{bucket}", "--dry-run").stderr
        assert s3.names(bucket) == []
        assert remembered() == []
        assert {each.name for each in own_home.iterdir()} == {"t.jsonl", "holodeck-gen.toml"}

    def test_a_dry_run_finds_what_is_done(self, bucket: str) -> None:
        run(f"s3://{bucket}")
        assert "1 done before · 0 to do" in run(f"s3://{bucket}", "--dry-run").stderr

    def test_a_credential_in_an_address_is_neither_taken_nor_repeated(self, bucket: str) -> None:
        for output in ("s3://id:canary@b/x", "https://b.example/x?sig=canary"):
            text = run(output, code=BAD_INPUT).stderr
            assert "write the address without" in text
            assert "canary" not in text
        assert remembered() == []

    def test_another_store_may_have_the_address(self, s3: S3, bucket: str) -> None:
        """The options of a stage, and the address of the output."""
        configure(s3)
        text = Path("holodeck-gen.toml").read_text().replace("object]", "bucket]\nuse='object'")
        Path("holodeck-gen.toml").write_text(text)
        run(f"s3://{bucket}/x", "--store", "bucket")
        assert s3.names(bucket) == ["x/a.png"]
        more = ["--store", "bucket", "--set", "stages.bucket.url=s3://elsewhere"]
        text = run(f"s3://{bucket}/x", *more, code=BAD_INPUT).stderr
        assert "files go to one place" in text


class TestLater:
    """``status``, ``audit`` and ``collect`` by the address."""

    def test_by_the_address(self, s3: S3, bucket: str, provider: ScriptedProvider) -> None:
        address = f"s3://{bucket}/run"
        overdue(provider, address)
        assert "1 working" in invoke("status", f"{address}/").stdout
        assert invoke("audit", address, code=RESUMABLE).stdout.startswith("job · a · job job-0")
        assert s3.names(bucket) == []
        assert invoke("collect", address).stdout == f"{address}/a.png\n"
        assert s3.names(bucket) == ["run/a.png"]
        assert "1 done" in invoke("status", address).stdout
        assert provider.created.total() == 1

    def test_without_the_address(self, bucket: str, provider: ScriptedProvider) -> None:
        run(f"s3://{bucket}/finished")
        assert "nothing is unfinished" in invoke("status").stderr
        tasks("b")
        overdue(provider, f"s3://{bucket}/left")
        assert invoke("status").stdout.startswith(f"s3://{bucket}/left: 1 working")
        invoke("collect")
        assert "nothing is unfinished" in invoke("status").stderr

    def test_an_address_of_which_nothing_is_known(self, bucket: str) -> None:
        for command in ("status", "audit", "collect"):
            text = invoke(command, f"s3://{bucket}/never", code=BAD_INPUT).stderr
            assert "nothing was run there; if it was run with --journal FOLDER" in text
        assert remembered() == []

    def test_a_store_of_the_command_line_is_that_of_what_is_collected(
        self, s3: S3, bucket: str, provider: ScriptedProvider
    ) -> None:
        options = [f"--set=stages.object.url=s3://{bucket}/x"]
        overdue(provider, "out", "--store", "object", *options)
        text = invoke("collect", "out", code=BAD_INPUT).stderr
        assert f"the store 'object' (s3://{bucket}/x/ at {s3.url}), which cannot be made" in text
        assert "needs 'url'" in text
        assert invoke("collect", "out", *options).stdout == f"s3://{bucket}/x/a.png\n"
        assert list(Path("out").glob("*.png")) == []

    def test_a_named_store_is_found_again(
        self, s3: S3, bucket: str, provider: ScriptedProvider
    ) -> None:
        """Also where the configuration names another one by now."""
        configure(s3, url=f"s3://{bucket}/x")
        overdue(provider, "out", "--store", "object")
        text = Path("holodeck-gen.toml").read_text()
        Path("holodeck-gen.toml").write_text(f'store = "local"\n{text}')
        invoke("collect", "out")
        assert s3.names(bucket) == ["x/a.png"]

    def test_another_place_is_not_taken_for_the_store(
        self, s3: S3, bucket: str, provider: ScriptedProvider
    ) -> None:
        overdue(provider, f"s3://{bucket}")
        Path("holodeck-gen.toml").unlink()
        other = [f"--set=stages.object.{key}={value}" for key, value in KEYS.items()]
        text = invoke("collect", f"s3://{bucket}", *other, code=BAD_INPUT).stderr
        assert f"kept its files in s3://{bucket}/ at {s3.url}, and this store is s3://" in text
        assert "an-id" not in text

    def test_files_may_be_collected_elsewhere(
        self, s3: S3, bucket: str, provider: ScriptedProvider
    ) -> None:
        overdue(provider, f"s3://{bucket}")
        more = ["--store", "local", "--set", "stages.local.folder=here"]
        invoke("collect", f"s3://{bucket}", *more)
        assert [each.name for each in Path("here").iterdir()] == ["a.png"]
        assert s3.names(bucket) == []

    def test_a_store_that_moved_is_told(self, s3: S3, bucket: str) -> None:
        configure(s3, url=f"s3://{bucket}/x")
        run("out", "--store", "object")
        tasks("a", "b")
        more = ["--set", f"stages.object.url=s3://{bucket}/y"]
        assert "changed since the last run: store" in run("out", "--store", "object", *more).stderr
        assert s3.names(bucket) == ["x/a.png", "y/b.png"]


class TestCheck:
    """Nothing is paid for where nothing could be stored."""

    def test_a_bucket_that_is_not_there(self, s3: S3, bucket: str, provider: Any) -> None:
        text = run("s3://no-such-bucket/x", code=BAD_INPUT).stderr
        assert (
            f"s3://no-such-bucket/x/ at {s3.url} cannot be written; nothing was submitted" in text
        )
        assert text.endswith("NoSuchBucket: The specified bucket does not exist\n")
        assert provider.created.total() == 0
        assert remembered() == []
        invoke("generate", "a door", *PAID, "-o", "s3://no-such-bucket/a.png", code=BAD_INPUT)
        assert provider.created.total() == 0
        assert remembered() == []

    def test_what_is_paid_for_is_not_lost_with_the_bucket(
        self, s3: S3, bucket: str, provider: ScriptedProvider
    ) -> None:
        """A run says how it is fetched, and collecting keeps it in the spool."""
        overdue(provider, f"s3://{bucket}")
        _remove(s3, bucket)
        text = run(f"s3://{bucket}", code=BAD_INPUT).stderr
        (folder,) = remembered()
        assert (
            f"can be fetched meanwhile, as far as the spool: 'holodeck-gen collect {folder}'"
            in text
        )
        text = invoke("collect", folder, code=3).stderr
        assert "NoSuchBucket" in text
        (raw,) = (folder / ".spool").iterdir()
        assert raw.read_bytes() == PNG
        s3.make(bucket)
        assert "1 done" in run(f"s3://{bucket}").stderr
        assert s3.names(bucket) == ["a.png"]
        assert provider.created.total() == 1


def _remove(s3: S3, bucket: str) -> None:
    import urllib.request

    request = urllib.request.Request(f"{s3.url}/{bucket}", method="DELETE")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 204
