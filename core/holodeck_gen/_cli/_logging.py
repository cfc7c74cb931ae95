"""Logs to stderr; configured by the command, never by the library."""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import structlog

from holodeck_gen._cli._exit import one_line
from holodeck_gen._config.secrets import is_secret_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat: TypeAlias = Literal["json", "console"]

REDACTED = "[redacted]"
#: Keys of ours that are no secrets, although their name sounds like it.
_OPEN = frozenset({"key", "task_key", "account_key", "quota_key"})
_QUERY = re.compile(r"(https?://[^\s?\"']+)\?[^\s\"']+")


def configure(*, verbosity: int, quiet: bool, log_format: LogFormat) -> None:
    """Send structlog's events to stderr.

    Args:
        verbosity: 0 shows warnings, 1 also what jobs do, 2 everything and tracebacks.
        quiet: Only errors.
        log_format: ``"console"`` for people, ``"json"`` for machines.
    """
    level = (
        logging.ERROR
        if quiet
        else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 2)]
    )
    structlog.configure(
        processors=_processors(verbosity, log_format),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Stderr(),
        cache_logger_on_first_use=False,
    )


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """structlog processor: hides prompts, secrets and the signatures of URLs."""
    return {key: _redacted(key, value) for key, value in event.items()}


def _redacted(key: str, value: Any) -> Any:
    name = str(key).lower()
    if value is not None and ("prompt" in name or (name not in _OPEN and is_secret_name(name))):
        return REDACTED
    if isinstance(value, str):
        return _QUERY.sub(r"\1?…", value)
    if isinstance(value, dict):
        return {inner: _redacted(inner, item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted("", item) for item in value]
    return value


def _processors(verbosity: int, log_format: LogFormat) -> list[Processor]:
    trace = structlog.processors.format_exc_info if verbosity >= 2 else _name_exception
    if log_format == "json":
        return [
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            trace,
            redact,
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ]
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        trace,
        redact,
        # Colors and tracebacks with local variables are left out: the first are noise in
        # a file, the second show secrets.
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        ),
    ]


def _name_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> Mapping[str, Any]:
    """structlog processor: the exception in one line instead of its traceback."""
    info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception"] = one_line(f"{type(error).__name__}: {error}")
    return event


class _Stderr:
    """Writes to what stderr is now, because a progress bar replaces it for a while."""

    def msg(self, message: str) -> None:
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()

    log = debug = info = warning = warn = error = exception = critical = fatal = msg
