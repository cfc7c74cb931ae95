"""The journal's seam: keys, names, and the order of a part's steps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

import holodeck_gen as hg
from holodeck_gen._journal import steps
from holodeck_gen._journal.journal import Entry, Retry
from holodeck_gen._journal.sqlite import SqliteJournal
from holodeck_gen._journal.steps import FOLLOWS, PartState, Step
from holodeck_gen.errors import InvalidTaskError, JobFailedError, JournalError

if TYPE_CHECKING:
    from pathlib import Path

ERROR = JobFailedError("why")
STEPS: tuple[Step, ...] = (
    steps.Submitting(attempt=1),
    steps.Refused(attempt=1, error=ERROR),
    steps.Abandoned(attempt=1, error=ERROR),
    steps.Submitted(job=hg.JobRef(job_id="j")),
    steps.Finished(outputs=()),
    steps.Fetched(files=()),
    steps.Stored(artifacts=()),
    steps.Failed(error=ERROR),
    steps.Uncertain(error=ERROR),
)


async def admit(journal: SqliteJournal, *tasks: hg.Task) -> list[Entry]:
    """The entries of `tasks`; raises where one is refused."""
    entries: list[Entry] = []
    given = [(task, index) for index, task in enumerate(tasks)]
    for answer in await journal.admit(given, Retry()):
        if isinstance(answer, InvalidTaskError):
            raise answer
        entries.append(answer)
    return entries


def keys(*tasks: hg.Task) -> list[str]:
    async def main() -> list[str]:
        journal = SqliteJournal.private()
        try:
            return [entry.key for entry in await admit(journal, *tasks)]
        finally:
            await journal.aclose()

    return asyncio.run(main())


def test_an_id_is_the_key() -> None:
    assert keys(hg.Task("a cat", id="one")) == ["one"]


def test_equal_tasks_are_told_apart_by_their_order() -> None:
    first, second, other = keys(hg.Task("a cat"), hg.Task("a cat"), hg.Task("a dog"))
    assert first.removesuffix("-1") == second.removesuffix("-2")
    assert other.endswith("-1")
    assert len({first, second, other}) == 3
    assert keys(hg.Task("a cat"), hg.Task("a cat")) == [first, second]


def test_an_id_twice_is_refused() -> None:
    with pytest.raises(InvalidTaskError, match="another task has the id 'one'"):
        keys(hg.Task("a cat", id="one"), hg.Task("a dog", id="one"))


def test_of_tasks_that_come_together_each_is_what_it_would_be_alone(tmp_path: Path) -> None:
    async def run(*tasks: hg.Task) -> list[Entry | InvalidTaskError]:
        journal = SqliteJournal.open(tmp_path / "journal.sqlite3")
        answers = await journal.admit([(task, i) for i, task in enumerate(tasks)], Retry())
        await journal.aclose()
        return answers

    cat, dog, lake = (hg.Task(f"a {each}", id=each) for each in ("cat", "dog", "lake"))
    fox, nameless = hg.Task("a fox", id="dog"), hg.Task("a sea")
    before = {entry.key: entry for entry in map(entry_of, asyncio.run(run(cat, dog, nameless)))}
    new, known, twice, changed, first, second, taken = asyncio.run(
        run(lake, cat, cat, fox, nameless, nameless, hg.Task("x", id="cat~replaced-1"))
    )
    assert entry_of(new).number not in {each.number for each in before.values()}
    assert entry_of(known).number == before["cat"].number
    assert isinstance(twice, InvalidTaskError)
    assert entry_of(changed).replaces
    assert entry_of(changed).number not in {each.number for each in before.values()}
    assert entry_of(first).key in before
    assert entry_of(second).key not in before
    assert isinstance(taken, InvalidTaskError)
    assert [entry_of(each).index for each in (new, known, changed, first, second)] == [
        0,
        1,
        3,
        4,
        5,
    ]


def entry_of(answer: Entry | InvalidTaskError) -> Entry:
    assert isinstance(answer, Entry)
    return answer


def test_names_are_reserved_whatever_their_case() -> None:
    async def main() -> list[bool]:
        journal = SqliteJournal.private()
        a, b = await admit(journal, hg.Task("a cat"), hg.Task("a dog"))
        reserved = [
            await journal.reserve(entry, name)
            for entry, name in [(a, "x.png"), (b, "X.PNG"), (a, "x.png"), (b, "y.png")]
        ]
        await journal.aclose()
        return reserved

    assert asyncio.run(main()) == [True, False, True, True]


class Parts(RuleBasedStateMachine):
    """A part goes only where `FOLLOWS` says, and a refused step changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = SqliteJournal.private()
        (self.entry,) = asyncio.run(admit(self.journal, hg.Task("a cat", id="t")))
        self.states: dict[int, PartState] = {0: "admitted", 1: "admitted"}
        self.ended = False

    @precondition(lambda self: not self.ended)
    @rule(part=st.integers(0, 1), step=st.sampled_from(STEPS))
    def record(self, part: int, step: Step) -> None:
        call = self.journal.record(self.entry.part(part), step)
        if step.state in FOLLOWS[self.states[part]]:
            asyncio.run(call)
            self.states[part] = step.state
        else:
            with pytest.raises(JournalError, match="cannot follow"):
                asyncio.run(call)

    def teardown(self) -> None:
        asyncio.run(self.journal.aclose())


TestParts = Parts.TestCase


def test_nothing_follows_a_failure_and_only_a_decision_an_uncertain_submit() -> None:
    assert FOLLOWS["failed"] == frozenset()
    assert FOLLOWS["uncertain"] == {"admitted", "submitted"}
    assert all("submitting" not in after for state, after in FOLLOWS.items() if state != "admitted")
