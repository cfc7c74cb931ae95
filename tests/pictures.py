"""Pictures for tests of what comes after the provider, and an independent reader of their words."""

from __future__ import annotations

import datetime
import io
import json
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import exiv2
import structlog
from PIL import Image

import holodeck_gen as hg

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = ("png", "jpeg", "webp")
SUFFIX = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}


def gradient(size: tuple[int, int] = (64, 48), *, mode: str = "RGB") -> Image.Image:
    """A picture in which every corner differs."""
    across = Image.linear_gradient("L").rotate(90).resize(size)
    down = Image.linear_gradient("L").resize(size)
    return Image.merge("RGB", (across, down, across)).convert(mode)


def encoded(format: str, image: Image.Image | None = None, **options: Any) -> bytes:
    """A file's bytes."""
    file = io.BytesIO()
    (image or gradient()).save(file, format, **options)
    return file.getvalue()


def put(folder: Path, format: str, data: bytes | None = None) -> Path:
    """A file as processors get it."""
    path = folder / f"image{SUFFIX[format]}"
    path.write_bytes(encoded(format) if data is None else data)
    return path


def pixels(data: bytes | Path) -> bytes:
    """The picture without its file."""
    source = io.BytesIO(data) if isinstance(data, bytes) else data
    with Image.open(source) as image:
        return image.convert("RGBA").tobytes()


def read_back(file: Path) -> dict[str, str]:
    """What libexiv2 reads: XMP and Exif by key, such as ``Xmp.TC260.AIGC``."""
    reader: Any = exiv2
    image = reader.ImageFactory.open(str(file))
    image.readMetadata()
    # The printed form of XMP is a translation of what is in the file.
    return {each.key(): each.toString() for each in image.xmpData()} | {
        each.key(): each.print() for each in image.exifData()
    }


def context(*, now: float = 0.0) -> hg.Context:
    """What a factory gets, without a network."""

    def no_client() -> Any:
        raise AssertionError("nothing here needs the network")

    return hg.Context(
        http=no_client, wall_clock=lambda: now, environ={}, log=structlog.get_logger()
    )


@cache
def signed(format: str) -> bytes:
    """A picture with a C2PA signature of a made-up authority."""
    import c2pa

    actions = [{"action": "c2pa.created", "digitalSourceType": _SOURCE}]
    manifest = {
        "claim_generator_info": [{"name": "test", "version": "1"}],
        "assertions": [{"label": "c2pa.actions", "data": {"actions": actions}}],
    }
    file = io.BytesIO()
    builder = c2pa.Builder(manifest)
    with _signer() as signer:
        builder.sign(signer, f"image/{format}", io.BytesIO(encoded(format)), file)
    return file.getvalue()


def signature_is_valid(format: str, data: bytes) -> bool:
    """Whether C2PA's own library finds every byte as it was signed."""
    return bool(manifests(format, data)["validation_state"] == "Valid")


def manifests(format: str, data: bytes) -> dict[str, Any]:
    """What C2PA's own library reads: ``manifests`` by label, and which is the ``active_manifest``.

    It asks nobody for a manifest that is elsewhere, but has no other settings of ours.
    """
    import c2pa

    settings = {"verify": {"remote_manifest_fetch": False}}
    with (
        c2pa.Context.from_dict(settings) as offline,
        c2pa.Reader(f"image/{format}", io.BytesIO(data), context=offline) as reader,
    ):
        found: dict[str, Any] = json.loads(reader.json())
    return found


_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def credentials(
    own: Any = None,
    *,
    days: tuple[float, float] = (-1, 365),
    purpose: Literal["sign", "time"] | None = "sign",
) -> tuple[bytes, bytes]:
    """A certificate of a made-up authority, with that of the authority, and its key, in PEM.

    Args:
        own: The key.
        days: From today, between which it is valid.
        purpose: What it is for; None says nothing.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    authority = ec.generate_private_key(ec.SECP256R1())
    own = own or ec.generate_private_key(ec.SECP256R1())
    chain = [
        _certificate("signer", own, authority, is_authority=False, days=days, purpose=purpose),
        _certificate("authority", authority, authority, is_authority=True, days=days),
    ]
    key = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return b"".join(each.public_bytes(Encoding.PEM) for each in chain), key


def _signer() -> Any:
    import c2pa

    chain, key = credentials()
    return c2pa.Signer.from_info(
        c2pa.C2paSignerInfo(alg=b"es256", sign_cert=chain, private_key=key, ta_url=None)
    )


def _certificate(
    name: str,
    own: Any,
    authority: Any,
    *,
    is_authority: bool,
    days: tuple[float, float],
    purpose: Literal["sign", "time"] | None = None,
) -> Any:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(common: str) -> x509.Name:
        organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "test")
        return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common)])

    now = datetime.datetime.now(datetime.UTC)
    others = dict.fromkeys(
        (
            *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
            *("encipher_only", "decipher_only"),
        ),
        False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named("authority"))
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, key_cert_sign=is_authority, crl_sign=is_authority, **others
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()),
            critical=False,
        )
    )
    if purpose:
        # Who certifies the time may do nothing else.
        times = purpose == "time"
        usage = ExtendedKeyUsageOID.TIME_STAMPING if times else ExtendedKeyUsageOID.EMAIL_PROTECTION
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=times)
    return builder.sign(authority, hashes.SHA256())
