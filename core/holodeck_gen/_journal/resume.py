"""What to do with an earlier run's journal."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from holodeck_gen._journal.evidence import RESULTS, check_evidence
from holodeck_gen._journal.gone import is_gone
from holodeck_gen._journal.rows import is_kept
from holodeck_gen._journal.sqlite import SqliteJournal
from holodeck_gen._log import Logger
from holodeck_gen.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

Resume: TypeAlias = Literal["always", "never", "if-possible"]

_log = Logger("holodeck_gen.resume")


def begin(
    path: Path, *, resume: Resume, settings: dict[str, Any] | None, network: bool
) -> SqliteJournal:
    """Own the journal at `path` as `resume` says. Blocks.

    Args:
        path: The journal's file.
        resume: ``"if-possible"`` goes on with whatever is there; ``"always"`` only with a
            journal made under the same settings; ``"never"`` sets an old one aside.
        settings: What may change the files; kept for the next time. None to leave what is kept.
        network: Whether it may lie on a network file system.

    Raises:
        ConfigError: The journal there stands against `resume`; nothing was changed.
        JournalError: It cannot be used.
        StorageError: It cannot be written.
    """
    if resume == "always" and not path.is_file():
        raise ConfigError(f"there is nothing to resume: {path} does not exist")
    journal = SqliteJournal.open(path, network=network)
    try:
        if resume == "never":
            _check_unpaid(journal)
            journal.close()
            _set_aside(path)
            journal = SqliteJournal.open(path, network=network)
        if answers := check_evidence(journal.ledger.rows):
            journal.run_now(partial(journal.ledger.take_answers, answers))
        if settings is None:
            return journal
        journal.changed = _changes(journal.ledger.rows.meta("settings"), settings)
        if resume == "always" and journal.changed:
            raise ConfigError(
                f"the settings have changed since the last run in {path.parent}:"
                f" {', '.join(journal.changed)}; nothing was done (--resume always)"
            )
        journal.note("settings", settings)
    except BaseException:
        journal.close()
        raise
    return journal


def _changes(before: Any, now: dict[str, Any]) -> tuple[str, ...]:
    """The names of settings that differ."""
    if not isinstance(before, dict):
        return ()
    now = json.loads(json.dumps(now))
    # What an older release did not keep, nobody can compare.
    return tuple(sorted(name for name in now if name in before and now[name] != before[name]))


def _check_unpaid(journal: SqliteJournal) -> None:
    rows = journal.ledger.rows
    kept = (part for entry in rows.kept() for part in entry.parts.values() if is_kept(part))
    if rows.works() or not all(map(is_gone, kept)):
        raise ConfigError(
            f"{journal.path} holds jobs that are paid for and not fetched; get them first with"
            f" 'holodeck-gen collect {rows.folder}'"
        )


def _set_aside(path: Path) -> None:
    """Keep a journal, and the results that belong to it, under names with a number."""
    results = path.with_name(RESULTS)
    number = 1
    while _numbered(path, number).exists() or _numbered(results, number).exists():
        number += 1
    for each in (path, results):
        if each.exists():
            each.rename(_numbered(each, number))
    _log.info("journal.set_aside", path=str(_numbered(path, number)))


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}-{number}{path.suffix}")
