"""``providers``, ``plugins`` and ``config``: what there is and what applies."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import attrs
import click

from holodeck_gen._cli._exit import BAD_INPUT, one_line, say
from holodeck_gen._cli._in_force import in_force
from holodeck_gen._cli._options import setting_options, voice_options
from holodeck_gen._cli._voice import emit_json
from holodeck_gen._model.nearest import did_you_mean, nearest
from holodeck_gen._plugins.options import describe_options
from holodeck_gen._plugins.registry import Registration, Registry
from holodeck_gen.errors import GenerationError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from holodeck_gen._cli._options import Given
    from holodeck_gen._cli._voice import Voice

_BILLING = re.compile(r"\b(free|paid)\b", re.IGNORECASE)
#: Characters of a default in a table, at most.
_DEFAULT_WIDTH = 40
_as_json = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")


@click.command()
@_as_json
@voice_options
def providers(*, as_json: bool, voice: Voice) -> None:
    """List the providers.

    \b
    Examples:
      holodeck-gen providers
      holodeck-gen providers --json
    """
    found = [
        {
            "name": each.name,
            "billing": _billing(each.summary),
            "summary": each.summary,
            "owner": each.owner,
        }
        for each in Registry().all("provider")
    ]
    if as_json:
        emit_json(found)
        return
    _table(("NAME", "BILLING", "SUMMARY", "OWNER"), (tuple(each.values()) for each in found))


@click.command()
@click.argument("name", required=False)
@_as_json
@voice_options
def plugins(*, name: str | None, as_json: bool, voice: Voice) -> None:
    """List the plugins and what they register; with NAME, its options.

    \b
    Examples:
      holodeck-gen plugins
      holodeck-gen plugins procedural
    """
    registry = Registry()
    if name is None:
        found = [_plugin(registry, each) for each in registry.plugins.names()]
        if as_json:
            emit_json(found)
        else:
            rows = ((p["name"], p["distribution"], _what(p)) for p in found)
            _table(("NAME", "DISTRIBUTION", "REGISTERS"), rows)
        return
    known = registry.plugins.names()
    if name not in known:
        raise UnknownNameError(
            f"there is no plugin named {name!r}{did_you_mean(name, known)}",
            nearest=nearest(name, known),
        )
    plugin = _plugin(registry, name)
    if as_json:
        emit_json(plugin)
    else:
        _print_plugin(plugin)


@click.command()
@setting_options
@voice_options
def config(*, given: Given, voice: Voice) -> None:
    """Show each setting that applies here and where it comes from; secrets are masked.

    Also the options of the providers and stages that are named or configured. What a run would
    not begin with is told on stderr.

    \b
    Examples:
      holodeck-gen config
      holodeck-gen config --set concurrency=4 --json

    \b
    Exit codes: 0 nothing is wrong, 1 a run would not begin.
    """
    loaded = given.config()
    for line in loaded.announcements:
        voice.note(line)
    found = in_force(loaded, Registry())
    if given.as_json:
        rows = [{**attrs.asdict(each), "value": _plain(each.value)} for each in found.settings]
        emit_json(rows)
    else:
        _table(
            ("KEY", "VALUE", "FROM"), ((s.key, _text(s.value), s.origin) for s in found.settings)
        )
    for text in found.odd:
        voice.note(f"warning: {text}")
    for text in found.wrong:
        say(f"error: {text}")
    if found.wrong:
        click.get_current_context().exit(BAD_INPUT)


def _billing(summary: str) -> str | None:
    """What a summary says of the price; the provider itself is not made for a listing."""
    found = _BILLING.search(summary)
    return found[1].lower() if found else None


def _plugin(registry: Registry, name: str) -> dict[str, Any]:
    """A plugin's facts, whether or not it works."""
    facts: dict[str, Any] = {"name": name, "distribution": None, "registers": [], "broken": None}
    try:
        described = registry.plugins.describe(name)
        facts["distribution"] = described.distribution
        registrations = registry.of_plugin(name)
        loaded = registry.plugins.load(name)
    except GenerationError as error:
        return {**facts, "broken": one_line(str(error))}
    if name in registry.plugins.broken:
        return {**facts, "broken": one_line(str(registry.plugins.broken[name]))}
    facts["registers"] = [_registration(each) for each in registrations]
    for hook, kind in (("register_commands", "commands"), ("on_event", "events")):
        if loaded is not None and registry.plugins.implementation(loaded, hook):
            facts["registers"].append({"kind": kind, "name": "", "summary": "", "options": []})
    return facts


def _registration(registration: Registration) -> dict[str, Any]:
    return {
        "kind": registration.kind,
        "name": registration.name,
        "summary": registration.summary,
        "options": [attrs.asdict(option) for option in describe_options(registration.options)],
    }


def _what(plugin: dict[str, Any]) -> str:
    if plugin["broken"]:
        return f"BROKEN: {plugin['broken']}"
    return ", ".join(f"{each['kind']} {each['name']}".strip() for each in plugin["registers"])


def _print_plugin(plugin: dict[str, Any]) -> None:
    click.echo(f"{plugin['name']} ({plugin['distribution']})")
    if plugin["broken"]:
        click.echo(f"BROKEN: {plugin['broken']}")
    for each in plugin["registers"]:
        title = f"{each['kind']} {each['name']}".strip()
        click.echo(f"\n{title}: {each['summary']}" if each["summary"] else f"\n{title}")
        if each["options"]:
            rows = ((o["name"], o["type"], _short(o["default"]), o["doc"]) for o in each["options"])
            _table(("OPTION", "TYPE", "DEFAULT", "MEANING"), rows)
        elif each["kind"] not in ("commands", "events"):
            click.echo("no options")


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print columns; never wrapped, so that a line stays a line for other programs."""
    lines = [header, *([_text(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _short(text: str) -> str:
    """A default that is not wider than the rest; ``--json`` has all of it."""
    return text if len(text) <= _DEFAULT_WIDTH else f"{text[: _DEFAULT_WIDTH - 1]}…"


def _text(value: object) -> str:
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(_plain(value), ensure_ascii=False)
    return one_line(text)


def _plain(value: object) -> Any:
    return json.loads(json.dumps(value, default=str))
