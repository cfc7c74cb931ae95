"""Reads task files (JSONL, CSV, text) line by line, in bounded memory."""

from __future__ import annotations

import codecs
import contextlib
import shutil
import sqlite3
import stat
import sys
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, cast

import attrs

from holodeck_gen._model.task import Task
from holodeck_gen._taskfile.csv_rows import read_csv
from holodeck_gen._taskfile.fields import build_task, fields_of_json
from holodeck_gen._taskfile.lines import Lines
from holodeck_gen.errors import ConfigError, InvalidTaskError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Format: TypeAlias = Literal["jsonl", "csv", "text"]
#: A path, ``"-"`` for standard input, or an open file that can be read from its start again.
Source: TypeAlias = str | Path | BinaryIO

_FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "text",
}
_SHOWN = 20


@attrs.frozen(kw_only=True)
class Line:
    """One task of a file, or what is wrong with it.

    Attributes:
        number: The line's number from 1; the first one's where a CSV record has several.
        task: What it says, if it is right.
        error: What is wrong, if it is not.
    """

    number: int
    task: Task | None = None
    error: InvalidTaskError | None = attrs.field(default=None, eq=False)


@attrs.frozen(kw_only=True)
class Check:
    """What a first pass found.

    Attributes:
        count: Tasks that are right.
        bad: The first wrong lines.
        bad_count: All wrong lines.
    """

    count: int
    bad: tuple[Line, ...]
    bad_count: int


def read_tasks(
    source: Source,
    *,
    encoding: str = "utf-8",
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[Line]:
    """Yield each task of `source`, or the error of its line, in order.

    The format is that of the file's suffix. Without a known one it is JSONL if the first line
    that is not blank starts with ``{``, and text otherwise.

    Args:
        source: What to read; see `rereadable` for what can be read only once.
        encoding: Any that has ASCII's line ends.
        defaults: Fields of `Task` where a line says nothing.

    Raises:
        ConfigError: It cannot be read, holds no tasks at all, or has an impossible header.
    """
    _check_encoding(encoding)
    with rereadable(source) as readable, _opened(readable) as stream, _Ids() as ids:
        empty = True
        chosen = _format(readable, stream)
        for number, fields in _records(Lines(stream, encoding=encoding), chosen):
            empty = False
            yield _line(number, fields, defaults, ids)
        if empty:
            raise ConfigError(f"{_name(source)}: no tasks")


def check_tasks(lines: Iterable[Line]) -> Check:
    """Go through all of `lines` and count."""
    count = bad_count = 0
    bad: list[Line] = []
    for line in lines:
        if line.error is None:
            count += 1
            continue
        bad_count += 1
        if bad_count <= _SHOWN:
            bad.append(line)
    return Check(count=count, bad=tuple(bad), bad_count=bad_count)


@contextlib.contextmanager
def rereadable(source: Source) -> Iterator[Path | BinaryIO]:
    """A source that can be read more than once; pipes are copied to a temporary file.

    Raises:
        ConfigError: It cannot be read.
    """
    if not isinstance(source, str | Path):
        yield source
        return
    if source != "-" and _is_regular(Path(source)):
        yield Path(source)
        return
    with tempfile.TemporaryFile(prefix="holodeck-gen-") as spool:
        if source == "-":
            if sys.stdin is None:
                raise ConfigError("there is no standard input to read tasks from")
            shutil.copyfileobj(sys.stdin.buffer, spool)
        else:
            with _opened(Path(source)) as pipe:
                shutil.copyfileobj(pipe, spool)
        yield cast("BinaryIO", spool)


class _Ids:
    """Finds duplicate ids; in a private temporary database, so that memory stays small."""

    def __init__(self) -> None:
        # A reader may be drawn from by several threads, one after the other.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE ids (id TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def __enter__(self) -> _Ids:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, task_id: str, line: int) -> int | None:
        """Remember the id; the line that has it already, if one has."""
        added = self._database.execute("INSERT OR IGNORE INTO ids VALUES (?, ?)", (task_id, line))
        if added.rowcount:
            return None
        found = self._database.execute("SELECT line FROM ids WHERE id = ?", (task_id,))
        return int(found.fetchone()[0])


def _line(
    number: int,
    fields: Mapping[str, Any] | InvalidTaskError,
    defaults: Mapping[str, Any],
    ids: _Ids,
) -> Line:
    try:
        if isinstance(fields, InvalidTaskError):
            raise fields
        task = build_task(fields, defaults)
        if task.id is not None and (first := ids.add(task.id, number)) is not None:
            raise InvalidTaskError(f"the id {task.id!r} is also that of line {first}")
    except InvalidTaskError as error:
        return Line(number=number, error=error)
    except RecursionError:
        return Line(number=number, error=InvalidTaskError("nested too deeply"))
    return Line(number=number, task=task)


def _records(
    lines: Lines, chosen: Format
) -> Iterator[tuple[int, Mapping[str, Any] | InvalidTaskError]]:
    if chosen == "csv":
        yield from read_csv(lines)
        return
    while True:
        try:
            text = next(lines, None)
            if text is None:
                return
            text = text.strip()
            if not text or (chosen == "text" and text.startswith("#")):
                continue
            fields = {"prompt": text} if chosen == "text" else fields_of_json(text, torn=lines.torn)
        except InvalidTaskError as error:
            yield lines.number, error
        else:
            yield lines.number, fields


def _format(source: Path | BinaryIO, stream: BinaryIO) -> Format:
    suffix = source.suffix.lower() if isinstance(source, Path) else ""
    if suffix in _FORMATS:
        return _FORMATS[suffix]
    first = b""
    for first in iter(lambda: stream.readline(1 << 16), b""):
        if first.removeprefix(codecs.BOM_UTF8).strip():
            break
    stream.seek(0)
    start = first.removeprefix(codecs.BOM_UTF8).lstrip()
    if suffix == ".json" and not start.startswith(b"{"):
        raise ConfigError(f"{source}: write one JSON object a line (JSONL), not an array")
    return "jsonl" if start.startswith(b"{") else "text"


def _check_encoding(encoding: str) -> None:
    try:
        if "a\n".encode(encoding) == b"a\n" or encoding.lower().replace("_", "-") == "utf-8-sig":
            return
    except (LookupError, UnicodeError) as error:
        raise ConfigError(f"there is no encoding {encoding!r}") from error
    raise ConfigError(f"task files in {encoding} are not read; convert them to UTF-8")


def _is_regular(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"task file {path} cannot be read: {reason}") from error
    if stat.S_ISDIR(mode):
        raise ConfigError(f"task file {path} is a folder")
    return stat.S_ISREG(mode)


@contextlib.contextmanager
def _opened(source: Path | BinaryIO) -> Iterator[BinaryIO]:
    if not isinstance(source, Path):
        source.seek(0)
        yield source
        return
    try:
        stream = source.open("rb")
    except OSError as error:
        raise ConfigError(
            f"task file {source} cannot be read: {error.strerror or error}"
        ) from error
    with stream:
        yield stream


def _name(source: Source) -> str:
    if isinstance(source, str | Path) and source != "-":
        return str(source)
    named = getattr(source, "name", None)
    return named if isinstance(named, str) else "standard input"
