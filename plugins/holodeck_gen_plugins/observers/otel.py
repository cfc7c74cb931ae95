"""The observer that gives metrics and traces to OpenTelemetry."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import attrs

import holodeck_gen as hg
from holodeck_gen import events
from holodeck_gen_plugins._extras import missing

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from holodeck_gen_plugins.observers._otel_metrics import OtelMetrics
    from holodeck_gen_plugins.observers._otel_spans import OtelSpans

_SCOPE = "holodeck_gen"


@attrs.frozen(kw_only=True)
class OtelOptions:
    """Options of the observer for OpenTelemetry; the rest is said by its variables, OTEL_….

    Attributes:
        traces: Whether to make a span of each task and each of its stages.
        metrics: Whether to count.
    """

    traces: bool = True
    metrics: bool = True


@attrs.define(kw_only=True, eq=False)
class Otel:
    """Tells the events of one studio; each needs one of its own.

    Args:
        tracer_provider: Where spans go; None makes none.
        meter_provider: Where figures go; None counts nothing.
        on_close: Called at the end.
    """

    tracer_provider: TracerProvider | None = None
    meter_provider: MeterProvider | None = None
    on_close: Callable[[], object] = lambda: None
    _spans: OtelSpans | None = attrs.field(default=None, init=False)
    _metrics: OtelMetrics | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        from holodeck_gen_plugins.observers._otel_metrics import OtelMetrics
        from holodeck_gen_plugins.observers._otel_spans import OtelSpans

        if self.tracer_provider is not None:
            tracer = self.tracer_provider.get_tracer(_SCOPE, hg.__version__)
            self._spans = OtelSpans(tracer)
        if self.meter_provider is not None:
            meter = self.meter_provider.get_meter(_SCOPE, hg.__version__)
            self._metrics = OtelMetrics(meter)

    def __call__(self, event: events.Event) -> None:
        """Tell one event. As `holodeck_gen.events.Observer`."""
        if self._metrics is not None:
            self._metrics(event)
        if self._spans is not None:
            self._spans(event)

    def close(self) -> None:
        """Take back what is only true while the studio is open."""
        if self._metrics is not None:
            self._metrics.close()
        self.on_close()


def make_otel(options: OtelOptions | None, ctx: hg.Context) -> Otel:
    """The factory.

    Raises:
        PluginLoadError: OpenTelemetry, or an exporter, is not installed.
        ConfigError: One of its variables cannot be what it is.
    """
    try:
        from holodeck_gen_plugins.observers import _otel_setup as setup
    except ImportError as error:
        raise missing("otel", "opentelemetry-sdk") from error
    options = options or OtelOptions()
    # Its own variables, from the true environment: the rest of them the SDK reads there as well.
    with ExitStack() as undo:
        tracers = meters = None
        if options.traces:
            tracers, new = setup.tracers(os.environ, ctx)
            if new:
                undo.callback(tracers.shutdown)
        if options.metrics:
            meters, new = setup.meters(os.environ, ctx)
            if new:
                undo.callback(meters.shutdown)
        # What was made here sends at its end what it still has.
        close = undo.pop_all().close
    return Otel(tracer_provider=tracers, meter_provider=meters, on_close=close)


@hg.hookimpl
def register_observers(register: hg.Register) -> None:
    """Register the observer."""
    register(
        "otel",
        make_otel,
        options=OtelOptions,
        summary="Metrics and traces for OpenTelemetry.",
    )
