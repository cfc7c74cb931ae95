"""``holodeck-gen generate``: one prompt, its pictures."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from holodeck_gen._cli._exit import BAD_INPUT, tell
from holodeck_gen._cli._options import voice_options, work_options
from holodeck_gen._cli._results import outcome_line
from holodeck_gen._cli._summary import Tally
from holodeck_gen._cli._voice import Voice, emit_json
from holodeck_gen._cli._work import Stop, in_processes, outcomes, signals
from holodeck_gen._model.outcome import Failure
from holodeck_gen._model.remote import refuse_half
from holodeck_gen._model.task import Task
from holodeck_gen._studio import AsyncStudio
from holodeck_gen.errors import ConfigError, InvalidTaskError, PausedError

if TYPE_CHECKING:
    from holodeck_gen._cli._options import Given
    from holodeck_gen._model.outcome import Outcome

#: Used where nobody chose; it costs nothing.
FALLBACK = "procedural"
_NOTHING_SPENT = (InvalidTaskError, ConfigError)


@click.command()
@click.argument("prompt")
@click.option("-o", "--output", metavar="FILE", help="The file, or a folder for it.")
@work_options
@voice_options
def generate(*, prompt: str, output: str | None, given: Given, voice: Voice) -> None:
    """Make a picture from PROMPT and print where it is.

    \b
    Examples:
      holodeck-gen generate "misty mountains at dawn" -o dawn.png
      holodeck-gen generate "a red fox, ink" --size 1024x768 --seed 7 -o fox.png
      holodeck-gen generate "a harbor" -n 4 -o pictures/ --json
    """
    config = given.config()
    provider = config.get("provider")
    if provider is None:
        provider = FALLBACK
        voice.note(f"no provider is configured; {FALLBACK} draws it, for free")
    folder, name = place(output, config.get("output"))
    task = given.task(prompt, output=name)
    config = given.config(provider=provider, output=str(folder))
    for line in config.announcements:
        voice.note(line)
    work = _Work(task=task, as_json=given.as_json, voice=voice)
    # A single picture's folder is the user's own and gets no journal beside it.
    journal = config.get("journal", "automatic")
    journal = "invocation" if journal == "automatic" else None if journal == "none" else journal
    studio = in_processes(AsyncStudio(config=config, journal=journal), given.workers())
    code = asyncio.run(work.run(studio))
    click.get_current_context().exit(code)


def place(output: str | None, configured: str | None) -> tuple[Path | str, str | None]:
    """The folder and, where one was named, the file.

    Args:
        output: ``-o``: a file, or a folder if it is one or ends with a slash; or the address of
            either in a remote store, where a bucket is a folder.
        configured: The setting ``output``, which is a folder.
    """
    if output is None:
        return configured or Path(), None
    refuse_half(output)
    if "://" in output:
        parent, _, last = output.rpartition("/")
        return (output, None) if not last or parent.endswith("/") else (parent, last)
    path = Path(output)
    if path.is_dir() or output.endswith(("/", os.sep)):
        return path, None
    return path.parent, path.name


@attrs.define(kw_only=True)
class _Work:
    task: Task
    as_json: bool
    voice: Voice
    tally: Tally = attrs.field(factory=Tally)
    errors: list[Exception] = attrs.field(factory=list)

    async def run(self, studio: AsyncStudio) -> int:
        stop = Stop()
        with signals(stop, self.voice):
            async with studio:
                try:
                    async for outcome in outcomes(studio, [self.task], stop):
                        self._take(outcome)
                except PausedError as error:
                    # Its cause was told with the task that met it.
                    if not self.errors:
                        tell(error)
        if self.errors and all(isinstance(each, _NOTHING_SPENT) for each in self.errors):
            return BAD_INPUT
        interrupted = stop.reason == "interrupted"
        return self.tally.code(interrupted=interrupted, unfinished=not self.tally.begun)

    def _take(self, outcome: Outcome) -> None:
        self.tally.add(outcome)
        if self.as_json:
            emit_json(outcome_line(outcome))
        if isinstance(outcome, Failure):
            self.errors.append(outcome.error)
            tell(outcome.error)
            return
        for warning in outcome.warnings:
            self.voice.note(f"warning: {warning}")
        if not self.as_json:
            for artifact in outcome.artifacts:
                # A path may hold bytes that are no text.
                click.echo(os.fsencode(artifact.path) if artifact.path else artifact.uri)
