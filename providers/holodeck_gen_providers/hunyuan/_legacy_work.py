"""The studio of one legacy client: open while something is asked of it, and no longer.

Callers of old never close anything. Between calls there is no thread, no socket and no loop,
so that there is nothing to close.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

import holodeck_gen as hg
from holodeck_gen import files
from holodeck_gen.errors import JobTimeoutError, SubmitUncertainError
from holodeck_gen_providers.hunyuan import HunyuanOptions
from holodeck_gen_providers.hunyuan._legacy_account import log
from holodeck_gen_providers.hunyuan._legacy_face import LegacyFace, Notes, make_face

if TYPE_CHECKING:
    from collections.abc import Iterator


@attrs.frozen(kw_only=True)
class Rules:
    """Of one client, as it is when its studio is opened.

    Attributes:
        timeout: Seconds for one job.
    """

    options: HunyuanOptions = attrs.field(repr=False)
    environ: Mapping[str, str] = attrs.field(repr=False)
    timeout: float = attrs.field(validator=attrs.validators.gt(0))
    max_concurrent_jobs: int = attrs.field(validator=attrs.validators.ge(1))
    max_retries: int = attrs.field(validator=attrs.validators.ge(0))
    retry_delay: float = attrs.field(validator=attrs.validators.ge(0))


#: The metadata of a task that names its file, for whoever collects it without this client.
OUTPUT_PATH = "output_path"


@attrs.define(eq=False)
class Targets:
    """A store that puts each task's file where its caller wants it, or nowhere."""

    wanted: dict[str, Path | None] = attrs.field(factory=dict)
    placed_by: str = OUTPUT_PATH

    async def put(self, file: Path, name: str) -> Path | str:
        """Copy `file`; what is there is replaced, as it always was."""
        # Ids hold no dots and are unique, so that a name is an id and a suffix.
        target = self.wanted.get(name.partition(".")[0])
        if target is None:
            return f"not-kept:{name}"
        return await asyncio.to_thread(files.overwrite, file, target)


@attrs.define(kw_only=True, eq=False)
class Work:
    """An open studio, and what belongs to it.

    Attributes:
        journal: Its file.
        occupied_until: The monotonic time until which a job that nobody waits for may run.
    """

    rules: Rules
    folder: Path
    passing: bool
    targets: Targets = attrs.field(factory=Targets)
    notes: Notes = attrs.field(factory=Notes)
    occupied_until: float = attrs.field(default=0.0, init=False)
    face: LegacyFace = attrs.field(init=False)
    studio: hg.Studio = attrs.field(init=False)
    journal: Path | None = attrs.field(init=False)

    @classmethod
    def opened(cls, rules: Rules, folder: Path | None) -> Work:
        """Open a studio.

        Args:
            rules: The client's.
            folder: Where pictures go that are collected later; None has none worth naming.
        """
        passing = folder is None
        own = Path(tempfile.mkdtemp(prefix="holodeck-gen-")) if folder is None else folder
        work = cls(rules=rules, folder=own, passing=passing)
        try:
            work.studio = hg.Studio(
                work.hunyuan,
                output=own,
                store=work.targets,
                journal="invocation",
                concurrency=rules.max_concurrent_jobs,
                attempts=rules.max_retries + 1,
                backoff_s=rules.retry_delay,
                job_timeout_s=rules.timeout,
                config=hg.Config.of({}, environ=rules.environ),
            )
            work.studio.__enter__()
            work.journal = work.studio.describe().journal
        except BaseException:
            work._clear()
            raise
        return work

    def close(self) -> None:
        """Let go of thread, loop and connections."""
        self.studio.close()
        self._clear()

    def concerns(self, outcome: hg.Outcome) -> None:
        """Keep the slot of a job that may go on, as far as it is known."""
        error = None if isinstance(outcome, hg.Result) else outcome.error
        if isinstance(error, JobTimeoutError | SubmitUncertainError):
            self.occupied_until = time.monotonic() + self.rules.timeout

    def hunyuan(self, _options: Any, ctx: hg.Context) -> LegacyFace:
        """The factory of the provider; logs go by its name."""
        self.face = make_face(
            self.rules.options,
            ctx,
            notes=self.notes,
            max_retries=self.rules.max_retries,
            retry_delay=self.rules.retry_delay,
        )
        return self.face

    def _clear(self) -> None:
        if self.passing:
            with contextlib.suppress(OSError):
                self.folder.rmdir()


@attrs.define(eq=False)
class Desk:
    """Opens the work for the first of several callers, and closes it after the last."""

    _calls: int = attrs.field(default=0, init=False)
    _work: Work | None = attrs.field(default=None, init=False)
    closed: bool = attrs.field(default=False, init=False)
    _changed: threading.Condition = attrs.field(factory=threading.Condition, init=False)

    @contextlib.contextmanager
    def work(self, rules: Rules, folder: Path | None = None) -> Iterator[Work]:
        """The open studio, for one call; from any thread.

        Raises:
            RuntimeError: The client is closed.
        """
        with self._changed:
            if self.closed:
                raise RuntimeError("this client is closed; make another")
            if self._work is None:
                self._work = Work.opened(rules, folder)
            work = self._work
            self._calls += 1
        try:
            yield work
        finally:
            with self._changed:
                self._calls -= 1
                if not self._calls:
                    if self.closed or time.monotonic() >= work.occupied_until:
                        self._let_go()
                    self._changed.notify_all()

    def close(self) -> None:
        """Take no new call; wait for those that run, then let go of everything."""
        with self._changed:
            self.closed = True
            self._changed.wait_for(lambda: not self._calls)
            self._let_go()

    def _let_go(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            work.close()


def close_with(owner: object, desk: Desk) -> None:
    """Close `desk` when nobody holds `owner` any more.

    At the end of the program it stays as it is: what is unfinished is on disk.
    """
    weakref.finalize(owner, partial(_close_aside, desk)).atexit = False


def _close_aside(desk: Desk) -> None:
    # Garbage is collected in any thread, and the studio's own cannot wait for itself.
    if desk._work is not None:
        log.debug("a client was dropped while its studio was open")
        threading.Thread(target=desk.close, name="holodeck-gen-close").start()
