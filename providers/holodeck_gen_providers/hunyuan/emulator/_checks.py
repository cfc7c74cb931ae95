"""The service's checks of parameters: presence, names, types, bounds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from holodeck_gen_providers.hunyuan.emulator._references import check_references
from holodeck_gen_providers.hunyuan.emulator._wire import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from holodeck_gen_providers.hunyuan._tables import Model, Option
    from holodeck_gen_providers.hunyuan.emulator._interfaces import Interface

#: Of a field whose value the client's table fixes.
_ANSWER_TYPES = ("base64", "url")

_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")
_SIZE = re.compile(r"([0-9]{1,5})([:x])([0-9]{1,5})")


def check_parameters(interface: Interface, model: Model, parameters: Mapping[str, Any]) -> None:
    """Refuse what the service would refuse.

    Raises:
        RefusedError: With the code of API 3.0.
    """
    _Checker(interface, model, parameters).check()


def read_size(model: Model, parameters: Mapping[str, Any]) -> tuple[int, int] | None:
    """The size asked for, if any; checked before."""
    value = parameters.get(model.fields.get("size", ""))
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    return (int(match[1]), int(match[3])) if match else None


class _Checker:
    """One request's parameters against one row of the tables."""

    def __init__(self, interface: Interface, model: Model, parameters: Mapping[str, Any]) -> None:
        self.dialect = interface.dialect.name
        self.signed = interface.dialect.signed
        self.model = model
        self.parameters = parameters

    def check(self) -> None:
        """Check what must be there, then what is there, then what excludes what."""
        checks = self._known()
        for name in self.parameters:
            if name not in checks:
                raise RefusedError("UnknownParameter", f"The parameter `{name}` is not recognized.")
        words = self.model.fields.get("prompt")
        references = self.model.references
        alone = references is not None and references.form == "members"
        if words is not None and words not in self.parameters and not alone:
            raise _missing(words)
        for name, value in self.parameters.items():
            checks[name](name, value)
        check_references(self.dialect, self.model, self.parameters)

    def _known(self) -> dict[str, Callable[[str, Any], None]]:
        model = self.model
        known: dict[str, Callable[[str, Any], None]] = {}
        for word, name in model.fields.items():
            known[name] = getattr(self, f"_{word}")
        for option in model.options.values():
            known[option.field] = self._option(option)
        for name in model.constants:
            known[name] = self._fixed
        if not self.signed:
            known["model"] = _anything
        for name in _reference_names(model):
            known[name] = _anything
        return known

    def _prompt(self, name: str, value: Any) -> None:
        self._text(name, value)
        if not value.strip():
            raise self._bad(name, "it is empty")
        most = self.model.max_prompt
        if most is not None and len(value) > most:
            reason = f"{len(value)} characters are more than {most}"
            if self.dialect != "aiart":
                raise self._bad(name, reason)
            raise RefusedError("InvalidParameterValue.TextLengthExceed", reason)

    def _negative_prompt(self, name: str, value: Any) -> None:
        self._text(name, value)
        if self.model.max_prompt is not None and len(value) > self.model.max_prompt:
            raise self._bad(name, "it is too long")

    def _style(self, name: str, value: Any) -> None:
        self._text(name, value)
        if self.model.styles and value not in self.model.styles:
            raise self._bad(name, f"there is no style {value!r}")

    def _size(self, name: str, value: Any) -> None:
        self._text(name, value)
        sizes = self.model.sizes
        match = _SIZE.fullmatch(value)
        if match is None or sizes is None or match[2] != sizes.separator:
            raise self._bad(name, f"{value!r} is no size")
        with_images = any(self.parameters.get(each) for each in _reference_names(self.model))
        if not sizes.allows((int(match[1]), int(match[3])), with_images=with_images):
            raise self._bad(name, f"{value!r} is not supported")

    def _seed(self, name: str, value: Any) -> None:
        # 0 is documented as random where it is documented at all.
        self._integer(name, value, 0, self.model.max_seed)

    def _n(self, name: str, value: Any) -> None:
        self._integer(name, value, 1, self.model.per_job)

    def _fixed(self, name: str, value: Any) -> None:
        self._text(name, value)
        if name.lower().replace("_", "").startswith("rsp") and value not in _ANSWER_TYPES:
            raise self._bad(name, f"{value!r} is not {' or '.join(_ANSWER_TYPES)}")

    def _option(self, option: Option) -> Callable[[str, Any], None]:
        def check(name: str, value: Any) -> None:
            match option.kind:
                case "flag":
                    # "Any other value" is documented as one of the two.
                    self._integer(name, value, None, None)
                case "bool":
                    self._typed(name, value, bool)
                case "integer":
                    self._integer(name, value, option.minimum, option.maximum)
                case "text":
                    self._choice(option, name, value)
                case "object":
                    self._object(name, value, option.members)
                case "objects":
                    self._typed(name, value, list)
                    for each in value:
                        self._object(name, each, option.members)

        return check

    def _choice(self, option: Option, name: str, value: Any) -> None:
        self._text(name, value)
        if option.choices and value not in option.choices:
            raise self._bad(name, f"{value!r} is not one of {', '.join(option.choices)}")
        if option.maximum is not None and len(value) > option.maximum:
            raise self._bad(name, f"it has more than {option.maximum} characters")

    def _object(self, name: str, value: Any, members: Mapping[str, Any]) -> None:
        self._typed(name, value, dict)
        for member, inner in value.items():
            known = _CAPITAL.sub("_", member).lower() if self.signed else member
            if known not in members:
                raise RefusedError(
                    "UnknownParameter", f"The parameter `{name}.{member}` is not recognized."
                )
            if members[known]:
                self._object(f"{name}.{member}", inner, members[known])

    def _integer(self, name: str, value: Any, least: int | None, most: int | None) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong_type(name)
        if (least is not None and value < least) or (most is not None and value > most):
            raise self._bad(name, f"{value} is not from {least} to {most}")

    def _text(self, name: str, value: Any) -> None:
        self._typed(name, value, str)

    def _typed(self, name: str, value: Any, wanted: type) -> None:
        if not isinstance(value, wanted):
            raise _wrong_type(name)

    def _bad(self, name: str, reason: str) -> RefusedError:
        return RefusedError(
            "InvalidParameterValue.ParameterValueError",
            f"The value of `{name}` is wrong: {reason}.",
        )


def _reference_names(model: Model) -> tuple[str, ...]:
    references = model.references
    if references is None:
        return ()
    match references.form:
        case "members":
            return references.url, references.base64
        case "messages":
            return ("messages",)
        case _:
            return (references.field,)


def _anything(_name: str, _value: Any) -> None:
    """Checked elsewhere."""


def _missing(name: str) -> RefusedError:
    return RefusedError(
        "MissingParameter", f"The request is missing a required parameter `{name}`."
    )


def _wrong_type(name: str) -> RefusedError:
    return RefusedError("InvalidParameter", f"The value type of parameter `{name}` is not valid.")
