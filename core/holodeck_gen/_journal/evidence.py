"""What besides the journal remembers work, and contradicts a journal that has forgotten."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import TYPE_CHECKING, Any

import attrs

from holodeck_gen._journal.shares import shares_of
from holodeck_gen._journal.spool import SPOOL, WORK, RawFile
from holodeck_gen.errors import JournalCorruptError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holodeck_gen._journal.rows import Rows

#: One line for each finished task, written by the command after the journal knows of it.
RESULTS = "results.jsonl"
#: Bytes at that file's end in which the newest lines are looked for, and how many of them.
_TAIL = 1 << 18
_LINES = 50

#: A raw file: whose it is, and whether it was copied from the generation cache.
_RAW = re.compile(
    r"(?P<journal>[0-9a-f]{8})-(?P<task>\d+)-(?P<part>\d+)(\.\d+)?(?P<cached>-cached)?"
    r"-(?P<number>\d+)\.raw"
)


@attrs.frozen(kw_only=True)
class Answer:
    """What a service made at once for a submit whose end the journal does not know.

    Attributes:
        task: The task's number in the journal.
        part: Which part of it.
        files: All that was asked for, in the spool.
    """

    task: int
    part: int
    files: tuple[RawFile, ...]


def check_evidence(rows: Rows) -> list[Answer]:
    """Compare the journal with the spool and the results beside it, and tidy up the spool.

    Returns:
        Answers that came and were not recorded before the process ended.

    Raises:
        JournalCorruptError: It has forgotten something that they know.
    """
    for key in _finished_keys(rows.folder / RESULTS):
        if not _knows_task(rows, key):
            raise _forgotten(rows.folder, f"{RESULTS} has a result of {key!r}")
    spool = rows.folder / SPOOL
    _remove_half_done(spool, rows.name)
    answers: dict[tuple[int, int], list[Path]] = {}
    for path in sorted(spool.glob(f"{rows.name}-*.raw")):
        match = _RAW.fullmatch(path.name)
        if match is None:
            continue
        place = int(match["task"]), int(match["part"])
        state, attempts, unfetched = _state_of(rows, *place)
        if match["cached"]:
            if state not in ("fetched", "failed"):
                path.unlink()
        elif not attempts:
            raise _forgotten(rows.folder, f"{SPOOL} holds {path.name}")
        elif state == "stored" and not unfetched:
            # The process ended before it could tidy up.
            path.unlink()
        elif state == "uncertain":
            answers.setdefault(place, []).append(path)
    found = [_answer(rows, *place, paths) for place, paths in answers.items()]
    return [each for each in found if each is not None]


def last_lines(path: Path, size: int = _TAIL) -> Iterator[dict[str, Any]]:
    """The newest whole lines of a JSONL file, newest first."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - size))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return
    # The first may have lost its beginning, and the last is empty or torn.
    for line in reversed(lines[1 if end > size else 0 : -1]):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def _finished_keys(path: Path) -> list[str]:
    keys = [line.get("key") for line in last_lines(path) if line.get("status") == "done"]
    return [key for key in keys if isinstance(key, str)][:_LINES]


def _knows_task(rows: Rows, key: str) -> bool:
    entry = rows.entry(key)
    if entry is None:
        return False
    if entry.state != "open" or any(part.attempt for part in entry.parts.values()):
        return True
    # Its line is that of another task that had this id before.
    return rows.was_replaced(key)


def _state_of(rows: Rows, task: int, part: int) -> tuple[str | None, int, bool]:
    """The state of a part, how often it was submitted, and whether it still has addresses."""
    row = rows.connection.execute(
        "SELECT state, attempt, outputs IS NOT NULL FROM parts WHERE task = ? AND part = ?",
        (task, part),
    ).fetchone()
    return (None, 0, False) if row is None else row


def _answer(rows: Rows, task: int, part: int, paths: list[Path]) -> Answer | None:
    """The files as an answer; None where some are missing."""
    (key,) = rows.connection.execute("SELECT key FROM tasks WHERE number = ?", (task,)).fetchone()
    entry = rows.entry(key)
    if entry is None or entry.plan is None:
        return None
    share = shares_of(entry.rewritten or entry.task, entry.plan)[part]
    if len(paths) < share.task.n:
        return None
    return Answer(
        task=task,
        part=part,
        files=tuple(RawFile(path=path, metadata={}) for path in paths),
    )


def _remove_half_done(spool: Path, journal: str) -> None:
    for path in spool.glob(f"{journal}-*.part"):
        path.unlink()
    for path in spool.glob(f"{journal}-*{WORK}"):
        shutil.rmtree(path, ignore_errors=True)


def _forgotten(folder: Path, what: str) -> JournalCorruptError:
    return JournalCorruptError(
        f"the journal in {folder} is missing or older than what lies beside it ({what});"
        " nothing is submitted. Bring back the journal with its -wal file, or, to begin anew"
        " and pay anew, add --resume never, which puts what is there aside under other names"
    )
