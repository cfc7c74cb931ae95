"""The steps of one part, and which may follow which::

admitted → submitting → submitted → finished → fetched → stored
              │  └───────→ uncertain
              └→ admitted (a proven refusal)         any → failed
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

import attrs

from holodeck_gen._journal.spool import RawFile
from holodeck_gen._model.artifact import Artifact, Cost
from holodeck_gen._model.provider import JobRef, Output
from holodeck_gen.errors import GenerationError, JournalError

PartState: TypeAlias = Literal[
    "admitted", "submitting", "submitted", "finished", "fetched", "stored", "failed", "uncertain"
]


@attrs.frozen(kw_only=True)
class Submitting:
    """A submit is about to be sent.

    Attributes:
        price: What its job will cost, if known.
    """

    state: ClassVar[PartState] = "submitting"
    attempt: int
    price: Cost | None = None


@attrs.frozen(kw_only=True)
class Refused:
    """A submit made no job, proven; it may be sent again."""

    state: ClassVar[PartState] = "admitted"
    attempt: int
    error: GenerationError


@attrs.frozen(kw_only=True)
class Abandoned:
    """A submit may have made a job, and it is sent again all the same; its price stays spent."""

    state: ClassVar[PartState] = "admitted"
    attempt: int
    error: GenerationError


@attrs.frozen(kw_only=True)
class Submitted:
    """The provider has a job."""

    state: ClassVar[PartState] = "submitted"
    job: JobRef


@attrs.frozen(kw_only=True)
class Finished:
    """The job made its outputs; they can be downloaded."""

    state: ClassVar[PartState] = "finished"
    outputs: tuple[Output, ...]
    cost: Cost | None = None


@attrs.frozen(kw_only=True)
class Fetched:
    """The raw files are in the spool."""

    state: ClassVar[PartState] = "fetched"
    files: tuple[RawFile, ...]
    cost: Cost | None = None


@attrs.frozen(kw_only=True)
class Stored:
    """The finished files are in the store."""

    state: ClassVar[PartState] = "stored"
    artifacts: tuple[Artifact, ...]
    #: Why these are fewer than were asked for.
    error: GenerationError | None = None
    #: All of the job's, where one of them could not be had: it is tried again.
    outputs: tuple[Output, ...] = ()


@attrs.frozen(kw_only=True)
class Completed:
    """Files of a stored part that could not be had before are in the store, too.

    Attributes:
        artifacts, files: All of the part's; other attributes as those of `Stored`.
    """

    state: ClassVar[PartState] = "stored"
    artifacts: tuple[Artifact, ...]
    files: tuple[RawFile, ...]
    error: GenerationError | None = None
    outputs: tuple[Output, ...] = ()


@attrs.frozen(kw_only=True)
class Failed:
    """The part ended without a file."""

    state: ClassVar[PartState] = "failed"
    error: GenerationError
    #: What its job cost all the same, if the provider says.
    cost: Cost | None = None


@attrs.frozen(kw_only=True)
class Uncertain:
    """A submit ended without a job id and without proof that there is no job."""

    state: ClassVar[PartState] = "uncertain"
    error: GenerationError


Step: TypeAlias = (
    Submitting
    | Refused
    | Abandoned
    | Submitted
    | Finished
    | Fetched
    | Stored
    | Completed
    | Failed
    | Uncertain
)

#: A job, or files, that are paid for and not yet stored.
IN_WORK: tuple[PartState, ...] = ("submitted", "finished", "fetched")

#: From each state, the states that may follow.
FOLLOWS: dict[PartState, frozenset[PartState]] = {
    # What the generation cache has needs no job.
    "admitted": frozenset({"submitting", "fetched", "failed"}),
    # A service that answers at once goes straight to its outputs.
    "submitting": frozenset(
        {"admitted", "submitted", "finished", "fetched", "failed", "uncertain"}
    ),
    "submitted": frozenset({"finished", "fetched", "failed"}),
    "finished": frozenset({"finished", "fetched", "failed"}),
    # Back where the files are gone from the spool.
    "fetched": frozenset({"finished", "fetched", "stored", "failed"}),
    "stored": frozenset({"stored", "failed"}),
    "failed": frozenset(),
    # Only an explicit decision, or a provider that cannot charge twice, leads back; one that
    # can be asked may know the job after all.
    "uncertain": frozenset({"admitted", "submitted"}),
}


def follow(state: PartState, step: Step) -> PartState:
    """The state after `step`.

    Raises:
        JournalError: It cannot follow: a fault of the engine, found before it costs money.
    """
    if step.state not in FOLLOWS[state]:
        raise JournalError(f"{step.state} cannot follow {state}")
    return step.state
