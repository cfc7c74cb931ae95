"""Every picture of a task is in exactly one share, and what is missing in exactly one follow-up."""

from __future__ import annotations

from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

import holodeck_gen as hg
from holodeck_gen._journal.journal import Plan
from holodeck_gen._journal.shares import missing, portion, runs_of, shares_of, split, unfetched
from holodeck_gen._journal.spool import RawFile
from holodeck_gen.errors import JobFailedError

counts = st.integers(1, 20)
seeds = st.none() | st.integers(0, 1000)
UNMADE = hg.PartError(error=JobFailedError("no"))
MADE = hg.Url(url="https://r.example/a.png")


def plan(per_job: int, requests: int, *follow_ups: tuple[int, ...]) -> Plan:
    return Plan(
        provider="p",
        account="a",
        per_job=per_job,
        requests=tuple({"number": i} for i in range(requests)),
        follow_ups=follow_ups,
    )


def raws(*places: int | None) -> list[RawFile]:
    return [RawFile(path=Path("a"), place=place, metadata={}) for place in places]


@given(n=counts, per_job=counts, seed=seeds)
def test_shares_have_every_picture_once(n: int, per_job: int, seed: int | None) -> None:
    task = hg.Task("a cat", n=n, seed=seed)
    parts = split(task, per_job)
    shares = shares_of(task, plan(per_job, len(parts)))
    assert [share.task for share in shares] == parts
    assert [place for share in shares for place in share.places] == list(range(n))
    for share in shares:
        assert 1 <= share.task.n == len(share.places) <= per_job
        assert share.task.seed == (None if seed is None else seed + share.places[0])
        numbers = [share.number(i) for i in range(share.task.n)]
        assert numbers == [place + 1 for place in share.places]


@given(per_job=st.integers(1, 6), n=counts, data=st.data())
def test_what_is_missing_is_missing_until_it_is_followed_up(
    per_job: int, n: int, data: st.DataObject
) -> None:
    task = hg.Task("a cat", n=n, seed=5)
    first = shares_of(task, plan(per_job, len(split(task, per_job))))
    made = [data.draw(st.sets(st.integers(0, share.task.n - 1))) for share in first]
    absent = [
        missing(share, raws(*sorted(there))) for share, there in zip(first, made, strict=True)
    ]
    assert sum(map(len, absent)) == n - sum(map(len, made))
    follow_ups = [tuple(run) for each in absent for run in runs_of(each, seeded=True)]
    shares = shares_of(task, plan(per_job, len(first) + len(follow_ups), *follow_ups))
    for share, there in zip(shares, made, strict=False):
        assert missing(share, raws(*sorted(there))) == ()
    for share, asked in zip(shares[len(first) :], follow_ups, strict=True):
        assert share.places == asked
        # The seeds of the very pictures that are missing.
        assert share.task.seed == 5 + asked[0]
        assert asked == tuple(range(asked[0], asked[0] + len(asked)))
        assert missing(share, []) == asked


@given(st.sets(counts))
@example(set())
def test_without_a_seed_one_request_asks_for_all(places: set[int]) -> None:
    together = sorted(places)
    assert list(runs_of(together, seeded=False)) == ([together] if together else [])


def test_a_follow_up_of_a_follow_up_takes_its_place() -> None:
    task = hg.Task("a cat", n=3)
    shares = shares_of(task, plan(3, 3, (0, 1), (1,)))
    assert missing(shares[0], raws(2)) == ()
    assert missing(shares[1], raws(0)) == ()
    assert missing(shares[2], []) == (1,)


def test_what_was_made_and_not_fetched_is_not_missing() -> None:
    (share,) = shares_of(hg.Task("a cat", n=3), plan(3, 1))
    outputs = (UNMADE, MADE, MADE)
    assert unfetched(outputs, raws(2)) == [1]
    assert missing(share, raws(2), outputs) == (0,)


def test_files_that_do_not_say_which_they_are_are_the_first_ones() -> None:
    """As an earlier release recorded them, and only where it had all that was made."""
    (share,) = shares_of(hg.Task("a cat", n=3), plan(3, 1))
    assert missing(share, raws(None, None)) == (2,)
    assert unfetched((UNMADE, MADE, MADE), raws(None, None)) == []


def test_more_than_was_asked_for_has_numbers_of_its_own() -> None:
    shares = shares_of(hg.Task("a cat", n=2), plan(1, 2))
    assert [shares[0].number(i) for i in range(3)] == [1, 2, 3]
    assert missing(shares[0], raws(0, 1, 2)) == ()


def test_the_whole_of_a_task_is_the_task() -> None:
    task = hg.Task("a cat", n=2, seed=3)
    assert portion(task, (0, 1)) is task
