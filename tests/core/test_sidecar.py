"""The file beside a picture that tells how it was made."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from click.testing import CliRunner
from PIL import Image

import holodeck_gen as hg
from helpers import FakeStore, collect, failure_of, result_of
from holodeck_gen._cli._app import cli
from holodeck_gen._collect import Collector
from holodeck_gen._journal.audit import audit
from holodeck_gen._model.identity import digest
from holodeck_gen._results.sidecar import SidecarFile, SidecarJob, SidecarParent, SidecarStages
from holodeck_gen.errors import ConfigError, ContentRejectedError
from holodeck_gen.testing import PNG, Script, ScriptedProvider, run_virtual
from runs import CAT, DOG, Runs

if TYPE_CHECKING:
    from collections.abc import Sequence

YUAN = hg.Cost(amount="0.2", currency="CNY")
SHA256 = hashlib.sha256(PNG).hexdigest()


@attrs.define
class Store(FakeStore):
    """Takes equal bytes again, as the protocol says; remembers everything that was put.

    Attributes:
        stops: A suffix: what ends so is kept, and the answer never comes.
        refuses: A suffix: what ends so is not kept.
    """

    puts: list[tuple[str, bytes]] = attrs.field(factory=list)
    stops: str | None = None
    refuses: str | None = None

    async def put(self, file: Path, name: str) -> str:
        data = await asyncio.to_thread(file.read_bytes)
        self.puts.append((name, data))
        if self.refuses and name.endswith(self.refuses):
            raise OSError("it is upside down")
        if self.files.setdefault(name, data) != data:
            raise FileExistsError(name)
        if self.stops and name.endswith(self.stops):
            await asyncio.Event().wait()
        return f"https://bucket.example/{name}?signature=abc"


@attrs.define(kw_only=True)
class Priced(ScriptedProvider):
    """Tells its requests' ids, a model, and what it did with the words."""

    price: hg.Cost | None = YUAN

    def prepare(self, task: hg.Task) -> hg.Prepared:
        prepared = ScriptedProvider.prepare(self, attrs.evolve(task, provider_options={}))
        return attrs.evolve(prepared, model="fine-1", warnings=("no styles",))

    async def submit(self, request: hg.JsonObject, *, key: str) -> hg.JobRef | hg.JobStatus:
        answer = await ScriptedProvider.submit(self, request, key=key)
        return attrs.evolve(answer, request_id=f"submit-{key[-1]}")

    async def poll(self, job: hg.JobRef) -> hg.JobStatus:
        status = await ScriptedProvider.poll(self, job)
        if not status.final:
            return status
        url = "https://results.example/1.png?sign=abc"
        metadata = {"keywords": ["cat"], "page": f"see {url}"}
        outputs = [
            attrs.evolve(each, revised_prompt="one cat", metadata=metadata)
            for each in status.outputs
            if isinstance(each, hg.Bytes)
        ]
        return attrs.evolve(status, outputs=outputs, request_id="poll-7")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def runs(tmp_path: Path, store: Store) -> Runs:
    return Runs(tmp_path / "out", Priced(), store)


def told(runs: Runs, name: str) -> hg.Sidecar:
    return hg.Sidecar.loads(runs.store.files[name])


def names(runs: Runs) -> list[str]:
    return sorted(runs.store.files)


def upper(file: Path, _task: hg.Task) -> Sequence[Path]:
    """A second file beside the picture."""
    small = file.with_name(f"{file.stem}-small.png")
    small.write_bytes(file.read_bytes())
    return [file, small]


def noting(file: Path, _task: hg.Task) -> Sequence[Path]:
    """A note of its own, under the picture's name."""
    note = file.with_suffix(".json")
    note.write_text("{}")
    return [file, note]


class Louder:
    name = "louder"

    async def rewrite(self, task: hg.Task) -> hg.Task:
        return attrs.evolve(task, prompt=task.prompt.upper(), negative_prompt="noise")


class Quieter(Louder):
    name = "quieter"


class TestContent:
    def test_it_tells_all_of_one_picture(self, runs: Runs) -> None:
        runs.provider.default = Script(cost=YUAN)
        task = hg.Task("a cat", id="cat", n=2, seed=5, style="ink", metadata={"shelf": 3})
        runs.run(task, sidecar=True, rewrite=[Louder()], process=[upper])
        assert names(runs) == [
            *("cat-1-small.png", "cat-1.json", "cat-1.png"),
            *("cat-2-small.png", "cat-2.json", "cat-2.png"),
        ]
        second = told(runs, "cat-2.json")
        assert second.task == {
            "prompt": "a cat",
            "id": "cat",
            "seed": 5,
            "n": 2,
            "style": "ink",
            "metadata": {"shelf": 3},
        }
        assert (second.key, second.number) == ("cat", 2)
        assert (second.prompt, second.negative_prompt) == ("A CAT", "noise")
        assert second.revised_prompt == "one cat"
        assert (second.provider, second.account) == ("scripted", "scripted:test")
        assert (second.model, second.warnings) == ("fine-1", ("no styles",))
        assert (second.seed, second.seed_effective) == (6, True)
        assert second.job.id in runs.provider.jobs
        assert second.job.request_ids == ("submit-1", "poll-7")
        assert (second.job.pictures, second.job.reused) == (1, False)
        assert (second.job.cost, second.job.price) == (YUAN, YUAN)
        assert (second.stages.rewrite, second.stages.process) == (("louder",), ("upper",))
        assert second.raw.sha256 == SHA256
        big, small = second.files
        assert (big.name, small.name) == ("cat-2.png", "cat-2-small.png")
        assert (big.media_type, big.width, big.height) == ("image/png", 1, 1)
        assert big.sha256 == hashlib.sha256(runs.store.files["cat-2.png"]).hexdigest()
        assert big.size_bytes == len(PNG)
        assert second.metadata["keywords"] == ("cat",)
        assert second.version == hg.__version__

    def test_its_times_are_those_of_the_job(self, runs: Runs) -> None:
        async def main() -> None:
            async with runs.opened(sidecar=True) as studio:
                # What the machine's clock says when it is over, in a job of 10 virtual seconds.
                studio._work.engine.parts.wall_clock = lambda: 1_000_000_000.0
                await studio.generate(CAT)

        run_virtual(main())
        job = told(runs, "cat.json").job
        assert job.ended_at == "2001-09-09T01:46:40.000Z"
        assert job.submitted_at is not None
        assert "2001-09-09T01:46:2" <= job.submitted_at <= "2001-09-09T01:46:30.000Z"

    def test_a_service_that_answers_at_once_has_no_job_and_times_all_the_same(
        self, runs: Runs
    ) -> None:
        runs.provider.direct = True
        runs.run(CAT, sidecar=True)
        job = told(runs, "cat.json").job
        assert job.id is None
        assert job.submitted_at is not None
        assert job.ended_at is not None
        assert job.submitted_at < job.ended_at

    def test_a_seed_that_nobody_gave_has_no_effect(self, runs: Runs) -> None:
        runs.run(CAT, sidecar=True)
        assert (told(runs, "cat.json").seed, told(runs, "cat.json").seed_effective) == (None, False)

    def test_no_secret_and_no_signature_is_in_it(self, runs: Runs) -> None:
        task = hg.Task(
            "a cat",
            id="cat",
            inputs=["https://user:word@pictures.example/1.png?sign=abc"],
            provider_options={"api_key": "canary", "callback": "https://x.example/?token=abc"},
            metadata={"from": ["https://x.example/a?token=abc"], "keywords": "red"},
        )
        runs.run(task, sidecar=True)
        text = runs.store.files["cat.json"].decode()
        for secret in ("canary", "abc", "user", "word@", "sign="):
            assert secret not in text
        sidecar = told(runs, "cat.json")
        assert sidecar.parents[0].uri == "https://…@pictures.example/1.png"
        assert sidecar.task["metadata"] == {"from": ("https://x.example/a",), "keywords": "red"}
        assert sidecar.metadata["page"] == "see https://results.example/1.png"

    def test_it_reads_as_it_was_written(self, runs: Runs) -> None:
        runs.run(attrs.evolve(CAT, prompt='猫 "x"\n', inputs=["a.png"]), sidecar=True)
        text = runs.store.files["cat.json"].decode()
        assert hg.Sidecar.loads(text).dumps() == text
        assert "猫" in text

    def test_what_a_later_release_adds_is_ignored(self, runs: Runs) -> None:
        runs.run(CAT, sidecar=True)
        value = json.loads(runs.store.files["cat.json"])
        later = {**value, "new": 1, "job": {**value["job"], "new": 1}}
        assert hg.Sidecar.loads(json.dumps(later)) == told(runs, "cat.json")

    @pytest.mark.parametrize("text", ["[]", "{", "{}", '{"sidecar": 2}', '{"sidecar": 1}'])
    def test_what_is_no_sidecar_is_not_taken_for_one(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"sidecar|Expecting"):
            hg.Sidecar.loads(text)


class TestParents:
    def test_a_file_an_artifact_and_an_address(self, runs: Runs, tmp_path: Path) -> None:
        file = tmp_path / "door.png"
        file.write_bytes(b"a door")
        sha256 = hashlib.sha256(b"a door").hexdigest()
        artifact = hg.Artifact(
            uri="s3://b/door.png", media_type="image/png", sha256="ab" * 32, size_bytes=3
        )
        inputs: list[str | hg.Artifact | Path] = [
            file,
            artifact,
            "https://x.example/door.png?sign=1",
            "gone.png",
            "data:,abc",
        ]
        runs.run(attrs.evolve(CAT, inputs=inputs), sidecar=True)
        sidecar = told(runs, "cat.json")
        assert [(each.path, each.uri, each.sha256) for each in sidecar.parents] == [
            (str(file), None, sha256),
            (None, "s3://b/door.png", "ab" * 32),
            (None, "https://x.example/door.png", None),
            ("gone.png", None, None),
            (None, "data:", None),
        ]
        assert "inputs" not in sidecar.task

    def test_a_file_counts_as_it_was_when_it_was_sent(self, runs: Runs, tmp_path: Path) -> None:
        file = tmp_path / "door.png"
        file.write_bytes(b"a door")
        task = attrs.evolve(CAT, inputs=[file])
        runs.killed(task, after_s=5, sidecar=True)
        file.write_bytes(b"a window")
        runs.run(task, sidecar=True)
        (parent,) = told(runs, "cat.json").parents
        assert parent.sha256 == hashlib.sha256(b"a door").hexdigest()

    def test_what_lies_beside_an_input_makes_no_other_task(self, runs: Runs) -> None:
        with_it = result_of(runs.run(CAT, sidecar=True)["cat"]).artifact
        without = attrs.evolve(with_it, sidecar=None)
        tasks = [hg.Task("a model", inputs=[each]) for each in (with_it, without)]
        assert digest(tasks[0]) == digest(tasks[1])


class TestPlace:
    def test_none_is_made_unless_it_is_wanted(self, runs: Runs) -> None:
        result = result_of(runs.run(CAT)["cat"])
        assert names(runs) == ["cat.png"]
        assert result.artifact.sidecar is None

    def test_the_result_tells_where_it_is_and_still_has_one_artifact(self, tmp_path: Path) -> None:
        provider = hg.DirectProvider("fixed", _png, billing="free")
        result = hg.generate("a cat", provider=provider, output=tmp_path / "cat.png", sidecar=True)
        sidecar = result.artifact.sidecar
        assert result.path == tmp_path / "cat.png"
        assert sidecar is not None
        assert sidecar.path == tmp_path / "cat.json"
        assert sidecar.media_type == "application/json"
        assert sidecar.sha256 == hashlib.sha256(sidecar.read_bytes()).hexdigest()
        assert hg.Sidecar.loads(sidecar.read_bytes()).files[0].name == "cat.png"

    def test_only_the_picture_has_it_of_several_files(self, runs: Runs) -> None:
        result = result_of(runs.run(CAT, sidecar=True, process=[upper])["cat"])
        assert [bool(each.sidecar) for each in result.artifacts] == [True, False]

    def test_a_processors_file_keeps_the_name(self, runs: Runs) -> None:
        result = result_of(runs.run(CAT, sidecar=True, process=[noting])["cat"])
        assert names(runs) == ["cat.json", "cat.png", "cat~2.json"]
        assert runs.store.files["cat.json"] == b"{}"
        assert told(runs, "cat~2.json").files[1].name == "cat.json"
        sidecar = result.artifacts[0].sidecar
        assert sidecar is not None
        assert sidecar.uri is not None
        assert "cat~2.json" in sidecar.uri

    def test_a_strangers_file_is_left_alone(self, runs: Runs) -> None:
        runs.store.files["cat.json"] = b"a stranger's"
        runs.store.files["dog.png"] = b"a stranger's"
        runs.run(CAT, DOG, sidecar=True)
        assert runs.store.files["cat.json"] == b"a stranger's"
        assert told(runs, "cat~2.json").key == "cat"
        # It stands beside its picture.
        assert told(runs, "dog~2.json").files[0].name == "dog~2.png"

    def test_a_tasks_own_name_is_not_taken_away(self, runs: Runs) -> None:
        """One task's picture is called as the other's sidecar would be."""
        odd = hg.Task("a dog", id="dog", output="CAT.json")
        runs.run(CAT, odd, sidecar=True, concurrency=1)
        assert names(runs) == ["CAT.json.json", "CAT.json.png", "cat.json", "cat.png"]
        assert told(runs, "CAT.json.json").key == "dog"

    def test_pictures_that_differ_in_their_suffix_alone_have_one_each(self, runs: Runs) -> None:
        def another(file: Path, task: hg.Task) -> Path:
            if task.id == "dog":
                Image.open(file).save(file, "GIF")
            return file

        dog = attrs.evolve(DOG, output="cat")
        runs.run(CAT, dog, sidecar=True, process=[another], concurrency=1)
        assert names(runs) == ["cat.gif", "cat.json", "cat.png", "cat~2.json"]
        assert {told(runs, name).key for name in ("cat.json", "cat~2.json")} == {"cat", "dog"}


class TestKilled:
    @pytest.mark.parametrize("direct", [False, True])
    @pytest.mark.parametrize("last", [".png", ".json"])
    def test_a_stored_picture_gets_the_one_sidecar(
        self, runs: Runs, store: Store, last: str, direct: bool
    ) -> None:
        """Killed after the store has it and before the journal knows."""
        runs.provider.direct = direct
        store.stops = last
        runs.killed(CAT, after_s=60, sidecar=True)
        assert names(runs) == (["cat.png"] if last == ".png" else ["cat.json", "cat.png"])
        store.stops = None
        result = result_of(runs.run(CAT, sidecar=True)["cat"])
        assert names(runs) == ["cat.json", "cat.png"]
        assert result.artifact.sidecar is not None
        assert result.artifact.sidecar.sha256 == _sha256(runs.store.files["cat.json"])
        tries = [data for name, data in store.puts if name == "cat.json"]
        assert len(tries) == (1 if last == ".png" else 2)
        assert len(set(tries)) == 1
        assert runs.jobs == 1

    @pytest.mark.parametrize("after_s", [5, 12])
    def test_a_job_of_an_earlier_run_is_told_of(self, runs: Runs, after_s: float) -> None:
        runs.killed(CAT, after_s=after_s, sidecar=True)
        runs.run(CAT, sidecar=True)
        job = told(runs, "cat.json").job
        assert job.id == "job-0"
        assert job.request_ids == ("submit-0", "poll-7")
        assert job.submitted_at is not None

    def test_whoever_asks_only_now_gets_what_is_known(self, runs: Runs, store: Store) -> None:
        store.stops = ".png"
        runs.killed(CAT, after_s=60)
        store.stops = None
        runs.run(CAT, sidecar=True)
        job = told(runs, "cat.json").job
        assert (job.id, job.request_ids, job.ended_at) == ("job-0", ("submit-0",), None)
        assert job.submitted_at is not None

    def test_a_rewriter_of_an_earlier_run_is_named(self, runs: Runs) -> None:
        """The words are its words, whoever rewrites now."""
        runs.killed(CAT, DOG, after_s=5, sidecar=True, rewrite=[Louder()], concurrency=1)
        assert runs.jobs == 1
        runs.run(CAT, DOG, sidecar=True, rewrite=[Quieter()])
        assert told(runs, "cat.json").stages.rewrite == ("louder",)
        assert told(runs, "dog.json").stages.rewrite == ("louder",)

    def test_a_store_that_fails_costs_no_sidecar(self, runs: Runs, store: Store) -> None:
        store.refuses = ".json"
        failure = failure_of(runs.run(CAT, sidecar=True)["cat"])
        assert "cat.json could not be stored" in str(failure.error)
        store.refuses = None
        assert result_of(runs.run(CAT, sidecar=True)["cat"]).artifact.sidecar is not None
        assert names(runs) == ["cat.json", "cat.png"]
        assert runs.jobs == 1

    def test_what_is_done_is_left_as_it_is(self, runs: Runs) -> None:
        runs.run(CAT)
        result = result_of(runs.run(CAT, sidecar=True)["cat"])
        assert (result.resumed, result.artifact.sidecar) == (True, None)
        assert names(runs) == ["cat.png"]

    def test_a_resumed_result_tells_where_it_is(self, runs: Runs) -> None:
        before = result_of(runs.run(CAT, sidecar=True)["cat"])
        assert result_of(runs.run(CAT, sidecar=True)["cat"]).artifacts == before.artifacts


class TestOtherWays:
    def test_what_a_job_made_of_several_has_one(self, runs: Runs) -> None:
        runs.provider.per_job = 2
        runs.provider.scripts = {"a cat": Script(cost=YUAN)}
        runs.run(attrs.evolve(CAT, n=2, seed=1), sidecar=True)
        first, second = told(runs, "cat-1.json"), told(runs, "cat-2.json")
        assert first.job == second.job
        assert (first.job.pictures, first.job.cost) == (2, YUAN)
        assert (first.number, second.number) == (1, 2)

    def test_what_exists_of_a_failure_has_one(self, runs: Runs) -> None:
        class Moody(Priced):
            def prepare(self, task: hg.Task) -> hg.Prepared:
                prepared = Priced.prepare(self, task)
                prompt = "bad" if task.seed == 2 else task.prompt
                return attrs.evolve(prepared, request={**prepared.request, "prompt": prompt})

        runs.provider = Moody(scripts={"bad": Script(error=ContentRejectedError("no"))})
        failure = failure_of(runs.run(attrs.evolve(CAT, n=2, seed=1), sidecar=True)["cat"])
        assert [bool(each.sidecar) for each in failure.artifacts] == [True]
        assert names(runs) == ["cat-1.json", "cat-1.png"]

    def test_a_picture_that_is_had_later_has_one_of_the_same_job(self, runs: Runs) -> None:
        broken = {1}

        class Shop(Priced):
            async def poll(self, job: hg.JobRef) -> hg.JobStatus:
                status = await Priced.poll(self, job)
                urls = [hg.Url(url=f"https://r.example/{i}") for i, _ in enumerate(status.outputs)]
                return attrs.evolve(status, outputs=urls)

            async def fetch(self, url: hg.Url) -> bytes:
                if int(url.url[-1]) in broken:
                    raise hg.errors.DownloadError("not now", stage="download")
                return PNG

        runs.provider = Shop(per_job=2)
        task = attrs.evolve(CAT, n=2)
        assert len(failure_of(runs.run(task, sidecar=True)["cat"]).artifacts) == 1
        broken.clear()
        result = result_of(runs.run(task, sidecar=True)["cat"])
        assert [bool(each.sidecar) for each in result.artifacts] == [True, True]
        assert names(runs) == ["cat-1.json", "cat-1.png", "cat-2.json", "cat-2.png"]
        assert told(runs, "cat-1.json").job == told(runs, "cat-2.json").job
        assert runs.jobs == 1

    def test_a_cached_picture_names_the_job_that_made_it(self, runs: Runs, tmp_path: Path) -> None:
        task = attrs.evolve(CAT, seed=1)
        again = attrs.evolve(task, id="again", metadata={"a": 1})
        for each in (task, again):
            runs.run(each, sidecar=True, cache=tmp_path / "cache")
        first, second = told(runs, "cat.json").job, told(runs, "again.json").job
        assert runs.jobs == 1
        assert (second.id, second.request_ids) == (first.id, first.request_ids)
        assert second.submitted_at == first.submitted_at
        assert (first.reused, second.reused) == (False, True)
        assert (first.price, second.price, second.cost) == (YUAN, None, None)

    def test_what_is_collected_has_one_where_its_run_wanted_one(self, runs: Runs) -> None:
        runs.killed(CAT, after_s=5, sidecar=True)

        async def main() -> list[hg.Outcome]:
            collector = Collector(
                journal=runs.journal,
                provider=[runs.provider],
                config=hg.Config.of({}, environ={}),
            )
            return await collect(collector.outcomes())

        (outcome,) = run_virtual(main())
        sidecar = result_of(outcome).artifact.sidecar
        assert sidecar is not None
        assert sidecar.path == runs.folder / "cat.json"
        assert hg.Sidecar.loads(sidecar.read_bytes()).job.id == "job-0"

    def test_what_is_attached_to_has_one_where_its_run_wanted_one(self, runs: Runs) -> None:
        runs.killed(CAT, after_s=5, sidecar=True)
        handle = hg.attach(
            "cat",
            journal=runs.folder,
            provider=runs.provider,
            config=hg.Config.of({}, environ={}),
        )
        assert result_of(run_virtual(handle.outcome_async())).artifact.sidecar is not None


class TestSettings:
    def test_a_change_is_told_and_an_older_journal_has_changed_nothing(self, runs: Runs) -> None:
        runs.run(CAT)
        assert result_of(runs.run(CAT, resume="always")["cat"]).resumed
        for sidecar in (True, False):
            with pytest.raises(ConfigError, match=r"settings have changed.*sidecar"):
                runs.run(CAT, resume="always", sidecar=sidecar)
            runs.run(CAT, sidecar=True)

    def test_it_is_true_or_false(self) -> None:
        with pytest.raises(ConfigError, match="sidecar"):
            hg.Studio("procedural", sidecar="yes")  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="sidecar must be true or false"):
            hg.Config.of({"sidecar": "perhaps"})

    def test_audit_misses_one_that_is_gone(self, tmp_path: Path) -> None:
        _invoke("run", _tasks(tmp_path), "-o", str(tmp_path / "out"), "--sidecar")
        moved = (tmp_path / "out").rename(tmp_path / "moved")
        journal = moved / "journal.sqlite3"
        assert list(audit(journal, now=0)) == []
        (moved / "door.json").unlink()
        (moved / "wall.json").write_text("{}")
        found = {each.path: each.problem for each in audit(journal, now=0)}
        assert found == {
            moved / "door.json": "it is gone",
            moved / "wall.json": "it has been changed",
        }

    def test_run_and_generate_take_the_option(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        _invoke("run", _tasks(tmp_path), "-o", str(out), "--sidecar")
        assert hg.Sidecar.loads((out / "door.json").read_bytes()).provider == "procedural"
        line = json.loads((out / "results.jsonl").read_text().splitlines()[0])
        assert line["artifacts"][0]["sidecar"]["path"].endswith(".json")
        picture = tmp_path / "a.png"
        printed = _invoke("generate", "a door", "-o", str(picture), "--sidecar")
        # What is printed is for programs that want the picture.
        assert printed == f"{picture}\n"
        assert (tmp_path / "a.json").exists()

    def test_the_command_line_wins_over_the_setting(self, tmp_path: Path, own_home: Path) -> None:
        (own_home / "holodeck-gen.toml").write_text("sidecar = true\n")
        _invoke("generate", "a door", "-o", str(tmp_path / "a.png"))
        _invoke("generate", "a door", "-o", str(tmp_path / "b.png"), "--no-sidecar")
        assert sorted(each.name for each in tmp_path.iterdir()) == ["a.json", "a.png", "b.png"]


class TestPage:
    """The reference page is about what is really written."""

    PAGE = (Path(__file__).parents[2] / "docs/reference/sidecar.md").read_text(encoding="utf-8")

    def test_its_example_is_a_sidecar_to_the_letter(self) -> None:
        (example,) = re.findall(r"```json\n(.*?)```", self.PAGE, re.DOTALL)
        assert hg.Sidecar.loads(example).dumps() == example

    @pytest.mark.parametrize(
        ("title", "of"),
        [
            ("## Fields", hg.Sidecar),
            ("### job", SidecarJob),
            ("### stages", SidecarStages),
            ("### raw and files", SidecarFile),
            ("### parents", SidecarParent),
        ],
    )
    def test_its_tables_name_every_field(self, title: str, of: type) -> None:
        section = self.PAGE.partition(f"\n{title}\n")[2].partition("\n#")[0]
        named = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
        assert named == [field.name for field in attrs.fields(of)]


async def _png(_request: hg.JsonObject) -> bytes:
    return PNG


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _tasks(folder: Path) -> str:
    file = folder / "tasks.jsonl"
    file.write_text('{"prompt": "a door", "id": "door"}\n{"prompt": "a wall", "id": "wall"}\n')
    return str(file)


def _invoke(*arguments: str) -> str:
    result = CliRunner().invoke(cli, [*arguments, "-p", "procedural", "--size", "32x32"])
    assert result.exit_code == 0, result.output
    return result.stdout
