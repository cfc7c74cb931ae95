"""The store that keeps files as objects: S3 and what is like it, Google Cloud, Azure, memory."""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

import holodeck_gen as hg
from holodeck_gen import files
from holodeck_gen.errors import ConfigError, StorageError
from holodeck_gen_plugins._extras import missing
from holodeck_gen_plugins.stores._settings import (
    ObjectOptions,
    check_address,
    settings_of,
    without_credentials,
    words,
)

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Objects

#: Types that some systems do not know.
_TYPES = {
    ".webp": "image/webp",
    ".glb": "model/gltf-binary",
    ".obj": "model/obj",
    ".stl": "model/stl",
    ".usdz": "model/vnd.usdz+zip",
    ".xmp": "application/rdf+xml",
}
#: Bytes of one part of an upload in parts; S3 takes 10 000 of at least 5 MiB.
PART = 8 << 20
#: The object by which it is found out whether objects can be made; no picture has such a name.
CHECK_NAME = ".holodeck-gen-check"
_CHECK_TEXT = b"Says whether files can be stored here; may be removed.\n"
#: A check is repeated less often than a put: a person waits for it.
_CHECK_RETRIES = 2


@attrs.frozen(kw_only=True)
class ObjectStore:
    """Objects that are whole or absent, and never overwritten.

    Attributes:
        url: What the names of objects are put behind; ends with a slash.
        objects: obstore's side of it, which has the prefix.
        hasty: The same, for what should not be repeated for long.
        options: How files are sent.
        hint: What to say of the credentials where the service refuses.
    """

    url: str
    objects: Objects
    hasty: Objects
    options: ObjectOptions
    ctx: hg.Context = attrs.field(repr=False)
    hint: str = ""

    @property
    def where(self) -> str:
        """The place, without credentials. As `holodeck_gen.Store`."""
        return f"{self.url} at {self.options.endpoint}" if self.options.endpoint else self.url

    async def check(self) -> None:
        """Make an object and remove it. As `holodeck_gen.Store`.

        Only credentials that may write and not remove leave it behind; then it is there once,
        however many runs there are.

        Raises:
            StorageError: It cannot be made.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, BaseError

        where = f"{self.url}{CHECK_NAME}"
        try:
            await obstore.put_async(
                self.hasty,
                CHECK_NAME,
                _CHECK_TEXT,
                attributes={"Content-Type": "text/plain"},
                mode="create" if self.options.conditional else "overwrite",
                use_multipart=False,
            )
        except AlreadyExistsError:
            # Whoever may not write is refused before that is looked at.
            return
        except (FileNotFoundError, BaseError) as error:
            raise StorageError(
                f"{self.where} cannot be written; nothing was submitted. {self._told(error)}",
                stage="store",
            ) from error
        try:
            await obstore.delete_async(self.hasty, CHECK_NAME)
        except FileNotFoundError:
            # Another run was quicker.
            pass
        except BaseError as error:
            self.ctx.log.warning("store.check_left", object=where, error=words(error))

    def _told(self, error: Exception) -> str:
        lacking = "; if the service has no conditional writes, set conditional = false"
        return f"{words(error)}{lacking if '501' in str(error) else ''}{self.hint}"

    async def put(self, file: Path, name: str) -> str:
        """Send `file` and return its address. As `holodeck_gen.Store.put`."""
        from obstore.exceptions import AlreadyExistsError, BaseError

        path = files.safe_name(name)
        size = (await asyncio.to_thread(file.stat)).st_size
        whole = size <= self.options.multipart_bytes
        where = f"{self.url}{path}"
        try:
            if whole and self.options.conditional:
                try:
                    await self._send(file, path, mode="create", use_multipart=False)
                except AlreadyExistsError:
                    # Perhaps our own, whose answer was lost.
                    await self._check_same(file, size, path, where)
            elif await self._exists(path):
                await self._check_same(file, size, path, where)
            else:
                await self._send(file, path, mode="overwrite", use_multipart=not whole)
        except (FileNotFoundError, BaseError) as error:
            raise StorageError(f"{where}: {self._told(error)}", stage="store") from error
        return where

    async def _send(self, file: Path, path: str, *, mode: Any, use_multipart: bool) -> None:
        import obstore

        await obstore.put_async(
            self.objects,
            path,
            file,
            attributes={"Content-Type": media_type(path)},
            mode=mode,
            use_multipart=use_multipart,
            chunk_size=PART,
        )

    async def _exists(self, path: str) -> bool:
        import obstore

        try:
            await obstore.head_async(self.objects, path)
        except FileNotFoundError:
            return False
        return True

    async def _check_same(self, file: Path, size: int, path: str, where: str) -> None:
        """Find out whether the object at `path` has the file's bytes.

        Raises:
            FileExistsError: It has others.
        """
        import obstore

        there = await obstore.get_async(self.objects, path)
        same = there.meta["size"] == size
        if same:
            digest = hashlib.sha256()
            async for chunk in there.stream():
                digest.update(chunk)
            own = await asyncio.to_thread(_digest, file)
            same = digest.digest() == own
        if not same:
            raise FileExistsError(f"{where} exists and is another object")


def media_type(name: str) -> str:
    """By the suffix, which the engine has given it by its bytes."""
    suffix = PurePosixPath(name).suffix.lower()
    return _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def make_object(options: ObjectOptions, ctx: hg.Context) -> ObjectStore:
    """The factory; nothing is sent yet.

    Raises:
        PluginLoadError: obstore is not installed.
        ConfigError: The address or a setting is unknown.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import MemoryStore, from_url
    except ImportError as error:
        raise missing("object", "obstore") from error
    check_address(options.url)
    url = options.url if options.url.endswith("/") else f"{options.url}/"
    if urlsplit(options.url).scheme == "memory":
        memory = MemoryStore()
        return ObjectStore(url=url, objects=memory, hasty=memory, options=options, ctx=ctx)
    settings = settings_of(options, ctx.environ)

    def connect(retries: int) -> Objects:
        made: Objects = from_url(
            options.url,
            config=settings or None,  # type: ignore[call-overload]
            client_options={
                "timeout": timedelta(seconds=options.timeout_s),
                "allow_http": (options.endpoint or "").startswith("http://"),
            },
            retry_config={"max_retries": retries},
        )
        return made

    try:
        objects, hasty = connect(options.retries), connect(min(options.retries, _CHECK_RETRIES))
    except (BaseError, TypeError, ValueError) as error:
        raise ConfigError(f"object: {options.url}: {words(error)}") from error
    return ObjectStore(
        url=url,
        objects=objects,
        hasty=hasty,
        options=options,
        hint=without_credentials(options.url, settings, ctx.environ),
        ctx=ctx,
    )


def _digest(file: Path) -> bytes:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").digest()


@hg.hookimpl
def register_stores(register: hg.Register) -> None:
    """Register the store."""
    register(
        "object",
        make_object,
        options=ObjectOptions,
        summary="Keeps files as objects: s3://, gs://, az://, memory://.",
    )
