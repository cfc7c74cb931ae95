"""Files that a stage has signed: whether a later stage has changed them."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._log import Logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_log = Logger("holodeck_gen.seals")


@attrs.define(kw_only=True, eq=False)
class Seals:
    """What became of one raw file, from the first stage that seals to the last stage.

    Attributes:
        task: For the log.
    """

    task: str | None
    _by: str = attrs.field(default="", init=False)
    _digests: dict[Path, bytes] = attrs.field(factory=dict, init=False)

    async def after(self, stage: str, processor: object, files: Sequence[Path]) -> None:
        """Warn if a stage has changed or dropped what was sealed; remember what it seals itself.

        Args:
            stage: Its name.
            processor: Seals if its attribute ``seals`` is true.
            files: What goes on.
        """
        if self._digests:
            now = await _digests(files)
            for file, digest in self._digests.items():
                if now.get(file) != digest:
                    _log.warning(
                        "stage.broke_seal",
                        task=self.task,
                        stage=stage,
                        sealed_by=self._by,
                        file=file.name,
                    )
            # Each is told of once.
            self._digests = {file: now[file] for file in self._digests if file in now}
        if getattr(processor, "seals", False):
            self._by, self._digests = stage, await _digests(files)


async def _digests(files: Iterable[Path]) -> dict[Path, bytes]:
    return await asyncio.to_thread(lambda: {file: _digest(file) for file in files})


def _digest(file: Path) -> bytes:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").digest()
