"""What Prometheus reads: a page, a file, and figures that are those of the run."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError

import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

import holodeck_gen as hg
from helpers import collect, opened
from holodeck_gen.errors import ConfigError, PluginLoadError
from holodeck_gen.testing import Script, ScriptedProvider, run_virtual
from holodeck_gen_plugins.observers.prometheus import (
    Prometheus,
    PrometheusOptions,
    make_prometheus,
)
from pictures import context
from runs import CAT, DOG, Runs
from watched import BAD, same, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator


def observe(*observers: Any, tasks: Any = (CAT, DOG, BAD), **arguments: Any) -> list[hg.Outcome]:
    async def main() -> list[hg.Outcome]:
        async with opened(
            scripted(), observe=observers, process=[same], concurrency=2, **arguments
        ) as studio:
            return await collect(studio.map(tasks))

    return run_virtual(main())


def families(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def samples(text: str) -> dict[str, float]:
    """Every sample by its name and the values of its labels."""
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in families(text).values()
        for sample in family.samples
    }


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10.0) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        text: str = answer.read().decode()
        return text


def made(**options: Any) -> tuple[Prometheus, str]:
    """An observer with a page, and the page's address."""
    with capture_logs() as logs:
        observer = make_prometheus(PrometheusOptions(**options), context())
    [served] = [each["url"] for each in logs if each["event"] == "metrics.served"]
    return observer, served


@pytest.fixture
def page() -> Iterator[tuple[Prometheus, str]]:
    observer, url = made(port=0)
    yield observer, url
    observer.close()


def figures(*, tasks: Any = (CAT, DOG, BAD)) -> str:
    """What a registry holds after a run, and after its observer is closed."""
    registry = CollectorRegistry()
    observer = Prometheus(registry)
    observe(observer, tasks=tasks)
    observer.close()
    return generate_latest(registry).decode()


def test_a_page_is_read_as_prometheus_reads_it(page: tuple[Prometheus, str]) -> None:
    observer, url = page
    outcomes = observe(observer)
    assert sorted(outcome.state for outcome in outcomes) == ["done", "done", "failed"]
    found = samples(read(url))
    assert found["holodeck_gen_tasks_total  scripted done"] == 2
    assert found["holodeck_gen_tasks_total ContentRejectedError scripted failed"] == 1
    assert found["holodeck_gen_tasks_in_work"] == 0
    assert found["holodeck_gen_task_duration_seconds_count scripted done"] == 2
    assert found["holodeck_gen_artifacts_total scripted"] == 2
    assert found["holodeck_gen_jobs_submitted_total scripted"] == 2
    assert 60 <= found["holodeck_gen_job_duration_seconds_sum done scripted"] < 90
    assert found["holodeck_gen_retries_total submit SlotRefusedError scripted"] == 1
    assert found["holodeck_gen_slot_refusals_total scripted:test image"] == 1
    assert found["holodeck_gen_slots_taken scripted:test image"] == 0
    assert found["holodeck_gen_slots_ceiling scripted:test image"] >= 1
    assert 0.5 < found["holodeck_gen_slots_busy_ratio scripted:test image"] <= 1
    assert 60 <= found["holodeck_gen_slots_taken_seconds_total scripted:test image"] < 90
    assert found["holodeck_gen_stage_duration_seconds_count same process"] == 2
    assert found["holodeck_gen_stage_duration_seconds_count  store"] == 2
    assert found["holodeck_gen_stage_errors_total ContentRejectedError  submit"] == 1
    assert found["holodeck_gen_cost_total CNY scripted"] == 0.5
    assert found["holodeck_gen_account_paused scripted:test"] == 0
    assert found["holodeck_gen_events_dropped_total"] == 0


def test_names_and_units_are_those_of_prometheus() -> None:
    """https://prometheus.io/docs/practices/naming/"""
    # prometheus-client adds when each series began.
    ours = [each for each in families(figures()).values() if not each.name.endswith("_created")]
    assert len(ours) == 20
    for family in ours:
        assert re.fullmatch(r"holodeck_gen(_[a-z]+)+", family.name)
        assert family.documentation.endswith(".")
        assert not re.search(r"milli|minutes|hours|percent|_(count|sum|bucket)$", family.name)
        # The parser takes the suffix off the family's name.
        totals = {sample.name.endswith("_total") for sample in family.samples}
        assert totals <= {family.type == "counter"}
        assert family.type in ("counter", "gauge", "histogram")
        if "duration" in family.name:
            assert (family.type, family.name.endswith("_seconds")) == ("histogram", True)
        if family.name.endswith("_ratio"):
            assert all(0 <= sample.value <= 1 for sample in family.samples)


def test_every_metric_is_documented_with_its_labels() -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "watch-a-run.md"
    rows = re.findall(
        r"^\| `(holodeck_gen_\w+)` \|([^|]*)\|", page.read_text("utf-8"), re.MULTILINE
    )
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    registry = CollectorRegistry()
    Prometheus(registry)
    found = {
        f"{family.name}_total" if family.type == "counter" else family.name: family
        for family in registry.collect()
    }
    assert documented.keys() == found.keys()
    for family in families(figures()).values():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        for sample in family.samples:
            if name in documented:
                assert sample.labels.keys() - {"le"} == documented[name]


def test_no_label_tells_tasks_apart() -> None:
    few, many = (
        families(figures(tasks=[hg.Task(f"tulip {i}", id=f"t{i}") for i in range(count)]))
        for count in (1, 5)
    )
    labels = [
        {
            (sample.name, *sample.labels.items())
            for family in each.values()
            for sample in family.samples
        }
        for each in (few, many)
    ]
    assert labels[0] == labels[1]
    assert not re.search(r"tulip|\bt[0-4]\b", str(labels))


def test_what_is_only_true_while_a_studio_works_is_taken_back() -> None:
    registry = CollectorRegistry()
    observer = Prometheus(registry)

    async def main() -> None:
        async with opened(scripted(), observe=[observer]) as studio:
            work = asyncio.ensure_future(collect(studio.map([DOG])))
            await asyncio.sleep(5.0)
            work.cancel()
            await asyncio.wait({work})

    run_virtual(main())
    assert samples(generate_latest(registry).decode())["holodeck_gen_tasks_in_work"] == 1
    observer.close()
    found = samples(generate_latest(registry).decode())
    assert found["holodeck_gen_tasks_in_work"] == 0
    assert found["holodeck_gen_slots_taken scripted:test image"] == 0


def test_what_an_earlier_run_has_done_is_counted_apart(tmp_path: Path) -> None:
    runs, registry = Runs(tmp_path), CollectorRegistry()
    runs.run(CAT)
    runs.run(CAT, DOG, observe=[Prometheus(registry)])
    found = samples(generate_latest(registry).decode())
    assert found["holodeck_gen_tasks_resumed_total"] == 1
    assert found["holodeck_gen_tasks_total  scripted done"] == 1
    assert found["holodeck_gen_jobs_submitted_total scripted"] == 1


def test_a_pause_is_seen() -> None:
    registry = CollectorRegistry()
    provider = ScriptedProvider(default=Script(submits=[hg.errors.BillingError("no credit")]))

    async def main() -> None:
        async with opened(provider, observe=[Prometheus(registry)]) as studio:
            await studio.generate_all([CAT])

    run_virtual(main())
    assert (
        samples(generate_latest(registry).decode())["holodeck_gen_account_paused scripted:test"]
        == 1
    )


def test_studios_of_one_process_share_a_page(page: tuple[Prometheus, str]) -> None:
    one, url = page
    other, same_url = made(port=int(url.rpartition(":")[2].partition("/")[0]))
    assert same_url == url
    observe(one, tasks=[DOG])
    observe(other, tasks=[DOG])
    other.close()
    assert samples(read(url))["holodeck_gen_tasks_total  scripted done"] == 2


def test_a_page_ends_with_its_last_user() -> None:
    observer, url = made(port=0)
    observer.close()
    with pytest.raises(URLError):
        read(url)


def test_a_port_that_is_taken_stops_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with capture_logs() as logs:
            observer = make_prometheus(PrometheusOptions(port=port), context())
    [warning] = logs
    assert (warning["event"], warning["port"]) == ("metrics.not_served", port)
    assert all(outcome.ok for outcome in observe(observer, tasks=[CAT]))
    observer.close()


def test_a_file_stays_when_the_run_has_ended(tmp_path: Path) -> None:
    file = tmp_path / "run.prom"
    settings = {
        "observe": ["prometheus"],
        "stages": {"prometheus": {"serve": False, "textfile": str(file)}},
    }

    config = hg.Config.of(settings, environ={})
    observe_by_setting(config)
    found = samples(file.read_text(encoding="utf-8"))
    assert found["holodeck_gen_tasks_total  scripted done"] == 1
    assert found["holodeck_gen_tasks_in_work"] == 0
    assert [each.name for each in tmp_path.iterdir()] == ["run.prom"]


def observe_by_setting(config: hg.Config) -> None:
    async def main() -> None:
        async with opened(scripted(), config=config, registry=hg.Registry()) as studio:
            await studio.generate(CAT)

    run_virtual(main())


def test_a_file_that_cannot_be_written_is_one_warning(tmp_path: Path) -> None:
    options = PrometheusOptions(
        serve=False, textfile=str(tmp_path / "no" / "run.prom"), textfile_every_s=0.0
    )
    with capture_logs() as logs:
        observer = make_prometheus(options, context())
        assert all(outcome.ok for outcome in observe(observer, tasks=[CAT]))
        observer.close()
    warnings = [each["event"] for each in logs if each["log_level"] == "warning"]
    assert warnings.count("metrics.not_written") == 1
    assert "events.observer_failed" not in warnings


def test_a_file_that_nobody_would_read_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must end in \.prom"):
        make_prometheus(PrometheusOptions(textfile="run.txt"), context())


def test_without_its_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(PluginLoadError, match=r"pip install 'holodeck-gen\[prometheus\]'"):
        make_prometheus(None, context())
