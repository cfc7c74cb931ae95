"""Builders and fakes that several test modules share."""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import attrs

import holodeck_gen as hg
from holodeck_gen._plugins.plugins import Plugins

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


def no_plugins() -> hg.Registry:
    """A registry that finds no plugin."""
    return hg.Registry(Plugins(find=lambda: ()))


@attrs.define
class FakeStore:
    """Keeps bytes in memory; a taken name is refused, as the protocol says."""

    files: dict[str, bytes] = attrs.field(factory=dict)

    async def put(self, file: Path, name: str) -> str:
        data = await asyncio.to_thread(file.read_bytes)
        if self.files.setdefault(name, data) is not data:
            raise FileExistsError(name)
        return f"memory:{name}"


@contextmanager
def state_in(folder: Path) -> Iterator[None]:
    """What is opened meanwhile keeps its state there."""
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["XDG_STATE_HOME"]
        else:
            os.environ["XDG_STATE_HOME"] = before


_OPENING: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


@asynccontextmanager
async def opened(
    provider: Any, *, store: Any = None, state: Path | None = None, **arguments: Any
) -> AsyncIterator[hg.AsyncStudio]:
    """A studio that reads no settings and finds no plugin.

    Args:
        state: The user's state folder; else one that nothing has used before, since on virtual
            time what an earlier studio has left there is there for long.
    """
    with tempfile.TemporaryDirectory() as folder:
        studio = hg.AsyncStudio(
            provider,
            store=FakeStore() if store is None else store,
            **{
                "registry": no_plugins(),
                "output": folder,
                "journal": None,
                "config": hg.Config.of({}, environ={}),
                **arguments,
            },
        )
        async with AsyncExitStack() as stack:
            # One after the other: the environment is everybody's.
            async with _OPENING.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
                with state_in(state or Path(folder, ".state")):
                    await stack.enter_async_context(studio)
            yield studio


async def collect(outcomes: Any) -> list[hg.Outcome]:
    """Everything an asynchronous iterator yields."""
    return [outcome async for outcome in outcomes]


async def drain(outcomes: Any, into: list[hg.Outcome]) -> None:
    """As `collect`, but what came before an error is kept."""
    async for outcome in outcomes:
        into.append(outcome)  # noqa: PERF401 -- kept where the next one raises


def failure_of(outcome: hg.Outcome) -> hg.Failure:
    """The outcome, which must be a failure."""
    assert isinstance(outcome, hg.Failure), outcome
    return outcome


def result_of(outcome: hg.Outcome) -> hg.Result:
    """The outcome, which must be a result."""
    assert isinstance(outcome, hg.Result), outcome
    return outcome
