"""What comes before a prompt is sent and after a file has arrived."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from holodeck_gen._model.task import Task


@runtime_checkable
class Expander(Protocol):
    """Turns one task into many, before admission."""

    def expand(self, task: Task) -> Iterable[Task]:
        """Yield the tasks; those without an id of their own get ``id~1``, ``id~2``, …

        Runs in a thread, for one task of a `map` at a time.
        """
        ...


@runtime_checkable
class Rewriter(Protocol):
    """Changes a task before it is prepared, usually its prompt."""

    async def rewrite(self, task: Task) -> Task:
        """Return the changed task; called once per task, also across resumes."""
        ...


#: Takes a private copy of a file and the task that made it: with the prompt that was sent, the
#: provider and model that did it, this picture's seed, and n = 1. Returns the file or files that
#: go on. New files are written beside the given one; those that end in ``.json`` or ``.xmp`` are
#: about a picture and need not be one. Runs in a thread, or in a process where the command line
#: says so.
#:
#: Optional, found by presence:
#:
#: - ``seals``, true of one whose files no later processor may change, because it has signed them.
#:   The engine warns where one does.
#: - ``remembers``, true of one that compares a picture with earlier ones. It stays in threads,
#:   because each process would know only some of them.
Processor: TypeAlias = Callable[[Path, Task], Path | Iterable[Path]]


def processed(processor: Processor, file: Path, task: Task) -> list[Path]:
    """The files that a processor makes of `file`.

    Raises:
        TypeError: It returned something else.
        Exception: Whatever it raises.
    """
    answer: object = processor(file, task)
    if inspect.iscoroutine(answer):
        # Otherwise Python warns at some later time that it was never awaited.
        answer.close()
    if inspect.isawaitable(answer):
        raise TypeError("a processor is a plain function, not a coroutine function")
    # A generator works only now, when it is asked for its files.
    files: list[Path] = [answer] if isinstance(answer, Path) else list(answer)  # type: ignore[call-overload]
    for each in files:
        if not isinstance(each, Path) or not each.is_file():
            raise TypeError(f"it returned {each!r}, which is not the path of a file")
    return files


@runtime_checkable
class Store(Protocol):
    """Keeps finished files.

    Optional, found by presence:

    - ``async check()``: called once, before anything is paid for. Raises `StorageError` or
      `ConfigError` where nothing could be stored, and leaves nothing behind.
    - ``where``: the place in words that hold no credentials. Kept in the journal, so that what
      is collected later goes to no other place.
    - ``placed_by``: the metadata field in which a task names the local file that this store
      makes for it. What is collected later, without the store, is put there, too.
    """

    async def put(self, file: Path, name: str) -> Path | str:
        """Store a copy of `file` as `name` and return its path or URI.

        Storing equal bytes under the same name again is success.

        Raises:
            FileExistsError: Another file has this name; the engine will try the next.
            StorageError: It cannot be stored.
        """
        ...
