"""``holodeck-gen run``: a file of tasks, a folder of pictures."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holodeck_gen._cli._batch import Batch
from holodeck_gen._cli._estimate import Estimate
from holodeck_gen._cli._exit import BAD_INPUT, say
from holodeck_gen._cli._history import History
from holodeck_gen._cli._options import voice_options, work_options
from holodeck_gen._cli._results import FAILED
from holodeck_gen._cli._times import ClockTime, Span, seconds_until
from holodeck_gen._cli._where import Where
from holodeck_gen._cli._work import in_processes
from holodeck_gen._model.remote import is_remote
from holodeck_gen._studio import AsyncStudio
from holodeck_gen._taskfile.taskfile import check_tasks, read_tasks, rereadable
from holodeck_gen.errors import ConfigError, StorageError
from holodeck_gen.files import check_writable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holodeck_gen._cli._options import Given
    from holodeck_gen._cli._voice import Voice
    from holodeck_gen._taskfile.taskfile import Check


#: ``KEY=VALUE`` whose value is nobody's business.
_SECRET = re.compile(r"^(\S*(?:key|secret|token|password)\S*?)=.*", re.IGNORECASE | re.DOTALL)


@click.command()
@click.argument("source", metavar="TASKS")
@click.option("-o", "--output", metavar="OUT", help="A folder, or the address of one.")
@work_options
@click.option("--name", metavar="TEMPLATE", help="Names of files, such as {id} or {style}/{key}.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Begin at most N tasks.")
@click.option("--for", "span", type=Span(), metavar="8h", help="Stop after this time (s m h d).")
@click.option("--until", type=ClockTime(), metavar="HH:MM", help="Stop at this local time.")
@click.option("--skip-invalid", is_flag=True, help="Go on without the lines that are no tasks.")
@click.option("--encoding", default="utf-8", show_default=True, help="Of CSV and text files.")
@click.option("--dry-run", is_flag=True, help="Check everything, generate nothing.")
@click.option(
    "--on-uncertain",
    type=click.Choice(["hold", "resubmit"]),
    help="After a lost answer: hold the task, or submit again and perhaps pay twice.",
)
@click.option(
    "--resume",
    type=click.Choice(["always", "never", "if-possible"]),
    help="Go on with OUT's journal; never: set it aside and pay anew.",
)
@click.option("--retry-failed", is_flag=True, help="Try again what failed in earlier runs.")
@click.option(
    "--retry-uncertain",
    multiple=True,
    is_flag=False,
    flag_value="",
    metavar="[ID]",
    help="Submit again where an answer was lost, or only these; may pay twice. Repeatable.",
)
@click.option(
    "--pay-again",
    multiple=True,
    metavar="ID",
    help="Try this failed task again; pay anew if what its job made is gone. Repeatable.",
)
@voice_options
def run(
    *,
    source: str,
    output: str | None,
    given: Given,
    name: str | None,
    limit: int | None,
    span: float | None,
    until: tuple[int, int] | None,
    skip_invalid: bool,
    encoding: str,
    dry_run: bool,
    on_uncertain: str | None,
    resume: str | None,
    retry_failed: bool,
    retry_uncertain: tuple[str, ...],
    pay_again: tuple[str, ...],
    voice: Voice,
) -> None:
    """Work through TASKS, a .jsonl, .csv or .txt file, or - for standard input.

    The whole file is checked before anything is generated. Pictures, results.jsonl and, if
    tasks failed, failed.jsonl (to be edited and run again) are written into OUT. Where OUT is
    an address such as s3://BUCKET/PREFIX, pictures go there and the rest stays here. The same
    command again goes on where this one ended, and pays for nothing twice.

    \b
    Examples:
      holodeck-gen run tasks.jsonl -p procedural -o out/
      holodeck-gen run prompts.txt -p procedural -o out/ --size 1024x1024 --for 8h
      shuf prompts.txt | holodeck-gen run - -p procedural -o out/ --limit 10
      holodeck-gen run tasks.csv -p procedural -o out/ --dry-run
      holodeck-gen run tasks.csv -p hunyuan -o out/ --budget 10CNY
      holodeck-gen run tasks.csv -p hunyuan -o s3://pictures/tonight

    \b
    Exit codes: 0 done, 1 bad input or configuration, 2 usage, 3 some tasks failed,
    4 something is held, left or paused, 130 interrupted.
    """
    more = {"output": output, "name": name, "on_uncertain": on_uncertain, "resume": resume}
    config = given.config(**more)
    given.task("defaults")
    where = Where.of(config)
    folder = where.folder
    for line in config.announcements:
        voice.note(line)
    with contextlib.ExitStack() as stack:
        working = config
        if dry_run:
            # Whatever a studio writes when it opens is not to be in the user's folder.
            aside = stack.enter_context(tempfile.TemporaryDirectory(prefix="holodeck-gen-"))
            output = where.output if is_remote(where.output) else aside
            working = given.config(**{**more, "output": output, "journal": f"{aside}/"})
        from_failed = _is_failed(source, folder)
        studio = AsyncStudio(
            config=working,
            retry_failed=retry_failed or from_failed,
            retry_uncertain="" in retry_uncertain or retry_uncertain,
            pay_again=pay_again,
        )
        in_processes(studio, given.workers())
        if source == "-" and sys.stdin is not None and sys.stdin.isatty():
            voice.note("reading tasks from the terminal; Ctrl-D ends them")
        for place in {folder, folder if is_remote(where.output) else Path(where.output)}:
            _check_place(place)
        readable = stack.enter_context(rereadable(source))
        reading: dict[str, Any] = {"encoding": encoding, "defaults": given.fields}
        history = History.of(where, resume=config.get("resume", "if-possible"))
        expanded = bool(config.get("expand"))
        lines = history.matched(read_tasks(readable, **reading), expanded=expanded)
        estimate = Estimate()
        check = check_tasks(estimate.watched(lines))
        _tell_bad(check, voice, skip=skip_invalid)
        if not dry_run and (where.journal is None or not is_remote(where.output)):
            # Else the journal makes it, once the store has been found to be there.
            _prepare(folder)
        batch = Batch(
            read=lambda: read_tasks(readable, **reading),
            history=history,
            retry_failed=retry_failed or from_failed,
            pay_again=frozenset(pay_again),
            from_failed=from_failed,
            command=_command(source),
            where=where,
            check=check,
            estimate=estimate,
            limit=limit,
            seconds=_seconds(span, until),
            expanded=expanded,
            as_json=given.as_json,
            voice=voice,
        )
        code = asyncio.run(batch.check_all(studio) if dry_run else batch.work(studio))
    click.get_current_context().exit(code)


def _is_failed(source: str, folder: Path) -> bool:
    """Whether the tasks are those that failed in this folder."""
    failed = folder / FAILED
    return source != "-" and failed.exists() and failed.samefile(source)


def _command(source: str) -> str:
    """What to type to go on, without what may be a secret."""
    if source == "-":
        return "go on: feed the same tasks to the same command"
    words = [_SECRET.sub(r"\1=…", word) for word in _lasting(sys.argv[1:])]
    return f"go on with: holodeck-gen {shlex.join(words)}"


def _lasting(words: Sequence[str]) -> Iterator[str]:
    """All but decisions to pay anew: made once more, they would concern what this run has paid."""
    left = iter(enumerate(words, start=1))
    for after, word in left:
        name, given, value = word.partition("=")
        follows = words[after] if after < len(words) else ""
        match name:
            case "--resume" if (value if given else follows) == "never":
                takes = not given
            case "--retry-uncertain":
                takes = not given and follows[:1] not in ("", "-")
            case "--pay-again":
                takes = not given
            case _:
                yield word
                continue
        if takes:
            next(left)


def _prepare(folder: Path) -> None:
    try:
        check_writable(folder)
    except StorageError as error:
        raise ConfigError(str(error)) from error


def _check_place(folder: Path) -> None:
    """As `_prepare`, as far as can be told without writing: the folder may not be needed."""
    existing = next(
        path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()
    )
    if not existing.is_dir():
        raise ConfigError(f"cannot write into {folder}: {existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(f"cannot write into {folder}: no permission for {existing}")


def _tell_bad(check: Check, voice: Voice, *, skip: bool) -> None:
    if not check.bad_count:
        return
    tell = voice.note if skip else say
    for line in check.bad:
        tell(f"line {line.number}: {line.error}")
    if check.bad_count > len(check.bad):
        tell(f"… and {check.bad_count - len(check.bad)} more lines")
    total = check.count + check.bad_count
    wrong = f"{check.bad_count} of {total} lines {'is' if check.bad_count == 1 else 'are'} no task"
    if skip and check.count:
        voice.note(f"{wrong}, skipped")
        return
    say(f"error: {wrong}; nothing was generated (--skip-invalid goes on without them)")
    click.get_current_context().exit(BAD_INPUT)


def _seconds(span: float | None, until: tuple[int, int] | None) -> float | None:
    limits = [] if span is None else [span]
    if until is not None:
        limits.append(seconds_until(until, datetime.now()))
    return min(limits, default=None)
