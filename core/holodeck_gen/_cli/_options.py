"""Options that several commands share, and what they mean."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import click

from holodeck_gen._cli._exit import VERBOSITY
from holodeck_gen._cli._logging import configure
from holodeck_gen._cli._voice import Voice
from holodeck_gen._config.config import Config
from holodeck_gen._config.sources import path_of_key, put, value_of_text
from holodeck_gen._model.task import Task

if TYPE_CHECKING:
    from holodeck_gen._stages.in_processes import Processes

_Command: TypeAlias = Callable[..., Any]

#: Task fields that an option sets where a task says nothing.
_FIELDS = ("kind", "model", "size", "seed", "n", "style", "negative_prompt")
_SETTINGS = ("provider", "concurrency", "budget", "store", "journal", "sidecar")
_LISTS = ("rewrite", "expand", "process", "observe")


@attrs.frozen(kw_only=True)
class Given:
    """What the command line says.

    Attributes:
        settings: Configuration, as nested tables.
        fields: Fields of `Task` for tasks that do not say.
        as_json: Whether stdout gets JSON.
        processes: In how many processes processors run; None means in threads.
    """

    settings: Mapping[str, Any]
    fields: Mapping[str, Any]
    as_json: bool
    processes: int | None = None

    def config(self, **more: object) -> Config:
        """Every setting that applies, with `more` as if given by options.

        Raises:
            ConfigError: A setting is wrong.
        """
        said = {key: value for key, value in more.items() if value is not None}
        return Config.load({**self.settings, **said})

    def workers(self) -> Processes | None:
        """Where processors run, if not in threads."""
        from holodeck_gen._stages.in_processes import Processes

        if self.processes is None:
            return None
        return Processes(places=self.processes, given=self.settings)

    def task(self, prompt: str, **more: Any) -> Task:
        """A task with the fields that were given.

        Raises:
            InvalidTaskError: A field cannot be what it is.
        """
        return Task(prompt, **{**self.fields, **more})


def voice_options(command: _Command) -> _Command:
    """``-q``, ``-v`` and ``--log-format``; the command gets `voice`, and logs are configured."""

    @click.option("-q", "--quiet", is_flag=True, help="Only errors on stderr.")
    @click.option("-v", "--verbose", count=True, help="More on stderr; -vv for everything.")
    @click.option(
        "--log-format",
        type=click.Choice(["json", "console"]),
        default="console",
        show_default=True,
        help="How stderr is written.",
    )
    @functools.wraps(command)
    def with_voice(*, quiet: bool, verbose: int, log_format: Any, **rest: Any) -> Any:
        click.get_current_context().meta[VERBOSITY] = verbose
        configure(verbosity=verbose, quiet=quiet, log_format=log_format)
        return command(voice=Voice(quiet=quiet, log_format=log_format), **rest)

    return with_voice


def setting_options(command: _Command) -> _Command:
    """``--set`` and ``--json``; the command gets `given`."""

    @_set
    @_json
    @functools.wraps(command)
    def with_settings(*, assignments: tuple[str, ...], as_json: bool, **rest: Any) -> Any:
        given = Given(settings=_settings(assignments), fields={}, as_json=as_json)
        return command(given=given, **rest)

    return with_settings


def work_options(command: _Command) -> _Command:
    """The options of every command that generates; the command gets `given`."""

    @functools.wraps(command)
    def with_work(
        *,
        assignments: tuple[str, ...],
        as_json: bool,
        options: tuple[str, ...],
        processes: int | None,
        **rest: Any,
    ) -> Any:
        settings = _settings(assignments)
        settings |= {name: value for name in _SETTINGS if (value := rest.pop(name)) is not None}
        settings |= {name: value for name in _LISTS if (value := rest.pop(name))}
        fields = {name: value for name in _FIELDS if (value := rest.pop(name)) is not None}
        if options:
            fields["provider_options"] = dict(_option(text) for text in options)
        given = Given(settings=settings, fields=fields, as_json=as_json, processes=processes)
        return command(given=given, **rest)

    for option in reversed((*_WORK, _set, _json)):
        with_work = option(with_work)
    return with_work


def _settings(assignments: tuple[str, ...]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for text in assignments:
        key, value = _pair(text, "--set")
        put(settings, path_of_key(key), value_of_text(value))
    return settings


def _option(text: str) -> tuple[str, Any]:
    key, value = _pair(text, "--option")
    try:
        return key, json.loads(value, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return key, value


def _pair(text: str, option: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise click.UsageError(f"{option} takes KEY=VALUE, not {text!r}")
    return key.strip(), value


def _not_json(constant: str) -> float:
    raise ValueError(constant)


_set = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any setting, such as providers.hunyuan.dialect=aiart. Repeatable.",
)
#: Of every command that runs processors.
processes_option = click.option(
    "--processes",
    type=click.IntRange(min=1),
    metavar="N",
    help="Run processors that are named in N processes, not in threads.",
)
_json = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")

_WORK = (
    click.option("-p", "--provider", metavar="NAME", help="Who makes the pictures."),
    click.option("--kind", metavar="KIND", help="What to make, such as image or model3d."),
    click.option("--model", metavar="NAME", help="The provider's name of a model."),
    click.option("--size", metavar="WxH", help="Such as 1024x768."),
    click.option("--seed", type=int, metavar="N", help="Makes a picture repeatable."),
    click.option("-n", "n", type=int, metavar="N", help="How many pictures of each task."),
    click.option("--style", metavar="NAME", help="The provider's name of a style."),
    click.option("--negative-prompt", metavar="TEXT", help="What to avoid."),
    click.option("--concurrency", metavar="N|auto|MIN-MAX", help="Jobs at once."),
    click.option("--budget", metavar="AMOUNT", help="What all jobs may cost, such as 10CNY."),
    click.option("--expand", multiple=True, metavar="NAME", help="Make many tasks of one."),
    click.option("--rewrite", multiple=True, metavar="NAME", help="Change prompts first."),
    click.option("--process", multiple=True, metavar="NAME", help="Change finished files."),
    processes_option,
    click.option(
        "--sidecar/--no-sidecar",
        default=None,
        help="Beside each picture a JSON file that tells how it was made.",
    ),
    click.option("--store", metavar="NAME", help="Where finished files are kept."),
    click.option("--journal", metavar="FOLDER", help="Where the work is remembered."),
    click.option("--observe", multiple=True, metavar="NAME", help="Show how the work goes on."),
    click.option(
        "--option",
        "options",
        multiple=True,
        metavar="KEY=VALUE",
        help="An option of the provider for the tasks; JSON or text. Repeatable.",
    ),
)
