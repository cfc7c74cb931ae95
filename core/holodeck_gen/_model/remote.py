"""Addresses of places that are not folders: one spelling for each, and no credentials."""

from __future__ import annotations

import hashlib
import os
import re
from typing import TypeGuard
from urllib.parse import quote, unquote, urlsplit

from holodeck_gen.errors import ConfigError
from holodeck_gen.files import safe_component

#: Other spellings of a scheme.
_ALIASES = {"s3a": "s3", "azure": "az", "adl": "az", "gcs": "gs"}
_HALF = re.compile(r"(s3a?|gs|gcs|az|azure|adl|memory):/([^/].*)", re.IGNORECASE)
#: What would end a path, or begin something else, where it is part of a name.
_MARKS = re.compile(r"[%?#/]")


def is_remote(output: str | os.PathLike[str] | None) -> TypeGuard[str]:
    """Whether `output` is an address, such as ``s3://BUCKET/PREFIX``, and no folder."""
    return isinstance(output, str) and "://" in output


def refuse_half(output: str | os.PathLike[str] | None) -> None:
    """Refuse what is an address but for one slash, as `pathlib` makes of it.

    Raises:
        ConfigError: Taken for a folder, it would keep on this machine what is meant for elsewhere.
    """
    if output is not None and (half := _HALF.match(os.fspath(output))):
        raise ConfigError(
            f"{os.fspath(output)!r} has one slash behind {half[1]}: and would be a folder; write"
            f" {half[1]}://{half[2]} and give it as text, or ./{os.fspath(output)} for a folder"
        )


def canonical(address: str) -> str:
    """The one spelling of `address`: no slash at the end, none twice, the scheme's usual name.

    Raises:
        ConfigError: It is none, or holds what may be a credential; that is not repeated.
    """
    scheme, _, _ = address.partition("://")
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise ConfigError(f"{scheme}://… is no address: {error}") from error
    if parts.password is not None or {"?", "#"} & set(address):
        # A signed address, or a key. Whatever it is, it would be kept in the journal and shown.
        raise ConfigError(
            f"{scheme}://…: write the address without user, password, '?' and '#'; credentials"
            " come from variables or from the options of the store"
        )
    names = [_MARKS.sub(_quoted, unquote(name)) for name in parts.path.split("/") if name]
    if {".", ".."} & set(names):
        raise ConfigError(f"{address}: write the address without '.' and '..'")
    scheme = _ALIASES.get(parts.scheme, parts.scheme)
    return "/".join([f"{scheme}://{parts.netloc}", *names])


def lasts(address: str) -> bool:
    """Whether what is kept there outlives this process."""
    return not address.lower().startswith("memory:")


def folder_name(address: str) -> str:
    """A name for a folder on this machine that belongs to `address`, in whichever spelling.

    Raises:
        ConfigError: As `canonical`.
    """
    spelling = canonical(address)
    digest = hashlib.sha256(spelling.encode()).hexdigest()[:8]
    readable = safe_component(re.sub(r"[:/]+", "-", spelling))
    # Room for the digest; a name that is cut in the middle is no name, but still readable.
    return f"{readable.encode()[:80].decode(errors='ignore')}-{digest}"


def _quoted(mark: re.Match[str]) -> str:
    return quote(mark[0], safe="")
