"""Who signs: a certificate and its private key, checked before anything is signed with them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import attrs

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

#: As C2PA allows them (C2PA 2.1, 13.2) and its library names them.
Algorithm: TypeAlias = Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"]
#: Those that a key of a kind can be used with, the usual one first.
_OF_CURVE: dict[str, tuple[Algorithm, ...]] = {
    "secp256r1": ("es256",),
    "secp384r1": ("es384",),
    "secp521r1": ("es512",),
}
_OF_RSA: tuple[Algorithm, ...] = ("ps256", "ps384", "ps512")
#: How every object in a PEM file begins.
_PEM = "-----BEGIN "
#: Bytes; a chain of certificates has a few thousand.
_MAX_FILE = 1 << 20


@attrs.frozen(kw_only=True)
class Credentials:
    """What signs.

    Attributes:
        algorithm: Of the signature.
        chain: The signer's certificate in PEM, then those of who issued it.
        private_key: In PEM as PKCS #8, without a password.
        expires_at: When the first certificate ends, in seconds since the epoch.
    """

    algorithm: Algorithm
    chain: bytes = attrs.field(repr=False)
    private_key: bytes = attrs.field(repr=False)
    expires_at: float


def load_credentials(
    certificate: str, private_key: str, *, password: str | None, algorithm: str | None, now: float
) -> Credentials:
    """Read and check both. No error tells what a key is, or where.

    Args:
        certificate: A PEM file, or what is in one: the signer's own certificate first.
        private_key: Likewise.
        password: Of the private key, where it has one.
        algorithm: One of `Algorithm`; None takes the usual one for the key.
        now: Seconds since the epoch.

    Raises:
        ValueError: They cannot be read, do not belong together, or are not valid now.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    if algorithm is not None and algorithm not in get_args(Algorithm):
        names = ", ".join(get_args(Algorithm))
        raise ValueError(f"algorithm: {algorithm!r} is none of {names}")
    chain = _certificates(certificate)
    key = _private_key(private_key, password)
    if _public(chain[0]) != _public(key):
        raise ValueError(
            "private_key: it does not belong to the first certificate"
            f" ({chain[0].subject.rfc4514_string()})"
        )
    _check_valid(chain[0], now)
    return Credentials(
        algorithm=_algorithm(key, algorithm),
        chain=b"".join(each.public_bytes(Encoding.PEM) for each in chain),
        private_key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        expires_at=chain[0].not_valid_after_utc.timestamp(),
    )


def _certificates(given: str) -> list[Certificate]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(_content(given))
    except OSError as error:
        raise ValueError(f"certificate: {given}: {error.strerror or error}") from error
    except ValueError as error:
        raise ValueError("certificate: there is no certificate in PEM in it") from error


def _private_key(given: str, password: str | None) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    # What is wrong is told without a cause: a cause could tell of the key, or where it is.
    try:
        content = _content(given)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no path"
        raise ValueError(
            f"private_key: it is neither a key in PEM nor the path of one ({reason})"
        ) from None
    try:
        return load_pem_private_key(content, password.encode() if password else None)
    except TypeError:
        needed = "needs its password" if password is None else "has no password, but one is given"
        raise ValueError(f"private_key: it {needed}") from None
    except (ValueError, UnsupportedAlgorithm):
        hint = "" if password is None else ", or the password is wrong"
        raise ValueError(f"private_key: it cannot be read as a key in PEM{hint}") from None


def _content(given: str) -> bytes:
    """What is in a PEM file, which may be given itself: a variable can hold either."""
    if _PEM in given:
        return given.encode()
    with Path(given).expanduser().open("rb") as file:
        return file.read(_MAX_FILE)


def _public(owner: Certificate | PrivateKeyTypes) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return owner.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check_valid(certificate: Certificate, now: float) -> None:
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    if moment > certificate.not_valid_after_utc:
        until = certificate.not_valid_after_utc
        raise ValueError(f"certificate: it has expired, at {until:%Y-%m-%d %H:%M} UTC")
    if moment < certificate.not_valid_before_utc:
        since = certificate.not_valid_before_utc
        raise ValueError(f"certificate: it is not valid before {since:%Y-%m-%d %H:%M} UTC")


def _algorithm(key: PrivateKeyTypes, wanted: str | None) -> Algorithm:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    match key:
        case ec.EllipticCurvePrivateKey():
            fitting = _OF_CURVE.get(key.curve.name, ())
        case rsa.RSAPrivateKey():
            fitting = _OF_RSA
        case ed25519.Ed25519PrivateKey():
            fitting = ("ed25519",)
        case _:
            fitting = ()
    if not fitting:
        raise ValueError("private_key: C2PA has no algorithm for a key of this kind")
    for each in fitting:
        if wanted in (None, each):
            return each
    raise ValueError(f"algorithm: {wanted} does not fit the key, which takes {', '.join(fitting)}")
