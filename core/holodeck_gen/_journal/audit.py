"""What a journal tells anybody who asks, beside its owner or without one."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from holodeck_gen._journal import file, ownership
from holodeck_gen._journal.gone import is_gone
from holodeck_gen._journal.journal import Pause
from holodeck_gen._journal.rows import PAUSED, Rows, is_kept
from holodeck_gen._journal.steps import IN_WORK
from holodeck_gen._model.artifact import Artifact, Cost
from holodeck_gen._model.codec import from_json
from holodeck_gen._model.money import Spending, parse_money
from holodeck_gen._model.remote import is_remote
from holodeck_gen._plugins.store import StoreNote
from holodeck_gen.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holodeck_gen._journal.journal import Entry, PartRecord

#: ``job``: paid for and not finished; ``gone``: paid for, and what it made can no longer be had;
#: ``uncertain``: perhaps paid for; ``file``: finished and no longer what it was.
Kind: TypeAlias = Literal["job", "gone", "uncertain", "file"]


@attrs.frozen(kw_only=True)
class Status:
    """How a run stands.

    Attributes:
        journal: Its file.
        output: The folder or address of its files.
        owner: Who works on it now; None if nobody does.
        tasks: Tasks by state: ``done``, ``failed``, ``held`` (a decision is needed),
            ``working`` (a job or a file is unfinished) and ``waiting``.
        spending: What the jobs have cost and may cost, and the budget of the last run.
        left: What the tasks that wait will cost, as far as that is known.
        paused: Why nothing was submitted any more; None where that does not stand in the way.
        changed_at: When anything was last written, in seconds since the epoch.
    """

    journal: Path
    output: str
    owner: str | None
    tasks: dict[str, int]
    spending: Spending
    left: tuple[Cost, ...]
    paused: Pause | None
    changed_at: float | None


@attrs.frozen(kw_only=True)
class Finding:
    """Something that should be looked at.

    Attributes:
        kind: What.
        task: The task's key.
        state: The part's state, for jobs.
        provider: The provider's name.
        job_id: The provider's job, where one is known.
        expires_in_s: Seconds until its files can no longer be had, where that is known.
        path: The file.
        problem: What is wrong, in words.
    """

    kind: Kind
    task: str
    state: str | None = None
    provider: str | None = None
    job_id: str | None = None
    expires_in_s: float | None = None
    path: Path | None = None
    problem: str


@contextlib.contextmanager
def reading(journal: Path) -> Iterator[Rows]:
    """Read the journal at `journal`.

    Raises:
        JournalError: It cannot be read.
    """
    with contextlib.closing(file.connect_reader(journal)) as connection, file.translated(journal):
        rows = Rows(connection, journal.parent.resolve())
        rows.name = rows.meta("name") or ""
        yield rows


def status(journal: Path) -> Status:
    """How the run of `journal` stands now.

    Raises:
        JournalError: It cannot be read.
    """
    with reading(journal) as rows:
        counts = rows.counts()
        held, working = _open_tasks(rows)
        owner = rows.meta("owner") if ownership.is_owned(journal) else None
        return Status(
            journal=journal,
            output=_output(rows, journal),
            owner=None if owner is None else ownership.describe(owner),
            tasks={
                "done": counts.get("done", 0),
                "failed": counts.get("failed", 0),
                "held": held,
                "working": working,
                "waiting": counts.get("open", 0) - held - working,
            },
            spending=attrs.evolve(rows.spending(), budget=_budget(rows)),
            left=rows.price_of_waiting(),
            paused=_pause(rows) if counts.get("open") else None,
            changed_at=_last_change(rows),
        )


def _pause(rows: Rows) -> Pause | None:
    found = rows.meta(PAUSED)
    return None if found is None else from_json(found, Pause)


def providers_of(journal: Path) -> list[str]:
    """The names of the providers that the last run of `journal` used.

    Raises:
        JournalError: It cannot be read, or does not say.
    """
    with reading(journal) as rows:
        settings = rows.meta("settings") or {}
    # A provider has as many entries as accounts.
    names = list(dict.fromkeys(name for name, _ in settings.get("provider", ())))
    if not names:
        raise JournalError(f"the journal {journal} does not say which provider it was made with")
    return names


def output_of(journal: Path) -> str:
    """Where the last run of `journal` kept its files.

    Raises:
        JournalError: It cannot be read.
    """
    with reading(journal) as rows:
        return _output(rows, journal)


def store_of(journal: Path) -> StoreNote | None:
    """Which store the last run of `journal` had; None where an older release did not keep it.

    Raises:
        JournalError: It cannot be read.
    """
    with reading(journal) as rows:
        return StoreNote.read((rows.meta("settings") or {}).get("store"))


def owes(journal: Path) -> bool:
    """Whether something in `journal` is, or may be, paid for and unfinished.

    A journal that cannot be read counts, too; there may be no such file.
    """
    if not journal.is_file() or not journal.stat().st_size:
        return False
    try:
        with reading(journal) as rows:
            return rows.owes()
    except JournalError:
        return True


def gone(journal: Path) -> list[str]:
    """Keys of tasks that failed because what they were paid for can no longer be had, in order.

    Raises:
        JournalError: It cannot be read.
    """
    with reading(journal) as rows:
        failed = [entry for entry in rows.kept() if entry.state == "failed"]
        return [each.key for each in failed if any(map(is_gone, each.parts.values()))]


def sidecar_of(journal: Path) -> bool:
    """Whether the last run of `journal` wanted sidecars.

    Raises:
        JournalError: It cannot be read.
    """
    with reading(journal) as rows:
        return bool((rows.meta("settings") or {}).get("sidecar"))


def audit(journal: Path, *, now: float, hashes: bool = True) -> Iterator[Finding]:
    """Everything in `journal` that should be looked at.

    Args:
        journal: Its file.
        now: Seconds since the epoch.
        hashes: Whether finished files are read and compared.

    Raises:
        JournalError: It cannot be read.
    """
    with reading(journal) as rows:
        for entry in rows.unfinished():
            for part in entry.parts.values():
                if (finding := _of_part(entry, part, now)) is not None:
                    yield finding
        for outcome in rows.endings() if hashes else ():
            beside = [each.sidecar for each in outcome.artifacts if each.sidecar]
            for artifact in (*outcome.artifacts, *beside):
                if (problem := _damage(artifact)) is not None:
                    yield Finding(
                        kind="file", task=outcome.key, path=artifact.path, problem=problem
                    )


def _output(rows: Rows, journal: Path) -> str:
    kept = rows.meta("output") or "."
    return kept if is_remote(kept) else str(journal.parent / kept)


def _open_tasks(rows: Rows) -> tuple[int, int]:
    held, working = rows.connection.execute(
        "SELECT coalesce(sum(u), 0), coalesce(sum(w AND NOT u), 0) FROM ("
        " SELECT max(p.state IN ('uncertain', 'submitting')) AS u,"
        " max(p.state IN ('submitted', 'finished', 'fetched')) AS w"
        " FROM tasks AS t JOIN parts AS p ON p.task = t.number"
        " WHERE t.state <> 'done' AND t.state = 'open' GROUP BY t.number)"
    ).fetchone()
    return held, working


def _budget(rows: Rows) -> Cost | None:
    noted = rows.meta("budget")
    return None if noted is None else parse_money(noted)


def _last_change(rows: Rows) -> float | None:
    (last,) = rows.connection.execute("SELECT max(changed_at) FROM parts").fetchone()
    return None if last is None else float(last)


def _of_part(entry: Entry, part: PartRecord, now: float) -> Finding | None:
    provider = entry.plan.provider if entry.plan else None
    job_id = part.job.job_id if part.job else None
    if part.state in ("uncertain", "submitting"):
        return Finding(
            kind="uncertain",
            task=entry.key,
            state=part.state,
            provider=provider,
            job_id=job_id,
            problem="a submit had no answer; there may be a job that is billed",
        )
    if part.state not in IN_WORK and not is_kept(part):
        return None
    if is_gone(part):
        return Finding(
            kind="gone",
            task=entry.key,
            state=part.state,
            provider=provider,
            job_id=job_id,
            problem=f"paid for, and what it made can no longer be had ({part.error})",
        )
    unfetched = bool(part.outputs) if part.state == "stored" else not part.files
    expires = part.expires_at
    return Finding(
        kind="job",
        task=entry.key,
        state=part.state,
        provider=provider,
        job_id=job_id,
        expires_in_s=expires - now if expires is not None and unfetched else None,
        problem=str(part.error) if part.error else "paid for and not finished",
    )


def _damage(artifact: Artifact) -> str | None:
    if artifact.path is None:
        return None
    try:
        with artifact.path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return "it is gone"
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    return None if found == artifact.sha256 else "it has been changed"
