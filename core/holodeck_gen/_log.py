"""Loggers that leave configuration to the program.

Where the program has configured structlog, events go there. Where it has not, structlog's own
default would print everything to standard output, which belongs to the program; then events go
to the standard library's logging, which shows warnings on standard error.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict

_in_a_line = structlog.processors.KeyValueRenderer(key_order=["event"])


class Logger:
    """One module's logger; looks at the configuration at each call, because it may come late."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, event: str, **facts: Any) -> None:
        """What only somebody who looks for a fault wants to see."""
        self._target().debug(event, **facts)

    def info(self, event: str, **facts: Any) -> None:
        """A job or task ended as it should."""
        self._target().info(event, **facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Something went wrong and is dealt with."""
        self._target().warning(event, **facts)

    def error(self, event: str, **facts: Any) -> None:
        """Something stops here."""
        self._target().error(event, **facts)

    def exception(self, event: str, **facts: Any) -> None:
        """As `error`, with the exception that is being handled."""
        self._target().exception(event, **facts)

    def _target(self) -> Any:
        if structlog.is_configured():
            return structlog.get_logger(self._name)
        return structlog.wrap_logger(
            logging.getLogger(self._name),
            processors=[structlog.stdlib.filter_by_level, _for_logging],
            wrapper_class=structlog.stdlib.BoundLogger,
            context_class=dict,
        )


def _for_logging(
    logger: Any, method: str, facts: EventDict
) -> tuple[tuple[object, ...], dict[str, Any]]:
    """A line, and the exception for whoever formats it: in the line it would be unreadable."""
    exception = facts.pop("exc_info", None)
    return (_in_a_line(logger, method, facts),), {"exc_info": exception}
