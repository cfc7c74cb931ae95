"""One folder that is worked in again and again, by runs that may die."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

import attrs

import holodeck_gen as hg
from helpers import FakeStore, collect, opened
from holodeck_gen.testing import ScriptedProvider, run_virtual

CAT = hg.Task("a cat", id="cat")
DOG = hg.Task("a dog", id="dog")


@attrs.define
class Runs:
    """One folder that is worked in again and again, by processes that may die.

    Attributes:
        folder: What is on disk now.
        provider: Lives longer than any run.
        store: Likewise.
        state: The user's state folder, likewise.
    """

    folder: Path
    provider: ScriptedProvider = attrs.field(factory=ScriptedProvider)
    store: FakeStore = attrs.field(factory=FakeStore)
    state: Path = attrs.field(factory=lambda: Path(tempfile.mkdtemp()))

    @property
    def jobs(self) -> int:
        """Jobs that were ever made."""
        return self.provider.created.total()

    @property
    def journal(self) -> Path:
        return self.folder / "journal.sqlite3"

    def opened(self, **arguments: Any) -> Any:
        return opened(
            arguments.pop("provider", self.provider),
            store=self.store,
            output=self.folder,
            journal="automatic",
            state=self.state,
            **arguments,
        )

    def run(self, *tasks: hg.Task | str, **arguments: Any) -> dict[str, hg.Outcome]:
        """The outcomes of one run, by key."""

        async def main() -> list[hg.Outcome]:
            async with self.opened(**arguments) as studio:
                return await collect(studio.map(tasks))

        return {outcome.key: outcome for outcome in run_virtual(main())}

    def run_for(self, seconds: float, *tasks: hg.Task | str, **arguments: Any) -> None:
        """One run that is left after some seconds."""

        async def main() -> None:
            async with self.opened(**arguments) as studio:
                work = asyncio.ensure_future(collect(studio.map(tasks)))
                await asyncio.sleep(seconds)
                work.cancel()
                await asyncio.wait({work})

        run_virtual(main())

    def killed(self, *tasks: hg.Task | str, after_s: float, **arguments: Any) -> None:
        """One run that dies after some seconds: only what is on disk by then goes on."""
        left = Path(tempfile.mkdtemp(dir=self.folder.parent)) / "left"
        state = Path(tempfile.mkdtemp()) / "state"

        async def main() -> None:
            async with self.opened(**arguments) as studio:
                work = asyncio.ensure_future(collect(studio.map(tasks)))
                await asyncio.sleep(after_s)
                shutil.copytree(self.folder, left)
                shutil.copytree(self.state, state)
                work.cancel()
                await asyncio.wait({work})

        run_virtual(main())
        self.folder = left
        self.state = state
