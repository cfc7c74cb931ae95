"""The fields of one task as a file writes them."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import attrs

from holodeck_gen._model.artifact import Artifact
from holodeck_gen._model.codec import from_json
from holodeck_gen._model.task import Task
from holodeck_gen._model.values import thaw
from holodeck_gen.errors import InvalidTaskError

FIELDS = tuple(field.name for field in attrs.fields(Task))
#: Fields that hold a whole number; CSV writes them as text.
INTEGERS = frozenset({"seed", "n", "priority"})
#: Fields that hold JSON; CSV writes them as text.
OBJECTS = frozenset({"provider_options", "metadata"})

#: Closer names than this are taken for a slip; ``title`` and ``style`` are not.
_ALIKE = 0.75
#: Characters; a longer name is not like any field.
_LONGEST = 60


def build_task(fields: Mapping[str, Any], defaults: Mapping[str, Any]) -> Task:
    """Make a task of what a line says.

    Names that are no field of `Task` go to its metadata. A null says nothing.

    Args:
        fields: JSON values by name.
        defaults: Fields of `Task` where the line says nothing; provider options are merged.

    Raises:
        InvalidTaskError: A field cannot be what it is, or an unknown one is spelt like one.
    """
    said = {name: value for name, value in fields.items() if value is not None}
    unknown = {name: said.pop(name) for name in list(said) if name not in FIELDS}
    for name in unknown:
        if meant := slip(name):
            raise InvalidTaskError(
                f"there is no field {_short(name)}; did you mean {meant!r}?"
                " (fields of your own may stand in metadata)"
            )
    said = {**defaults, **said}
    for name in OBJECTS & said.keys():
        if not isinstance(said[name], Mapping):
            raise InvalidTaskError(f"{name} must be an object, not {_short(said[name])}")
    if options := defaults.get("provider_options"):
        said["provider_options"] = {**options, **said["provider_options"]}
    if unknown:
        said["metadata"] = {**unknown, **said.get("metadata", {})}
    if "inputs" in said:
        said["inputs"] = _inputs(said["inputs"])
    for name in ("prompt", "kind"):
        if not isinstance(said.get(name, ""), str):
            raise InvalidTaskError(f"{name} must be text, not {_short(said[name])}")
    try:
        return Task(**said)
    except InvalidTaskError:
        raise
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidTaskError(f"not a task: {error}") from error


def fields_of_json(text: str, *, torn: bool) -> dict[str, Any]:
    """Parse one line of JSONL.

    Args:
        text: The line.
        torn: Whether it is the last one and has no end.

    Raises:
        InvalidTaskError: It is not a JSON object.
    """
    try:
        found = json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        what = "cut off, or not JSON" if torn else "not JSON"
        raise InvalidTaskError(f"{what}: {error.msg} (column {error.colno})") from error
    except RecursionError as error:
        raise InvalidTaskError("nested too deeply") from error
    except InvalidTaskError:
        raise
    except ValueError as error:
        raise InvalidTaskError(f"not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidTaskError('a line must be an object, such as {"prompt": "a cat"}')
    return found


def slip(name: str) -> str | None:
    """The field that `name` was probably meant to be."""
    return _slip(name) if len(name) <= _LONGEST else None


# A file has the same fields in every line, and comparing is the slowest part of reading one.
@lru_cache(maxsize=1000)
def _slip(name: str) -> str | None:
    close = difflib.get_close_matches(name.strip().casefold(), FIELDS, n=1, cutoff=_ALIKE)
    return close[0] if close else None


def _inputs(value: Any) -> list[str | Artifact]:
    if not isinstance(value, list | tuple):
        raise InvalidTaskError(f"inputs must be a list, not {_short(value)}")
    return [_artifact(item) if isinstance(item, Mapping) else item for item in value]


def _artifact(value: Mapping[str, Any]) -> Artifact:
    try:
        return from_json(thaw(value), Artifact)
    except Exception as error:
        # cattrs lets whatever a converter raises pass.
        raise InvalidTaskError(f"inputs: {_short(dict(value))} is not an artifact") from error


def _refuse(constant: str) -> float:
    raise InvalidTaskError(f"{constant} is not a JSON number")


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidTaskError(f"{_short(name)} is given twice")
        found[name] = value
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
