"""Task files with comma-separated (or ``;`` or tab-separated) columns and a header."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from holodeck_gen._taskfile.fields import FIELDS as TASK_FIELDS
from holodeck_gen._taskfile.fields import INTEGERS, OBJECTS, fields_of_json, slip
from holodeck_gen.errors import ConfigError, InvalidTaskError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from holodeck_gen._taskfile.lines import Lines


def read_csv(lines: Lines) -> Iterator[tuple[int, Mapping[str, Any] | InvalidTaskError]]:
    """Yield the number and the fields, or the error, of each record after the header.

    Raises:
        ConfigError: The header names no prompt, one column twice, or a misspelt field.
    """
    header = _first(lines)
    if header is None:
        return
    delimiter, columns = _columns(header)
    _check(columns)
    records = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        number = lines.number + 1
        try:
            record = next(records)
            if any(cell.strip() for cell in record):
                yield number, _fields(columns, record)
        except StopIteration:
            return
        except InvalidTaskError as error:
            yield number, error
        except csv.Error as error:
            where = "" if lines.number <= number else f" (up to line {lines.number})"
            yield number, InvalidTaskError(f"not CSV: {error}{where}")


def _first(lines: Lines) -> str | None:
    try:
        return next((line for line in lines if line.strip()), None)
    except InvalidTaskError as error:
        raise ConfigError(f"line {lines.number}, the header: {error}") from error


def _columns(header: str) -> tuple[str, list[str]]:
    """The delimiter under which the header names a prompt, and the columns."""
    found: list[tuple[str, list[str]]] = []
    for delimiter in (",", ";", "\t"):
        try:
            (record,) = csv.reader([header], delimiter=delimiter, strict=True)
        except csv.Error as error:
            raise ConfigError(f"the header is not CSV: {error}") from error
        found.append((delimiter, [name.strip() for name in record]))
    return next((each for each in found if {"prompt", "inputs"} & set(each[1])), found[0])


def _check(columns: Sequence[str]) -> None:
    named = [name for name in columns if name]
    for name in named:
        if named.count(name) > 1:
            raise ConfigError(f"the header names {name!r} twice")
        if name not in TASK_FIELDS and (meant := slip(name)):
            raise ConfigError(f"the header names {name[:60]!r}; did you mean {meant!r}?")
    if not {"prompt", "inputs"} & set(named):
        raise ConfigError(f"the header has no column 'prompt'; it has: {', '.join(named)[:200]}")


def _fields(columns: Sequence[str], record: Sequence[str]) -> dict[str, Any]:
    if len(record) < len(columns) or any(record[len(columns) :]):
        raise InvalidTaskError(f"{len(record)} cells, but the header has {len(columns)}")
    fields: dict[str, Any] = {}
    for name, cell in zip(columns, record, strict=False):
        if not name and cell:
            raise InvalidTaskError(f"{cell[:40]!r} stands in a column without a name")
        if name and (cell or name not in TASK_FIELDS):
            fields[name] = _value(name, cell)
    return fields


def _value(name: str, cell: str) -> Any:
    if name in INTEGERS:
        try:
            return int(cell)
        except ValueError as error:
            raise InvalidTaskError(f"{name} must be a whole number, not {cell[:40]!r}") from error
    if name in OBJECTS:
        return fields_of_json(cell, torn=False)
    if name == "inputs":
        if not cell.lstrip().startswith("["):
            return [cell]
        try:
            return json.loads(cell)
        except (ValueError, RecursionError) as error:
            raise InvalidTaskError(f"inputs: not JSON: {error}") from error
    return cell
