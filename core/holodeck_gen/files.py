"""Files that are whole or absent, below one folder and nowhere else.

For authors of stores and processors as well as for the engine.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import re
import shutil
import tempfile
import unicodedata
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from uuid import uuid4

import pathvalidate

from holodeck_gen.errors import PausedError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedWriter

#: Below a store's folder; holds what is being written.
_ASIDE = ".part"
#: Bytes that are written to see whether there is room; a full disk still has room for names.
_PROOF = 1 << 16
#: Bytes that are copied at once.
_PIECE = 1 << 20
#: Bytes; what the common file systems allow one name, less room for ``~12`` and a suffix.
MAX_NAME_BYTES = 200

_SPACES = re.compile(r"\s+")


@lru_cache(maxsize=4096)  # A task's name is made twice: to check it, and to use it.
def safe_component(text: str) -> str:
    """Return `text` as one file name that every common file system takes.

    No separators, control or direction characters (nor lookalikes of a separator), no reserved
    name, no leading dot, dash or tilde, at most `MAX_NAME_BYTES` bytes of UTF-8; never empty.
    """
    text = _SPACES.sub(" ", unicodedata.normalize("NFC", text))
    kept = "".join(_visible(character) for character in text)
    cleaned = pathvalidate.sanitize_filename(kept, replacement_text="_", platform="universal")
    cleaned = cleaned.encode()[:MAX_NAME_BYTES].decode(errors="ignore").strip(" .")
    if not cleaned:
        return "_"
    return f"_{cleaned}" if cleaned[0] in "-~." else cleaned


def safe_name(name: str) -> str:
    """Return a relative path with each part made safe by `safe_component`.

    Raises:
        StorageError: It is absolute or climbs out of its folder.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
        raise StorageError(f"{name!r} would leave the output folder; name it relative to that")
    if not path.parts:
        raise StorageError(f"{name!r} is not a file name")
    return "/".join(safe_component(part) for part in path.parts)


def place(file: Path, folder: Path, name: str) -> Path:
    """Copy `file` to `name` below `folder`: written aside, synced, then linked into place.

    Nothing that exists is overwritten, and no link inside the folder is followed. What is
    written is kept in a folder of its own until then; `tidy` removes that.

    Returns:
        The absolute path. Where it exists with equal bytes, nothing is written.

    Raises:
        FileExistsError: Another file has the name.
        StorageError: The name leaves the folder.
        OSError: It cannot be written.
    """
    root = folder.resolve()
    target = _inside(root, name)
    if os.path.lexists(target):
        return _same_or_taken(file, target)
    with _copied(file, _new_aside(root)) as aside:
        try:
            _link(aside, target)
        except FileExistsError:
            return _same_or_taken(file, target)
    sync_folder(target.parent)
    return target


def overwrite(file: Path, target: Path) -> Path:
    """Copy `file` to `target`, whatever was there: written beside it, synced, then put in place.

    For callers whose users name the very file; `place` is for everything else. A link is
    followed, as by opening it.

    Returns:
        The absolute path.

    Raises:
        OSError: It cannot be written; what was there is still there.
    """
    real = target.resolve()
    real.parent.mkdir(parents=True, exist_ok=True)
    with _copied(file, _new_file(real.parent)) as aside:
        os.replace(aside, real)
    sync_folder(real.parent)
    return target.absolute()


def tidy(folder: Path) -> None:
    """Remove what a process that was killed has left half-written by `place` below `folder`."""
    aside = folder / _ASIDE
    if aside.is_symlink():
        return
    with contextlib.suppress(OSError):
        for each in list(aside.iterdir()):
            descriptor = os.open(each, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            try:
                if _try_lock(descriptor):
                    each.unlink()
            finally:
                os.close(descriptor)
        # It stays where somebody else is writing.
        aside.rmdir()


def sync_folder(folder: Path) -> None:
    """Make names in `folder` durable, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_full(error: BaseException) -> bool:
    """Whether there is no room on the disk, or no more is allowed."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def full_disk(folder: Path) -> PausedError:
    """The error of a full disk: what was paid for is remembered, the rest waits."""
    return PausedError(
        f"paused: the disk that holds {folder} is full; make room and run the same command again",
        reason="the disk is full",
    )


def check_writable(folder: Path) -> None:
    """Make `folder` if it is missing and prove that files can be made in it; none is left.

    Raises:
        StorageError: They cannot; says why.
        PausedError: The disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROOF))
    except OSError as error:
        if is_full(error):
            raise full_disk(folder) from error
        raise StorageError(f"cannot write into {folder}: {error.strerror or error}") from error


def _visible(character: str) -> str:
    # Cc and Cf hold controls and direction marks; a fullwidth slash folds to a slash.
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"):
        return "" if character in "\u200d\ufe0f" else "_"
    folded = unicodedata.normalize("NFKC", character)
    return "_" if folded != character and any(c in "/\\:" for c in folded) else character


def _inside(root: Path, name: str) -> Path:
    target = root / safe_name(name)
    parent = root
    for part in target.relative_to(root).parts[:-1]:
        parent /= part
        if parent.is_symlink():
            raise StorageError(f"{parent} is a link; it could lead out of {root}")
        parent.mkdir(parents=True, exist_ok=True)
    return target


def _new_aside(root: Path) -> BufferedWriter:
    """A new file on the same disk as `root`."""
    aside = root / _ASIDE
    while True:
        if aside.is_symlink():
            raise StorageError(f"{aside} is a link; it could lead out of {root}")
        try:
            return _new_file(aside)
        except FileNotFoundError:
            # It is the first, or another process has tidied up just now.
            aside.mkdir(parents=True, exist_ok=True)


def _new_file(folder: Path) -> BufferedWriter:
    """A new file, as readable as the user's umask allows."""
    return (folder / f".{uuid4().hex}{_ASIDE}").open("xb")


@contextlib.contextmanager
def _copied(file: Path, sink: BufferedWriter) -> Iterator[str]:
    """Copy `file` into `sink`, durably; the name of that, which is gone in the end."""
    try:
        with sink, file.open("rb", buffering=0) as source:
            # Until it has its place, so that nobody tidies it up.
            _try_lock(sink.fileno())
            shutil.copyfileobj(source, sink, _PIECE)
            sink.flush()
            os.fsync(sink.fileno())
            yield str(sink.name)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(sink.name)


def _try_lock(descriptor: int) -> bool:
    """Mark a file as being written by a process that lives; False where another one did."""
    if os.name != "posix":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _same_or_taken(file: Path, target: Path) -> Path:
    if not target.is_symlink() and target.is_file() and filecmp.cmp(file, target, shallow=False):
        return target
    raise FileExistsError(f"{target} exists and is another file")


def _link(aside: str, target: Path) -> None:
    try:
        os.link(aside, target)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:
        # No hard links here (FAT, some network folders): claim the name, then replace it.
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.replace(aside, target)
