"""What OpenTelemetry is given: a span of each task and stage, and figures."""

from __future__ import annotations

import asyncio
import re
import sys
from collections import defaultdict
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from opentelemetry import metrics, trace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from structlog.testing import capture_logs

import holodeck_gen as hg
from helpers import opened
from holodeck_gen.errors import ConfigError, PluginLoadError
from holodeck_gen.testing import Script, ScriptedProvider, run_virtual
from holodeck_gen_plugins.observers.otel import Otel, OtelOptions, make_otel
from pictures import context
from runs import CAT, DOG, Runs
from watched import BAD, PRICE, same, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator


@attrs.define
class Heard:
    """A program's own OpenTelemetry, in memory."""

    exporter: InMemorySpanExporter = attrs.field(factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = attrs.field(factory=InMemoryMetricReader)
    tracers: TracerProvider = attrs.field(init=False)
    meters: MeterProvider = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)

    def observer(self) -> Otel:
        return Otel(tracer_provider=self.tracers, meter_provider=self.meters)

    def tasks(self) -> dict[str, tuple[ReadableSpan, list[ReadableSpan]]]:
        """Each task's span with its children, by the task's key."""
        spans = self.exporter.get_finished_spans()
        children: dict[int, list[ReadableSpan]] = defaultdict(list)
        for span in spans:
            if span.parent is not None:
                children[span.parent.span_id].append(span)
        return {
            str(facts(span)["holodeck_gen.task.key"]): (span, children[id_of(span)])
            for span in spans
            if span.parent is None
        }

    def metrics(self) -> dict[str, Any]:
        data = self.reader.get_metrics_data()
        assert data is not None
        [resource] = data.resource_metrics
        [scope] = resource.scope_metrics
        return {metric.name: metric for metric in scope.metrics}

    def value(self, name: str, **attributes: str) -> float:
        """The figure whose attributes have these last words as names."""
        [found] = [
            point
            for point in self.metrics()[name].data.data_points
            if {k.rpartition(".")[2]: v for k, v in point.attributes.items()} == attributes
        ]
        figure: float = found.sum if hasattr(found, "sum") else found.value
        return figure


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    number: int = span.context.span_id
    return number


def facts(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def seconds(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


class Upper:
    name = "upper"

    async def rewrite(self, task: hg.Task) -> hg.Task:
        await asyncio.sleep(1.5)
        return attrs.evolve(task, prompt=task.prompt.upper())


def heard(*tasks: hg.Task, provider: Any = None, **arguments: Any) -> Heard:
    """What is told of a run, once its observer is closed."""
    heard = Heard()
    observer = heard.observer()

    async def main() -> None:
        async with opened(provider or scripted(), observe=[observer], **arguments) as studio:
            await studio.generate_all(tasks)

    run_virtual(main())
    observer.close()
    return heard


class TestSpans:
    def test_a_task_has_a_child_for_each_stage_in_its_place(self) -> None:
        provider = ScriptedProvider(default=Script(job_s=20.0))
        told = heard(CAT, provider=provider, rewrite=[Upper()], process=[same])
        [(task, stages)] = told.tasks().values()
        assert task.name == "generate image"
        assert task.status.status_code is StatusCode.UNSET
        assert [stage.name for stage in stages] == [
            "rewrite upper", "wait", "submit", "job", "fetch", "process same", "store",
        ]  # fmt: skip
        lengths = {stage.name: seconds(stage) for stage in stages}
        assert lengths["rewrite upper"] == pytest.approx(1.5, abs=0.01)
        assert 20 <= lengths["job"] < 30
        assert sum(lengths.values()) == pytest.approx(seconds(task), abs=0.5)
        assert task.start_time is not None
        assert task.end_time is not None
        last = task.start_time
        for stage in stages:
            # Times are told as numbers with some 200 ns to a step.
            assert stage.start_time is not None
            assert last - 1000 <= stage.start_time
            last = stage.end_time or 0
        assert last <= task.end_time
        kinds = {stage.name for stage in stages if stage.kind is SpanKind.CLIENT}
        assert kinds == {"submit", "fetch"}

    def test_a_task_says_who_made_it_but_not_what(self) -> None:
        [(task, stages)] = heard(CAT).tasks().values()
        assert facts(task)["holodeck_gen.provider"] == "scripted"
        assert facts(task)["holodeck_gen.task.state"] == "done"
        [job_id] = facts(task)["holodeck_gen.job.ids"]
        jobs = {stage.name: facts(stage).get("holodeck_gen.job.id") for stage in stages}
        assert jobs["job"] == jobs["fetch"] == job_id
        assert CAT.prompt not in str([facts(span) for span in (task, *stages)])
        for name in {name for span in (task, *stages) for name in facts(span)}:
            assert re.fullmatch(r"error\.type|holodeck_gen(\.[a-z_]+)+", name)

    def test_a_repeated_request_is_an_event(self) -> None:
        [(task, stages)] = heard(CAT).tasks().values()
        [retry] = task.events
        assert retry.name == "retry"
        assert dict(retry.attributes or {}) == {
            "holodeck_gen.action": "submit",
            "holodeck_gen.wait": 1.0,
            "error.type": "SlotRefusedError",
        }
        assert task.start_time is not None
        assert task.end_time is not None
        assert task.start_time <= retry.timestamp <= task.end_time
        submits = [stage for stage in stages if stage.name == "submit"]
        assert [stage.status.status_code for stage in submits] == [
            StatusCode.ERROR,
            StatusCode.UNSET,
        ]
        assert facts(submits[0])["error.type"] == "SlotRefusedError"

    def test_a_failure_is_an_error_without_the_words(self) -> None:
        [(task, _)] = heard(BAD).tasks().values()
        assert task.status.status_code is StatusCode.ERROR
        assert task.status.description == "ContentRejectedError"
        assert facts(task)["error.type"] == "ContentRejectedError"

    def test_a_task_that_is_stopped_is_no_error(self) -> None:
        told = Heard()

        async def main() -> None:
            async with opened(scripted(), observe=[told.observer()]) as studio:
                handle = studio.submit(DOG)
                await asyncio.sleep(5.0)
                await handle.cancel()

        run_virtual(main())
        [(task, stages)] = told.tasks().values()
        [job] = [stage for stage in stages if stage.name == "job"]
        assert job.status.status_code is StatusCode.UNSET
        assert facts(job)["error.type"] == "CancelledError"
        # Its job goes on and has to be paid for.
        assert facts(task)["holodeck_gen.task.state"] == "held"

    def test_a_resumed_run_tells_only_what_it_does(self, tmp_path: Path) -> None:
        runs, told = Runs(tmp_path), Heard()
        runs.run(CAT)
        runs.killed(CAT, DOG, after_s=5.0)
        runs.run(CAT, DOG, observe=[told.observer()])
        [(task, stages)] = told.tasks().values()
        assert facts(task)["holodeck_gen.task.key"] == "dog"
        assert [stage.name for stage in stages] == ["job", "fetch", "store"]


class TestMetrics:
    def test_they_are_those_of_the_run(self) -> None:
        told = heard(CAT, DOG, BAD, process=[same], concurrency=2)
        count = {
            point.attributes["holodeck_gen.task.state"]: point.count
            for point in told.metrics()["holodeck_gen.task.duration"].data.data_points
        }
        assert count == {"done": 2, "failed": 1}
        assert told.value("holodeck_gen.task.active") == 0
        assert told.value("holodeck_gen.artifact.made", provider="scripted") == 2
        assert told.value("holodeck_gen.job.submitted", provider="scripted") == 2
        assert 60 <= told.value("holodeck_gen.job.duration", provider="scripted", phase="done") < 90
        assert told.value("holodeck_gen.job.cost", provider="scripted", currency="CNY") == float(
            2 * PRICE.amount
        )
        slots = {"account": "scripted:test", "quota": "image"}
        assert told.value("holodeck_gen.slot.refusals", **slots) == 1
        assert told.value("holodeck_gen.slot.usage", **slots) == 0
        assert told.value("holodeck_gen.slot.limit", **slots) >= 1
        assert 0.5 < told.value("holodeck_gen.slot.utilization", **slots) <= 1
        assert 60 <= told.value("holodeck_gen.slot.taken_time", **slots) < 90
        retried = {"provider": "scripted", "action": "submit", "type": "SlotRefusedError"}
        assert told.value("holodeck_gen.request.retries", **retried) == 1

    def test_names_and_units_are_those_of_opentelemetry(self) -> None:
        """https://opentelemetry.io/docs/specs/semconv/general/metrics/"""
        found = heard(CAT, DOG, BAD, process=[same]).metrics()
        assert len(found) >= 14
        for name, metric in found.items():
            assert re.fullmatch(r"holodeck_gen(\.[a-z][a-z_]*){2}", name)
            # Neither unit nor suffix in the name: exporters add them where they are wanted.
            assert not re.search(r"(total|seconds|_s|ratio)$", name)
            assert metric.unit in ("s", "1") or re.fullmatch(r"\{[a-z]+\}", metric.unit)
            assert metric.unit == "s" or not name.endswith(("duration", "_time"))
            assert metric.unit == "1" or not name.endswith("utilization")
            assert metric.description.endswith(".")

    def test_every_one_is_documented_with_its_unit_and_attributes(self) -> None:
        page = Path(__file__).parents[2] / "docs" / "how-to" / "watch-a-run.md"
        row = re.compile(r"^\| `(holodeck_gen\.[\w.]+)` \| (\S+) \|([^|]*)\|", re.MULTILINE)
        documented = {
            name: (unit, set(re.findall(r"`([\w.]+)`", attributes)))
            for name, unit, attributes in row.findall(page.read_text("utf-8"))
        }
        found = heard(CAT, DOG, BAD, process=[same]).metrics()
        paused = ScriptedProvider(default=Script(submits=[hg.errors.BillingError("no credit")]))
        found |= heard(CAT, provider=paused).metrics()
        assert documented.keys() - found.keys() <= {
            # Told of a resumed run, and of one that is watched too slowly.
            "holodeck_gen.task.resumed",
            "holodeck_gen.event.dropped",
        }
        assert found.keys() <= documented.keys()
        for name, metric in found.items():
            unit, attributes = documented[name]
            assert metric.unit == unit
            for point in metric.data.data_points:
                used = {each.removeprefix("holodeck_gen.") for each in point.attributes}
                assert used <= attributes

    def test_no_attribute_tells_tasks_apart(self) -> None:
        few, many = (
            {
                (name, *point.attributes.items())
                for name, metric in heard(*tasks).metrics().items()
                for point in metric.data.data_points
            }
            for tasks in (
                [hg.Task("tulip", id="t0")],
                [hg.Task("tulip", id=f"t{i}") for i in range(4)],
            )
        )
        assert few == many
        assert "t0" not in str(few)


class _Collector(BaseHTTPRequestHandler):
    """Takes what OTLP over HTTP sends."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got[self.path].append(body)  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def collector() -> Iterator[tuple[str, dict[str, list[bytes]]]]:
    got: dict[str, list[bytes]] = defaultdict(list)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Collector) as server:
        server.got = got  # type: ignore[attr-defined]
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", got
        finally:
            server.shutdown()
            thread.join()


class TestTheEnvironmentSaysWhereTo:
    @pytest.fixture(autouse=True)
    def no_variables(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import os

        for name in [name for name in os.environ if name.startswith("OTEL_")]:
            monkeypatch.delenv(name)

    def test_a_collector_gets_both_before_the_studio_is_closed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def main() -> None:
            config = hg.Config.of({"observe": ["otel"]}, environ={})
            async with opened(scripted(), config=config, registry=hg.Registry()) as studio:
                await studio.generate(CAT)

        with collector() as (address, got):
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
            monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=night")
            run_virtual(main())
        spans = ExportTraceServiceRequest.FromString(b"".join(got["/v1/traces"]))
        [resource] = spans.resource_spans
        [scope] = resource.scope_spans
        assert scope.scope.name == "holodeck_gen"
        assert "generate image" in {span.name for span in scope.spans}
        told = {each.key: each.value.string_value for each in resource.resource.attributes}
        assert told["service.name"] == "holodeck-gen"
        assert told["deployment.environment.name"] == "night"
        figures = ExportMetricsServiceRequest.FromString(got["/v1/metrics"][-1])
        names = {m.name for m in figures.resource_metrics[0].scope_metrics[0].metrics}
        assert "holodeck_gen.task.duration" in names

    def test_a_collector_that_is_away_is_told_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with collector() as (address, _got):
            pass
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        # No time for a second try.
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")
        monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
        with capture_logs() as logs:
            observer = make_otel(None, context())
            assert isinstance(observer.tracer_provider, TracerProvider)
            tracer = observer.tracer_provider.get_tracer("a test")
            for _ in range(3):
                tracer.start_span("a").end()
                observer.tracer_provider.force_flush()
            observer.close()
        assert [(each["event"], each["signal"]) for each in logs] == [
            ("otel.not_exported", "traces")
        ]

    def test_nothing_is_sent_where_none_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
        monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
        with collector() as (address, got):
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
            make_otel(None, context()).close()
        assert got == {}

    @pytest.mark.parametrize(
        ("variable", "value", "error", "said"),
        [
            ("OTEL_TRACES_EXPORTER", "zipkin", PluginLoadError, "zipkin.*there are: .*console"),
            ("OTEL_METRICS_EXPORTER", "statsd", PluginLoadError, "OTEL_METRICS_EXPORTER.*statsd"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier", ConfigError, "carrier.*http/protobuf"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", PluginLoadError, "otlp_proto_grpc"),
        ],
    )
    def test_what_is_not_there_is_an_error_before_anything_runs(
        self,
        monkeypatch: pytest.MonkeyPatch,
        variable: str,
        value: str,
        error: type[Exception],
        said: str,
    ) -> None:
        monkeypatch.setenv(variable, value)
        if variable != "OTEL_TRACES_EXPORTER" and "PROTOCOL" not in variable:
            monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
        with pytest.raises(error, match=said):
            make_otel(None, context())

    def test_what_the_program_has_set_up_is_used_and_left_open(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told = Heard()
        monkeypatch.setattr(trace, "get_tracer_provider", lambda: told.tracers)
        monkeypatch.setattr(metrics, "get_meter_provider", lambda: told.meters)
        for _ in range(2):
            observer = make_otel(OtelOptions(), context())

            async def main(observer: Otel = observer) -> None:
                async with opened(scripted(), observe=[observer]) as studio:
                    await studio.generate(DOG)

            run_virtual(main())
            observer.close()
        assert len([span for span in told.exporter.get_finished_spans() if not span.parent]) == 2

    def test_only_what_is_wanted_is_told(self) -> None:
        observer = make_otel(OtelOptions(traces=False, metrics=False), context())
        assert (observer.tracer_provider, observer.meter_provider) == (None, None)
        observer.close()


def test_without_its_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "holodeck_gen_plugins.observers._otel_setup"
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delattr(sys.modules["holodeck_gen_plugins.observers"], "_otel_setup", raising=False)
    with pytest.raises(PluginLoadError, match=r"pip install 'holodeck-gen\[otel\]'"):
        make_otel(None, context())
