"""The store that keeps files as objects: S3 and what is like it, Google Cloud, Azure, memory."""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import re
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

import holodeck_gen as hg
from holodeck_gen import files
from holodeck_gen.errors import ConfigError, StorageError
from holodeck_gen_plugins._extras import missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obstore.store import ObjectStore as Objects

#: Variables that hold credentials, by the scheme of the address. obstore finds them in the
#: environment by itself, but not in an ``.env`` file. Addresses are not among them: a folder
#: that was merely unpacked may not send credentials elsewhere.
_VARIABLES = {
    "s3": (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("AWS_REGION", "AWS_DEFAULT_REGION"),
    ),
    "gs": ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_APPLICATION_CREDENTIALS"),
    "az": (
        *("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_KEY"),
        *("AZURE_STORAGE_CLIENT_ID", "AZURE_STORAGE_CLIENT_SECRET", "AZURE_STORAGE_TENANT_ID"),
    ),
}
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
_QUERY = re.compile(r"\?[^\s)\"']+")


@attrs.frozen(kw_only=True)
class ObjectOptions:
    """Options of the object store.

    Attributes:
        url: Where: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, memory://.
        endpoint: The address of a service that is like S3, such as
            https://cos.ap-guangzhou.myqcloud.com.
        region: Of the bucket.
        virtual_hosted: Whether the bucket is part of the host's name. Tencent COS wants it.
        access_key_id: Else from the usual variables, or the machine's role.
        secret_access_key: Likewise.
        session_token: Likewise.
        config: Further settings by obstore's names, such as account_name of Azure.
        conditional: Whether the service can create an object only where there is none. Where
            not, each object is looked for first.
        multipart_bytes: Larger files are sent in parts; each is looked for first.
        retries: How often obstore repeats a request that failed.
        timeout_s: Seconds one request may take.
    """

    url: str
    endpoint: str | None = None
    region: str | None = None
    virtual_hosted: bool = False
    access_key_id: str | None = attrs.field(default=None, repr=False)
    secret_access_key: str | None = attrs.field(default=None, repr=False)
    session_token: str | None = attrs.field(default=None, repr=False)
    config: dict[str, str] = attrs.field(factory=dict, repr=False)
    conditional: bool = True
    multipart_bytes: int = attrs.field(default=64 << 20, validator=attrs.validators.ge(0))
    retries: int = attrs.field(default=10, validator=attrs.validators.ge(0))
    timeout_s: float = attrs.field(default=120.0, validator=attrs.validators.gt(0))


@attrs.frozen(kw_only=True)
class ObjectStore:
    """Objects that are whole or absent, and never overwritten.

    Attributes:
        url: What the names of objects are put behind; ends with a slash.
        objects: obstore's side of it, which has the prefix.
        options: How files are sent.
    """

    url: str
    objects: Objects
    options: ObjectOptions

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
        except FileNotFoundError as error:
            raise StorageError(f"{where}: {_words(error)}", stage="store") from error
        except BaseError as error:
            hint = "; if the service has no conditional writes, set conditional = false"
            raise StorageError(
                f"{where}: {_words(error)}{hint if '501' in str(error) else ''}", stage="store"
            ) from error
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


def settings_of(options: ObjectOptions, environ: Mapping[str, str]) -> dict[str, Any]:
    """What obstore is to know, by its own names.

    Raises:
        ConfigError: The endpoint is no address.
    """
    parts = urlsplit(options.url)
    settings: dict[str, Any] = {
        name.lower(): environ[name]
        for name in _VARIABLES.get(parts.scheme, ())
        if environ.get(name)
    }
    settings |= options.config
    given = {
        "region": options.region,
        "access_key_id": options.access_key_id,
        "secret_access_key": options.secret_access_key,
        "session_token": options.session_token,
    }
    for name, value in given.items():
        if value is not None:
            # One value under two names would be an error, or worse.
            settings.pop(f"aws_{name}", None)
            settings[name] = value
    if options.virtual_hosted:
        settings["virtual_hosted_style_request"] = True
    if options.endpoint is not None:
        address = urlsplit(options.endpoint)
        if address.scheme not in ("http", "https") or not address.netloc:
            raise ConfigError(f"object: endpoint {options.endpoint!r} is no http(s) address")
        # obstore takes the endpoint as it is and does not put the bucket into it.
        host = f"{parts.netloc}.{address.netloc}" if options.virtual_hosted else address.netloc
        settings["endpoint"] = address._replace(netloc=host).geturl()
    return settings


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
    url = options.url if options.url.endswith("/") else f"{options.url}/"
    if urlsplit(options.url).scheme == "memory":
        return ObjectStore(url=url, objects=MemoryStore(), options=options)
    settings = settings_of(options, ctx.environ)
    plain = (options.endpoint or "").startswith("http://")
    try:
        objects = from_url(
            options.url,
            config=settings or None,  # type: ignore[call-overload]
            client_options={
                "timeout": timedelta(seconds=options.timeout_s),
                "allow_http": plain,
            },
            retry_config={"max_retries": options.retries},
        )
    except (BaseError, TypeError, ValueError) as error:
        raise ConfigError(f"object: {options.url}: {_words(error)}") from error
    return ObjectStore(url=url, objects=objects, options=options)


def _words(error: Exception) -> str:
    """What obstore says, in a line and without what may be a signature."""
    text = " ".join(str(error).partition("\n\nDebug source")[0].split())
    text = _QUERY.sub("?…", text)
    return text if len(text) <= 400 else f"{text[:400]}…"


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
