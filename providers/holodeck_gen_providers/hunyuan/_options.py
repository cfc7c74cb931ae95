"""``provider_options`` of a task, checked and put into a dialect's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import holodeck_gen as hg
from holodeck_gen.errors import InvalidTaskError

if TYPE_CHECKING:
    from holodeck_gen_providers.hunyuan._tables import Model, Option


def wire_options(given: Mapping[str, Any], model: Model, *, pascal: bool) -> dict[str, Any]:
    """The fields of a request that `given` asks for.

    Args:
        given: By their names for users; null is nothing said.
        model: Its row.
        pascal: Whether members of objects are ``LogoUrl`` on the wire rather than ``logo_url``.

    Raises:
        InvalidTaskError: The model has no such option, or it cannot be what it is.
    """
    fields: dict[str, Any] = {}
    for name, value in given.items():
        option = model.options.get(name)
        if option is None:
            raise InvalidTaskError(
                f"{model.name} has no option {name!r}{hg.did_you_mean(name, model.options)}"
            )
        if value is not None:
            fields[option.field] = _value(value, option, name, pascal=pascal)
    return fields


def _value(value: Any, option: Option, name: str, *, pascal: bool) -> Any:
    match option.kind:
        case "flag":
            return int(_truth(value, name))
        case "bool":
            return _truth(value, name)
        case "integer":
            return _integer(value, option, name)
        case "text":
            return _text(value, option, name)
        case "object":
            return _object(value, option.members, name, pascal=pascal)
        case "objects":
            if isinstance(value, str) or not isinstance(value, Sequence):
                raise InvalidTaskError(f"{name} must be a list of objects")
            return [_object(each, option.members, name, pascal=pascal) for each in value]


def _truth(value: Any, name: str) -> bool:
    if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise InvalidTaskError(f"{name} must be true or false, not {value!r}")


def _integer(value: Any, option: Option, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidTaskError(f"{name} must be a whole number, not {value!r}")
    if value < option.minimum or (option.maximum is not None and value > option.maximum):
        most = "" if option.maximum is None else f" to {option.maximum}"
        raise InvalidTaskError(f"{name} must be {option.minimum}{most}, not {value}")
    return value


def _text(value: Any, option: Option, name: str) -> str:
    # ``--option footnote=2026`` reads as a number.
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        raise InvalidTaskError(f"{name} must be text, not {value!r}")
    if option.choices:
        folded = {choice.casefold(): choice for choice in option.choices}
        if text.casefold() not in folded:
            raise InvalidTaskError(f"{name} has no {text!r}{hg.did_you_mean(text, option.choices)}")
        return folded[text.casefold()]
    if option.maximum is not None and len(text) > option.maximum:
        raise InvalidTaskError(f"{name} has {len(text)} characters; {option.maximum} are taken")
    return text


def _object(value: Any, members: Mapping[str, Any], name: str, *, pascal: bool) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidTaskError(f"{name} must be an object with {', '.join(members)}")
    fields: dict[str, Any] = {}
    for key, item in value.items():
        if key not in members:
            raise InvalidTaskError(f"{name} has no {key!r}{hg.did_you_mean(key, members)}")
        inner = members[key]
        if inner is not None:
            item = _object(item, inner, f"{name}.{key}", pascal=pascal)
        elif not isinstance(item, str | int) or isinstance(item, bool):
            raise InvalidTaskError(f"{name}.{key} must be text or a whole number")
        fields[_pascal(key) if pascal else key] = item
    return fields


def _pascal(key: str) -> str:
    return "".join(part.capitalize() for part in key.split("_"))
