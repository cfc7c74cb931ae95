"""Calls into plugin code, which may raise anything, hang, or cancel itself."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import re
from typing import TYPE_CHECKING, Any, TypeVar, cast

from holodeck_gen.errors import GenerationError, PluginError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

T = TypeVar("T")
E = TypeVar("E", bound=GenerationError)

#: Seconds that code gets to react to its cancellation before it is left alone.
GRACE_S = 5.0
_QUERY = re.compile(r"(https?://[^\s?#'\"]*)\?[^\s'\"]*")


class DeadlineError(PluginError):
    """A call took longer than it may; whether it had an effect is unknown."""


class ForeignCancelError(PluginError):
    """Plugin code raised `CancelledError` although nobody had cancelled it."""


async def bounded(call: Awaitable[T], *, timeout_s: float, what: str) -> T:
    """Await plugin code for at most `timeout_s` seconds.

    It runs as a task of its own: a coroutine that ignores its cancellation cannot hold up the
    caller, and a `CancelledError` of its own making cannot be taken for one of the caller's.

    Raises:
        DeadlineError: It took longer.
        ForeignCancelError: It cancelled itself.
        Exception: Whatever it raises.
    """
    if not hasattr(call, "__await__"):
        raise TypeError(f"{what} must be awaitable, not {type(call).__name__}")
    task = asyncio.ensure_future(cast("Coroutine[Any, Any, T]", call))
    try:
        await asyncio.wait({task}, timeout=timeout_s)
    except asyncio.CancelledError:
        await _abandon(task)
        raise
    if not task.done():
        await _abandon(task)
        if task.done() and not task.cancelled() and task.exception() is None:
            # It came with the deadline; a job's id is never thrown away.
            return task.result()
        raise DeadlineError(f"{what} took longer than {timeout_s:g} s")
    if task.cancelled():
        raise ForeignCancelError(f"{what} cancelled itself")
    return task.result()


async def finish(task: asyncio.Task[T]) -> T:
    """Wait for `task` even while being cancelled; then let the cancellation through.

    For work that must not stop half-way and has a deadline of its own.
    """
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # Seen: otherwise asyncio reports it as never retrieved.
        raise cancelled
    return task.result()


async def whole(task: asyncio.Task[T]) -> T:
    """Wait for `task`, whose result counts more than being cancelled meanwhile."""
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    return task.result()


def words(error: BaseException) -> str:
    """What an error says, or at least its name; without queries, which may be signatures."""
    return _QUERY.sub(r"\1?…", str(error)) or type(error).__name__


async def _abandon(task: asyncio.Future[Any]) -> None:
    task.cancel()
    task.add_done_callback(_look)
    await asyncio.wait({task}, timeout=GRACE_S)


def _look(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()


def told(error: E, **facts: str | None) -> E:
    """A copy of `error` that also tells `facts`, where it does not say otherwise.

    A copy, because a plugin may raise one object for many tasks.
    """
    missing = {name: value for name, value in facts.items() if value and not getattr(error, name)}
    if not missing:
        return error
    own = copied(error)
    vars(own).update(missing)
    return own


def reworded(error: E, message: str) -> E:
    """A copy of `error` with another message."""
    own = copied(error)
    own.args = (message,)
    return own


def copied(error: E) -> E:
    """A copy of `error`, where one has to be raised in several places."""
    try:
        own = copy.copy(error)
    except Exception:
        # A class of the plugin's own that cannot be copied.
        own = error
    own.__cause__ = error.__cause__
    return own.with_traceback(error.__traceback__)
