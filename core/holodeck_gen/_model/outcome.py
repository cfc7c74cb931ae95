"""What a task ends in: a `Result` or a `Failure`, never both, never neither."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

import attrs

from holodeck_gen._model.artifact import Artifact, Cost
from holodeck_gen._model.task import Task
from holodeck_gen._model.values import freeze_object, in_order
from holodeck_gen.errors import GenerationError

if TYPE_CHECKING:
    from pathlib import Path

State: TypeAlias = Literal["done", "failed", "held", "cancelled"]


def _seconds(value: Mapping[str, float] | None) -> Mapping[str, float]:
    frozen: Mapping[str, float] = freeze_object(value)
    return frozen


@attrs.frozen(kw_only=True)
class Result:
    """A finished task.

    Attributes:
        task: The task as it was given.
        index: Its place in the input, from 0.
        key: What identifies it on resume: its id, or a digest and an occurrence number.
        artifacts: What was made, in the order of the pictures asked for.
        prompt: The words that were sent, after rewriting.
        revised_prompt: The words the provider made of them, if it says.
        provider: The provider's name.
        model: The model's name, where known.
        job_ids: The provider's jobs.
        attempts: Submits that were sent.
        cost: What the provider charged, where known.
        seconds: Time spent by stage (``wait``, ``job``, ``fetch``, ``finish``, ``total``).
        warnings: What the provider cannot do as asked, in words.
        resumed: True where an earlier run made it.
    """

    ok: ClassVar[Literal[True]] = True
    state: ClassVar[State] = "done"

    task: Task
    index: int
    key: str
    artifacts: tuple[Artifact, ...] = attrs.field(converter=in_order)
    prompt: str
    revised_prompt: str | None = None
    provider: str
    model: str | None = None
    job_ids: tuple[str, ...] = attrs.field(default=(), converter=in_order)
    attempts: int = 1
    cost: Cost | None = None
    seconds: Mapping[str, float] = attrs.field(default=None, converter=_seconds, hash=False)
    warnings: tuple[str, ...] = attrs.field(default=(), converter=in_order)
    resumed: bool = False

    @property
    def artifact(self) -> Artifact:
        """The only artifact.

        Raises:
            ValueError: There is not exactly one.
        """
        if len(self.artifacts) != 1:
            raise ValueError(f"there are {len(self.artifacts)} artifacts; use .artifacts")
        return self.artifacts[0]

    @property
    def path(self) -> Path:
        """The only artifact's local path.

        Raises:
            ValueError: There is not exactly one artifact, or it is in a remote store.
        """
        path = self.artifact.path
        if path is None:
            raise ValueError(f"{self.artifact.uri} is in a remote store and has no path")
        return path


@attrs.frozen(kw_only=True)
class Failure:
    """A task that ended without its result.

    Attributes:
        task: The task as it was given.
        index: Its place in the input, from 0.
        key: What identifies it on resume.
        error: Why; its class says what can be done.
        state: ``"failed"``; ``"held"`` where a job may exist or the run was paused, so that
            it can be resumed; ``"cancelled"``.
        artifacts: What exists all the same.
        attempts: Submits that were sent.
        resumed: True where it is an earlier run's, and nothing was tried again.
    """

    ok: ClassVar[Literal[False]] = False

    task: Task
    index: int
    key: str
    error: GenerationError = attrs.field(eq=False)
    state: State = attrs.field(
        default="failed", validator=attrs.validators.in_(("failed", "held", "cancelled"))
    )
    artifacts: tuple[Artifact, ...] = attrs.field(default=(), converter=in_order)
    attempts: int = 0
    resumed: bool = False

    @property
    def job_id(self) -> str | None:
        """The provider's job, where one exists or may exist."""
        return getattr(self.error, "job_id", None)


Outcome: TypeAlias = Result | Failure
