from __future__ import annotations

import asyncio
import gc
import itertools
import tempfile
import threading
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest
from structlog.testing import capture_logs

import holodeck_gen as hg
from helpers import FakeStore, collect, drain, failure_of, opened, result_of
from holodeck_gen._calls import DeadlineError
from holodeck_gen._stages.threads import StageThreads
from holodeck_gen.errors import (
    AuthError,
    ContentRejectedError,
    DownloadError,
    GenerationError,
    InvalidTaskError,
    JobFailedError,
    JobTimeoutError,
    PartialResultError,
    PausedError,
    ProcessingError,
    RewriteError,
    SlotRefusedError,
    StorageError,
    SubmitUncertainError,
    TaskCancelledError,
    ThrottledError,
    TransientError,
)
from holodeck_gen.testing import PNG, Act, Script, ScriptedProvider, run_virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path


def scripted(*submits: Act, polls: Sequence[Act] = (), **facts: Any) -> ScriptedProvider:
    return ScriptedProvider(default=Script(submits=submits, polls=polls), **facts)


def run_all(provider: Any, tasks: Sequence[hg.Task | str], **arguments: Any) -> list[hg.Outcome]:
    async def main() -> list[hg.Outcome]:
        async with opened(provider, **arguments) as studio:
            return await studio.generate_all(tasks)

    return run_virtual(main())


def run_one(provider: Any, task: hg.Task | str = "a cat", **arguments: Any) -> hg.Outcome:
    (outcome,) = run_all(provider, [task], **arguments)
    return outcome


class TestResult:
    def test_what_it_tells(self) -> None:
        store = FakeStore()
        provider = ScriptedProvider()
        result = result_of(run_one(provider, hg.Task("a cat", id="cat", seed=7), store=store))
        assert store.files == {"cat.png": PNG}
        assert (result.key, result.index, result.attempts, result.job_ids) == (
            "cat", 0, 1, ("job-0",),
        )  # fmt: skip
        assert (result.artifact.uri, result.artifact.media_type) == ("memory:cat.png", "image/png")
        assert (result.artifact.width, result.artifact.height, result.artifact.seed) == (1, 1, 7)
        assert result.seconds["job"] >= 10

    def test_parts_have_jobs_slots_and_seeds_of_their_own(self) -> None:
        provider = ScriptedProvider(per_job=2)
        result = result_of(run_one(provider, hg.Task("a cat", id="cat", n=5, seed=10)))
        jobs = provider.jobs.values()
        requests = sorted((job.key, job.request["n"], job.request["seed"]) for job in jobs)
        assert [request[1:] for request in requests] == [(2, 10), (2, 12), (1, 14)]
        assert len({key for key, _, _ in requests}) == 3
        assert [artifact.uri for artifact in result.artifacts] == [
            f"memory:cat-{i}.png" for i in range(1, 6)
        ]
        assert provider.most_at_once == 2

    def test_equal_tasks_are_not_one(self) -> None:
        store = FakeStore()
        run_all(ScriptedProvider(), ["a cat"] * 4, store=store)
        assert len(store.files) == 4

    def test_names_that_differ_in_case_only_do_not_overwrite(self) -> None:
        store = FakeStore()
        tasks = [hg.Task("a", output="Cat"), hg.Task("b", output="cat"), hg.Task("c", output="cat")]
        outcomes = run_all(ScriptedProvider(), tasks, store=store)
        assert all(outcome.ok for outcome in outcomes)
        assert len({name.casefold() for name in store.files}) == 3

    @pytest.mark.parametrize(("one", "other"), [("a/b", "a:b"), ("x" * 300 + "1", "x" * 300 + "2")])
    def test_ids_alike_keep_their_own_pictures(self, one: str, other: str) -> None:
        """Their raw files had one name in the spool."""
        outputs = [hg.Bytes(data=PNG + extra) for extra in (b"one", b"other")]
        provider = ScriptedProvider(
            scripts={str(i): Script(outputs=[out]) for i, out in enumerate(outputs)}
        )
        arrived = threading.Barrier(2)

        def both(file: Path, task: hg.Task) -> Path:
            arrived.wait(5)
            return file

        store = FakeStore()
        outcomes = run_all(
            provider,
            [hg.Task("0", id=one), hg.Task("1", id=other)],
            store=store,
            process=[both],
        )
        stored = [store.files[str(result_of(o).artifact.uri)[7:]] for o in outcomes]
        assert stored == [PNG + b"one", PNG + b"other"]


class TestRefusals:
    def test_refused_credentials_pause_the_run(self) -> None:
        provider = ScriptedProvider(
            scripts={"bad": Script(submits=[AuthError("no", code="AuthFailure")])},
            limits=hg.Limits(max_jobs=1),
        )

        async def main() -> None:
            outcomes: list[hg.Outcome] = []
            async with opened(provider) as studio:
                with pytest.raises(PausedError, match="credentials"):
                    await drain(studio.map(["good", "bad", *["later"] * 200]), outcomes)
            outcomes.sort(key=lambda outcome: outcome.index)
            assert outcomes[0].ok
            assert isinstance(failure_of(outcomes[1]).error, AuthError)
            assert all(failure_of(each).state == "held" for each in outcomes[1:])
            assert len(provider.submits) == 2

        run_virtual(main())

    def test_generate_all_answers_for_every_task_of_a_paused_run(self) -> None:
        provider = scripted(AuthError("no"))
        outcomes = run_all(provider, ["a"] * 200)
        assert [outcome.index for outcome in outcomes] == list(range(200))
        assert all(failure_of(each).state == "held" for each in outcomes)

    def test_a_rejection_concerns_its_task_only(self) -> None:
        provider = ScriptedProvider(scripts={"bad": Script(submits=[ContentRejectedError("no")])})
        good, bad = run_all(provider, ["good", "bad"])
        assert good.ok
        assert failure_of(bad).state == "failed"
        assert failure_of(bad).attempts == 1

    def test_one_error_object_raised_for_two_tasks(self) -> None:
        """Facts of the first task were told of the second."""
        provider = ScriptedProvider(default=Script(error=JobFailedError("always this object")))
        outcomes = run_all(provider, [hg.Task("a", id="a"), hg.Task("b", id="b")])
        errors = [failure_of(outcome).error for outcome in outcomes]
        assert [(e.task_id, e.job_id) for e in errors if isinstance(e, JobFailedError)] == [
            ("a", "job-0"),
            ("b", "job-1"),
        ]

    def test_a_slot_refusal_uses_up_no_attempt(self) -> None:
        provider = scripted(*[SlotRefusedError("full")] * 10)
        assert result_of(run_one(provider, attempts=2)).attempts == 11

    def test_after_a_slot_refusal_the_same_task_is_first_again(self) -> None:
        provider = ScriptedProvider(
            scripts={"0": Script(submits=[SlotRefusedError("full", retry_after=60.0)])},
            limits=hg.Limits(max_jobs=1),
        )
        assert all(outcome.ok for outcome in run_all(provider, ["0", "1"]))
        assert [job.request["prompt"] for job in provider.jobs.values()] == ["0", "1"]
        assert provider.submits[1] - provider.submits[0] >= 60.0

    def test_a_slot_refusal_of_a_poll_does_not_submit_again(self) -> None:
        provider = scripted(polls=[SlotRefusedError("nonsense")] * 3)
        assert run_one(provider).ok
        assert len(provider.submits) == 1

    def test_a_task_that_is_found_wrong_at_its_submit_holds_nobody_up(self) -> None:
        """A plugin may read a task's files only then; nothing was sent."""
        provider = ScriptedProvider(
            scripts={"wrong": Script(submits=[InvalidTaskError("the picture is gone")])}
        )
        wrong, right = run_all(provider, ["wrong", "right"])
        assert failure_of(wrong).state == "failed"
        assert isinstance(failure_of(wrong).error, InvalidTaskError)
        assert right.ok
        assert provider.submits[-1] < 1.0

    def test_attempts_bound_what_is_proven_not_to_have_made_a_job(self) -> None:
        provider = scripted(*[TransientError("down", code="500", not_created=True)] * 10)
        failure = failure_of(run_one(provider, attempts=3))
        assert isinstance(failure.error, TransientError)
        assert len(provider.submits) == 3
        assert failure.state == "failed"

    @pytest.mark.parametrize("rate", [None, 5.0])
    def test_retry_after_holds_for_every_task(self, rate: float | None) -> None:
        provider = ScriptedProvider(
            limits=hg.Limits(max_jobs=5, submit_rate=rate),
            scripts={"0": Script(submits=[ThrottledError("slow down", retry_after=60.0)])},
        )

        async def main() -> None:
            async def slowly() -> AsyncIterator[str]:
                for i in range(5):
                    yield str(i)
                    await asyncio.sleep(1)

            async with opened(provider) as studio:
                outcomes = await collect(studio.map(slowly()))
            assert all(outcome.ok for outcome in outcomes)

        run_virtual(main())
        early = [at for at in provider.submits[1:] if at < provider.submits[0] + 60]
        assert not early


class TestUncertain:
    @pytest.mark.parametrize(
        "act", ["hang", "late", "lose", "nonsense", ValueError("x"), TransientError("x"), "cancel"]
    )
    def test_a_lost_answer_is_held_and_never_sent_again(self, act: Act) -> None:
        provider = scripted(act)
        failure = failure_of(run_one(provider))
        assert isinstance(failure.error, SubmitUncertainError)
        assert failure.state == "held"
        assert len(provider.submits) == 1

    def test_resubmit_is_a_decision_of_the_user(self) -> None:
        provider = scripted("lose")
        assert run_one(provider, on_uncertain="resubmit").ok
        assert provider.created["0#0"] <= 2
        assert len(provider.submits) == 2

    def test_a_free_provider_simply_tries_again(self) -> None:
        provider = scripted("lose", "hang", billing="free")
        assert result_of(run_one(provider)).attempts == 3

    def test_a_direct_answer_that_is_lost(self) -> None:
        provider = scripted("lose", direct=True)
        assert isinstance(failure_of(run_one(provider)).error, SubmitUncertainError)
        assert len(provider.submits) == 1

    def test_a_direct_provider(self) -> None:
        async def draw(request: Any) -> bytes:
            assert request["prompt"] == "a cat"
            return PNG

        assert run_one(hg.DirectProvider("mine", draw)).ok

    def test_its_slot_stays_taken(self) -> None:
        provider = ScriptedProvider(
            scripts={"lost": Script(submits=["lose"], job_s=100.0)},
            limits=hg.Limits(max_jobs=1, job_timeout_s=120.0),
        )
        outcomes = run_all(provider, ["lost", "next"])
        assert [outcome.ok for outcome in outcomes] == [False, True]
        assert provider.most_at_once == 1
        assert provider.submits[1] >= 100


class TestPause:
    def test_who_waits_for_a_slot_learns_of_it_at_once(self) -> None:
        provider = ScriptedProvider(
            scripts={"lost": Script(submits=["lose"])},
            limits=hg.Limits(max_jobs=1, job_timeout_s=1e6),
        )

        async def main() -> list[hg.Outcome]:
            async with opened(provider) as studio:
                lost, waiting = studio.submit("lost"), studio.submit("waits")
                outcomes = [await lost.outcome()]
                await asyncio.sleep(10)
                studio._work.accounts.pause(PausedError("paused: no", reason="no"))
                return [*outcomes, await waiting.outcome(timeout=1)]

        _, waiting = run_virtual(main())
        assert isinstance(failure_of(waiting).error, PausedError)
        assert waiting.state == "held"
        assert len(provider.submits) == 1

    def test_those_that_were_never_sent_are_not_told_one_by_one(self) -> None:
        """Whoever looks for the reason of a pause would have to look among them."""
        provider = scripted(AuthError("no"), limits=hg.Limits(max_jobs=1))
        with capture_logs() as logs:
            outcomes = run_all(provider, ["a"] * 20)
        assert all(failure_of(each).state == "held" for each in outcomes)
        loud = [each["event"] for each in logs if each["log_level"] in ("warning", "error")]
        assert sorted(loud) == ["run.paused", "task.ended"]


class TestJobs:
    def test_an_overdue_job_keeps_its_id_and_its_slot(self) -> None:
        provider = ScriptedProvider(
            scripts={"slow": Script(job_s=190.0)},
            limits=hg.Limits(max_jobs=1, job_timeout_s=100.0),
        )
        slow, after = run_all(provider, ["slow", "next"])
        error = failure_of(slow).error
        assert isinstance(error, JobTimeoutError)
        assert (error.job_id, failure_of(slow).state) == ("job-0", "held")
        assert after.ok
        assert provider.most_at_once == 1

    def test_polls_are_repeated_as_long_as_the_job_may_run(self) -> None:
        troubles: list[Act] = ["hang", ValueError("x"), "nonsense", TransientError("x")]
        assert run_one(scripted(polls=troubles)).ok

    def test_a_provider_that_cannot_tell_leaves_the_job_collectable(self) -> None:
        polls: list[Act] = ["nonsense" for _ in range(50)]
        provider = scripted(polls=polls)
        failure = failure_of(run_one(provider))
        assert (failure.job_id, failure.state) == ("job-0", "held")

    @pytest.mark.parametrize("hint", [-5.0, 0.0, 1e-9, float("nan"), float("inf")])
    def test_a_nonsensical_hint_neither_spins_nor_stops(self, hint: float) -> None:
        class Hinting(ScriptedProvider):
            async def poll(self, job: hg.JobRef) -> hg.JobStatus:
                status = await super().poll(job)
                if status.final:
                    return status
                return hg.JobStatus(phase="running", retry_hint_s=hint)

        provider = Hinting()
        assert run_one(provider).ok
        assert len(provider.polls) < 500

    def test_a_failed_job_is_final(self) -> None:
        provider = ScriptedProvider(default=Script(error=JobFailedError("no", code="X")))
        failure = failure_of(run_one(provider))
        assert (failure.state, failure.attempts) == ("failed", 1)

    @pytest.mark.parametrize("outputs", [(), (hg.PartError(error=JobFailedError("none")),)])
    def test_success_without_a_picture_is_a_failure(self, outputs: Any) -> None:
        provider = ScriptedProvider(default=Script(outputs=outputs))
        assert isinstance(failure_of(run_one(provider)).error, JobFailedError)

    def test_some_parts_missing_keeps_the_others(self) -> None:
        class Second(ScriptedProvider):
            async def poll(self, job: hg.JobRef) -> hg.JobStatus:
                if job.job_id == "job-1":
                    raise ContentRejectedError("this one not")
                return await super().poll(job)

        failure = failure_of(run_one(Second(), hg.Task("a", id="a", n=3)))
        assert isinstance(failure.error, PartialResultError)
        assert [str(a.uri) for a in failure.artifacts] == ["memory:a-1.png", "memory:a-3.png"]
        assert failure.error.artifacts == failure.artifacts

    def test_fewer_pictures_than_asked_for_is_not_a_result(self) -> None:
        picture = hg.Bytes(data=PNG)
        provider = ScriptedProvider(per_job=4, default=Script(outputs=[picture] * 2))
        failure = failure_of(run_one(provider, hg.Task("a", n=4)))
        assert len(failure.artifacts) == 2

    def test_cancel_reaches_the_provider(self) -> None:
        provider = ScriptedProvider()

        async def main() -> None:
            async with opened(provider) as studio:
                handle = studio.submit("a cat")
                await asyncio.sleep(5)
                assert handle.status() == "running"
                await handle.cancel()
                outcome = failure_of(await handle.outcome())
                assert isinstance(outcome.error, TaskCancelledError)
                with pytest.raises(TaskCancelledError):
                    await handle.result()

        run_virtual(main())
        assert provider.cancelled == ["job-0"]

    def test_leaving_does_not_cancel_jobs(self) -> None:
        provider = ScriptedProvider()

        async def main() -> None:
            async with opened(provider) as studio:
                handle = studio.submit("a cat")
                await asyncio.sleep(5)
            assert failure_of(await handle.outcome()).state == "held"

        run_virtual(main())
        assert provider.cancelled == []


class TestDownloads:
    def url_provider(self, *urls: str) -> ScriptedProvider:
        class Renewing(ScriptedProvider):
            async def poll(self, job: hg.JobRef) -> hg.JobStatus:
                status = await super().poll(job)
                if not status.final:
                    return status
                known = min(self.final, len(urls) - 1)
                self.final += 1
                return hg.JobStatus(phase="done", outputs=(hg.Url(url=urls[known]),))

            final = 0

        return Renewing()

    def serve(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/good":
            return httpx.Response(200, content=PNG)
        return httpx.Response(403, text="Request has expired")

    def test_an_expired_address_is_renewed_by_one_more_poll(self) -> None:
        provider = self.url_provider("https://cos.example/old?sign=1", "https://cos.example/good")
        assert run_one(provider, transport=httpx.MockTransport(self.serve)).ok
        assert len(provider.submits) == 1

    def test_without_a_fresh_one_the_job_is_named(self) -> None:
        provider = self.url_provider("https://cos.example/old?sign=secret")
        failure = failure_of(run_one(provider, transport=httpx.MockTransport(self.serve)))
        assert isinstance(failure.error, DownloadError)
        assert failure.job_id == "job-0"
        assert "secret" not in str(failure.error)
        assert len(provider.submits) == 1

    def test_trouble_while_asking_for_a_fresh_one_is_still_a_download_error(self) -> None:
        provider = self.url_provider("https://cos.example/old")
        original = provider.poll

        async def poll(job: hg.JobRef) -> hg.JobStatus:
            if getattr(provider, "final", 0):
                raise TransientError("down")
            return await original(job)

        provider.poll = poll  # type: ignore[method-assign]
        failure = failure_of(run_one(provider, transport=httpx.MockTransport(self.serve)))
        assert isinstance(failure.error, DownloadError)
        assert failure.job_id == "job-0"

    @pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/a.png", "data:,x"])
    def test_only_web_addresses(self, url: str) -> None:
        failure = failure_of(run_one(self.url_provider(url)))
        assert isinstance(failure.error, DownloadError)

    @pytest.mark.parametrize("data", [b"<html>busy</html>", b'{"error": 1}', b""])
    def test_what_is_no_picture(self, data: bytes) -> None:
        provider = ScriptedProvider(default=Script(outputs=[hg.Bytes(data=data)]))
        failure = failure_of(run_one(provider))
        assert isinstance(failure.error, ProcessingError)
        assert failure.job_id == "job-0"


class TestStages:
    def test_a_rewriter(self) -> None:
        class Loud:
            async def rewrite(self, task: hg.Task) -> hg.Task:
                return hg.Task(task.prompt.upper())

        provider = ScriptedProvider()
        result = result_of(run_one(provider, rewrite=[Loud()]))
        assert (result.prompt, result.task.prompt) == ("A CAT", "a cat")

    @pytest.mark.parametrize("how", ["raise", "hang", "nonsense", "cancel", "plain"])
    def test_a_broken_rewriter_costs_nothing(self, how: str) -> None:
        class Broken:
            def rewrite(self, task: hg.Task) -> Any:
                return "text" if how == "plain" else self.slow()

            async def slow(self) -> Any:
                match how:
                    case "raise":
                        raise OSError("no")
                    case "hang":
                        await asyncio.Event().wait()
                    case "cancel":
                        raise asyncio.CancelledError
                return "text"

        provider = ScriptedProvider()
        failure = failure_of(run_one(provider, rewrite=[Broken()]))
        assert isinstance(failure.error, RewriteError)
        assert provider.submits == []

    def test_processors_run_in_order_and_may_make_several(self) -> None:
        def double(file: Path, task: hg.Task) -> list[Path]:
            second = file.with_stem(f"{file.stem}-b")
            second.write_bytes(file.read_bytes() + b"b")
            return [file, second]

        store = FakeStore()
        assert run_one(ScriptedProvider(), hg.Task("a", id="a"), process=[double], store=store).ok
        assert store.files == {"a.png": PNG, "a-b.png": PNG + b"b"}

    def test_a_processor_that_yields_its_files_works_in_its_thread(self) -> None:
        """It was called there, and did its work in the event loop, without a deadline."""
        threads: list[threading.Thread] = []

        def double(file: Path, task: hg.Task) -> Iterator[Path]:
            threads.append(threading.current_thread())
            yield file
            second = file.with_stem(f"{file.stem}-b")
            second.write_bytes(file.read_bytes())
            yield second

        store = FakeStore()
        assert run_one(ScriptedProvider(), hg.Task("a", id="a"), process=[double], store=store).ok
        assert [*store.files] == ["a.png", "a-b.png"]
        assert threads != [threading.main_thread()]

    @pytest.mark.parametrize("per_job", [1, 2])
    def test_processors_are_told_what_made_the_picture(self, per_job: int) -> None:
        told: list[hg.Task] = []

        class Louder:
            async def rewrite(self, task: hg.Task) -> hg.Task:
                return attrs.evolve(task, prompt=task.prompt.upper())

        @attrs.define(kw_only=True)
        class Modern(ScriptedProvider):
            def prepare(self, task: hg.Task) -> hg.Prepared:
                return attrs.evolve(ScriptedProvider.prepare(self, task), model="m-2")

        def tell(file: Path, task: hg.Task) -> Path:
            told.append(task)
            return file

        task = hg.Task("a", id="a", n=2, seed=7, metadata={"scene": 3})
        both = tuple(hg.Bytes(data=PNG, seed=seed) for seed in (7, 8))
        script = Script() if per_job == 1 else Script(outputs=both)
        provider = Modern(per_job=per_job, default=script)
        assert run_one(provider, task, rewrite=[Louder()], process=[tell]).ok
        made = attrs.evolve(task, prompt="A", n=1, provider="scripted", model="m-2")
        told.sort(key=lambda each: each.seed or 0)
        assert told == [attrs.evolve(made, seed=7), attrs.evolve(made, seed=8)]

    def test_a_task_with_files_is_prepared_in_a_thread(self) -> None:
        """Its pictures were read in the event loop, up to 400 MB of them for one task."""
        loops: list[bool] = []

        @attrs.define(kw_only=True)
        class Reads(ScriptedProvider):
            def prepare(self, task: hg.Task) -> hg.Prepared:
                loops.append(threading.current_thread() is threading.main_thread())
                return ScriptedProvider.prepare(self, task)

        for inputs, in_the_loop in ((["door.png"], False), ([], True)):
            loops.clear()
            assert run_one(Reads(), hg.Task("a", inputs=inputs)).ok
            assert set(loops) == {in_the_loop}

    @pytest.mark.parametrize("how", ["raise", "nonsense", "missing", "coroutine"])
    def test_a_broken_processor_keeps_the_raw_file(self, how: str) -> None:
        def broken(file: Path, task: hg.Task) -> Any:
            match how:
                case "raise":
                    raise OSError("no")
                case "missing":
                    return file.with_name("gone.png")
                case "coroutine":
                    return asyncio.sleep(0)
            return 5

        failure = failure_of(run_one(ScriptedProvider(), process=[broken]))
        gc.collect()
        assert isinstance(failure.error, ProcessingError)
        assert failure.error.stage == "broken"
        assert failure.job_id == "job-0"
        assert any("kept as" in note for note in failure.error.__notes__)

    @pytest.mark.parametrize("how", ["raise", "hang", "nonsense", "plain", "taken"])
    def test_a_broken_store(self, how: str) -> None:
        class Broken:
            def put(self, file: Path, name: str) -> Any:
                return None if how == "plain" else self.slow()

            async def slow(self) -> Any:
                match how:
                    case "raise":
                        raise OSError("disk full")
                    case "hang":
                        await asyncio.Event().wait()
                    case "taken":
                        raise FileExistsError
                return 5

        failure = failure_of(run_one(ScriptedProvider(), store=Broken()))
        assert isinstance(failure.error, StorageError)
        assert failure.job_id == "job-0"

    def test_an_expander_gives_ids(self) -> None:
        class Seeds:
            def expand(self, task: hg.Task) -> Iterator[hg.Task]:
                for seed in (1, 2):
                    yield hg.Task(task.prompt, id=task.id, seed=seed)

        outcomes = run_all(ScriptedProvider(), [hg.Task("a", id="cat")], expand=[Seeds()])
        assert [outcome.key for outcome in outcomes] == ["cat~1", "cat~2"]

    @pytest.mark.parametrize("how", ["raise", "nonsense"])
    def test_a_broken_expander_does_not_reach_the_neighbors(self, how: str) -> None:
        class Broken:
            def expand(self, task: hg.Task) -> Iterator[Any]:
                if task.prompt == "bad" and how == "raise":
                    raise OSError("no")
                yield 5 if task.prompt == "bad" else task

        outcomes = run_all(ScriptedProvider(), ["a", "bad", "b"], expand=[Broken()])
        assert [outcome.ok for outcome in outcomes] == [True, False, True]
        assert isinstance(failure_of(outcomes[1]).error, RewriteError)

    @pytest.mark.parametrize("output", ["../x", "/etc/x", "C:\\x", "a/../../x"])
    def test_a_name_outside_the_folder_costs_nothing(self, output: str) -> None:
        provider = ScriptedProvider()

        async def main() -> None:
            async with opened(provider) as studio:
                with pytest.raises(InvalidTaskError):
                    await studio.generate(hg.Task("a", output=output))

        run_virtual(main())
        assert provider.submits == []

    def test_an_unknown_field_of_the_name_costs_nothing(self) -> None:
        provider = ScriptedProvider()
        failure = failure_of(run_one(provider, name="{id}-{colour}"))
        assert isinstance(failure.error, InvalidTaskError)
        assert provider.submits == []

    @pytest.mark.parametrize(
        "error", [DeadlineError("too late"), hg.errors.PluginError("all threads hang")]
    )
    def test_a_check_that_does_not_come_to_an_end_keeps_the_picture(
        self, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def late(_threads: StageThreads, *_args: Any, **_: Any) -> None:
            raise error

        monkeypatch.setattr(StageThreads, "run", late)
        provider = ScriptedProvider(default=Script(outputs=(hg.Bytes(data=PNG),)))

        async def main() -> hg.Outcome:
            async with opened(provider, output=tmp_path, journal="automatic") as studio:
                (outcome,) = await collect(studio.map(["a cat"]))
                return outcome

        failure = failure_of(run_virtual(main()))
        assert isinstance(failure.error, hg.errors.ProcessingError)
        assert [each.read_bytes() for each in (tmp_path / ".spool").iterdir()] == [PNG]


class TestMap:
    def test_ordered(self) -> None:
        scripts = {str(i): Script(job_s=90.0 - 10 * i) for i in range(6)}
        provider = ScriptedProvider(scripts=scripts, limits=hg.Limits(max_jobs=6))

        async def main() -> None:
            async with opened(provider) as studio:
                ordered = await collect(studio.map(list(scripts), ordered=True))
                completed = await collect(studio.map(list(scripts)))
            assert [outcome.index for outcome in ordered] == [0, 1, 2, 3, 4, 5]
            assert [outcome.index for outcome in completed] == [5, 4, 3, 2, 1, 0]

        run_virtual(main())

    def test_a_slow_consumer_does_not_stop_the_jobs(self) -> None:
        provider = ScriptedProvider()

        async def main() -> None:
            async with opened(provider) as studio:
                async for _ in studio.map([str(i) for i in range(10)]):
                    await asyncio.sleep(500)
                    assert len(provider.jobs) == 10

        run_virtual(main())
        assert max(job.began for job in provider.jobs.values()) < 100

    def test_an_endless_input_is_read_lazily(self) -> None:
        pulled = 0

        def endless() -> Iterator[str]:
            nonlocal pulled
            for pulled in itertools.count(1):
                yield str(pulled)

        async def main() -> None:
            async with opened(ScriptedProvider()) as studio:
                outcomes = studio.map(endless())
                async for _ in outcomes:
                    break
                await outcomes.aclose()

        run_virtual(main())
        assert pulled < 200

    def test_undelivered_outcomes_are_bounded(self) -> None:
        async def quick() -> AsyncIterator[str]:
            for i in range(5000):
                yield str(i)

        provider = ScriptedProvider(default=Script(submits=[ContentRejectedError("no")]))

        async def main() -> None:
            async with opened(provider) as studio:
                outcomes = studio.map(quick())
                await anext(outcomes)
                await asyncio.sleep(1e4)
                begun = len(provider.submits)
                await outcomes.aclose()
            assert begun < 1200

        run_virtual(main())

    def test_an_input_that_raises_is_heard_of_after_what_it_gave(self) -> None:
        def broken() -> Iterator[str]:
            yield from ("a", "b")
            raise LookupError("the third")

        async def main() -> None:
            outcomes: list[hg.Outcome] = []
            async with opened(ScriptedProvider()) as studio:
                with pytest.raises(LookupError, match="the third"):
                    await drain(studio.map(broken()), outcomes)
            assert [outcome.ok for outcome in outcomes] == [True, True]

        run_virtual(main())

    def test_ids_must_differ(self) -> None:
        one, other = run_all(ScriptedProvider(), [hg.Task("a", id="x"), hg.Task("b", id="x")])
        assert one.ok
        assert isinstance(failure_of(other).error, InvalidTaskError)

    def test_generate_all_answers_for_every_task_of_a_stopped_run(self) -> None:
        async def main() -> None:
            async with opened(ScriptedProvider()) as studio:
                run = asyncio.ensure_future(studio.generate_all([str(i) for i in range(200)]))
                await asyncio.sleep(15)
                await studio.stop()
                outcomes = await run
            assert [outcome.index for outcome in outcomes] == list(range(200))
            assert sum(outcome.ok for outcome in outcomes) == 2

        run_virtual(main())


class TestStudio:
    def test_a_studio_that_is_stopped_begins_nothing(self) -> None:
        provider = ScriptedProvider()

        async def main() -> None:
            async with opened(provider) as studio:
                await studio.stop()
                with pytest.raises(GenerationError):
                    await studio.generate("a cat")

        run_virtual(main())
        assert provider.submits == []

    def test_a_journal_is_kept_in_the_output_folder(self, tmp_path: Path) -> None:
        async def main() -> bool:
            async with opened(ScriptedProvider(), journal="automatic", output=tmp_path) as studio:
                await studio.generate("a cat")
            return (tmp_path / "journal.sqlite3").is_file()

        assert run_virtual(main())

    @pytest.mark.parametrize("store", [FakeStore(), None], ids=["elsewhere", "there"])
    def test_a_folder_that_nobody_chose_goes_if_it_is_empty(
        self, store: FakeStore | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

        async def main() -> hg.Outcome:
            async with hg.AsyncStudio(ScriptedProvider(), store=store, journal=None) as studio:
                return await studio.generate("a cat")

        assert run_virtual(main()).ok
        assert len(list(tmp_path.iterdir())) == (0 if store else 1)

    def test_what_could_not_be_opened_is_closed_again(self, tmp_path: Path) -> None:
        provider = ScriptedProvider()
        (tmp_path / "file").touch()

        async def main() -> None:
            with pytest.raises(hg.errors.StorageError, match="journal"):
                async with opened(
                    lambda _options, _ctx: provider, journal=tmp_path / "file" / "journal.sqlite3"
                ):
                    pass
            assert provider.closed

        run_virtual(main())

    def test_a_provider_may_hand_on_what_it_does_not_do_itself(self) -> None:
        class Wrapped:
            """As the legacy client does; Python 3.12 and later do not call it a `Provider`."""

            def __init__(self) -> None:
                self._service = ScriptedProvider()

            def __getattr__(self, name: str) -> Any:
                return getattr(self._service, name)

        async def main() -> hg.Outcome:
            async with opened(lambda _options, _ctx: Wrapped()) as studio:
                return await studio.generate("a cat")

        assert run_virtual(main()).ok

    def test_what_is_no_provider_is_refused_with_what_it_lacks(self) -> None:
        class Half:
            name, billing = "half", "free"

            async def submit(self, request: hg.JsonObject, *, key: str) -> bytes:
                return b""

        async def main() -> None:
            with pytest.raises(hg.errors.PluginLoadError, match="lacks limits, account_key"):
                async with opened(lambda _options, _ctx: Half()):
                    pass

        run_virtual(main())

    def test_a_provider_that_hangs_or_raises_while_closing(self) -> None:
        class Stuck(ScriptedProvider):
            async def aclose(self) -> None:
                await asyncio.Event().wait()

        class Broken(ScriptedProvider):
            async def aclose(self) -> None:
                raise OSError("no")

        for cls in (Stuck, Broken):
            assert run_one(lambda _options, _ctx, cls=cls: cls()).ok

    def test_observers_do_no_harm(self) -> None:
        seen: list[str] = []

        def observe(event: object) -> None:
            seen.append(type(event).__name__)
            raise OSError("no")

        assert run_one(ScriptedProvider(), on_event=observe).ok
        of_the_task = [name for name in seen if name not in ("SlotsSampled", "StageEnded")]
        assert of_the_task == ["TaskAdmitted", "JobSubmitted", "JobEnded", "TaskEnded"]
        assert seen[-1] == "SlotsSampled"
