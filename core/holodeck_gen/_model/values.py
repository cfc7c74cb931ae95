"""JSON values made immutable, and the checks that every model class shares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from immutabledict import immutabledict

from holodeck_gen.errors import InvalidTaskError

if TYPE_CHECKING:
    import attrs

#: What ``json.loads`` returns, with mappings and sequences of any kind.
JsonValue: TypeAlias = Any
JsonObject: TypeAlias = Mapping[str, JsonValue]

#: Deeper nesting than this in metadata or options is a mistake or an attack on the parser.
MAX_DEPTH = 32


def freeze(value: JsonValue, *, depth: int = MAX_DEPTH) -> JsonValue:
    """Return `value` with mappings and sequences copied into immutable ones.

    Raises:
        InvalidTaskError: It is not JSON: another type, NaN, a key that is not text, too deep.
    """
    if depth == 0:
        raise InvalidTaskError(f"nested deeper than {MAX_DEPTH} levels")
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidTaskError(f"{value} is not a JSON number")
        return value
    if isinstance(value, Mapping):
        return immutabledict(
            {_key(k): freeze(v, depth=depth - 1) for k, v in value.items()},
        )
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return tuple(freeze(item, depth=depth - 1) for item in value)
    raise InvalidTaskError(f"{type(value).__name__} is not a JSON value")


def freeze_object(value: JsonObject | None) -> JsonObject:
    """`freeze` for a field that holds an object; None is an empty one."""
    if value is None:
        return immutabledict()
    if not isinstance(value, Mapping):
        raise InvalidTaskError(f"expected an object, not {type(value).__name__}")
    frozen: JsonObject = freeze(value)
    return frozen


def thaw(value: JsonValue) -> JsonValue:
    """The opposite of `freeze`: plain dicts and lists, as ``json.dumps`` wants them."""
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [thaw(item) for item in value]
    return value


def in_order(value: Iterable[Any]) -> tuple[Any, ...]:
    """attrs converter: any iterable as a tuple; type checkers cannot follow `tuple` itself."""
    return tuple(value)


def storable(text: str) -> str:
    """Return `text` if files and databases can hold it."""
    if "\x00" in text:
        raise InvalidTaskError("text holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidTaskError("text holds half of a surrogate pair") from error
    return text


def check_text(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """attrs validator: text that can be stored, or None."""
    if value is None:
        return
    if not isinstance(value, str):
        raise InvalidTaskError(f"{attribute.name} must be text, not {type(value).__name__}")
    try:
        storable(value)
    except InvalidTaskError as error:
        raise InvalidTaskError(f"{attribute.name}: {error}") from error


def check_integer(minimum: int, maximum: int) -> Any:
    """attrs validator: None or an integer (not a bool) from `minimum` to `maximum`."""

    def check(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidTaskError(
                f"{attribute.name} must be a whole number, not {type(value).__name__}"
            )
        if not minimum <= value <= maximum:
            raise InvalidTaskError(
                f"{attribute.name} must be from {minimum} to {maximum}, not {value}"
            )

    return check


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise InvalidTaskError(f"an object's key must be text, not {type(key).__name__}")
    return storable(key)
