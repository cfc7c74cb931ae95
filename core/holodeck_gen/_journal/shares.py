"""How a task's pictures are shared out among jobs, and which of them a job did not make."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from holodeck_gen._journal.journal import Plan
from holodeck_gen._model.provider import PartError
from holodeck_gen._model.task import Task
from holodeck_gen._model.values import JsonObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from holodeck_gen._journal.spool import RawFile
    from holodeck_gen._model.provider import Output


@attrs.frozen(kw_only=True)
class Share:
    """What one job is to make.

    Attributes:
        index: Which part of its task it is, from 0.
        task: The task with the number of pictures and the seed of this part.
        request: Exactly what is submitted.
        places: Which of the task's pictures these are, from 0.
        followed: Those of them that a later part makes, because this one's job did not.
        plan: Of the whole task.
        group: Names the tasks among which slots are shared out in turn.
    """

    index: int
    task: Task
    request: JsonObject
    places: tuple[int, ...]
    followed: frozenset[int] = frozenset()
    plan: Plan
    group: str | None = None

    def number(self, place: int) -> int:
        """Which of the task's pictures, from 1, a job's output is; `place` is from 0."""
        beyond = max(0, place + 1 - len(self.places))
        return self.places[place - beyond] + 1 + beyond


def shares_of(task: Task, plan: Plan, *, group: str | None = None) -> list[Share]:
    """The shares of a task that is put to a provider by `plan`."""
    first = places_of(task.n, plan.per_job)
    return [
        Share(
            index=i,
            task=portion(task, places),
            request=request,
            places=places,
            followed=_followed(places, plan.follow_ups[max(0, i + 1 - len(first)) :]),
            plan=plan,
            group=group,
        )
        for i, (places, request) in enumerate(
            zip((*first, *plan.follow_ups), plan.requests, strict=True)
        )
    ]


def places_of(count: int, per_job: int) -> list[tuple[int, ...]]:
    """The places of `count` pictures, as many to a job as it makes at most."""
    return list(batched(range(count), per_job))


def portion(task: Task, places: Sequence[int]) -> Task:
    """`task` for these of its pictures only, which follow each other or have no seed."""
    if len(places) == task.n:
        return task
    seed = None if task.seed is None else task.seed + places[0]
    return attrs.evolve(task, n=len(places), seed=seed)


def split(task: Task, per_job: int) -> list[Task]:
    """`task` as one task for each job."""
    return [portion(task, places) for places in places_of(task.n, per_job)]


def made_places(files: Iterable[RawFile]) -> set[int]:
    """Which of its job's pictures a part's raw files are, from 0."""
    # Earlier releases do not tell: there they are taken for the first ones.
    return {i if each.place is None else each.place for i, each in enumerate(files)}


def unfetched(outputs: Sequence[Output], files: Sequence[RawFile]) -> list[int]:
    """Places within a job of pictures that it made and that are not among `files`."""
    if any(each.place is None for each in files):
        # From where only whole answers are recorded.
        return []
    made = made_places(files)
    return [i for i, out in enumerate(outputs) if not isinstance(out, PartError) and i not in made]


def missing(
    share: Share, files: Sequence[RawFile], outputs: Sequence[Output] = ()
) -> tuple[int, ...]:
    """The places of pictures that the share's job has ended without and no later part makes.

    Those that it made and that cannot be fetched are paid for, so they are not among them.

    Args:
        share: What was asked for.
        files: What was fetched.
        outputs: What the job ended with, where that is known.
    """
    made = made_places(files) | set(unfetched(outputs, files))
    absent = [place for i, place in enumerate(share.places) if i not in made]
    # A job may make more than it was asked for.
    short = absent[: max(0, len(share.places) - len(made))]
    return tuple(place for place in short if place not in share.followed)


def runs_of(places: Iterable[int], *, seeded: bool) -> Iterator[list[int]]:
    """Places that one request can ask for: with a seed, only those that follow each other."""
    run: list[int] = []
    for place in places:
        if seeded and run and place != run[-1] + 1:
            yield run
            run = []
        run.append(place)
    if run:
        yield run


def batched(places: Sequence[int], size: int) -> Iterator[tuple[int, ...]]:
    """`places` in as many tuples as it takes, none of more than `size`."""
    return (tuple(places[i : i + size]) for i in range(0, len(places), size))


def _followed(places: Sequence[int], later: Iterable[Sequence[int]]) -> frozenset[int]:
    return frozenset(place for follow_up in later for place in follow_up) & frozenset(places)
