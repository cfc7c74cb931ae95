"""Each thing the journal is told, as a statement and its values.

Statements of one kind are executed for many tasks at once, so a batch is written kind by kind, in
the order in which they may follow each other in one part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from holodeck_gen._journal.rows import REWRITERS, artifacts_text, expiry, files_text
from holodeck_gen._journal.steps import (
    Abandoned,
    Completed,
    Failed,
    Fetched,
    Finished,
    Refused,
    Step,
    Stored,
    Submitted,
    Submitting,
    Uncertain,
)
from holodeck_gen._model.codec import dumps, ending_fields, fields

if TYPE_CHECKING:
    from holodeck_gen._journal.journal import PartKey, Plan
    from holodeck_gen._model.outcome import Outcome
    from holodeck_gen._model.task import Task


#: A row to be written: the place of its kind within a batch, a statement with placeholders, and
#: the values for these.
Write: TypeAlias = tuple[int, str, tuple[Any, ...]]


@attrs.define
class _Kind:
    """A kind of step.

    Attributes:
        columns: Those beside ``state`` and ``changed_at``.
        values: What a step says of them; takes the step, seconds since the epoch and the
            journal's folder.
        kept: Columns in which None leaves what is there.
        also: What else changes in a row that is there.
        insert: The statement for a part's first step.
        update: The one for a later step.
        rank: Its place within a batch.
    """

    columns: tuple[str, ...]
    values: Callable[[Any, float, Path], tuple[Any, ...]]
    kept: tuple[str, ...] = ()
    also: str = ""
    insert: str = attrs.field(init=False)
    update: str = attrs.field(init=False)
    rank: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        columns = ("state", "changed_at", *self.columns)
        changes = [
            f"{name} = coalesce(?, {name})" if name in self.kept else f"{name} = ?"
            for name in columns
        ]
        changes += [self.also] if self.also else []
        self.update = f"UPDATE parts SET {', '.join(changes)} WHERE task = ? AND part = ?"
        self.insert = (
            f"INSERT INTO parts ({', '.join((*columns, 'task', 'part'))})"
            f" VALUES ({', '.join('?' * (len(columns) + 2))})"
        )


def _finished(step: Finished, _now: float, _folder: Path) -> tuple[Any, ...]:
    return dumps(step.outputs), expiry(step.outputs), step.cost and dumps(step.cost)


def _fetched(step: Fetched, _now: float, _folder: Path) -> tuple[Any, ...]:
    return files_text(step.files), step.cost and dumps(step.cost)


def _stored(step: Stored | Completed, _now: float, folder: Path) -> tuple[Any, ...]:
    # Addresses may be signed; they are kept for no longer than needed.
    outputs = dumps(step.outputs) if step.outputs else None
    error = step.error and dumps(step.error)
    return artifacts_text(step.artifacts, folder), error, outputs, expiry(step.outputs)


def _completed(step: Completed, now: float, folder: Path) -> tuple[Any, ...]:
    return *_stored(step, now, folder), files_text(step.files)


#: What was or may be paid for a job goes to the sum of the part's earlier ones.
SINK = (
    "sunk = iif(coalesce(cost, price) IS NULL, sunk,"
    " json_insert(coalesce(sunk, '[]'), '$[#]', json(coalesce(cost, price)))),"
    " cost = NULL, price = NULL"
)

#: In their order within a batch.
_KINDS: dict[type[Step], _Kind] = {
    # Without the error of an earlier refusal: it would speak for a submit that has no answer.
    Submitting: _Kind(
        ("attempt", "error", "price"),
        lambda step, _now, _folder: (step.attempt, None, step.price and dumps(step.price)),
    ),
    Refused: _Kind(
        ("attempt", "error"),
        lambda step, _now, _folder: (step.attempt, dumps(step.error)),
        also="price = NULL",
    ),
    Abandoned: _Kind(
        ("attempt", "error"),
        lambda step, _now, _folder: (step.attempt, dumps(step.error)),
        also=SINK,
    ),
    Submitted: _Kind(
        ("job", "submitted_at", "error"), lambda step, now, _folder: (dumps(step.job), now, None)
    ),
    Uncertain: _Kind(("error",), lambda step, _now, _folder: (dumps(step.error),)),
    Finished: _Kind(("outputs", "expires_at", "cost"), _finished),
    Fetched: _Kind(("files", "cost"), _fetched),
    Stored: _Kind(("artifacts", "error", "outputs", "expires_at"), _stored),
    Completed: _Kind(("artifacts", "error", "outputs", "expires_at", "files"), _completed),
    Failed: _Kind(
        ("error", "cost"),
        lambda step, _now, _folder: (dumps(step.error), step.cost and dumps(step.cost)),
        kept=("cost",),
    ),
}
for _rank, _kind in enumerate(_KINDS.values(), start=3):
    _kind.rank = _rank
_LAST = len(_KINDS) + 3


def noted(name: str, value: object) -> Write:
    """A fact about the journal itself."""
    return (0, "INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, dumps(value)))


def rewritten(number: int, task: Task, by: Sequence[str]) -> Write:
    """What a task became, and the names of the stages that made it that."""
    text = dumps({**fields(task), REWRITERS: by})
    return (1, "UPDATE tasks SET rewritten = ? WHERE number = ?", (text, number))


def planned(number: int, plan: Plan) -> Write:
    """How a task is put to a provider."""
    return (2, "UPDATE tasks SET plan = ? WHERE number = ?", (dumps(plan), number))


def recorded(part: PartKey, step: Step, *, first: bool, now: float, folder: Path) -> Write:
    """A step of a part.

    Args:
        part: The part.
        step: The step.
        first: Whether it is the part's first.
        now: Seconds since the epoch.
        folder: The journal's; finished files below it are kept relative.
    """
    kind = _KINDS[step.__class__]
    values = (step.state, now, *kind.values(step, now, folder), part.number, part.index)
    return kind.rank, kind.insert if first else kind.update, values


def finished(number: int, outcome: Outcome, *, now: float) -> Write:
    """A task's end."""
    return (
        _LAST,
        # A plan is for what may go on.
        "UPDATE tasks SET state = ?, outcome = ?, ended_at = ?, plan = iif(?, NULL, plan)"
        " WHERE number = ?",
        (outcome.state, dumps(ending_fields(outcome)), now, outcome.ok, number),
    )
