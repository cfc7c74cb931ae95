"""The observer that counts for Prometheus: on a page of this machine, or in a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

import holodeck_gen as hg
from holodeck_gen import events
from holodeck_gen.errors import ConfigError
from holodeck_gen_plugins._extras import missing
from holodeck_gen_plugins.observers._slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from holodeck_gen_plugins.observers._figures import Figures
    from holodeck_gen_plugins.observers._page import Page


@attrs.frozen(kw_only=True)
class PrometheusOptions:
    """Options of the observer for Prometheus.

    Attributes:
        serve: Whether there is a page while the studio is open.
        host: Where it is; this machine only, unless told otherwise.
        port: Its port; 0 takes a free one, which is told at the level INFO (-v).
        textfile: A file that node_exporter reads, ending in .prom; it stays when the run has ended.
        textfile_every_s: Seconds between two writings of it, at least.
    """

    serve: bool = True
    host: str = "127.0.0.1"
    port: int = attrs.field(
        default=9464,
        validator=attrs.validators.and_(attrs.validators.ge(0), attrs.validators.le(65535)),
    )
    textfile: str | None = None
    textfile_every_s: float = attrs.field(default=15.0, validator=attrs.validators.ge(0))


@attrs.define(eq=False)
class Prometheus:
    """Counts the events of one studio; several may share one registry.

    Args:
        registry: Where the metrics are, such as `prometheus_client.REGISTRY` of a program that
            has a page of its own.
        on_event: Called after each event.
        on_close: Called at the end.
    """

    registry: CollectorRegistry
    on_event: Callable[[], object] = attrs.field(default=lambda: None, kw_only=True)
    on_close: Callable[[], object] = attrs.field(default=lambda: None, kw_only=True)
    _figures: Figures = attrs.field(init=False)
    _slots: Slots = attrs.field(factory=Slots, init=False)
    _in_work: set[str] = attrs.field(factory=set, init=False)
    _accounts: set[str] = attrs.field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        from holodeck_gen_plugins.observers._figures import Figures

        self._figures = Figures.of(self.registry)

    def __call__(self, event: events.Event) -> None:
        """Count one event. As `holodeck_gen.events.Observer`."""
        figures = self._figures
        match event:
            case events.TaskAdmitted():
                self._in_work.add(event.key)
                figures.tasks_in_work.inc()
            case events.StageEnded():
                self._stage(event)
            case events.JobSubmitted():
                figures.submitted.labels(event.provider).inc()
            case events.RequestRetried():
                figures.retries.labels(event.provider, event.action, event.error).inc()
            case events.JobEnded():
                figures.job_seconds.labels(event.provider, event.phase).observe(event.seconds)
                if event.cost is not None and event.cost.amount:
                    amount = float(event.cost.amount)
                    figures.cost.labels(event.provider, event.cost.currency).inc(amount)
            case events.SlotsSampled():
                self._sample(event)
            case events.AccountPaused():
                self._accounts.add(event.account)
                figures.paused.labels(event.account).set(1)
            case events.TaskEnded():
                self._end(event)
            case events.EventsDropped():
                figures.dropped.inc(event.count)
        self.on_event()

    def close(self) -> None:
        """Take back what is only true while the studio is open."""
        self._figures.tasks_in_work.dec(len(self._in_work))
        self._in_work.clear()
        for change in self._slots.leave():
            labels = change.account, change.quota
            self._figures.taken.labels(*labels).inc(change.taken)
            self._figures.waiting.labels(*labels).inc(change.waiting)
        self.on_close()

    def _stage(self, event: events.StageEnded) -> None:
        labels = event.stage, event.name or ""
        if event.error == "CancelledError":
            # How long something took that was stopped says nothing.
            return
        self._figures.stage_seconds.labels(*labels).observe(event.seconds)
        if event.error is not None:
            self._figures.stage_errors.labels(*labels, event.error).inc()

    def _sample(self, event: events.SlotsSampled) -> None:
        figures, labels = self._figures, (event.account, event.quota)
        change = self._slots.change(event)
        figures.taken.labels(*labels).inc(change.taken)
        figures.waiting.labels(*labels).inc(change.waiting)
        figures.refusals.labels(*labels).inc(change.refusals)
        figures.taken_seconds.labels(*labels).inc(change.taken_s)
        figures.allowed_seconds.labels(*labels).inc(change.allowed_s)
        # The ceiling is the account's, for all studios, so the last one to know is right.
        figures.ceiling.labels(*labels).set(event.ceiling)
        if event.busy is not None:
            figures.busy.labels(*labels).set(event.busy)
        if event.account not in self._accounts:
            self._accounts.add(event.account)
            figures.paused.labels(event.account).set(0)

    def _end(self, event: events.TaskEnded) -> None:
        figures, outcome = self._figures, event.outcome
        if outcome.key in self._in_work:
            self._in_work.remove(outcome.key)
            figures.tasks_in_work.dec()
        if outcome.resumed:
            figures.tasks_resumed.inc()
            return
        provider = event.provider or ""
        error = "" if isinstance(outcome, hg.Result) else type(outcome.error).__name__
        figures.tasks.labels(provider, outcome.state, error).inc()
        figures.task_seconds.labels(provider, outcome.state).observe(event.seconds)
        figures.artifacts.labels(provider).inc(len(outcome.artifacts))


@attrs.define(eq=False)
class _Textfile:
    """The metrics in a file that is whole at any time."""

    path: Path
    every_s: float
    registry: CollectorRegistry
    ctx: hg.Context
    _written: float = attrs.field(default=float("-inf"), init=False)
    _failed: bool = attrs.field(default=False, init=False)

    def refresh(self) -> None:
        if time.monotonic() >= self._written + self.every_s:
            self.write()

    def write(self) -> None:
        from prometheus_client import write_to_textfile

        self._written = time.monotonic()
        try:
            write_to_textfile(str(self.path), self.registry)
        except OSError as error:
            # Once is enough: it is tried again each time.
            if not self._failed:
                self.ctx.log.warning("metrics.not_written", file=str(self.path), error=str(error))
            self._failed = True


def make_prometheus(options: PrometheusOptions | None, ctx: hg.Context) -> Prometheus:
    """The factory.

    Raises:
        PluginLoadError: prometheus-client is not installed.
        ConfigError: node_exporter would not read the file.
    """
    try:
        from prometheus_client import CollectorRegistry
    except ImportError as error:
        raise missing("prometheus", "prometheus-client") from error
    options = options or PrometheusOptions()
    if options.textfile is not None and not options.textfile.endswith(".prom"):
        raise ConfigError(
            f"prometheus: textfile {options.textfile!r} must end in .prom; node_exporter reads no"
            " other"
        )
    page = _page(options, ctx)
    registry = CollectorRegistry() if page is None else page.registry
    file = None
    if options.textfile is not None:
        path = Path(options.textfile).expanduser()
        file = _Textfile(path, options.textfile_every_s, registry, ctx)

    def close() -> None:
        if file is not None:
            file.write()
        if page is not None:
            page.leave()

    on_event = (lambda: None) if file is None else file.refresh
    return Prometheus(registry, on_event=on_event, on_close=close)


def _page(options: PrometheusOptions, ctx: hg.Context) -> Page | None:
    from holodeck_gen_plugins.observers._page import Page

    if not options.serve:
        return None
    try:
        page = Page.join(options.host, options.port)
    except OSError as error:
        # Probably another run of the same user. It is no reason not to work.
        ctx.log.warning(
            "metrics.not_served",
            host=options.host,
            port=options.port,
            error=str(error),
            hint="set another port, or serve = false",
        )
        return None
    ctx.log.info("metrics.served", url=page.url)
    return page


@hg.hookimpl
def register_observers(register: hg.Register) -> None:
    """Register the observer."""
    register(
        "prometheus",
        make_prometheus,
        options=PrometheusOptions,
        summary="Counts for Prometheus: a page on this machine, or a file.",
    )
