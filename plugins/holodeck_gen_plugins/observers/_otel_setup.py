"""Where OpenTelemetry's data goes: as the program has set up, else as the environment says.

The SDK reads most of the standard variables itself (``OTEL_SERVICE_NAME``,
``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_TRACES_SAMPLER``, ``OTEL_BSP_…``, ``OTEL_SDK_DISABLED``).
Which exporters are used, it leaves to whoever sets it up:
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ (2026-11).
"""

from __future__ import annotations

import logging
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from holodeck_gen.errors import ConfigError, PluginLoadError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import holodeck_gen as hg

#: The name of the package behind each protocol's exporter.
_PROTOCOLS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_SERVICE = "holodeck-gen"


def tracers(environ: Mapping[str, str], ctx: hg.Context) -> tuple[TracerProvider, bool]:
    """The program's provider of tracers, or a new one; and whether it is new.

    Raises:
        ConfigError: A variable cannot be what it is.
        PluginLoadError: An exporter is not installed.
    """
    given = trace.get_tracer_provider()
    if isinstance(given, TracerProvider):
        return given, False
    # Without a handler at exit: an end that nobody waits for is ours to bound.
    provider = TracerProvider(resource=_resource(environ), shutdown_on_exit=False)
    for exporter in _exporters("traces", environ, ctx):
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider, True


def meters(environ: Mapping[str, str], ctx: hg.Context) -> tuple[MeterProvider, bool]:
    """As `tracers`, for metrics."""
    given = metrics.get_meter_provider()
    if isinstance(given, MeterProvider):
        return given, False
    readers = [
        each if isinstance(each, MetricReader) else PeriodicExportingMetricReader(each)
        for each in _exporters("metrics", environ, ctx)
    ]
    return MeterProvider(readers, resource=_resource(environ), shutdown_on_exit=False), True


def _resource(environ: Mapping[str, str]) -> Resource:
    named = "OTEL_SERVICE_NAME" in environ or "service.name=" in environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    return Resource.create({} if named else {"service.name": _SERVICE})


def _exporters(
    signal: Literal["traces", "metrics"], environ: Mapping[str, str], ctx: hg.Context
) -> list[Any]:
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    names = [each.strip() for each in environ.get(variable, "otlp").split(",")]
    found = [
        _exporter(signal, name, variable, environ) for name in names if name and name != "none"
    ]
    for exporter in found:
        if not isinstance(exporter, MetricReader):
            _tell_changes(exporter, signal, ctx)
    return found


def _exporter(signal: str, name: str, variable: str, environ: Mapping[str, str]) -> Any:
    known = entry_points(group=f"opentelemetry_{signal}_exporter")
    wanted = _otlp(signal, environ) if name == "otlp" else name
    found = next(iter(known.select(name=wanted)), None)
    if found is None:
        raise PluginLoadError(
            f"otel: {variable} asks for {name!r}, which is not installed"
            f" ({wanted}); there are: {', '.join(sorted({'otlp', 'none', *known.names}))}",
            plugin="otel",
        )
    try:
        # Standard output belongs to the program.
        return found.load()(**({"out": sys.stderr} if name == "console" else {}))
    except Exception as error:
        raise PluginLoadError(f"otel: {variable}: {name}: {error!r}", plugin="otel") from error


def _tell_changes(exporter: Any, signal: str, ctx: hg.Context) -> None:
    """Tell when exports begin to fail and when they work again, and nothing in between."""
    export, works = exporter.export, True

    def told(*given: Any, **more: Any) -> Any:
        nonlocal works
        result = export(*given, **more)
        if works and result.name != "SUCCESS":
            ctx.log.warning("otel.not_exported", signal=signal, hint="it goes on trying")
        elif not works and result.name == "SUCCESS":
            ctx.log.warning("otel.exported_again", signal=signal)
        works = result.name == "SUCCESS"
        return result

    exporter.export = told
    # Of their own they write a line at every try: thousands in a night without a collector.
    logger = logging.getLogger("opentelemetry.exporter")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)


def _otlp(signal: str, environ: Mapping[str, str]) -> str:
    own = f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL"
    shared = "OTEL_EXPORTER_OTLP_PROTOCOL"
    protocol = environ.get(own) or environ.get(shared) or "http/protobuf"
    if protocol not in _PROTOCOLS:
        raise ConfigError(
            f"otel: {own if environ.get(own) else shared} is {protocol!r}; choose one of"
            f" {', '.join(_PROTOCOLS)}"
        )
    return _PROTOCOLS[protocol]
