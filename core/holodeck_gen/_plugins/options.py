"""Checks plugin options against their attrs class, and describes that class."""

from __future__ import annotations

import contextlib
import inspect
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import attrs
import cattrs

from holodeck_gen._model.nearest import did_you_mean
from holodeck_gen.errors import ConfigError

if TYPE_CHECKING:
    from holodeck_gen._model.values import JsonObject

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}


def parse_options(options: type | None, values: JsonObject, *, where: str) -> Any:
    """Make an instance of the attrs class `options` from configuration or the command line.

    Text is converted where the field has another type, because command lines and
    environments know only text.

    Raises:
        ConfigError: An option is unknown, missing or cannot be what it is.
    """
    if options is None:
        if values:
            raise ConfigError(f"{where} has no options, but {', '.join(sorted(values))} was given")
        return None
    fields = {field.alias: field for field in attrs.fields(options)}
    for name in values:
        if name not in fields:
            raise ConfigError(f"{where} has no option {name!r}{did_you_mean(name, fields)}")
    needed = [
        name for name, field in fields.items() if field.init and field.default is attrs.NOTHING
    ]
    if left := [name for name in needed if name not in values]:
        raise ConfigError(f"{where} needs {' and '.join(map(repr, left))}")
    try:
        attrs.resolve_types(options)
    except NameError as error:
        raise ConfigError(
            f"{where}: its options class {options.__name__} names the type {error.name!r}, which is"
            " not imported at run time; whoever wrote it must import it outside of TYPE_CHECKING"
        ) from error
    arguments = {
        name: _convert(value, fields[name], where=f"{where}: option {name!r}")
        for name, value in values.items()
    }
    try:
        return options(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error.args[0]}") from error


@attrs.frozen(kw_only=True)
class OptionInfo:
    """One line of an option's documentation."""

    name: str
    type: str
    default: str
    doc: str


def describe_options(options: type | None) -> list[OptionInfo]:
    """Every option of an attrs class, with its line of the class's ``Attributes:`` section."""
    if options is None:
        return []
    docs = _attribute_docs(options)
    # Where a type cannot be found, its name as it is written has to do.
    with contextlib.suppress(NameError):
        attrs.resolve_types(options)
    return [
        OptionInfo(
            name=field.alias,
            type=_type_name(field.type),
            default=_default(field),
            doc=docs.get(field.name, ""),
        )
        for field in attrs.fields(options)
    ]


def _convert(value: Any, field: attrs.Attribute[Any], *, where: str) -> Any:
    try:
        wanted: Any = field.type
        return _converter().structure(value, wanted)
    except Exception as error:
        # A field without a repr holds a secret, and so may every error about its value.
        shown = repr(value) if field.repr else "what was given"
        reason = f"{where}: {shown} is not {_type_name(field.type)}"
        raise ConfigError(reason) from (error if field.repr else None)


@cache
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_structure_hook(bool, _bool)
    converter.register_structure_hook(int, _int)
    converter.register_structure_hook(str, _str)
    converter.register_structure_hook_func(lambda t: t is Any, lambda value, _: value)
    return converter


def _bool(value: Any, _type: object) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in _TRUE | _FALSE:
        return word in _TRUE
    raise ValueError(f"{value!r} is neither true nor false")


def _int(value: Any, _type: object) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(f"{value!r} is not a whole number")
    return int(value)


def _str(value: Any, _type: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    # Not what came from a variable and hides itself: an option may be shown by its owner.
    return str(value)


def _attribute_docs(options: type) -> dict[str, str]:
    text = inspect.getdoc(options) or ""
    _, _, section = text.partition("Attributes:\n")
    docs: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if not line.startswith("    "):
            break
        if not line.startswith("     "):
            name, _, rest = line.strip().partition(":")
            # Some write the type behind the name.
            name = name.partition(" ")[0]
            docs[name] = rest.strip()
        else:
            docs[name] += " " + line.strip()
    return docs


def _default(field: attrs.Attribute[Any]) -> str:
    if field.default is attrs.NOTHING:
        return "required"
    default: Any = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return "computed" if default.takes_self else repr(default.factory())
    # That there is none is no secret.
    return repr(default) if field.repr or not default else "…"


def _type_name(wanted: Any) -> str:
    if isinstance(wanted, str):
        return wanted
    if get_origin(wanted) is Literal:
        return f"one of {', '.join(map(repr, get_args(wanted)))}"
    if get_origin(wanted) in (Union, UnionType):
        # That nothing may be said goes without saying.
        return " or ".join(_type_name(each) for each in get_args(wanted) if each is not NoneType)
    return wanted.__name__ if isinstance(wanted, type) else str(wanted).replace("typing.", "")
