"""Values that may be used but not shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from holodeck_gen.errors import ConfigError

MASK = "••••"

_NAMED = re.compile(r"key|secret|token|password|passwd|credential|authorization", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=://)[^/@\s]*@")


@attrs.frozen
class FromVariable:
    """``{env = "X"}``: the value is in the environment variable X."""

    name: str


class Revealed(str):
    """What a variable holds: text like any other, but messages that quote it show nothing."""

    __slots__ = ()

    def __repr__(self) -> str:
        return MASK


def is_secret_name(name: str) -> bool:
    """Whether something of this name is not to be shown."""
    return bool(_NAMED.search(name))


def mark(value: Any) -> Any:
    """Copy `value` with each ``{env = "X"}`` in it made a `FromVariable`.

    Raises:
        ConfigError: The name of a variable is not text.
    """
    if isinstance(value, Mapping):
        if set(value) == {"env"}:
            if not isinstance(value["env"], str) or not value["env"]:
                raise ConfigError(f"env must be the name of a variable, not {value['env']!r}")
            return FromVariable(value["env"])
        return {key: mark(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mark(item) for item in value]
    return value


def reveal(value: Any, environ: Mapping[str, str]) -> Any:
    """The opposite of `mark`: put in what the variables hold.

    Raises:
        ConfigError: A variable is not set, or empty; names it.
    """
    if isinstance(value, FromVariable):
        if found := environ.get(value.name):
            return Revealed(found)
        raise ConfigError(f"needs the environment variable {value.name}, which is not set")
    if isinstance(value, Mapping):
        return {key: reveal(item, environ) for key, item in value.items()}
    if isinstance(value, list):
        return [reveal(item, environ) for item in value]
    return value


def mask(value: Any, *, secret: bool = False) -> Any:
    """What may be shown of `value`, after `mark`.

    Args:
        value: A setting's value.
        secret: Whether its name says that it is a secret.
    """
    if isinstance(value, FromVariable):
        return f"{MASK} from {value.name}"
    if isinstance(value, Mapping):
        return {
            key: mask(item, secret=secret or is_secret_name(str(key)))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [mask(item, secret=secret) for item in value]
    if secret:
        return MASK
    return _USER_INFO.sub(f"{MASK}@", value) if isinstance(value, str) else value


def keys_in(value: Any) -> Iterator[str]:
    """Every key of every object in `value`."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from keys_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from keys_in(item)
