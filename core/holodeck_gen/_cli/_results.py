"""What a run leaves beside its pictures: ``results.jsonl`` and ``failed.jsonl``."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import attrs

from holodeck_gen._journal.evidence import RESULTS
from holodeck_gen._model.codec import outcome_to_json, to_json
from holodeck_gen.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from holodeck_gen._model.outcome import Outcome
    from holodeck_gen._model.task import Task

FAILED = "failed.jsonl"
#: Bytes from a file's end in which its last line is looked for.
_TAIL = 1 << 22


def outcome_line(outcome: Outcome) -> dict[str, Any]:
    """One outcome as JSON, with what people look for at the top.

    ``prompt`` is the one that was sent, where something was.
    """
    task = outcome.task
    common = {
        "id": task.id,
        "prompt": task.prompt,
        "seed": task.seed,
        "metadata": to_json(task.metadata),
    }
    return {**common, **outcome_to_json(outcome)}


class Results:
    """Adds to ``results.jsonl``; replaces ``failed.jsonl`` when the run has ended.

    That is written aside first, because an earlier ``failed.jsonl`` may be what this run is
    reading.

    Nothing is touched before `open`, or the first line: until the journal is owned, another
    process may be writing.

    Args:
        folder: The run's folder, which exists.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / RESULTS
        self._failed_path = folder / FAILED
        self._part_path = folder / f"{FAILED}.part"
        self._results: BinaryIO | None = None
        self._part: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._results, self._part):
            if file is not None:
                file.close()

    def open(self) -> BinaryIO:
        """Open ``results.jsonl``, once, and mend its end.

        Raises:
            ConfigError: It cannot be written.
        """
        if self._results is None:
            try:
                _mend(self._path)
                self._results = _open(self._path, os.O_APPEND)
            except OSError as error:
                raise ConfigError(
                    f"{self._path} cannot be written: {error.strerror or error}"
                ) from error
        return self._results

    def add(self, outcome: Outcome) -> None:
        """Write one finished task; it is handed to the system before this returns."""
        if outcome.state == "cancelled" or outcome.resumed:
            return
        _write(self.open(), outcome_line(outcome))

    def repair(self, outcome: Outcome) -> None:
        """Write what an earlier process did not come to."""
        _write(self.open(), outcome_line(outcome))

    def add_failed(self, key: str, task: Task) -> None:
        """Write a task to be tried again, with an id by which it is found again."""
        if self._part is None:
            self._part = _open(self._part_path, os.O_TRUNC)
        _write(self._part, to_json(attrs.evolve(task, id=task.id or key)))

    def finish(self) -> None:
        """Put the new ``failed.jsonl`` in the old one's place; none where nothing failed."""
        if self._part is None:
            with contextlib.suppress(FileNotFoundError):
                self._failed_path.unlink()
            return
        os.fsync(self._part.fileno())
        os.replace(self._part_path, self._failed_path)

    def abandon(self) -> None:
        """Leave an earlier ``failed.jsonl`` as it is."""
        with contextlib.suppress(FileNotFoundError):
            self._part_path.unlink()


def _open(path: Path, flag: int) -> BinaryIO:
    # A link in the folder could lead to any file of the user's.
    nofollow = getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | nofollow | flag, 0o666), "wb", 0)


def _write(file: BinaryIO, value: object) -> None:
    data = memoryview(json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n")
    while data:
        data = data[file.write(data) :]


def _mend(path: Path) -> None:
    """Cut off a last line that a dying process left unfinished."""
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        return
    with file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        tail = file.read()
        if not tail or tail.endswith(b"\n"):
            return
        last = tail[tail.rfind(b"\n") + 1 :]
        try:
            json.loads(last)
        except (ValueError, RecursionError):
            file.truncate(size - len(last))
        else:
            file.write(b"\n")
