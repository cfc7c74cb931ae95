"""The processor that signs pictures: who says, by whose certificate, that a program made them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import attrs

import holodeck_gen as hg
from holodeck_gen.errors import ConfigError, ProcessingError
from holodeck_gen_plugins._extras import missing
from holodeck_gen_plugins.processors._claims import (
    ClaimError,
    Claims,
    UnsoundClaimError,
    can_hold,
    manifest_in,
)
from holodeck_gen_plugins.processors._credentials import load_credentials
from holodeck_gen_plugins.processors._pictures import open_picture
from holodeck_gen_plugins.processors._provenance import SOURCE_TYPE, SOURCE_TYPES, MadeBy
from holodeck_gen_plugins.processors._xmp import value_of

if TYPE_CHECKING:
    from holodeck_gen_plugins.processors._metadata import Metadata

#: Seconds before a certificate's end from which on it is warned of; a run may take days.
SOON_S = 7 * 86_400.0


def _is_address(_options: object, _field: object, value: str | None) -> None:
    if value is None:
        return
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"time_stamp_url: {value!r} is no http(s) address")


@attrs.frozen(kw_only=True)
class C2paOptions:
    """Options of signing.

    Attributes:
        certificate: A PEM file, or its content as { env = "NAME" }: the signer's certificate,
            then those of who issued it.
        private_key: Likewise; the key of the first certificate.
        password: Of the private key, if it has one; best as { env = "NAME" }.
        algorithm: es256, es384, es512, ps256, ps384, ps512 or ed25519; None is the key's usual.
        source_type: How the pictures are made, as for label; what a picture's XMP says wins.
        existing: What becomes of a picture that is signed already: update adds a claim of ours
            to its own; keep leaves it as it is.
        time_stamp_url: A time stamp authority (RFC 3161), which is asked for each picture;
            without one nothing is sent anywhere.
    """

    certificate: str
    private_key: str = attrs.field(repr=False)
    password: str | None = attrs.field(default=None, repr=False)
    algorithm: str | None = None
    source_type: MadeBy = "trainedAlgorithmicMedia"
    existing: Literal["update", "keep"] = "update"
    time_stamp_url: str | None = attrs.field(default=None, validator=_is_address)


@attrs.frozen
class C2pa:
    """Signs each picture, and never breaks a signature.

    A signed picture keeps its own manifest, to which a claim is added or nothing. Where its
    manifest does not hold, or is not in the file, it is left alone.
    """

    options: C2paOptions
    claims: Claims
    version: str
    ctx: hg.Context

    @property
    def seals(self) -> bool:
        """That no later stage may change what is signed; see `holodeck_gen.Processor`."""
        return True

    def __call__(self, file: Path, task: hg.Task) -> Path:
        """The signed picture. As `holodeck_gen.Processor`."""
        picture = open_picture(file)
        if picture is None:
            return file
        with picture:
            metadata, media_type = picture.metadata, picture.media_type
        try:
            signed = _is_signed(file, media_type, metadata)
        except ClaimError as error:
            return self._left_alone(file, task, error)
        if signed and self.options.existing == "keep":
            return file
        claim = self._update() if signed else self._created(task, metadata)
        target = file.with_name(f"{file.name}.signed")
        try:
            self.claims.sign(file, target, media_type, claim, update=signed)
        except ClaimError as error:
            target.unlink(missing_ok=True)
            if signed and isinstance(error, UnsoundClaimError):
                return self._left_alone(file, task, error)
            raise ProcessingError(f"c2pa: {error}", stage="c2pa") from error
        os.replace(target, file)
        return file

    def _left_alone(self, file: Path, task: hg.Task, reason: ClaimError) -> Path:
        self.ctx.log.warning("picture.not_signed", task=task.id, reason=str(reason))
        return file

    def check(self) -> None:
        """Sign a picture of one pixel, as nothing else shows that a certificate is fit for it.

        Raises:
            ConfigError: It is not.
        """
        from PIL import Image

        claims = attrs.evolve(self.claims, time_stamp_url=None)
        claim = self._created(hg.Task("a pixel"), None)
        with tempfile.TemporaryDirectory() as folder:
            plain, signed = Path(folder, "plain.png"), Path(folder, "signed.png")
            Image.new("RGB", (1, 1)).save(plain)
            try:
                claims.sign(plain, signed, "image/png", claim, update=False)
            except ClaimError as error:
                raise ConfigError(
                    f"c2pa: certificate: it cannot sign: {error}; it must be one for digital"
                    " signatures with a purpose such as emailProtection, and no authority's own"
                ) from error

    def _created(self, task: hg.Task, metadata: Metadata | None) -> dict[str, Any]:
        """What is said of a picture that nobody has signed yet."""
        created: dict[str, Any] = {
            "action": "c2pa.created",
            "digitalSourceType": self._source_type(metadata),
        }
        if made_by := " ".join(each for each in (task.provider, task.model) if each):
            created["softwareAgent"] = {"name": made_by}
        actions = {"label": "c2pa.actions.v2", "data": {"actions": [created]}}
        return {**self._update(), "assertions": [actions]}

    def _update(self) -> dict[str, Any]:
        """What is said of any: that it came through here."""
        return {"claim_generator_info": [{"name": "holodeck-gen", "version": self.version}]}

    def _source_type(self, metadata: Metadata | None) -> str:
        """Two statements in one file must not contradict each other."""
        try:
            said = value_of(metadata.xmp, SOURCE_TYPE) if metadata else None
        except ValueError:
            said = None
        if said and said.startswith(SOURCE_TYPES):
            return said
        return SOURCE_TYPES + self.options.source_type


def _is_signed(file: Path, media_type: str, metadata: Metadata) -> bool:
    """Whether a picture has a manifest to which one can be added.

    Raises:
        ClaimError: It must be left alone.
    """
    if not can_hold(media_type):
        raise ClaimError(f"a file of type {media_type} holds no C2PA manifest")
    match manifest_in(file, media_type):
        case "valid":
            return True
        case "invalid":
            raise ClaimError("it has a C2PA manifest that does not hold")
        case "none" if metadata.signed:
            raise ClaimError("its C2PA manifest is not in the file")
    return False


def make_c2pa(options: C2paOptions | None, ctx: hg.Context) -> C2pa:
    """The factory; signs a pixel, so that what cannot work is said before anything is paid.

    Raises:
        PluginLoadError: The extra is not installed.
        ConfigError: The certificate or the key is not fit for signing.
    """
    try:
        import c2pa  # noqa: F401 -- said now, and not with the first picture
        import cryptography  # noqa: F401 -- likewise
    except ImportError as error:
        raise missing("c2pa", "c2pa-python") from error
    if options is None:
        raise ConfigError("c2pa needs certificate and private_key")
    now = ctx.wall_clock()
    try:
        credentials = load_credentials(
            options.certificate,
            options.private_key,
            password=options.password,
            algorithm=options.algorithm,
            now=now,
        )
    except ValueError as error:
        raise ConfigError(f"c2pa: {error}") from error
    claims = Claims(credentials=credentials, time_stamp_url=options.time_stamp_url)
    stage = C2pa(options, claims, hg.__version__, ctx)
    stage.check()
    if (left_s := credentials.expires_at - now) < SOON_S:
        ctx.log.warning("certificate.expires_soon", hours=int(left_s / 3600))
    return stage


@hg.hookimpl
def register_processors(register: hg.Register) -> None:
    """Register the processor."""
    register(
        "c2pa",
        make_c2pa,
        options=C2paOptions,
        summary="Signs pictures with your certificate; breaks no signature.",
    )
