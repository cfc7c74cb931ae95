"""Raw files of earlier generations, so that the same request is not paid for again.

Opt-in: a folder that many runs share. It may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from holodeck_gen._journal.spool import RawFile
from holodeck_gen._log import Logger
from holodeck_gen._model.codec import dumps, from_json, to_json
from holodeck_gen.files import overwrite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holodeck_gen._journal.journal import Plan
    from holodeck_gen._model.artifact import Artifact
    from holodeck_gen._model.task import Task
    from holodeck_gen._model.values import JsonObject

#: ``"reproducible"``: only where the provider says that the seed decides, and there is one.
#: ``"any"``: any earlier picture for the same request is good enough.
CacheReuse: TypeAlias = Literal["reproducible", "any"]

_VERSION = 1
#: Anything else in an entry could lead out of the folder.
_SHA256 = re.compile(r"[0-9a-f]{64}")
_log = Logger("holodeck_gen.cache")


@attrs.frozen(kw_only=True)
class Cache:
    """A folder of raw files by what was asked for. Methods block.

    Attributes:
        folder: Made when first used.
        reuse: Which generations may stand for another.
    """

    folder: Path
    reuse: CacheReuse = "reproducible"

    def key(self, plan: Plan, share: Task, request: JsonObject) -> str | None:
        """64 hex digits over everything that changes the files; None where reuse is not allowed.

        Raises:
            OSError: An input cannot be read.
        """
        if self.reuse == "reproducible" and not (plan.seed_effective and share.seed is not None):
            return None
        asked = [
            plan.provider,
            plan.model,
            share.kind,
            share.n,
            to_json(request),
            [_input_digest(each) for each in share.inputs],
        ]
        text = json.dumps(asked, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def get(self, key: str, *, spool: Path, name: str) -> tuple[RawFile, ...] | None:
        """Put the files of `key` into the spool, or None where they are not here whole.

        Args:
            key: As `key` returned it.
            spool: A folder, made if it is missing.
            name: How the files' names begin.
        """
        entry = self._entry(key)
        try:
            value = json.loads(entry.read_bytes())
            if value["version"] != _VERSION:
                return None
            return tuple(
                self._bring(each, spool / f"{name}-{i}.raw")
                for i, each in enumerate(value["files"])
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            if not entry.exists():
                return None
            # The cache is never the reason that a run fails.
            _log.warning("cache.entry_damaged", key=key, error=type(error).__name__)
            with contextlib.suppress(OSError):
                entry.unlink()
            return None

    def put(self, key: str, raws: Sequence[RawFile]) -> None:
        """Keep raw files under `key`."""
        try:
            files: list[dict[str, Any]] = []
            for raw in raws:
                sha256 = _sha256(raw.path)
                target = self._object(sha256)
                if not target.exists():
                    _place(target, raw.path)
                files.append({**to_json(raw), "path": sha256})
            with tempfile.NamedTemporaryFile("w", encoding="utf-8") as entry:
                entry.write(dumps({"version": _VERSION, "files": files}))
                entry.flush()
                _place(self._entry(key), Path(entry.name))
        except OSError as error:
            _log.warning("cache.not_written", folder=str(self.folder), error=error.strerror)

    def _bring(self, file: dict[str, Any], target: Path) -> RawFile:
        if not _SHA256.fullmatch(file["path"]):
            raise ValueError("the file is not one of ours")
        kept = self._object(file["path"])
        target.parent.mkdir(parents=True, exist_ok=True)
        # A copy: whatever becomes of the spool's file, the cache's stays as it is.
        shutil.copyfile(kept, target)
        if _sha256(target) != file["path"]:
            with contextlib.suppress(OSError):
                kept.unlink()
            raise ValueError("the file is not what it was")
        return from_json({**file, "path": str(target)}, RawFile)

    def _entry(self, key: str) -> Path:
        return self.folder / "entries" / key[:2] / f"{key}.json"

    def _object(self, sha256: str) -> Path:
        return self.folder / "objects" / sha256[:2] / sha256


def _input_digest(given: str | Artifact) -> str:
    """What stands for an input: its content where that is at hand, else its address."""
    if not isinstance(given, str):
        return given.sha256
    path = Path(given)
    try:
        return _sha256(path) if path.is_file() else given
    except ValueError:
        return given


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _place(target: Path, source: Path) -> None:
    """Copy `source` to `target`, which is whole or absent; the last of two writers wins."""
    # Nobody else may look into the folder, whatever the files' own permissions.
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    overwrite(source, target)
