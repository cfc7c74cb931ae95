"""From a finished job's outputs to raw files in the spool."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._calls import bounded
from holodeck_gen._log import Logger
from holodeck_gen._provider import Bytes, JobStatus, Output, PartError, Provider, Url
from holodeck_gen._retry import RetryPolicy, repeat
from holodeck_gen._values import JsonObject
from holodeck_gen.errors import DownloadError, RetryableError, StorageError, TransientError
from holodeck_gen.files import full_disk, is_full, sync_folder

if TYPE_CHECKING:
    import httpx

_log = Logger("holodeck_gen.fetch")

#: Bytes; a 3D model with textures is the largest thing a known provider makes.
MAX_DOWNLOAD = 512 * 2**20


@attrs.frozen(kw_only=True)
class RawFile:
    """An output as the provider sent it, in the spool."""

    path: Path
    media_type: str | None = None
    seed: int | None = None
    revised_prompt: str | None = None
    metadata: JsonObject


@attrs.define(kw_only=True, eq=False)
class Fetcher:
    """Brings outputs into the spool folder, a bounded number at once.

    Args:
        folder: The spool; made when first used.
        http: Returns the HTTP client.
        downloads: Downloads at once.
        attempts: Tries of one download.
            on_full: Told that the disk is full; makes a little room.
    """

    folder: Path
    http: Callable[[], httpx.AsyncClient]
    downloads: int
    policy: RetryPolicy
    on_full: Callable[[], None]
    _places: asyncio.Semaphore = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.downloads)

    async def fetch(self, output: Url | Bytes, provider: Provider, *, name: str) -> RawFile:
        """Bring one output into the spool.

        Args:
            output: Where it is.
            provider: Whose it is.
            name: Names the file among those of all journals; one that is there is replaced.

        Raises:
            DownloadError: It cannot be had.
            StorageError: The spool cannot be written.
            PausedError: The disk is full.
        """
        data = output.data if isinstance(output, Bytes) else await self._download(output, provider)
        path = self.folder / f"{name}.raw"
        durable = provider.billing != "free"
        try:
            try:
                await asyncio.to_thread(_write, path, data, durable=durable)
            except OSError as error:
                if not is_full(error):
                    raise
                self.on_full()
                await asyncio.to_thread(_write, path, data, durable=durable)
        except OSError as error:
            if is_full(error):
                raise full_disk(self.folder) from error
            raise StorageError(
                f"the spool {self.folder} cannot be written: {error.strerror or error}",
                stage="spool",
            ) from error
        return RawFile(
            path=path,
            media_type=output.media_type,
            seed=output.seed,
            revised_prompt=output.revised_prompt,
            metadata=output.metadata,
        )

    async def _download(self, output: Url, provider: Provider) -> bytes:
        async def once() -> bytes:
            fetch = getattr(provider, "fetch", None)
            call = fetch(output) if fetch else self._get(output.url)
            return await bounded(
                call,
                timeout_s=provider.limits.download_timeout_s,
                what=f"download from {provider.name}",
            )

        where = output.url.partition("?")[0]

        async def on_retry(error: RetryableError, wait_s: float) -> None:
            _log.warning("download.retried", url=where, error=str(error), wait_s=round(wait_s, 3))

        async with self._places:
            try:
                data = await repeat(once, self.policy, sleep=asyncio.sleep, on_retry=on_retry)
            except DownloadError:
                raise
            except Exception as error:
                raise DownloadError(
                    f"{where} could not be downloaded: {error or type(error).__name__}",
                    stage="download",
                ) from error
        if not isinstance(data, bytes):
            raise DownloadError(f"{where}: fetch returned {type(data).__name__}", stage="download")
        return data

    async def _get(self, url: str) -> bytes:
        import httpx

        where = url.partition("?")[0]
        if not url.startswith(("https://", "http://")):
            raise DownloadError(f"{where} is not a web address", stage="download")
        try:
            async with self.http().stream("GET", url) as response:
                if response.status_code >= 500 or response.status_code == 429:
                    raise TransientError(f"HTTP {response.status_code} for {where}")
                if response.status_code != 200:
                    raise DownloadError(
                        f"HTTP {response.status_code} for {where}", stage="download"
                    )
                received = bytearray()
                async for chunk in response.aiter_bytes():
                    received += chunk
                    if len(received) > MAX_DOWNLOAD:
                        raise DownloadError(
                            f"{where} is larger than {MAX_DOWNLOAD} bytes", stage="download"
                        )
        except httpx.TransportError as error:
            raise TransientError(f"{type(error).__name__} for {where}") from error
        return bytes(received)


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


def _write(path: Path, data: bytes, *, durable: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part")
    with aside.open("wb") as file:
        file.write(data)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(aside, path)
    if durable:
        sync_folder(path.parent)
