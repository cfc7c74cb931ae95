"""TC3-HMAC-SHA256, the signature of Tencent Cloud's API 3.0, as pure functions over exact bytes.

Useful to both sides: a client calls `authorization`, a server recomputes `signature` over the
headers that a request says it signed.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

ALGORITHM = "TC3-HMAC-SHA256"
#: The last part of every credential scope.
TERMINATOR = "tc3_request"


@attrs.frozen(kw_only=True)
class Credentials:
    """One account's keys; only `secret_id` may be shown, and only in part.

    Attributes:
        secret_id: Names the account.
        secret_key: Signs; never sent.
        token: Belongs to temporary keys only.
    """

    secret_id: str = attrs.field(repr=lambda value: repr(masked(value)))
    secret_key: str = attrs.field(repr=False)
    token: str | None = attrs.field(default=None, repr=False)


def masked(secret: str) -> str:
    """Enough of a key to tell two of them apart, and no more than a fifth of it."""
    shown = min(4, len(secret) // 10)
    return f"{secret[:shown]}…{secret[len(secret) - shown :]}"


def utc_date(timestamp: int) -> str:
    """The day of the credential scope, such as ``2026-11-25``."""
    return _date(timestamp // 86_400)


def scope(service: str, timestamp: int) -> str:
    """The credential scope, such as ``2026-11-25/aiart/tc3_request``."""
    return f"{utc_date(timestamp)}/{service}/{TERMINATOR}"


def signed_headers(headers: Iterable[tuple[str, str]]) -> str:
    """The names of `headers` as the ``SignedHeaders`` list has them."""
    return ";".join(sorted(name.lower() for name, _ in headers))


def canonical_request(
    headers: Iterable[tuple[str, str]],
    body: bytes,
    *,
    method: str = "POST",
    path: str = "/",
    query: str = "",
) -> str:
    """What is hashed of a request.

    Args:
        headers: Those that are signed, as they are sent.
        body: The bytes that are sent; ``b"UNSIGNED-PAYLOAD"`` where the request says so.
        method: In capitals.
        path: Always ``/`` in API 3.0.
        query: Empty for POST.
    """
    pairs = sorted((name.lower(), value.strip()) for name, value in headers)
    lines = "".join(f"{name}:{value}\n" for name, value in pairs)
    digest = hashlib.sha256(body).hexdigest()
    return f"{method}\n{path}\n{query}\n{lines}\n{signed_headers(pairs)}\n{digest}"


def string_to_sign(canonical: str, *, service: str, timestamp: int) -> str:
    """What the key is applied to."""
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return f"{ALGORITHM}\n{timestamp}\n{scope(service, timestamp)}\n{digest}"


def signature(secret_key: str, canonical: str, *, service: str, timestamp: int) -> str:
    """The signature in 64 hex digits.

    Args:
        secret_key: The account's.
        canonical: What `canonical_request` returned.
        service: The first label of the host, such as ``aiart``.
        timestamp: Whole seconds since the epoch, as in ``X-TC-Timestamp``.
    """
    key = _derived_key(secret_key, utc_date(timestamp), service)
    text = string_to_sign(canonical, service=service, timestamp=timestamp)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def authorization(
    credentials: Credentials,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    *,
    service: str,
    timestamp: int,
) -> str:
    """The ``Authorization`` header of a POST. Arguments as those of the functions above."""
    headers = tuple(headers)
    signed = signature(
        credentials.secret_key,
        canonical_request(headers, body),
        service=service,
        timestamp=timestamp,
    )
    return (
        f"{ALGORITHM} Credential={credentials.secret_id}/{scope(service, timestamp)},"
        f" SignedHeaders={signed_headers(headers)}, Signature={signed}"
    )


@lru_cache(maxsize=64)
def _date(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")


@lru_cache(maxsize=64)
def _derived_key(secret_key: str, date: str, service: str) -> bytes:
    # The same for a day; three of the four rounds of a signature are saved by keeping it.
    key = _hmac(("TC3" + secret_key).encode(), date)
    return _hmac(_hmac(key, service), TERMINATOR)


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
