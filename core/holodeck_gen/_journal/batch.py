"""One transaction to be: its rows, its questions, and who waits for them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import attrs

from holodeck_gen.errors import JournalCorruptError

if TYPE_CHECKING:
    from holodeck_gen._journal.writes import Write

T = TypeVar("T")
A = TypeVar("A")
#: Asks inside the transaction, and may write there.
Question: TypeAlias = Callable[[], T]
#: The same, about many things at once: an answer for each.
Survey: TypeAlias = Callable[[Sequence[A]], Sequence[T]]
#: What somebody waits for: who, and the answer or an error.
Answer: TypeAlias = "tuple[asyncio.Future[Any], Any]"


@attrs.define(eq=False)
class Batch:
    """Filled row by row, so that nothing is kept of a row but its values.

    Attributes:
        rows: By their statement, its rank and the values of all.
        told: Who waits for rows.
        questions: And who waits for their answers.
        surveys: What is asked about, and by whom.
        size: Rows and questions.
    """

    rows: dict[str, tuple[int, list[tuple[Any, ...]]]] = attrs.field(factory=dict)
    told: list[asyncio.Future[None]] = attrs.field(factory=list)
    questions: list[tuple[Question[Any], asyncio.Future[Any]]] = attrs.field(factory=list)
    surveys: dict[Survey[Any, Any], list[tuple[Any, asyncio.Future[Any]]]] = attrs.field(
        factory=dict
    )
    size: int = 0

    def add(self, write: Write) -> None:
        """Add a row."""
        rank, statement, values = write
        known = self.rows.get(statement)
        if known is None:
            known = self.rows[statement] = rank, []
        known[1].append(values)

    def write(self, connection: sqlite3.Connection) -> None:
        """Execute the rows, kind by kind."""
        # Of one kind, what inserts a row comes before what updates it.
        for _, statement, rows in sorted((r, s, rows) for s, (r, rows) in self.rows.items()):
            connection.executemany(statement, rows)

    def answers(self) -> Iterator[Answer]:
        """Ask; an answer, or its caller's own fault, for each who waits for one."""
        for question, asker in self.questions:
            yield asker, _answer(question)
        for survey, asked in self.surveys.items():
            found = _answer(partial(survey, [about for about, _ in asked]))
            for place, (_, asker) in enumerate(asked):
                yield asker, found if isinstance(found, Exception) else found[place]

    def settle(self, answers: Iterable[Answer]) -> None:
        """Tell everybody that it is durable, with these answers."""
        for done in self.told:
            if not done.done():
                done.set_result(None)
        _settle(answers)

    def fail(self, error: Exception) -> None:
        """Tell everybody that nothing was written."""
        askers = [asker for _, asker in self.questions]
        askers += [asker for asked in self.surveys.values() for _, asker in asked]
        _settle((each, error) for each in (*self.told, *askers))


def _settle(answers: Iterable[Answer]) -> None:
    for asker, answer in answers:
        if asker.done():
            continue
        if isinstance(answer, BaseException):
            asker.set_exception(answer)
        else:
            asker.set_result(answer)


def _answer(question: Question[Any]) -> Any:
    try:
        return question()
    except (sqlite3.Error, JournalCorruptError):
        raise
    except Exception as error:
        # A fault of one question, found before it wrote anything, is its caller's alone.
        return error
