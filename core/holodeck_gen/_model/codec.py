"""Model values to JSON and back: the one place that knows how they are stored and printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args

import attrs
import cattrs
import orjson
from cattrs.fns import identity
from cattrs.gen import make_dict_unstructure_fn

from holodeck_gen import errors
from holodeck_gen._model.artifact import Artifact
from holodeck_gen._model.outcome import Failure, Outcome, Result
from holodeck_gen._model.provider import Bytes, PartError, Url
from holodeck_gen._model.task import Task
from holodeck_gen._model.values import JsonObject, JsonValue, thaw
from holodeck_gen.errors import GenerationError, TaskError

T = TypeVar("T")


def to_json(value: object) -> Any:
    """Return `value` as dicts, lists, text and numbers."""
    return _converter().unstructure(value)


def from_json(data: JsonValue, cls: type[T]) -> T:
    """Make a `cls` of what `to_json` returned; unknown keys are ignored."""
    return _converter().structure(data, cls)


def dumps(value: object, *, sort: bool = False) -> str:
    """Compact JSON text from which `from_json` makes `value` again, without most defaults.

    Args:
        value: A model value, or whatever is made of such values.
        sort: Whether the keys of objects are put in order.
    """
    try:
        option = orjson.OPT_SORT_KEYS if sort else 0
        return orjson.dumps(value, default=fields, option=option).decode()
    except TypeError:
        # Whole numbers of more than 64 bits, and half a surrogate pair.
        return json.dumps(value, default=fields, separators=(",", ":"), sort_keys=sort)


def fields(value: Any) -> Any:
    """The outermost level of a value, as `dumps` takes it: little of what is its default."""
    return _flat_hook(value.__class__)(value)


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """An outcome with its ``status``, so that `outcome_from_json` knows which it is."""
    return {"status": outcome.state, **to_json(outcome)}


def outcome_from_json(data: JsonObject) -> Outcome:
    """The opposite of `outcome_to_json`."""
    if data["status"] == Result.state:
        return from_json(data, Result)
    return from_json({**data, "state": data["status"]}, Failure)


def ending_fields(outcome: Outcome) -> dict[str, Any]:
    """As `fields`, without the task and the artifacts, which the journal keeps beside it."""
    ending = {"status": outcome.state, **_ending_hook(outcome.ok)(outcome)}
    if ending.get("prompt") == outcome.task.prompt:
        del ending["prompt"]
    return ending


def ending_from_json(
    data: JsonObject, *, task: Task, index: int, key: str, artifacts: tuple[Artifact, ...]
) -> Outcome:
    """The opposite of `ending_fields`."""
    beside = {"task": to_json(task), "index": index, "key": key}
    outcome = outcome_from_json({"prompt": task.prompt, **data, **beside, "artifacts": []})
    return attrs.evolve(outcome, artifacts=artifacts)


def error_to_json(error: GenerationError) -> dict[str, Any]:
    """The class's name, the message, and the facts that are set."""
    facts = {
        name: [to_json(each) for each in value] if isinstance(value, tuple) else value
        for name, value in vars(error).items()
        if value not in (None, ()) and name != "__notes__"
    }
    return {"type": type(error).__name__, "message": str(error), **facts}


def error_from_json(data: JsonObject) -> GenerationError:
    """The opposite of `error_to_json`; a class of a newer release becomes the root class."""
    facts = dict(data)
    cls = getattr(errors, str(facts.pop("type")), GenerationError)
    message = facts.pop("message")
    if "artifacts" in facts:
        facts["artifacts"] = [from_json(each, Artifact) for each in facts["artifacts"]]
    facts = {name: tuple(v) if isinstance(v, list) else v for name, v in facts.items()}
    try:
        error = cls(message, **facts)
    except TypeError:
        error = GenerationError(message)
    return error if isinstance(error, GenerationError) else GenerationError(message)


def _dict(value: Mapping[str, Any]) -> dict[str, Any]:
    # As `dict(value)`, which asks an immutable mapping for each key.
    return dict(value.items())


@cache
def _ending_hook(ok: bool) -> Callable[[Outcome], dict[str, Any]]:
    omit = cattrs.override(omit=True)
    return _flat(
        Result if ok else Failure, {"task": omit, "index": omit, "key": omit, "artifacts": omit}
    )


@cache
def _flat_hook(cls: type) -> Callable[[Any], Any]:
    if attrs.has(cls):
        return _flat(cls, {})
    return _dict if issubclass(cls, Mapping) else to_json


def _flat(cls: type, overrides: dict[str, Any]) -> Callable[[Any], dict[str, Any]]:
    # A default that has to be made anew for each comparison costs more than its few characters.
    costly = [field for field in attrs.fields(cls) if field.converter is not None]
    objects = [each.name for each in costly if each.name not in overrides and _is_object(each)]
    kept = {each.name: cattrs.override(omit_if_default=False) for each in costly}
    apart = dict.fromkeys(objects, cattrs.override(omit=True))
    flat: Callable[[Any], dict[str, Any]] = make_dict_unstructure_fn(
        cls, _flat_converter(), _cattrs_omit_if_default=True, **{**kept, **apart, **overrides}
    )
    # What makes two tasks the same is told by this; it must be as it always was.
    empty = cls is Task

    def with_objects(value: Any) -> dict[str, Any]:
        made = flat(value)
        for name in objects:
            # For each mapping that is no dict, the writer of the text has to ask.
            if (content := getattr(value, name)) or empty:
                made[name] = _dict(content)
        return made

    return with_objects if objects else flat


def _is_object(field: attrs.Attribute[Any]) -> bool:
    """Whether a field holds a JSON object, which is empty unless something is said."""
    converter: Any = field.converter
    return field.default is not attrs.NOTHING and converter(field.default) == {}


@cache
def _flat_converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=False)
    converter.register_unstructure_hook_func(lambda _: True, identity)
    return converter


@cache
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=False)
    converter.register_unstructure_hook(Path, str)
    converter.register_structure_hook(Path, lambda value, _: Path(value))
    converter.register_unstructure_hook(Decimal, str)
    converter.register_structure_hook(Decimal, lambda value, _: Decimal(value))
    converter.register_unstructure_hook_func(_is_mapping, thaw)
    converter.register_structure_hook_func(_is_mapping, lambda value, _: value)
    converter.register_unstructure_hook_func(
        lambda cls: getattr(cls, "__origin__", cls) is tuple,
        lambda value: [to_json(item) for item in value],
    )
    converter.register_unstructure_hook_func(
        lambda cls: isinstance(cls, type) and issubclass(cls, GenerationError), error_to_json
    )
    converter.register_structure_hook_func(
        lambda cls: cls is GenerationError or cls is TaskError,
        lambda value, _: error_from_json(value),
    )
    _register_unions(converter)
    # A task prints only what was said, so that a line of a task file stays that line.
    converter.register_unstructure_hook(
        Task,
        make_dict_unstructure_fn(Task, converter, _cattrs_omit_if_default=True),
    )
    return converter


def _register_unions(converter: cattrs.Converter) -> None:
    def structure_input(value: Any, _type: object) -> str | Artifact:
        return value if isinstance(value, str) else from_json(value, Artifact)

    def structure_output(value: Any, _type: object) -> Url | PartError:
        return from_json(value, PartError) if "error" in value else from_json(value, Url)

    inputs, outputs = str | Artifact, Url | Bytes | PartError
    converter.register_structure_hook_func(lambda cls: cls == inputs, structure_input)
    converter.register_structure_hook_func(lambda cls: cls == outputs, structure_output)
    converter.register_unstructure_hook_func(
        lambda cls: cls in (inputs, outputs),
        lambda value: value if isinstance(value, str) else to_json(value),
    )


def _is_mapping(cls: Any) -> bool:
    origin = getattr(cls, "__origin__", cls)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return not get_args(cls) or get_args(cls)[0] in (str, Any)
    return False
