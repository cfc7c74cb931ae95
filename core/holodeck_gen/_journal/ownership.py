"""Who may write a journal: one process, for as long as it lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import attrs
import filelock

from holodeck_gen.errors import JournalLockedError

#: Seconds that a start waits for a lock: a reader that looks whether the owner lives holds it
#: for a moment.
PATIENCE_S = 1.0

#: File systems (as Linux names them) on which locks or SQLite's shared memory cannot be trusted.
_NETWORK = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs")


@attrs.define(eq=False)
class Lock:
    """The operating system's lock on a journal; it ends with the process, however that ends.

    Args:
        path: The journal's.
    """

    path: Path
    _lock: filelock.BaseFileLock = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._lock = filelock.FileLock(_lock_file(self.path), mode=0o600, thread_local=False)

    def acquire(self) -> bool:
        """Take it; False where another process has it."""
        try:
            self._lock.acquire(timeout=PATIENCE_S, poll_interval=0.02)
        except filelock.Timeout:
            return False
        return True

    def release(self) -> None:
        """Give it back."""
        self._lock.release()


def is_owned(path: Path) -> bool:
    """Whether a process owns the journal at `path` now."""
    lock = _lock_file(path)
    if not lock.exists():
        return False
    probe = filelock.FileLock(lock, mode=0o600, thread_local=False)
    try:
        probe.acquire(timeout=0)
    except filelock.Timeout:
        return True
    except OSError:
        # The folder cannot be written, so nobody owns it from here.
        return False
    probe.release()
    return False


def _lock_file(path: Path) -> Path:
    # It stays when the journal is closed: removing it would let two start at once.
    return path.with_name(f".{path.name}.lock")


def this_process(now: float) -> dict[str, Any]:
    """What others are told about the owner."""
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": now}


def describe(owner: Any) -> str:
    """``process 123 on host``, as far as it is known."""
    if not isinstance(owner, dict):
        return "another process"
    return f"process {owner.get('pid')} on {owner.get('host')}"


def locked(path: Path, owner: Any) -> JournalLockedError:
    """The error of a second writer."""
    name = describe(owner)
    return JournalLockedError(
        f"{name} is working in {path.parent}; wait until it has ended, or look on with"
        f" 'holodeck-gen status {path.parent}'",
        owner=name,
    )


def network_file_system(folder: Path) -> str | None:
    """The kind of network file system that holds `folder`; None for a local or unknown one."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    where = folder.resolve()
    kinds: dict[Path, str] = {}
    for line in lines:
        mounted, _, source = line.partition(" - ")
        kinds[Path(mounted.split()[4].replace("\\040", " "))] = source.split()[0]
    kind = next((kinds[each] for each in (where, *where.parents) if each in kinds), "")
    return kind if kind.startswith(_NETWORK) else None
