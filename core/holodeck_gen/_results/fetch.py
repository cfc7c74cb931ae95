"""From a finished job's outputs to raw files in the spool."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._calls import DeadlineError, bounded, words
from holodeck_gen._gate.local import LocalGate
from holodeck_gen._health.retry import RetryPolicy, repeat
from holodeck_gen._http.addresses import serves_locally, without_query
from holodeck_gen._http.clients import Clients
from holodeck_gen._http.download import download, size_limit
from holodeck_gen._journal.spool import RawFile, SpoolFile
from holodeck_gen._log import Logger
from holodeck_gen._model.concurrency import Concurrency
from holodeck_gen._model.provider import Bytes, JobStatus, Limits, Output, PartError, Provider, Url
from holodeck_gen._results.inspection import damage, pixels
from holodeck_gen._results.room import Room
from holodeck_gen._stages.threads import StageThreads
from holodeck_gen.errors import (
    DownloadError,
    PausedError,
    PluginError,
    RetryableError,
    StorageError,
    ThrottledError,
    TransientError,
)
from holodeck_gen.files import full_disk, is_full

if TYPE_CHECKING:
    from holodeck_gen._accounts.accounts import Account

_log = Logger("holodeck_gen.fetch")

#: Seconds since the epoch; a URL that says nothing of its end comes after all that do.
_FAR = 2**62
#: Seconds for which the host of a result may answer that there are too many requests.
LONGEST_THROTTLED_S = 1800.0
#: Seconds that a picture may take to be decoded.
CHECK_S = 60.0


@attrs.define(kw_only=True, eq=False)
class Fetcher:
    """Brings outputs into the spool folder, a bounded number at once, the nearest to expire first.

    Args:
        folder: The spool; made when first used.
        clients: The studio's HTTP clients.
        downloads: Downloads at once.
        policy: How often a download is tried.
        on_full: Told that the disk is full; makes a little room.
        checks: Decodes pictures to find out whether they are whole.
        wall_clock: Seconds since the epoch.
    """

    folder: Path
    clients: Clients
    downloads: int
    policy: RetryPolicy
    on_full: Callable[[], None]
    checks: StageThreads
    wall_clock: Callable[[], float] = time.time
    _places: LocalGate = attrs.field(init=False)
    _room: Room = attrs.field(factory=Room, init=False)

    def __attrs_post_init__(self) -> None:
        self._places = LocalGate(
            Concurrency(minimum=self.downloads, maximum=self.downloads), Limits()
        )

    async def fetch(
        self, output: Url | Bytes, provider: Provider, *, name: str, kind: str, account: Account
    ) -> RawFile:
        """Bring one output into the spool.

        Args:
            output: Where it is.
            provider: Whose it is.
            name: Names the file among those of all journals; one that is there is replaced.
            kind: The task's kind.
            account: Whose paces and health it is to mind.

        Raises:
            DownloadError: It cannot be had.
            StorageError: The spool cannot be written.
            PausedError: The disk is full, or the results cannot be reached for too long.
        """
        path = self.folder / f"{name}.raw"

        async def bring() -> None:
            if isinstance(output, Bytes):
                async with self._file(path, provider) as file:
                    await file.write(output.data)
            else:
                await self._download(output, provider, path, kind=kind, account=account)

        try:
            await bring()
        except StorageError as error:
            if not _full(error):
                raise
            self.on_full()
            try:
                # All of it anew: after a failed fsync nobody knows what of it is on the disk.
                await bring()
            except StorageError as again:
                raise (full_disk(self.folder) if _full(again) else again) from again
        return _raw(path, output)

    async def kept(self, output: Url, *, name: str, kind: str) -> RawFile | None:
        """What an earlier try brought into the spool; only of pictures it is known to be whole."""
        path = self.folder / f"{name}.raw"
        there = kind == "image" and await asyncio.to_thread(path.is_file)
        if not there or await self._damage(path):
            return None
        return _raw(path, output)

    async def _download(
        self, output: Url, provider: Provider, path: Path, *, kind: str, account: Account
    ) -> None:
        where = without_query(output.url)
        pace = account.pace(provider, "download")
        unheard = account.results.excuse()
        clock = asyncio.get_running_loop().time
        began = clock()

        async def once(cost: int) -> None:
            # Neither is kept while a retry waits: others may not have to.
            with await account.results.visit("download", cost=cost):
                place = await self._places.slot(priority=-int(output.expires_at or _FAR))
                sent = clock()
                try:
                    sent = await pace.turn()
                    await bounded(
                        self._attempt(output, provider, path, kind=kind),
                        timeout_s=provider.limits.download_timeout_s,
                        what=f"download from {provider.name}",
                    )
                except DeadlineError as error:
                    raise TransientError(str(error)) from error
                except ThrottledError as error:
                    pace.heard(error, sent)
                    raise
                finally:
                    place.release(clean=False)
            # While there is an address from which it can be had again. Whoever sent it is well:
            # one bad file must not keep the other downloads waiting.
            if kind == "image" and (why := await self._damage(path)):
                raise TransientError(
                    f"{where} is no picture, or not all of it: {why}", code="no picture"
                )

        def on_retry(error: RetryableError, wait_s: float) -> None:
            if isinstance(error, ThrottledError) and clock() - began > LONGEST_THROTTLED_S:
                # It uses up no tries, and can be had by a later run.
                raise error
            if error.retry_after:
                pace.hold(error.retry_after)
            _log.warning("download.retried", url=where, error=str(error), wait_s=round(wait_s, 3))

        def excused(error: RetryableError) -> bool:
            return error.code is None and unheard()

        try:
            await repeat(once, self.policy, on_retry=on_retry, excused=excused)
        except (DownloadError, StorageError, PausedError):
            raise
        except Exception as error:
            raise DownloadError(
                f"{where} could not be downloaded: {words(error)}",
                stage="download",
            ) from error

    async def _attempt(self, output: Url, provider: Provider, path: Path, *, kind: str) -> None:
        async with self._file(path, provider) as file:
            fetch = getattr(provider, "fetch", None)
            if fetch is not None:
                await file.write(_checked(await fetch(output), output, kind))
            else:
                local = serves_locally(provider)
                await download(
                    self.clients.downloads(local=local),
                    output.url,
                    kind=kind,
                    local=local,
                    write=file.write,
                    expired=bool(output.expires_at and output.expires_at < self.wall_clock()),
                )

    async def _damage(self, path: Path) -> str | None:
        async with self._room.taken(await asyncio.to_thread(pixels, path)):
            try:
                return await self.checks.run(damage, path, timeout_s=CHECK_S, what="the check")
            except (DeadlineError, PluginError) as error:
                # As what is damaged: it is looked for again, and stays collectable.
                return words(error)

    def _file(self, path: Path, provider: Provider) -> SpoolFile:
        return SpoolFile(path=path, durable=provider.billing != "free")


def pictures(status: JobStatus) -> tuple[list[Url | Bytes], list[PartError]]:
    """A finished job's outputs, and what it says of those it did not make."""
    made: list[Url | Bytes] = []
    missing: list[PartError] = []
    output: Output
    for output in status.outputs:
        if isinstance(output, PartError):
            missing.append(output)
        else:
            made.append(output)
    return made, missing


def _raw(path: Path, output: Url | Bytes) -> RawFile:
    return RawFile(
        path=path,
        media_type=output.media_type,
        seed=output.seed,
        revised_prompt=output.revised_prompt,
        metadata=output.metadata,
    )


def _checked(data: object, output: Url, kind: str) -> bytes:
    where = without_query(output.url)
    if not isinstance(data, bytes):
        raise DownloadError(f"{where}: fetch returned {type(data).__name__}", stage="download")
    if len(data) > size_limit(kind):
        raise DownloadError(f"{where} is larger than {size_limit(kind)} bytes", stage="download")
    return data


def _full(error: StorageError) -> bool:
    return error.__cause__ is not None and is_full(error.__cause__)
