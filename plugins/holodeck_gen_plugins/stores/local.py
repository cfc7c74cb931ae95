"""The store that keeps files in a folder."""

from __future__ import annotations

import asyncio
from pathlib import Path

import attrs

import holodeck_gen as hg
from holodeck_gen import files


@attrs.frozen(kw_only=True)
class LocalOptions:
    """Options of the local store.

    Attributes:
        folder: Where files are kept; made if it is missing.
    """

    folder: str


@attrs.frozen
class LocalStore:
    """Files in a folder: whole or absent, never overwritten, never outside."""

    folder: Path

    async def put(self, file: Path, name: str) -> Path:
        """Copy `file` into the folder. As `holodeck_gen.Store.put`."""
        return await asyncio.to_thread(files.place, file, self.folder, name)

    async def check(self) -> None:
        """Make the folder, and a file in it that is gone again. As `holodeck_gen.Store`."""
        await asyncio.to_thread(files.check_writable, self.folder)

    async def aclose(self) -> None:
        """Remove what a killed process has left."""
        await asyncio.to_thread(files.tidy, self.folder)


def make_local(options: LocalOptions, _ctx: hg.Context) -> LocalStore:
    """The factory."""
    return LocalStore(Path(options.folder).expanduser())


@hg.hookimpl
def register_stores(register: hg.Register) -> None:
    """Register the store."""
    register("local", make_local, options=LocalOptions, summary="Keeps files in a folder.")
