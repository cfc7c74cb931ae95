"""``status``, ``audit`` and ``collect``: what a journal knows. None of them can submit."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import TYPE_CHECKING

import attrs
import click

from holodeck_gen._cli._exit import DONE, RESUMABLE, SOME_FAILED, one_line, tell
from holodeck_gen._cli._options import processes_option, setting_options, voice_options
from holodeck_gen._cli._results import Results, outcome_line
from holodeck_gen._cli._summary import Tally, last_line
from holodeck_gen._cli._voice import emit_json
from holodeck_gen._cli._where import journals as find_journals
from holodeck_gen._collect import Collector, dismiss
from holodeck_gen._journal import audit as auditing
from holodeck_gen._journal import salvage as salvaging
from holodeck_gen._model.codec import to_json
from holodeck_gen._model.money import moneys
from holodeck_gen._model.remote import is_remote
from holodeck_gen.errors import ConfigError, GenerationError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from holodeck_gen._cli._options import Given
    from holodeck_gen._cli._voice import Voice

_folder = click.argument("out", required=False, metavar="[OUT]")
_NOTHING = "no journal: nothing is unfinished"


@click.command()
@_folder
@setting_options
@voice_options
def status(*, out: str | None, given: Given, voice: Voice) -> None:
    """Show how the run in OUT, a folder or an address, stands, also while it works.

    Without OUT: the configured output, else everything that is unfinished.

    \b
    Examples:
      holodeck-gen status out/
      holodeck-gen status s3://pictures/tonight
      holodeck-gen status --json
    """
    journals = find_journals(out, given.config())
    for journal in journals:
        found = auditing.status(journal)
        if given.as_json:
            emit_json(to_json(found))
        else:
            _show(found)
    if not journals:
        voice.note(_NOTHING)


@click.command()
@_folder
@click.option("--no-hashes", is_flag=True, help="Do not read the finished files.")
@click.option("--salvage", is_flag=True, help="List what can be read of a damaged journal.")
@setting_options
@voice_options
def audit(*, out: str | None, no_hashes: bool, salvage: bool, given: Given, voice: Voice) -> None:
    """List unfinished paid jobs, lost results, submits without an answer and changed files.

    \b
    Examples:
      holodeck-gen audit out/
      holodeck-gen audit out/ --json --no-hashes
      holodeck-gen audit out/ --salvage > rows.jsonl

    \b
    Exit codes: 0 nothing to see, 3 files are missing or changed, 4 something paid is unfinished.
    """
    journals = find_journals(out, given.config())
    kinds: set[str] = set()
    for journal in journals:
        if salvage:
            for row in salvaging.salvage(journal):
                emit_json(row)
            continue
        for finding in auditing.audit(journal, now=time.time(), hashes=not no_hashes):
            kinds.add(finding.kind)
            if given.as_json:
                emit_json({"journal": str(journal), **to_json(finding)})
            else:
                click.echo(_line(finding, journal if len(journals) > 1 else None))
    if not journals:
        voice.note(_NOTHING)
    elif not kinds and not salvage:
        voice.note("nothing to see")
    if "job" in kinds:
        voice.note(f"get what is paid for with: holodeck-gen collect {out or ''}".rstrip())
    if "gone" in kinds:
        voice.note("what is gone, run makes anew and pays for again with: --pay-again ID")
    unpaid = SOME_FAILED if kinds else DONE
    click.get_current_context().exit(RESUMABLE if kinds - {"file"} else unpaid)


@click.command()
@_folder
@click.option("-p", "--provider", metavar="NAME", help="Who made the jobs, if not the last run's.")
@click.option("--store", metavar="NAME", help="Where files are kept, if not as in the last run.")
@click.option(
    "--dismiss",
    "dismissed",
    multiple=True,
    metavar="ID",
    help="Give up a held task: its submit without an answer made no job. Repeatable.",
)
@processes_option
@setting_options
@voice_options
def collect(
    *,
    out: str | None,
    provider: str | None,
    store: str | None,
    dismissed: tuple[str, ...],
    processes: int | None,
    given: Given,
    voice: Voice,
) -> None:
    """Fetch and store what is paid for in OUT. Never begins a job.

    \b
    Examples:
      holodeck-gen collect out/
      holodeck-gen collect
      holodeck-gen collect s3://pictures/tonight
      holodeck-gen collect out/ --dismiss lake

    \b
    Exit codes: 0 everything is here, 3 some tasks failed, 4 something is still unfinished.
    """
    config = given.config()
    given = attrs.evolve(given, processes=processes)
    # As given here, and not as a file has it: that may be about another run.
    store = store or given.settings.get("store")
    journals = find_journals(out, config)
    began = time.monotonic()
    tally = Tally()
    for key in dismissed:
        _dismiss(journals, key)
        voice.note(f"{key} is not held any more")
        # With its last task a single invocation's journal goes, too.
        journals = [journal for journal in journals if journal.is_file()]
    skipped: list[GenerationError] = []
    for journal in journals:
        try:
            collector = Collector(
                journal=journal,
                provider=provider,
                store=store,
                config=config,
                processes=given.workers(),
            )
            asyncio.run(_collect(collector, tally, as_json=given.as_json))
        except GenerationError as error:
            if len(journals) == 1:
                raise
            # Another one can still be worked with.
            skipped.append(error)
            tell(error)
    for text in tally.failures():
        voice.note(text)
    if not tally.begun and not skipped:
        voice.note(_NOTHING if not journals else "nothing is paid for and unfinished")
        return
    voice.note(last_line(tally, left=0, seconds=time.monotonic() - began))
    click.get_current_context().exit(tally.code(interrupted=False, unfinished=bool(skipped)))


def _dismiss(journals: Sequence[Path], key: str) -> None:
    """Give up `key` in the first journal that has it."""
    for journal in journals:
        try:
            return dismiss(journal, key)
        except UnknownNameError:
            if journal == journals[-1]:
                raise
    raise ConfigError(f"{key}: {_NOTHING}")


async def _collect(collector: Collector, tally: Tally, *, as_json: bool) -> None:
    with Results(collector.journal.parent) as results:
        async for outcome in collector.outcomes():
            tally.add(outcome)
            results.add(outcome)
            if as_json:
                emit_json(outcome_line(outcome))
            elif outcome.ok:
                for artifact in outcome.artifacts:
                    click.echo(artifact.path or artifact.uri)


def _show(found: auditing.Status) -> None:
    parts = [f"{count} {state}" for state, count in found.tasks.items() if count]
    parts += _spending(found)
    parts.append(f"owned by {found.owner}" if found.owner else "nobody works on it")
    if found.paused:
        since = f"{datetime.fromtimestamp(found.paused.since):%Y-%m-%d %H:%M:%S}"
        parts.append(f"paused since {since}: {one_line(found.paused.reason)}")
    if found.changed_at:
        parts.append(f"last written {datetime.fromtimestamp(found.changed_at):%Y-%m-%d %H:%M:%S}")
    place = found.output if is_remote(found.output) else found.journal.parent
    click.echo(f"{place}: {' · '.join(parts)}")


def _spending(found: auditing.Status) -> list[str]:
    spending = found.spending
    words = [f"{spending.words()} spent"] if spending.words() else []
    if spending.in_flight:
        words.append(f"{moneys(spending.in_flight)} in flight")
    if found.left:
        words.append(f"about {moneys(found.left)} for what waits")
    if spending.unpriced:
        words.append(f"{spending.unpriced} jobs of unknown price")
    return words


def _line(finding: auditing.Finding, journal: Path | None) -> str:
    facts = [str(journal.parent)] if journal else []
    facts += [finding.kind, finding.task]
    if finding.job_id:
        facts.append(f"job {finding.job_id} of {finding.provider}")
    if finding.state:
        facts.append(finding.state)
    if finding.expires_in_s is not None:
        hours = finding.expires_in_s / 3600
        facts.append(f"files expire in {hours:.1f} h" if hours > 0 else "its addresses expired")
    if finding.path:
        facts.append(str(finding.path))
    return one_line(" · ".join([*facts, finding.problem]))
