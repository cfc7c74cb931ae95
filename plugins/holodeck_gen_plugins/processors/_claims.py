"""C2PA manifests, written and read by the library of those who define them."""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from holodeck_gen_plugins.processors._credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: What is known of a file's own manifest.
Found: TypeAlias = Literal["none", "valid", "invalid"]

#: No network but for a time stamp; and no second picture in the manifest, which would more than
#: double a small file.
_SETTINGS = {
    "version": 1,
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"verify_after_sign": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
}
#: Sound manifests, whether or not their signers are on a list of trusted ones: there is none here.
_SOUND = ("Valid", "Trusted")


class ClaimError(Exception):
    """The library cannot do it; says why, and nothing of the key."""


class UnsoundClaimError(ClaimError):
    """What came out does not hold."""


@attrs.frozen(kw_only=True)
class Claims:
    """Signs and checks files. Safe to use from several threads.

    Attributes:
        credentials: Who signs.
        time_stamp_url: Who certifies the time, for each signature; nobody where this is None.
    """

    credentials: Credentials
    time_stamp_url: str | None = None

    def sign(
        self, file: Path, target: Path, media_type: str, claim: Mapping[str, Any], *, update: bool
    ) -> None:
        """Write `file` with a manifest into `target`.

        Args:
            file: The picture.
            target: Another file; overwritten.
            media_type: Of the picture.
            claim: The manifest's definition, as the library documents it.
            update: Whether the picture has a manifest already. That one stays what vouches for
                the picture: what is added is an update manifest (C2PA 2.1, 11.2.3) with the other
                as its parent, and a picture that was tampered with stays invalid.

        Raises:
            ClaimError: It cannot be signed.
            UnsoundClaimError: The signature would not hold.
            OSError: A file cannot be read or written.
        """
        import c2pa

        info = c2pa.C2paSignerInfo(
            alg=self.credentials.algorithm,
            sign_cert=self.credentials.chain,
            private_key=self.credentials.private_key,
            ta_url=self.time_stamp_url,
        )
        try:
            with ExitStack() as stack:
                source = stack.enter_context(file.open("rb"))
                sink = stack.enter_context(target.open("w+b"))
                context = stack.enter_context(closing(_context()))
                signer = stack.enter_context(closing(c2pa.Signer.from_info(info)))
                builder = stack.enter_context(closing(c2pa.Builder(dict(claim), context)))
                if update:
                    builder.set_intent(c2pa.C2paBuilderIntent.UPDATE)
                    builder.add_ingredient({"relationship": "parentOf"}, media_type, source)
                    source.seek(0)
                builder.sign(signer, media_type, source, sink)
        except c2pa.C2paError as error:
            raise ClaimError(_words(error)) from None
        # The library looks at the new signature, but not whether the first one still fits: in a
        # WebP file it covers the file's length, which has changed.
        if manifest_in(target, media_type) != "valid":
            raise UnsoundClaimError(f"the signature in a file of type {media_type} would not hold")


def manifest_in(file: Path, media_type: str) -> Found:
    """Whether a file has a manifest of its own, and whether that holds. Asks nobody for it.

    Raises:
        ClaimError: It cannot be told.
        OSError: The file cannot be read.
    """
    import c2pa

    try:
        with file.open("rb") as source, closing(_context()) as context:
            reader = c2pa.Reader.try_create(media_type, source, context=context)
            if reader is None:
                return "none"
            with closing(reader):
                state = json.loads(reader.json()).get("validation_state")
    except c2pa.C2paError as error:
        raise ClaimError(_words(error)) from None
    return "valid" if state in _SOUND else "invalid"


def can_hold(media_type: str) -> bool:
    """Whether a file of this type can have a manifest in it."""
    import c2pa

    return media_type in c2pa.Builder.get_supported_mime_types()


def _context() -> Any:
    """One for each use: it must not be carried over into a process that was forked."""
    import c2pa

    return c2pa.Context.from_dict(_SETTINGS)


def _words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}…"
