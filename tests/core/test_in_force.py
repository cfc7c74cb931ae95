"""Everything that applies, where it comes from, and what cannot be."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
import pytest

import holodeck_gen as hg
from helpers import no_plugins
from holodeck_gen._cli._in_force import DEFAULT, InForce, in_force
from holodeck_gen._config.keys import KEYS

if TYPE_CHECKING:
    from holodeck_gen._plugins.registry import Registry

CANARY = "canary"


@attrs.frozen(kw_only=True)
class Options:
    """Options of everything here."""

    quality: int = 90
    format: Literal["png", "webp"] | None = None
    more: dict[str, str] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class Place:
    """Options of a store."""

    url: str


@pytest.fixture
def registry() -> Registry:
    made = no_plugins()
    made.register("provider", "painter", print, options=Options)
    made.register("processor", "convert", print, options=Options)
    made.register("store", "bucket", print, options=Place)
    made.register("observer", "watch", print, options=Options)
    return made


def look(registry: Registry, **values: Any) -> InForce:
    return in_force(hg.Config.of(values, environ={"SET": CANARY}), registry)


def rows(found: InForce) -> dict[str, tuple[object, str]]:
    assert CANARY not in str(found)
    return {each.key: (each.value, each.origin) for each in found.settings}


def test_every_setting_is_there_with_its_default(registry: Registry) -> None:
    found = rows(look(registry))
    assert set(found) == set(KEYS)
    assert {origin for _, origin in found.values()} == {DEFAULT}
    assert found["attempts"] == (4, DEFAULT)
    assert found["concurrency"] == ("auto", DEFAULT)


def test_defaults_are_those_of_a_studio(registry: Registry) -> None:
    """What is shown is what happens."""
    shown = rows(look(registry))
    parameters = inspect.signature(hg.AsyncStudio).parameters
    said = {
        name: parameter.default
        for name, parameter in parameters.items()
        if name in shown and parameter.default is not None
    }
    assert said == {"journal": "automatic"}
    assert {name: shown[name][0] for name in said} == said
    studio = hg.AsyncStudio("painter", config=hg.Config.of({}, environ={}), registry=registry)
    for field in attrs.fields(type(studio._work.settings)):
        if field.name in set(shown) - {"concurrency", "name"}:
            assert getattr(studio._work.settings, field.name) == shown[field.name][0]
    assert studio._work.resume == shown["resume"][0]


def test_options_of_what_is_named(registry: Registry) -> None:
    found = look(
        registry,
        provider="painter",
        process=["small"],
        stages={"small": {"use": "convert", "quality": "30"}, "convert": {"format": "png"}},
    )
    assert found.wrong == found.odd == ()
    shown = rows(found)
    assert rows(look(registry, observe=["watch"]))["stages.watch.quality"] == (90, DEFAULT)
    assert shown["providers.painter.quality"] == (90, DEFAULT)
    assert shown["stages.small.quality"] == ("30", "given")
    assert shown["stages.small.format"] == (None, DEFAULT)
    # Nothing names it now; it is shown all the same.
    assert shown["stages.convert.format"] == ("png", "given")
    assert "stages.bucket.url" not in shown


def test_accounts_have_rows_of_their_own_and_secrets_are_masked(registry: Registry) -> None:
    accounts = [{"more": {"x": CANARY}}, {"quality": {"env": "SET"}, "format": "png"}]
    found = look(registry, provider="painter", providers={"painter": {"accounts": accounts}})
    shown = rows(found)
    assert shown["providers.painter.accounts[1].more"][0] == "••••"
    assert shown["providers.painter.accounts[2].quality"][0] == "•••• from SET"
    assert shown["providers.painter.accounts[2].format"][0] == "png"
    assert "providers.painter.accounts" not in shown


def test_what_its_owner_calls_secret_is_masked(registry: Registry) -> None:
    """Whatever its name; and however it is spelt."""
    for name in ("my-own", "MY_OWN"):
        stages = {name: {"use": "convert", "more": {"plain": CANARY}}}
        assert rows(look(registry, process=["my-own"], stages=stages))[
            f"stages.{name}.more.plain"
        ] == ("••••", "given")


def test_a_name_in_a_variable_is_the_same_name(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLODECK_GEN_STAGES__MY_OWN__QUALITY", "30")
    Path("holodeck-gen.toml").write_text(
        'process = ["my-own"]\n[stages.my-own]\nuse = "convert"\nformat = "png"\n'
    )
    found = in_force(hg.Config.load(), registry)
    assert (found.wrong, found.odd) == ((), ())
    shown = rows(found)
    assert shown["stages.my_own.quality"][1] == "variable HOLODECK_GEN_STAGES__MY_OWN__QUALITY"
    assert shown["stages.my-own.format"][1].endswith("holodeck-gen.toml")
    assert "stages.my-own.quality" not in shown


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"provider": "panter"}, "provider names 'panter': there is no provider"),
        ({"provider": "panter"}, "did you mean 'painter'?"),
        ({"process": ["mine"]}, "write use = … in [stages.mine]"),
        ({"observe": ["mine"]}, "there is no observer named 'mine'"),
        ({"process": ["convert"], "stages": {"convert": {"qualty": 1}}}, "mean 'quality'?"),
        ({"process": ["convert"], "stages": {"convert": {"quality": "high"}}}, "is not int"),
        (
            {"process": ["convert"], "stages": {"convert": {"format": "gif"}}},
            "'gif' is not one of 'png', 'webp'",
        ),
        ({"process": ["convert"], "stages": {"convert": {"use": 5}}}, "must be a name, not 5"),
        (
            {"provider": "painter", "providers": {"painter": {"quality": {"env": "NONE"}}}},
            "needs the environment variable NONE",
        ),
        ({"provider": {"env": "NONE"}}, "needs the environment variable NONE"),
        ({"prices": {"painter": {"amount": "1"}}}, "lacks 'currency'"),
        ({"output": f"s3://id:{CANARY}@b"}, "write the address without user"),
        ({"name": "{a.b}"}, "plain field name"),
    ],
    ids=str,
)
def test_what_a_run_would_not_begin_with(
    registry: Registry, values: dict[str, Any], words: str
) -> None:
    found = look(registry, **values)
    assert [text for text in found.wrong if words in text]
    assert CANARY not in str(found)
    # The rest is shown all the same.
    assert "attempts" in rows(found)


def test_what_nothing_names_stops_nothing(registry: Registry) -> None:
    stages = {"convrt": {"quality": 1}, "convert": {"quality": "high"}}
    found = look(registry, stages=stages)
    assert found.wrong == ()
    assert [each for each in found.odd if "[stages.convrt] is of no stage" in each]
    assert [each for each in found.odd if "is not int (nothing names it)" in each]


def test_a_store_may_get_its_place_from_the_output(registry: Registry) -> None:
    assert look(registry, store="bucket").wrong == ()
