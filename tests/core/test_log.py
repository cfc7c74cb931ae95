"""What a program sees of the log that has configured nothing."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

import pytest

from holodeck_gen._log import Logger

if TYPE_CHECKING:
    from collections.abc import Iterator

log = Logger("holodeck_gen.tried")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the standard library's logging writes of warnings."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("holodeck_gen")
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def test_a_warning_is_one_line_that_begins_with_its_event(lines: io.StringIO) -> None:
    log.warning("task.retried", wait_s=1.5, url="https://files.example.com/100%")
    assert lines.getvalue() == (
        "event='task.retried' wait_s=1.5 url='https://files.example.com/100%'\n"
    )


def test_an_exception_is_written_once_and_readably(lines: io.StringIO) -> None:
    """It was written twice, once of them in a single line."""
    try:
        raise ZeroDivisionError("by no means")
    except ZeroDivisionError:
        log.exception("task.crashed", task="a")
    text = lines.getvalue()
    assert text.startswith("event='task.crashed' task='a'\nTraceback (most recent call last):\n")
    assert text.count("Traceback") == 1
    assert text.endswith("\nZeroDivisionError: by no means\n")


def test_what_nobody_asked_for_is_not_written(lines: io.StringIO) -> None:
    log.info("task.ended")
    log.debug("job.submitted")
    assert lines.getvalue() == ""
