"""What earlier runs found out about a gate's slots, so that the next one begins there.

A small file for each gate in the user's state folder. It is a help and never needed: what cannot
be read or written counts as absent.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import platformdirs

from holodeck_gen._gate.levels import Known
from holodeck_gen._log import Logger

_log = Logger("holodeck_gen.proven")

#: Seconds after which what was found out is too old to begin with.
OLD_S = 30 * 24 * 3600.0
#: Seconds after which it is written again although nothing has changed.
RENEW_S = 24 * 3600.0


@attrs.define(eq=False)
class Memory:
    """The file of one gate.

    Args:
        path: Where it is.
        gate: Names the gate to whoever looks into the file; no secret.
    """

    path: Path
    gate: str = ""
    wall_clock: Callable[[], float] = attrs.field(default=time.time, kw_only=True)
    _known: Known | None = attrs.field(default=None, init=False)
    _written: float = attrs.field(default=0.0, init=False)
    _silent: bool = attrs.field(default=False, init=False)

    @classmethod
    def of(cls, account_key: str, quota_key: str) -> Memory:
        """That of the gate with these keys."""
        gate = f"{account_key} {quota_key}"
        digest = hashlib.blake2b(f"{account_key}\0{quota_key}".encode(), digest_size=12).hexdigest()
        return cls(gates_folder() / f"{digest}.json", gate)

    def load(self) -> Known | None:
        """What was found out in the last days, if anything."""
        try:
            found = json.loads(self.path.read_text("utf-8"))
            known, at = _known(found), float(found["at"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            self._complain("unreadable", error)
            return None
        if self.wall_clock() - at > OLD_S:
            return None
        self._known, self._written = known, at
        return known

    def save(self, known: Known) -> None:
        """Keep this for the next run, if it is new."""
        now = self.wall_clock()
        if known == self._known and now - self._written < RENEW_S:
            return
        text = json.dumps({"gate": self.gate, "at": round(now), **attrs.asdict(known)})
        try:
            _overwrite(self.path, text)
        except OSError as error:
            self._complain("unwritable", error)
        self._known, self._written = known, now

    def _complain(self, what: str, error: Exception) -> None:
        if not self._silent:
            self._silent = True
            _log.warning(f"proven.{what}", path=str(self.path), error=repr(error))


def gates_folder() -> Path:
    """Holds what is known of gates."""
    return platformdirs.user_state_path("holodeck-gen", appauthor=False) / "gates"


def _known(found: dict[str, Any]) -> Known:
    refused = found["refused"]
    return Known(
        proven=int(found["proven"]),
        refused=None if refused is None else int(refused),
        lag_s=float(found["lag_s"]),
        wait_s=float(found["wait_s"]),
    )


def _overwrite(path: Path, text: str) -> None:
    # Put in place whole, so that no reader sees half of it, and not synced: it may be lost.
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".json")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise
