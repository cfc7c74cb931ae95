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
    """

    tracer_provider: TracerProvider | None = None
    meter_provider: MeterProvider | None = None
    _spans: OtelSpans | None = attrs.field(default=None, init=False)
    _metrics: OtelMetrics | None = attrs.field(default=None, init=False)
    _closing: ExitStack = attrs.field(factory=ExitStack, init=False)

    def __attrs_post_init__(self) -> None:
        from holodeck_gen_plugins.observers._otel_metrics import OtelMetrics
        from holodeck_gen_plugins.observers._otel_spans import OtelSpans

        if self.tracer_provider is not None:
            tracer = self.tracer_provider.get_tracer(_SCOPE, hg.__version__)
            self._spans = OtelSpans(tracer)
        if self.meter_provider is not None:
            meter = self.meter_provider.get_meter(_SCOPE, hg.__version__)
            self._metrics = OtelMetrics(meter)

    def at_close(self, callback: Callable[[], object]) -> None:
        """Call it when everything is told."""
        self._closing.callback(callback)

    def __call__(self, event: events.Event) -> None:
        """Tell one event. As `holodeck_gen.events.Observer`."""
        if self._metrics is not None:
            self._metrics(event)
        if self._spans is not None:
            self._spans(event)

    def close(self) -> None:
        """Send what was told, as far as it is ours to send."""
        if self._metrics is not None:
            self._metrics.close()
        self._closing.close()


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
    tracers = setup.tracers(os.environ, ctx) if options.traces else None
    meters = setup.meters(os.environ, ctx) if options.metrics else None
    observer = Otel(
        tracer_provider=tracers[0] if tracers else None,
        meter_provider=meters[0] if meters else None,
    )
    for provider, ours in (each for each in (tracers, meters) if each is not None):
        if ours:
            observer.at_close(provider.shutdown)
    return observer


@hg.hookimpl
def register_observers(register: hg.Register) -> None:
    """Register the observer."""
    register(
        "otel",
        make_otel,
        options=OtelOptions,
        summary="Metrics and traces for OpenTelemetry.",
    )
