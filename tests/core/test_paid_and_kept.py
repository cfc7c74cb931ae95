"""What is paid for is never called failed, thrown away or waited for without an end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

import holodeck_gen as hg
from helpers import collect, failure_of, no_plugins, opened, result_of
from holodeck_gen._gate.local import LocalGate
from holodeck_gen._journal.audit import status
from holodeck_gen._results.finish import _work_folder
from holodeck_gen.errors import (
    AuthError,
    ConfigError,
    JobFailedError,
    PausedError,
    SlotRefusedError,
    ThrottledError,
)
from holodeck_gen.testing import PNG, Script, ScriptedProvider, run_virtual
from runs import CAT, DOG, Runs

if TYPE_CHECKING:
    from collections.abc import Callable

ADDRESS = hg.Url(url="https://r.example/0.png?q-signature=secret")


@attrs.define(kw_only=True)
class Addresses(ScriptedProvider):
    """Its outputs are addresses."""

    async def fetch(self, url: hg.Url) -> bytes:
        return PNG


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "out")


async def stopped(studio: hg.AsyncStudio, *tasks: hg.Task, after_s: float) -> None:
    """Work, and stop gracefully, as Ctrl-C does."""
    work = asyncio.ensure_future(collect(studio.map(tasks)))
    await asyncio.sleep(after_s)
    await studio.stop()
    await asyncio.wait({work})


async def within_a_week(studio: hg.AsyncStudio, *tasks: hg.Task) -> dict[str, hg.Outcome]:
    """Outcomes by key; a pause is an end, too."""
    found: dict[str, hg.Outcome] = {}
    with contextlib.suppress(PausedError):
        async with asyncio.timeout(7 * 86_400):
            async for outcome in studio.map(tasks):
                found[outcome.key] = outcome
    return found


class TestFaultsOfOurs:
    @pytest.mark.parametrize("retry_failed", [False, True])
    def test_a_job_that_has_ended_is_not_lost_to_one(
        self, runs: Runs, retry_failed: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is remembered of a gate once could not be, and the task failed for it."""

        def broken(_gate: LocalGate, _now: float) -> None:
            raise ValueError("a fault in the books of the gate")

        async def main() -> list[hg.Outcome]:
            async with runs.opened() as studio:
                with monkeypatch.context() as patch:
                    patch.setattr(LocalGate, "_remember", broken)
                    return await collect(studio.map([CAT]))

        (outcome,) = run_virtual(main())
        assert failure_of(outcome).state == "held"
        assert "holodeck-gen collect" in str(failure_of(outcome).error)
        assert result_of(runs.run(CAT, retry_failed=retry_failed)["cat"]).artifacts
        assert runs.jobs == 1


class TestStop:
    @pytest.mark.parametrize("addresses", [False, True])
    def test_an_answer_that_comes_during_a_stop_is_kept(self, runs: Runs, addresses: bool) -> None:
        script = Script(job_s=10, outputs=(ADDRESS,)) if addresses else Script(job_s=10)
        runs.provider = Addresses(direct=True, default=script)

        async def main() -> None:
            async with runs.opened() as studio:
                await stopped(studio, CAT, after_s=5)

        run_virtual(main())
        assert runs.run(CAT)["cat"].ok
        assert runs.jobs == 1

    def test_a_cancelled_task_whose_answer_was_lost_is_held(self, runs: Runs) -> None:
        runs.provider = ScriptedProvider(default=Script(submits=["late"]), late_s=20)

        async def main() -> hg.Outcome:
            async with runs.opened(request_timeout_s=10) as studio:
                handle: hg.AsyncHandle = studio.submit(CAT)
                await asyncio.sleep(5)
                await handle.cancel()
                return await handle.outcome()

        failure = failure_of(run_virtual(main()))
        assert failure.state == "held"
        assert "may be a job that is billed" in str(failure.error)


class TestHeld:
    def test_a_job_whose_provider_cannot_be_made_is_not_failed(self, runs: Runs) -> None:
        second = ScriptedProvider(name="second")
        task = attrs.evolve(CAT, provider="second")

        def once(
            make: Callable[[Any, Any], Any], after_s: float | None = None
        ) -> hg.Outcome | None:
            registry = no_plugins()
            registry.register("provider", "second", make)

            async def main() -> hg.Outcome | None:
                studio = hg.AsyncStudio(
                    runs.provider,
                    store=runs.store,
                    output=runs.folder,
                    registry=registry,
                    config=hg.Config.of({}, environ={}),
                )
                async with studio:
                    if after_s is not None:
                        await stopped(studio, task, after_s=after_s)
                        return None
                    (outcome,) = await collect(studio.map([task]))
                    return outcome

            return run_virtual(main())

        def refuse(_options: Any, _ctx: Any) -> Any:
            raise ConfigError("needs SECOND_KEY")

        once(lambda _options, _ctx: second, after_s=5)
        held = once(refuse)
        assert held is not None
        assert failure_of(held).state == "held"
        done = once(lambda _options, _ctx: second)
        assert done is not None
        assert result_of(done).ok
        assert second.created.total() == 1

    @pytest.mark.parametrize("raises", [True, False])
    def test_a_rewriter_that_was_added_later_does_not_touch_a_job(
        self, runs: Runs, raises: bool
    ) -> None:
        @attrs.define
        class Later:
            calls: int = 0

            async def rewrite(self, task: hg.Task) -> hg.Task:
                self.calls += 1
                if raises:
                    raise RuntimeError("it is down")
                return attrs.evolve(task, n=2)

        later = Later()
        runs.killed(CAT, after_s=5)
        assert runs.run(CAT, rewrite=[later])["cat"].ok
        assert (later.calls, runs.jobs) == (0, 1)

    def test_an_error_that_cannot_be_written_takes_no_sibling_along(self, runs: Runs) -> None:
        class OddError(Exception):
            def code(self) -> int:
                return 14

        @attrs.define(kw_only=True)
        class Odd(ScriptedProvider):
            async def submit(self, request: Any, *, key: str) -> Any:
                if key.endswith("-1"):
                    await asyncio.sleep(3)
                    raise OddError("unavailable")
                return await ScriptedProvider.submit(self, request, key=key)

        runs.provider = Odd()
        failure = failure_of(runs.run(attrs.evolve(CAT, n=2))["cat"])
        assert failure.state == "held"
        assert len(runs.store.files) == 1
        assert status(runs.journal).tasks["held"] == 1

    def test_only_what_may_be_paid_for_is_said_to_be_kept_in_mind(self, runs: Runs) -> None:
        refused = AuthError("no such key", not_created=True)
        runs.provider = ScriptedProvider(
            limits=hg.Limits(max_jobs=1),
            scripts={
                CAT.prompt: Script(submits=["lose"]),
                DOG.prompt: Script(submits=[refused]),
            },
        )
        assert "holodeck-gen audit" in str(failure_of(runs.run(CAT)["cat"]).error)

        async def main() -> hg.Outcome:
            async with runs.opened() as studio:
                outcome: hg.Outcome = await studio.submit(DOG).outcome()
                return outcome

        failure = failure_of(run_virtual(main()))
        assert failure.state == "held"
        assert "holodeck-gen" not in str(failure.error)


class TestSpool:
    def test_without_a_place_for_pictures_nothing_more_is_paid_for(self, runs: Runs) -> None:
        runs.folder.mkdir(parents=True)
        (runs.folder / ".spool").write_text("in the way")
        tasks = [hg.Task("a cat", id=str(i)) for i in range(20)]

        async def main() -> None:
            async with runs.opened() as studio:
                await within_a_week(studio, *tasks)

        run_virtual(main())
        paid = runs.jobs
        assert paid <= 4
        (runs.folder / ".spool").unlink()
        outcomes = runs.run(*tasks, retry_failed=True)
        assert all(outcome.ok for outcome in outcomes.values())
        assert runs.jobs == 20

    def test_bytes_that_it_did_not_take_come_again_also_after_the_disk_was_full(
        self, runs: Runs
    ) -> None:
        runs.folder.mkdir(parents=True)
        (runs.folder / ".spool").write_text("in the way")

        async def main() -> hg.Outcome:
            async with runs.opened() as studio:
                handle = studio.submit(CAT)
                await asyncio.sleep(0.1)
                assert runs.jobs == 1
                journal: Any = studio._work.journal
                journal.disk_full()
                outcome: hg.Outcome = await handle.outcome()
                return outcome

        assert failure_of(run_virtual(main())).state == "held"
        (runs.folder / ".spool").unlink()
        assert runs.run(CAT)["cat"].ok
        assert runs.jobs == 1

    def test_a_work_folder_goes_also_where_its_task_is_cancelled_while_it_is_made(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "a.raw").write_bytes(PNG)
        making, go = threading.Event(), threading.Event()
        mkdir = Path.mkdir

        def slow(path: Path, *args: Any, **named: Any) -> None:
            making.set()
            go.wait(10)
            mkdir(path, *args, **named)

        monkeypatch.setattr(Path, "mkdir", slow)

        async def work() -> None:
            async with _work_folder(tmp_path / "a.raw", "image.png"):
                raise AssertionError("it was cancelled")

        async def main() -> None:
            working = asyncio.ensure_future(work())
            await asyncio.to_thread(making.wait, 10)
            working.cancel()
            await asyncio.sleep(0)
            go.set()
            with pytest.raises(asyncio.CancelledError):
                await working

        asyncio.run(main())
        assert [each.name for each in tmp_path.iterdir()] == ["a.raw"]

    def test_a_raw_file_that_was_deleted_is_fetched_again(self, runs: Runs) -> None:
        class Broken:
            async def put(self, file: Path, name: str) -> str:
                raise OSError("the store is down")

        runs.provider = Addresses(default=Script(outputs=(ADDRESS,)))

        async def main() -> None:
            async with opened(
                runs.provider, store=Broken(), output=runs.folder, journal="automatic"
            ) as studio:
                await collect(studio.map([CAT]))

        run_virtual(main())
        (raw,) = (runs.folder / ".spool").glob("*.raw")
        raw.unlink()
        assert runs.run(CAT)["cat"].ok
        assert runs.jobs == 1

    @pytest.mark.parametrize(("every", "paused"), [(1, True), (2, False)])
    def test_no_more_is_paid_for_once_the_store_takes_nothing(
        self, every: int, paused: bool, runs: Runs
    ) -> None:
        class Broken:
            asked = 0

            async def put(self, file: Path, name: str) -> str:
                self.asked += 1
                if self.asked % every == 0:
                    raise OSError("the store is down")
                return await runs.store.put(file, name)

        tasks = [hg.Task(f"cat {number}", id=f"{number}") for number in range(40)]
        failed = []

        async def main() -> None:
            async with opened(
                runs.provider,
                store=Broken(),
                output=runs.folder,
                journal="automatic",
                concurrency=2,
            ) as studio:
                failed.extend(await collect(studio.map(tasks)))

        if paused:
            with pytest.raises(PausedError, match="the store took none of the last 5 pictures"):
                run_virtual(main())
            # Those whose jobs ran at the time, or were about to be stored.
            assert 5 <= runs.jobs <= 9
        else:
            run_virtual(main())
            assert sum(not outcome.ok for outcome in failed) == 20
        assert all(outcome.ok for outcome in runs.run(*tasks).values())
        assert runs.jobs == 40

    def test_an_outcome_comes_also_where_the_spool_cannot_be_tidied(
        self, runs: Runs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        remove = Path.unlink

        def refuse(path: Path, missing_ok: bool = False) -> None:
            if path.suffix == ".raw":
                raise PermissionError(13, "read-only")
            remove(path, missing_ok)

        monkeypatch.setattr(Path, "unlink", refuse)
        assert {key for key, outcome in runs.run(CAT, DOG).items() if outcome.ok} == {"cat", "dog"}

    def test_never_does_not_forget_files_that_are_not_stored(self, runs: Runs) -> None:
        def fail(_file: Path, _task: hg.Task) -> Path:
            raise OSError("no")

        runs.run(CAT, process=[fail])
        with pytest.raises(ConfigError, match="holodeck-gen collect"):
            runs.run(CAT, resume="never")
        assert runs.jobs == 1

    def test_an_incomplete_result_is_not_cached(self, runs: Runs, tmp_path: Path) -> None:
        missing = hg.PartError(error=JobFailedError("one is missing"))
        two = (hg.Bytes(data=PNG), missing)
        runs.provider = ScriptedProvider(per_job=2, default=Script(outputs=two))
        task = attrs.evolve(CAT, n=2, seed=5)
        runs.run(task, cache=tmp_path / "cache")
        other = Runs(tmp_path / "other", ScriptedProvider(per_job=2))
        assert other.run(task, cache=tmp_path / "cache")["cat"].ok


class TestWaits:
    @pytest.mark.parametrize("wait_s", [1e9, float("nan"), float("inf")])
    @pytest.mark.parametrize("error", [ThrottledError, SlotRefusedError])
    def test_a_service_that_wants_an_age_pauses_the_run(
        self, runs: Runs, error: type[ThrottledError] | type[SlotRefusedError], wait_s: float
    ) -> None:
        refusal = error("later", retry_after=wait_s)
        runs.provider = ScriptedProvider(scripts={CAT.prompt: Script(submits=[refusal])})

        async def main() -> dict[str, hg.Outcome]:
            async with runs.opened() as studio:
                return await within_a_week(studio, CAT, DOG)

        assert set(run_virtual(main())) == {"cat", "dog"}

    def test_one_such_poll_does_not_stop_those_of_others(self, runs: Runs) -> None:
        later = ThrottledError("later", retry_after=1e9)
        runs.provider = ScriptedProvider(
            scripts={CAT.prompt: Script(polls=[later])}, default=Script(job_s=30)
        )

        async def main() -> dict[str, hg.Outcome]:
            async with runs.opened() as studio:
                return await within_a_week(studio, CAT, DOG)

        assert run_virtual(main())["dog"].ok
