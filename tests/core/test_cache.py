"""Raw files of earlier generations, in place of a second payment."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import holodeck_gen as hg
from helpers import collect, failure_of, no_plugins, result_of
from holodeck_gen._journal.audit import status
from holodeck_gen._journal.journal import Plan
from holodeck_gen._journal.spool import RawFile
from holodeck_gen._results.cache import Cache
from holodeck_gen._scripted import PNG, Script
from holodeck_gen.errors import ConfigError, ContentRejectedError, ProcessingError
from holodeck_gen.testing import ScriptedProvider, run_virtual
from runs import CAT, DOG, Runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holodeck_gen._model.values import JsonObject

SEEDED = attrs.evolve(CAT, seed=7)
PLAN = Plan(
    provider="p", account="a", per_job=1, requests=({"prompt": "a cat"},), seed_effective=True
)


@attrs.define
class Two:
    """Two folders that share a cache."""

    first: Runs
    second: Runs
    cache: Path

    @property
    def jobs(self) -> int:
        return self.first.jobs

    def run(self, runs: Runs, *tasks: hg.Task | str, **arguments: Any) -> list[hg.Outcome]:
        return list(runs.run(*tasks, **{"cache": self.cache, **arguments}).values())


@pytest.fixture
def two(tmp_path: Path) -> Two:
    provider = ScriptedProvider()
    return Two(
        Runs(tmp_path / "one", provider), Runs(tmp_path / "two", provider), tmp_path / "cache"
    )


def fail(_file: Path, _task: hg.Task) -> Path:
    raise ProcessingError("the disk is upside down", stage="fail")


class TestRuns:
    def test_the_same_request_is_paid_once(self, two: Two) -> None:
        (first,) = two.run(two.first, SEEDED)
        (second,) = two.run(two.second, SEEDED)
        assert two.jobs == 1
        assert not result_of(second).resumed
        assert (result_of(second).attempts, result_of(second).job_ids) == (0, ())
        assert result_of(second).artifacts == result_of(first).artifacts

    def test_without_a_cache_it_is_paid_twice(self, two: Two) -> None:
        two.run(two.first, SEEDED, cache=None)
        two.run(two.second, SEEDED, cache=None)
        assert two.jobs == 2
        assert not two.cache.exists()

    def test_without_a_seed_nothing_is_reproducible(self, two: Two) -> None:
        two.run(two.first, CAT)
        two.run(two.second, CAT)
        assert two.jobs == 2
        assert not two.cache.exists()

    def test_a_seed_without_effect_makes_nothing_reproducible(self, two: Two) -> None:
        class Deaf(ScriptedProvider):
            def prepare(self, task: hg.Task) -> hg.Prepared:
                return attrs.evolve(ScriptedProvider.prepare(self, task), seed_effective=False)

        two.first.provider = two.second.provider = Deaf()
        two.run(two.first, SEEDED)
        two.run(two.second, SEEDED)
        assert two.jobs == 2

    def test_any_earlier_picture_is_good_enough_where_the_user_says_so(self, two: Two) -> None:
        two.run(two.first, CAT, cache_reuse="any")
        two.run(two.second, CAT, cache_reuse="any")
        assert two.jobs == 1

    def test_of_several_pictures_only_the_missing_are_made(self, two: Two) -> None:
        two.run(two.first, attrs.evolve(SEEDED, n=2))
        (outcome,) = two.run(two.second, attrs.evolve(SEEDED, n=3))
        assert two.jobs == 3
        assert [each.seed for each in result_of(outcome).artifacts] == [7, 8, 9]

    def test_the_id_is_no_part_of_the_request(self, two: Two) -> None:
        two.run(two.first, SEEDED)
        two.run(two.second, attrs.evolve(SEEDED, id="tom", metadata={"a": 1}, priority=3))
        assert two.jobs == 1

    def test_what_failed_is_not_kept(self, two: Two) -> None:
        two.first.provider.scripts = {"a cat": Script(error=ContentRejectedError("not this"))}
        two.run(two.first, SEEDED)
        two.first.provider.scripts = {}
        assert two.run(two.second, SEEDED)[0].ok
        assert two.jobs == 2

    def test_a_resumed_task_needs_no_cache(self, two: Two) -> None:
        two.run(two.first, SEEDED)
        (again,) = two.run(two.first, SEEDED, cache=two.cache.with_name("empty"))
        assert result_of(again).resumed
        assert two.jobs == 1

    def test_an_uncertain_task_is_not_settled_by_the_cache(self, two: Two) -> None:
        """There may be a bill for it: somebody is to know."""
        two.first.provider.scripts = {"a cat": Script(submits=["lose"])}
        two.run(two.first, SEEDED)
        two.first.provider.scripts = {}
        two.run(two.second, SEEDED)
        (held,) = two.run(two.first, SEEDED)
        assert failure_of(held).state == "held"
        (done,) = two.run(two.first, SEEDED, retry_uncertain=True)
        assert done.ok
        assert two.jobs == 2

    def test_a_failing_stage_costs_no_cached_file(self, two: Two) -> None:
        two.run(two.first, SEEDED)
        assert not two.run(two.second, SEEDED, process=[fail])[0].ok
        assert not two.run(two.second, SEEDED, process=[fail])[0].ok
        assert two.run(two.second, SEEDED)[0].ok
        assert two.jobs == 1
        assert not (two.second.folder / ".spool").exists()

    @pytest.mark.parametrize("after_s", [0, 1e-7])
    def test_a_kill_while_a_file_comes_from_the_cache(self, two: Two, after_s: float) -> None:
        two.run(two.first, SEEDED)
        two.second.killed(SEEDED, DOG, after_s=after_s, cache=two.cache)
        assert all(each.ok for each in two.run(two.second, SEEDED, DOG))
        assert two.jobs == 2

    def test_two_runs_at_once_fill_one_cache(self, two: Two) -> None:
        tasks = [hg.Task(f"cat {i}", id=f"cat{i}", seed=i) for i in range(6)]

        async def main() -> tuple[list[hg.Outcome], list[hg.Outcome]]:
            async with (
                two.first.opened(cache=two.cache) as one,
                two.second.opened(cache=two.cache) as other,
            ):
                return await asyncio.gather(collect(one.map(tasks)), collect(other.map(tasks)))

        found = run_virtual(main())
        assert all(outcome.ok for outcomes in found for outcome in outcomes)
        assert two.jobs == 12
        third = Runs(two.first.folder.with_name("three"), two.first.provider)
        assert all(each.ok for each in two.run(third, *tasks))
        assert two.jobs == 12
        assert not list(two.cache.rglob("*.part"))

    def test_what_the_cache_gives_is_told_by_the_journal(self, two: Two) -> None:
        two.run(two.first, SEEDED)
        two.run(two.second, SEEDED)
        assert status(two.second.journal).tasks["done"] == 1
        (again,) = two.run(two.second, SEEDED)
        assert result_of(again).resumed


class TestDamage:
    """The cache is never the reason that a run fails, nor that it gives something else."""

    @pytest.fixture
    def filled(self, two: Two) -> Two:
        two.run(two.first, SEEDED)
        return two

    def entry(self, two: Two) -> Path:
        (entry,) = (two.cache / "entries").rglob("*.json")
        return entry

    def kept(self, two: Two) -> Path:
        (kept,) = [each for each in (two.cache / "objects").rglob("*") if each.is_file()]
        return kept

    def made_again(self, two: Two) -> None:
        """It is paid for again, and the cache is whole afterwards."""
        (outcome,) = two.run(two.second, SEEDED)
        assert outcome.ok
        assert two.jobs == 2
        third = Runs(two.first.folder.with_name("three"), two.first.provider)
        assert two.run(third, SEEDED)[0].ok
        assert two.jobs == 2

    def test_an_entry_that_is_gone(self, filled: Two) -> None:
        self.entry(filled).unlink()
        self.made_again(filled)

    @pytest.mark.parametrize(
        "text",
        [b"", b"{", b"[]", b"null", b"\xff", b'{"version": 1}', b'{"version": 1, "files": [{}]}'],
    )
    def test_an_entry_that_is_none(self, filled: Two, text: bytes) -> None:
        self.entry(filled).write_bytes(text)
        self.made_again(filled)

    def test_an_entry_of_another_version(self, filled: Two) -> None:
        value = json.loads(self.entry(filled).read_text())
        self.entry(filled).write_text(json.dumps({**value, "version": 2}))
        self.made_again(filled)

    @pytest.mark.parametrize("relative", [True, False])
    def test_an_entry_that_leads_elsewhere(
        self, filled: Two, tmp_path: Path, relative: bool
    ) -> None:
        """Nothing outside is read, copied or, as a damaged file of ours would be, removed."""
        secret = tmp_path / "secret"
        secret.write_text("keep me")
        value = json.loads(self.entry(filled).read_text())
        value["files"][0]["path"] = "../../../secret" if relative else str(secret)
        self.entry(filled).write_text(json.dumps(value))
        self.made_again(filled)
        assert secret.read_text() == "keep me"

    def test_an_object_that_is_gone(self, filled: Two) -> None:
        self.kept(filled).unlink()
        self.made_again(filled)

    def test_an_object_that_has_changed(self, filled: Two) -> None:
        self.kept(filled).write_bytes(PNG[:-1] + b"\0")
        self.made_again(filled)

    def test_a_folder_that_is_deleted_at_any_time(self, filled: Two) -> None:
        shutil.rmtree(filled.cache)
        self.made_again(filled)

    def test_a_folder_that_cannot_be_made(self, two: Two) -> None:
        two.cache.write_text("a file")
        (outcome,) = two.run(two.first, SEEDED)
        assert outcome.ok
        assert two.cache.read_text() == "a file"


class TestInputs:
    def requests(self, two: Two, *inputs: Sequence[str | hg.Artifact]) -> int:
        """Jobs for tasks that differ only in their inputs, each in a folder of its own."""
        before = two.jobs
        for i, each in enumerate(inputs):
            runs = Runs(two.first.folder.with_name(f"{before}-{i}"), two.first.provider)
            assert two.run(runs, attrs.evolve(SEEDED, inputs=each))[0].ok
        return two.jobs - before

    def test_the_content_counts_where_it_is_at_hand(self, two: Two, tmp_path: Path) -> None:
        one, copy = tmp_path / "a.png", tmp_path / "b.png"
        one.write_bytes(b"content")
        copy.write_bytes(b"content")
        assert self.requests(two, [str(one)], [str(copy)]) == 1
        one.write_bytes(b"other content")
        assert self.requests(two, [str(one)], [str(copy)]) == 1
        artifact = hg.Artifact(path=copy, media_type="image/png", sha256="ab" * 32, size_bytes=1)
        assert self.requests(two, [artifact], [attrs.evolve(artifact, path=one)]) == 1

    def test_addresses_are_what_they_say(self, two: Two) -> None:
        assert self.requests(two, ["https://a.com/x"], ["https://a.com/y"], []) == 3

    def test_their_order_counts(self, two: Two) -> None:
        assert self.requests(two, ["https://a.com/x", "https://a.com/y"]) == 1
        assert self.requests(two, ["https://a.com/y", "https://a.com/x"]) == 1


class TestConfig:
    def studio(self, two: Two, runs: Runs, *, task: hg.Task = SEEDED, **config: Any) -> hg.Outcome:
        async def main() -> hg.Outcome:
            async with hg.AsyncStudio(
                two.first.provider,
                store=runs.store,
                output=runs.folder,
                config=hg.Config.of(config, environ={}),
                registry=no_plugins(),
            ) as studio:
                return await studio.submit(task).outcome()

        return run_virtual(main())

    def test_it_is_off_unless_it_is_chosen(self, two: Two) -> None:
        for runs in (two.first, two.second):
            assert self.studio(two, runs).ok
        assert two.jobs == 2

    def test_a_folder_in_the_configuration(self, two: Two) -> None:
        for runs in (two.first, two.second):
            assert self.studio(two, runs, cache=str(two.cache)).ok
        assert two.jobs == 1

    def test_any_in_the_configuration(self, two: Two) -> None:
        for runs in (two.first, two.second):
            assert self.studio(two, runs, task=CAT, cache=str(two.cache), cache_reuse="any").ok
        assert two.jobs == 1

    def test_another_word_is_refused(self, two: Two) -> None:
        with pytest.raises(ConfigError, match="cache_reuse"):
            self.studio(two, two.first, cache=str(two.cache), cache_reuse="sometimes")


class TestKey:
    """The fingerprint: everything that changes the files, and nothing else."""

    def key(self, plan: Plan = PLAN, task: hg.Task = SEEDED, **request: Any) -> str | None:
        return Cache(folder=Path("unused")).key(plan, task, request)

    def test_what_it_depends_on(self) -> None:
        keys = [
            self.key(),
            self.key(attrs.evolve(PLAN, provider="q")),
            self.key(attrs.evolve(PLAN, model="m")),
            self.key(task=attrs.evolve(SEEDED, kind="model3d")),
            self.key(task=attrs.evolve(SEEDED, n=2)),
            self.key(prompt="a cat"),
            self.key(task=attrs.evolve(SEEDED, inputs=["https://a.com/x"])),
        ]
        assert None not in keys
        assert len(set(keys)) == len(keys)

    def test_what_it_does_not_depend_on(self) -> None:
        assert self.key(attrs.evolve(PLAN, account="b", warnings=("w",))) == self.key()
        assert self.key(task=attrs.evolve(SEEDED, id="x", output="o", priority=1)) == self.key()
        assert self.key(a=1, b=2) == self.key(b=2, a=1)

    @given(
        st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=3),
        st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=3),
    )
    def test_keys_are_equal_where_requests_are(self, one: JsonObject, other: JsonObject) -> None:
        cache = Cache(folder=Path("unused"))
        keys = cache.key(PLAN, SEEDED, one), cache.key(PLAN, SEEDED, other)
        assert (keys[0] == keys[1]) == (one == other)


def _fill(folder: Path, number: int, rounds: int) -> None:
    """Put and get one key again and again, as another process does at the same time."""
    cache = Cache(folder=folder / "cache")
    spool = folder / f"spool{number}"
    raw = spool / "raw"
    spool.mkdir()
    raw.write_bytes(b"x" * 100_000)
    for i in range(rounds):
        cache.put("ab" * 32, [RawFile(path=raw, metadata={})])
        found = cache.get("ab" * 32, spool=spool, name=f"out{i}")
        assert found is not None
        assert found[0].path.read_bytes() == raw.read_bytes()


def test_two_processes_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=_fill, args=(tmp_path, i, 30)) for i in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join(60)
    assert [each.exitcode for each in both] == [0, 0]
    assert not list((tmp_path / "cache").rglob("*.part"))
