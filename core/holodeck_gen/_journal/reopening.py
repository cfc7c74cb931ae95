"""Undoing how tasks have ended, or seem to have, because their user has decided so.

All of it is called inside a transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holodeck_gen._journal.gone import is_gone
from holodeck_gen._journal.steps import IN_WORK
from holodeck_gen._journal.writes import SINK, finished
from holodeck_gen._model.artifact import in_number
from holodeck_gen._model.codec import dumps
from holodeck_gen._model.outcome import Failure
from holodeck_gen.errors import InvalidTaskError, PartialResultError, UnknownNameError

if TYPE_CHECKING:
    from holodeck_gen._journal.journal import Retry
    from holodeck_gen._journal.rows import Rows


def reopen(rows: Rows, number: int, key: str, retry: Retry, *, now: float) -> None:
    """Let the parts of a task go on that can, and begin those anew that `retry` names.

    What was fetched, or can be fetched, is never paid for again, so it is tried again.

    Args:
        rows: Of the journal.
        number: The task's.
        key: Likewise.
        retry: What the user has decided to try again.
        now: Seconds since the epoch.
    """
    failed = retry.of_failed(key)
    if key in retry.pay_again:
        _give_up(rows, key)
    if failed:
        rows.connection.execute(
            f"UPDATE parts SET {SINK} WHERE task = ? AND state = 'failed'"
            " AND files IS NULL AND outputs IS NULL",
            (number,),
        )
    rows.connection.execute(
        "UPDATE parts SET error = NULL, changed_at = ?,"
        " round = round + (files IS NULL AND outputs IS NULL),"
        " job = CASE WHEN files IS NULL AND outputs IS NULL THEN NULL ELSE job END,"
        " state = CASE WHEN files IS NOT NULL THEN 'fetched'"
        " WHEN outputs IS NOT NULL THEN 'finished' ELSE 'admitted' END"
        " WHERE task = ? AND state = 'failed'"
        " AND (? OR files IS NOT NULL OR outputs IS NOT NULL)",
        (now, number, failed),
    )
    rows.connection.execute(
        "UPDATE tasks SET state = 'open', outcome = NULL, ended_at = NULL"
        " WHERE number = ? AND state = 'failed'",
        (number,),
    )
    if retry.of_uncertain(key):
        rows.connection.execute(
            f"UPDATE parts SET state = 'admitted', error = NULL, changed_at = ?, {SINK}"
            " WHERE task = ? AND state = 'uncertain'",
            (now, number),
        )


def dismiss(rows: Rows, key: str, *, now: float) -> None:
    """Take a task whose submit had no answer for one that made nothing.

    Raises:
        UnknownNameError: There is no such task.
        InvalidTaskError: None of its submits is without an answer.
    """
    entry = rows.entry(key)
    if entry is None:
        raise UnknownNameError(f"the journal in {rows.folder} has no task {key!r}")
    lost = [record for record in entry.parts.values() if record.state == "uncertain"]
    if not lost:
        raise InvalidTaskError(f"no submit of {key!r} is without an answer", task_id=key)
    rows.connection.executemany(
        "UPDATE parts SET state = 'failed', error = ?, changed_at = ?, price = NULL"
        " WHERE task = ? AND part = ?",
        [
            (dumps(record.error), now, entry.number, index)
            for index, record in entry.parts.items()
            if record.state == "uncertain"
        ],
    )
    if any(record.state in IN_WORK for record in entry.parts.values()):
        # Whoever goes on with the rest of it will tell how it ended.
        return
    error = lost[0].error
    assert error is not None
    made = in_number(each for record in entry.parts.values() for each in record.artifacts)
    if made:
        error = PartialResultError(str(error), artifacts=made)
    outcome = Failure(task=entry.task, index=entry.index, key=key, error=error, artifacts=made)
    _, statement, values = finished(entry.number, outcome, now=now)
    rows.connection.execute(statement, values)


def _give_up(rows: Rows, key: str) -> None:
    """Leave what the jobs of `key` made and nobody can have; then it counts as never made."""
    entry = rows.entry(key)
    assert entry is not None
    rows.connection.executemany(
        # The files of a stored part tell which of its pictures it has.
        "UPDATE parts SET outputs = NULL, expires_at = NULL,"
        " files = iif(state = 'failed', NULL, files) WHERE task = ? AND part = ?",
        [(entry.number, index) for index, part in entry.parts.items() if is_gone(part)],
    )
