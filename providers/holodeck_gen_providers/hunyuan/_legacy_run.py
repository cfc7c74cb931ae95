"""One call of the legacy client: its tasks put to a studio, and what came of them."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

import holodeck_gen as hg
from holodeck_gen import files
from holodeck_gen.errors import (
    DownloadError,
    GenerationError,
    InvalidTaskError,
    PausedError,
    StorageError,
    TaskCancelledError,
)
from holodeck_gen_providers.hunyuan._legacy_account import log
from holodeck_gen_providers.hunyuan._legacy_values import GenerationResult, GenerationTask
from holodeck_gen_providers.hunyuan._legacy_words import message_of
from holodeck_gen_providers.hunyuan._legacy_work import OUTPUT_PATH

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from holodeck_gen_providers.hunyuan._legacy_work import Work

#: Characters of a caller's task id that are kept in names of files.
MAX_ID = 40


@attrs.frozen(kw_only=True)
class Wish:
    """A task that can be run.

    Attributes:
        place: In the call, from 0.
        target: The file to write, absolute.
    """

    place: int
    given: GenerationTask
    task: hg.Task
    target: Path | None

    @property
    def id(self) -> str:
        """Unique in the process, whatever ids the caller gives."""
        assert self.task.id is not None
        return self.task.id


@attrs.define(kw_only=True)
class Run:
    """The tasks of one call.

    Attributes:
        tasks: As they were given.
        wishes: Those that can be run, by id.
        answers: Results and how many requests were repeated, by place.
    """

    tasks: Sequence[GenerationTask]
    wishes: dict[str, Wish] = attrs.field(factory=dict)
    answers: dict[int, tuple[GenerationResult, int]] = attrs.field(factory=dict)

    @classmethod
    def of(cls, tasks: Sequence[GenerationTask], *, next_number: Callable[[], int]) -> Run:
        """Check everything that can be checked before any cost."""
        run = cls(tasks=tasks)
        writable: set[Path] = set()
        for place, given in enumerate(tasks):
            try:
                wish = _wish(place, given, next_number(), writable)
            except GenerationError as error:
                run.answers[place] = failed(given, message_of(error)), 0
            else:
                run.wishes[wish.id] = wish
        return run

    @property
    def folder(self) -> Path | None:
        """Where what is collected later has its place: beside the first file that is wanted."""
        return next((wish.target.parent for wish in self.wishes.values() if wish.target), None)

    def go(self, work: Work, stop: threading.Event) -> None:
        """Run the tasks; fills `answers`.

        Args:
            work: The open studio.
            stop: Set where nobody waits any longer.
        """
        work.targets.wanted.update((wish.id, wish.target) for wish in self.wishes.values())
        error: GenerationError = TaskCancelledError("cancelled before it was begun")
        try:
            with closing(work.studio.map([wish.task for wish in self.wishes.values()])) as outcomes:  # type: ignore[type-var]
                for outcome in outcomes:
                    work.concerns(outcome)
                    wish = self.wishes[str(outcome.task.id)]
                    result = self._result(work, wish, outcome)
                    self.answers[wish.place] = result, max(0, outcome.attempts - 1)
                    if stop.is_set():
                        break
        except PausedError as pause:
            error = pause
        except (KeyboardInterrupt, SystemExit):
            if work.journal is not None:
                log.warning(
                    "interrupted; jobs that run are paid for: 'holodeck-gen collect %s'",
                    work.journal.parent,
                )
            raise
        finally:
            for wish in self.wishes.values():
                work.targets.wanted.pop(wish.id, None)
                work.notes.forget(wish.id)
        self.fail_rest(error)

    def fail_rest(self, error: Exception) -> None:
        """Answer with `error` where there is no answer yet."""
        said = message_of(error) if isinstance(error, GenerationError) else str(error)
        for place, given in enumerate(self.tasks):
            self.answers.setdefault(place, (failed(given, said), 0))

    def results(self) -> list[GenerationResult]:
        """In the order of the tasks."""
        return [self.answers[place][0] for place in range(len(self.tasks))]

    def statistics(self, wall_time_s: float) -> dict[str, float]:
        """What a batch tells of itself."""
        succeeded = sum(result.success for result in self.results())
        return {
            "total": len(self.tasks),
            "succeeded": succeeded,
            "failed": len(self.tasks) - succeeded,
            "retries": sum(count for _, count in self.answers.values()),
            "wall_time": wall_time_s,
        }

    def _result(self, work: Work, wish: Wish, outcome: hg.Outcome) -> GenerationResult:
        began = work.notes.began.get(wish.id)
        seconds = 0.0 if began is None else time.monotonic() - began
        url = work.notes.urls.get(wish.id)
        error = None if isinstance(outcome, hg.Result) else outcome.error
        if wish.target is None and url is not None and isinstance(error, DownloadError):
            # Who wants no file has what was asked for: the address.
            error = None
        path = None if wish.target is None else os.fspath(wish.given.output_path or "")
        return GenerationResult(
            task_id=wish.given.task_id,
            success=error is None,
            image_url=url,
            local_path=None if error else path,
            error_message=None if error is None else message_of(error, journal=work.journal),
            generation_time=seconds,
            job_id=next(iter(outcome.job_ids), None)
            if isinstance(outcome, hg.Result)
            else outcome.job_id,
        )


def failed(given: GenerationTask, message: str) -> GenerationResult:
    """The result of a task that was not begun."""
    return GenerationResult(task_id=given.task_id, success=False, error_message=message)


def _wish(place: int, given: GenerationTask, number: int, writable: set[Path]) -> Wish:
    """The task in the library's words.

    Raises:
        InvalidTaskError: A field cannot be what it is.
        StorageError: The file could not be written.
    """
    name = files.safe_component(str(given.task_id))[:MAX_ID].replace(".", "_")
    task = hg.Task(
        given.prompt,
        id=f"{name}-{number}",
        model=given.model or None,
        size=given.resolution or None,
        style=given.style or None,
    )
    if not given.output_path:
        return Wish(place=place, given=given, task=task, target=None)
    try:
        target = Path(given.output_path).absolute()
    except TypeError as error:
        raise InvalidTaskError(f"output_path must be a path, not {given.output_path!r}") from error
    if target.is_dir():
        raise StorageError(f"{target} is a folder; output_path names a file", stage="store")
    if target.parent not in writable:
        files.check_writable(target.parent)
        writable.add(target.parent)
    task = attrs.evolve(task, metadata={OUTPUT_PATH: str(target)})
    return Wish(place=place, given=given, task=task, target=target)
