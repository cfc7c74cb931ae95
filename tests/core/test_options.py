"""Options become an instance of the class that documents them, or one line says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs
import pytest

from holodeck_gen._plugins.options import describe_options, parse_options
from holodeck_gen._plugins.registry import Configured, Registration
from holodeck_gen.errors import ConfigError
from pictures import context

if TYPE_CHECKING:
    # What is wrong with it is what a test is about.
    from decimal import Decimal  # noqa: TC004

Format: TypeAlias = Literal["png", "webp"]


@attrs.frozen(kw_only=True)
class Options:
    url: str
    model: str
    tries: int = 3


def test_text_is_converted() -> None:
    options = parse_options(Options, {"url": "u", "model": "m", "tries": "5"}, where="chat")
    assert options == Options(url="u", model="m", tries=5)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "chat needs 'url' and 'model'"),
        ({"url": "u"}, "chat needs 'model'"),
        ({"url": "u", "model": "m", "modle": 1}, "chat has no option 'modle'; did you mean"),
        ({"url": "u", "model": "m", "tries": "x"}, "chat: option 'tries'"),
    ],
)
def test_what_is_wrong_is_said_in_the_users_words(values: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_options(Options, values, where="chat")
    assert str(caught.value).startswith(said)


@attrs.frozen(kw_only=True)
class Documented:
    """Options of a stage.

    Attributes:
        format: What it is,
            in two lines.
        words (dict): By name.
        key: A secret.
        other: Another one.
    """

    format: Format | None = None
    words: dict[str, str] = attrs.field(factory=dict)
    key: str | None = attrs.field(default=None, repr=False)
    other: str = attrs.field(default="s3cret", repr=False)
    size: int


def test_options_are_described_by_what_they_take() -> None:
    rows = [tuple(attrs.asdict(each).values()) for each in describe_options(Documented)]
    assert rows == [
        ("format", "one of 'png', 'webp'", "None", "What it is, in two lines."),
        ("words", "dict[str, str]", "{}", "By name."),
        ("key", "str", "None", "A secret."),
        ("other", "str", "…", "Another one."),
        ("size", "int", "required", ""),
    ]


@attrs.frozen(kw_only=True)
class Unfinished:
    price: Decimal | None = None
    name: str = ""


def test_a_type_that_only_type_checkers_see_is_told() -> None:
    with pytest.raises(ConfigError, match=r"stage 'x': its options class Unfinished .*'Decimal'"):
        parse_options(Unfinished, {"name": "a"}, where="stage 'x'")
    assert [each.type for each in describe_options(Unfinished)] == ["Decimal | None", "str"]


def test_a_factory_that_refuses_is_told_by_the_name_of_its_stage() -> None:
    def refuse(_options: object, _ctx: object) -> None:
        raise ConfigError("label: no such font")

    made = Registration(kind="processor", name="label", factory=refuse, owner="a test")
    with pytest.raises(ConfigError, match=r"^processor 'mark': label: no such font$"):
        Configured(registration=made, options=None, name="mark").make(context())
    with pytest.raises(ConfigError, match=r"^label: no such font$"):
        Configured(registration=made, options=None, name="label").make(context())
