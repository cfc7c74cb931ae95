"""What observers are told, in which order, and that none of them can harm a run."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import attrs
import pytest
from structlog.testing import capture_logs

import holodeck_gen as hg
from helpers import collect, failure_of, opened
from holodeck_gen import events
from holodeck_gen._collect import Collector
from holodeck_gen._event_queue import EventQueue
from holodeck_gen.events import (
    AccountPaused,
    Event,
    EventsDropped,
    JobEnded,
    SlotsSampled,
    StageEnded,
    TaskAdmitted,
    TaskEnded,
)
from holodeck_gen.testing import Script, ScriptedProvider, run_virtual
from runs import CAT, DOG, Runs

CNY = hg.Cost(amount=Decimal("0.5"), currency="CNY")
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "events.md"


def observed(
    *tasks: hg.Task | str, provider: ScriptedProvider | None = None, **arguments: Any
) -> list[Any]:
    """The events of one run, without samples."""
    seen: list[Event] = []

    async def main() -> None:
        async with opened(
            provider or ScriptedProvider(), on_event=seen.append, **arguments
        ) as studio:
            await studio.generate_all(tasks)

    run_virtual(main())
    return [event for event in seen if not isinstance(event, SlotsSampled)]


def told(event: Any) -> str:
    """An event's name, and what it is about."""
    if isinstance(event, StageEnded):
        return " ".join(filter(None, [event.stage, event.name, event.error]))
    return type(event).__name__


class Upper:
    name = "upper"

    async def rewrite(self, task: hg.Task) -> hg.Task:
        await asyncio.sleep(1.5)
        return attrs.evolve(task, prompt=task.prompt.upper())


def same(file: Path, _task: hg.Task) -> Path:
    return file


def broken(_file: Path, _task: hg.Task) -> Path:
    raise OSError("no")


class TestWhatIsTold:
    def test_a_task_from_its_admission_to_its_end(self) -> None:
        seen = observed(CAT, rewrite=[Upper()], process=[same])
        assert [told(event) for event in seen] == [
            "TaskAdmitted", "rewrite upper", "wait", "submit", "JobSubmitted", "job", "JobEnded",
            "fetch", "process same", "store", "TaskEnded",
        ]  # fmt: skip
        assert {getattr(event, "key", "cat") for event in seen} == {"cat"}
        stages = {event.stage: event for event in seen if isinstance(event, StageEnded)}
        assert stages["rewrite"].seconds == pytest.approx(1.5)
        assert stages["rewrite"].part is None
        assert stages["job"].part == 0
        assert 10 <= stages["job"].seconds < 20

    def test_times_go_on_and_a_stage_lies_between_what_surrounds_it(self) -> None:
        seen = observed(CAT, DOG, hg.Task("two", id="two", n=2), process=[same])
        times = [event.time for event in seen]
        assert times == sorted(times)
        ends = {event.outcome.key: event for event in seen if isinstance(event, TaskEnded)}
        assert ends.keys() == {"cat", "dog", "two"}
        for stage in [event for event in seen if isinstance(event, StageEnded)]:
            end = ends[stage.key]
            assert end.time - end.seconds - 1e-5 <= stage.time - stage.seconds
            assert stage.time <= end.time

    def test_nothing_comes_before_an_admission_or_after_an_end(self) -> None:
        provider = ScriptedProvider(
            scripts={
                "rude": Script(submits=[hg.errors.ContentRejectedError("no")]),
                "bad": Script(error=hg.errors.JobFailedError("no")),
                "endless": Script(job_s=float("inf")),
                "busy": Script(submits=[hg.errors.SlotRefusedError("full")]),
                "lost": Script(submits=["lose"]),
            }
        )
        tasks = [hg.Task(prompt, id=prompt, n=2) for prompt in provider.scripts]
        seen = observed(*tasks, provider=provider, process=[same], concurrency=20)
        for task in tasks:
            own = [event for event in seen if getattr(event, "key", None) == task.id]
            ends = [e for e in seen if isinstance(e, TaskEnded) and e.outcome.key == task.id]
            assert isinstance(own[0], TaskAdmitted)
            assert [told(event) for event in own].count("TaskAdmitted") == 1
            assert len(ends) == 1
            assert seen.index(ends[0]) > seen.index(own[-1])

    def test_each_part_tells_which_it_is(self) -> None:
        seen = observed(hg.Task("a", n=2))
        jobs = [event for event in seen if isinstance(event, StageEnded) and event.stage == "job"]
        assert sorted(event.part for event in jobs if event.part is not None) == [0, 1]

    def test_the_wait_for_a_slot_is_told_as_it_was(self) -> None:
        provider = ScriptedProvider(limits=hg.Limits(max_jobs=1), default=Script(job_s=10.0))
        seen = observed(CAT, DOG, provider=provider, concurrency=1)
        waits = [e.seconds for e in seen if isinstance(e, StageEnded) and e.stage == "wait"]
        assert waits[0] == pytest.approx(0.0, abs=0.01)
        assert 10 <= waits[1] < 20

    def test_what_failed_says_so(self) -> None:
        [end] = [e for e in observed(CAT, process=[broken]) if isinstance(e, TaskEnded)]
        assert isinstance(failure_of(end.outcome).error, hg.errors.ProcessingError)
        seen = [told(event) for event in observed(CAT, process=[broken])]
        assert "process broken ProcessingError" in seen
        assert seen[-1] == "TaskEnded"

    def test_a_refused_submit_is_told_with_its_repetition(self) -> None:
        refusal = hg.errors.SlotRefusedError("full", code="Busy")
        provider = ScriptedProvider(default=Script(submits=[refusal]), latency_s=3.0)
        told_of = observed(CAT, provider=provider)
        waits = [e.seconds for e in told_of if isinstance(e, StageEnded) and e.stage == "wait"]
        # The second one begins where the submit has ended.
        assert waits == pytest.approx([0.0, 1.0], abs=0.1)
        seen = [told(event) for event in told_of]
        assert seen.count("RequestRetried") == 1
        first = seen.index("submit SlotRefusedError")
        assert seen[first + 1] == "RequestRetried"
        assert seen[first + 2] == "wait"

    def test_a_task_that_is_stopped_half_way(self) -> None:
        seen: list[Event] = []

        async def main() -> None:
            async with opened(ScriptedProvider(), on_event=seen.append) as studio:
                handle = studio.submit(CAT)
                await asyncio.sleep(5.0)
                await handle.cancel()

        run_virtual(main())
        names = [told(event) for event in seen]
        assert names.index("job CancelledError") < names.index("TaskEnded")

    def test_a_task_that_was_never_taken_in_only_ends(self) -> None:
        seen = observed(CAT, CAT)
        ends = [event for event in seen if isinstance(event, TaskEnded)]
        assert [told(event) for event in seen].count("TaskAdmitted") == 1
        assert sorted(end.outcome.ok for end in ends) == [False, True]

    def test_a_pause_is_told_once_with_its_reason(self) -> None:
        provider = ScriptedProvider(default=Script(submits=[hg.errors.BillingError("no credit")]))
        seen = observed(CAT, DOG, provider=provider)
        [pause] = [event for event in seen if isinstance(event, AccountPaused)]
        assert pause.account == "scripted:test"
        assert "no credit" in pause.reason

    @pytest.mark.parametrize(
        ("said", "price", "counted"),
        [(CNY, None, CNY), (None, CNY, CNY), (None, None, None)],
        ids=["the provider's", "its price", "unknown"],
    )
    def test_a_job_tells_what_a_budget_counts(
        self, said: hg.Cost | None, price: hg.Cost | None, counted: hg.Cost | None
    ) -> None:
        provider = ScriptedProvider(default=Script(cost=said), price=price)
        [job] = [e for e in observed(CAT, provider=provider) if isinstance(e, JobEnded)]
        assert job.cost == counted


class TestResumed:
    def test_a_job_that_goes_on_is_told_from_its_admission(self, tmp_path: Path) -> None:
        runs, seen = Runs(tmp_path), list[Event]()
        runs.killed(CAT, after_s=5.0)
        runs.run(CAT, DOG, on_event=seen.append)
        admitted = Counter(e.key for e in seen if isinstance(e, TaskAdmitted))
        ended = Counter(e.outcome.key for e in seen if isinstance(e, TaskEnded))
        assert admitted == ended == {"cat": 1, "dog": 1}
        cats = [told(e) for e in seen if getattr(e, "key", None) == "cat"]
        assert cats == ["TaskAdmitted", "job", "JobEnded", "fetch", "store"]

    def test_collect_is_observed_as_the_configuration_says(self, tmp_path: Path) -> None:
        runs, seen = Runs(tmp_path), list[Event]()
        runs.killed(CAT, after_s=5.0)
        registry = hg.Registry()
        registry.register("observer", "mine", lambda _options, _ctx: seen.append)
        collector = Collector(
            journal=runs.journal,
            provider=runs.provider,
            config=hg.Config.of({"observe": ["mine"]}, environ={}),
            registry=registry,
        )
        [outcome] = run_virtual(collect(collector.outcomes()))
        assert outcome.ok
        of_task = [told(event) for event in seen if not isinstance(event, SlotsSampled)]
        assert of_task == ["TaskAdmitted", "job", "JobEnded", "fetch", "store", "TaskEnded"]

    def test_what_an_earlier_run_has_ended_only_ends(self, tmp_path: Path) -> None:
        runs, seen = Runs(tmp_path), list[Event]()
        runs.run(CAT)
        runs.run(CAT, on_event=seen.append)
        [end] = seen
        assert isinstance(end, TaskEnded)
        assert (end.outcome.resumed, end.provider, end.seconds) == (True, "scripted", 0.0)


class TestObserversDoNoHarm:
    def test_one_that_raises_is_told_of_once_and_counted(self) -> None:
        def fail(_event: Event) -> None:
            raise OSError("no")

        with capture_logs() as logs:
            seen = observed(CAT, observe=[fail])
        assert told(seen[-1]) == "TaskEnded"
        assert [e["event"] for e in logs if e["event"] == "events.observer_failed"] == [
            "events.observer_failed"
        ]
        [last] = [each for each in logs if each["event"] == "events.observer_failures"]
        assert last["observer"] == "fail"
        assert last["count"] >= len(seen)

    def test_one_that_exits_does_not_end_its_thread(self) -> None:
        seen: list[Event] = []

        def leave(event: Event) -> None:
            seen.append(event)
            raise SystemExit(1)

        observed(CAT, observe=[leave])
        assert len(seen) > 5

    def test_one_that_is_too_slow_loses_events_and_knows_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("holodeck_gen._event_queue.QUEUE_SIZE", 3)
        go, slow, quick = threading.Event(), list[Event](), list[Event]()

        def wait(event: Event) -> None:
            go.wait(10.0)
            slow.append(event)

        queue = EventQueue()
        queue.add("slow", wait)
        queue.add("quick", quick.append)
        sent = [TaskAdmitted(time=0.0, key=str(i), index=i) for i in range(20)]
        with capture_logs() as logs:
            for event in sent:
                queue.put(event)
                while len(quick) <= event.index:
                    pass
            go.set()
            while not slow:
                pass
            queue.put(sent[0])
            queue.close()
        # One was in work, three waited.
        lost = sum(event.count for event in slow if isinstance(event, EventsDropped))
        assert lost + sum(isinstance(event, TaskAdmitted) for event in slow) == 21
        assert lost >= 16
        assert quick[:20] == sent
        assert [(each["event"], each.get("count")) for each in logs] == [
            ("events.observer_too_slow", None),
            ("events.dropped", lost),
        ]

    def test_one_that_hangs_is_left_behind(self) -> None:
        hang, closed = threading.Event(), list[int]()
        queue = EventQueue()
        queue.add("stuck", lambda _event: hang.wait(10.0), close=lambda: closed.append(1))
        for i in range(4):
            queue.put(TaskAdmitted(time=0.0, key=str(i), index=i))
        with capture_logs() as logs:
            queue.close(timeout_s=0.05)
        assert [each["event"] for each in logs] == [
            "events.observer_still_busy",
            "events.dropped",
        ]
        hang.set()
        for thread in threading.enumerate():
            if thread.name == "holodeck-gen-events-stuck":
                thread.join(5.0)
        assert closed == [1]

    def test_nothing_is_built_where_nobody_listens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def forbidden(*_arguments: Any, **_more: Any) -> None:
            raise AssertionError("an event was built")

        for kind in get_args(Event):
            monkeypatch.setattr(kind, "__init__", forbidden)

        async def main() -> list[hg.Outcome]:
            async with opened(ScriptedProvider(), rewrite=[Upper()], process=[same]) as studio:
                return await collect(studio.map([CAT, DOG]))

        assert all(outcome.ok for outcome in run_virtual(main()))
        assert EventQueue().stage("job", key="a") is EventQueue().stage("wait", key="b")


@attrs.frozen
class Options:
    label: str = "none"


class Closing:
    """An observer that remembers its last thread and whether it was closed."""

    made: list[Closing] = []  # noqa: RUF012 -- emptied by the fixture

    def __init__(self, options: Options | None) -> None:
        self.label = options.label if options else ""
        self.seen: list[Event] = []
        self.threads: set[int] = set()
        self.closed_after: int | None = None
        Closing.made.append(self)

    def __call__(self, event: Event) -> None:
        self.seen.append(event)
        self.threads.add(threading.get_ident())

    def close(self) -> None:
        self.closed_after = len(self.seen)
        self.threads.add(threading.get_ident())


class TestConfigured:
    @pytest.fixture(autouse=True)
    def nothing_made(self) -> None:
        Closing.made.clear()

    def run(self, observe: Any = None, settings: Any = None) -> None:
        async def main() -> None:
            registry = hg.Registry()
            registry.register(
                "observer", "closing", lambda options, _ctx: Closing(options), options=Options
            )
            async with opened_with(registry, settings or {}, observe=observe) as studio:
                await studio.generate(CAT)

        run_virtual(main())

    def test_by_name_with_options_twice(self) -> None:
        stages = {"one": {"use": "closing", "label": "1"}, "closing": {"label": "2"}}
        self.run(["one", "closing"], {"stages": stages})
        assert [each.label for each in Closing.made] == ["1", "2"]
        for each in Closing.made:
            assert told(each.seen[0]) == "TaskAdmitted"
            assert each.closed_after == len(each.seen)
            # In one thread, that is not ours.
            assert len(each.threads) == 1
            assert threading.get_ident() not in each.threads

    def test_by_the_setting(self) -> None:
        self.run(None, {"observe": ["closing"]})
        assert len(Closing.made) == 1

    def test_what_is_handed_in_ready_is_not_closed(self) -> None:
        own = Closing(None)
        self.run([own])
        assert own.seen
        assert own.closed_after is None

    def test_a_wrong_name_is_an_error_before_anything_runs(self) -> None:
        with pytest.raises(hg.errors.UnknownNameError, match="closing"):
            self.run(["closnig"])

    def test_one_that_cannot_be_made_closes_the_others(self) -> None:
        async def main() -> None:
            registry = hg.Registry()
            registry.register("observer", "closing", lambda options, _ctx: Closing(options))
            registry.register("observer", "bad", lambda _options, _ctx: 1 / 0)
            with pytest.raises(hg.errors.PluginLoadError, match="bad"):
                async with opened_with(registry, {}, observe=["closing", "bad"]):
                    pass

        run_virtual(main())
        assert [each.closed_after for each in Closing.made] == [0]


def opened_with(registry: hg.Registry, settings: Any, **arguments: Any) -> Any:
    return opened(
        ScriptedProvider(),
        registry=registry,
        config=hg.Config.of(settings, environ={}),
        **arguments,
    )


def test_the_page_says_what_the_code_does() -> None:
    """Each event has a heading, and a table with each of its fields, in order."""
    sections = PAGE.read_text(encoding="utf-8").split("\n### ")[1:]
    written = {}
    for section in sections:
        title, _, text = section.partition("\n")
        rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| `")]
        written[title.strip("` ")] = [row.strip("`") for row in rows]
    assert written == {
        kind.__name__: [field.name for field in attrs.fields(kind)] for kind in get_args(Event)
    }
    stages = get_args(events.Stage)
    assert all(f"`{stage}`" in PAGE.read_text(encoding="utf-8") for stage in stages)
