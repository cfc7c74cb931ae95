"""Strict verification of TC3-HMAC-SHA256."""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING

import attrs

from holodeck_gen_providers.hunyuan import _tc3
from holodeck_gen_providers.hunyuan.emulator._settings import Account
from holodeck_gen_providers.hunyuan.emulator._wire import RefusedError, Request

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Seconds; https://cloud.tencent.com/document/api/1729/101843, read in November 2026.
MAX_SKEW_S = 300
#: An unsigned body is announced by this header with this value.
_HASH_HEADER, _UNSIGNED = "x-tc-content-sha256", "UNSIGNED-PAYLOAD"
_CLOUD = ".tencentcloudapi.com"

_AUTHORIZATION = re.compile(
    r"TC3-HMAC-SHA256 +Credential=(?P<id>[^/\s,]+)/(?P<date>\d{4}-\d\d-\d\d)/(?P<service>[a-z0-9]+)"
    r"/tc3_request, *SignedHeaders=(?P<signed>[a-z0-9;-]+), *Signature=(?P<signature>[0-9a-f]{64})"
)


@attrs.frozen(kw_only=True)
class Signer:
    """Who signed a request, and for which service."""

    account: Account
    service: str


def claimed_service(request: Request) -> str:
    """The service that a request says it is for; unverified, empty where it does not say."""
    match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    return match["service"] if match else ""


def verify(request: Request, accounts: Iterable[Account], now: float) -> Signer:
    """Check shape, account, time, signature and token, in this order.

    Args:
        request: With the headers and bytes as they came.
        accounts: Those that exist.
        now: Seconds since the epoch, by the service's clock.

    Raises:
        RefusedError: With the code of API 3.0.
    """
    headers = request.headers
    match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if match is None:
        raise RefusedError(
            "AuthFailure.InvalidAuthorization", "The request header `Authorization` is invalid."
        )
    signed = match["signed"].split(";")
    if not {"content-type", "host"} <= set(signed) or signed != sorted(set(signed)):
        raise RefusedError(
            "AuthFailure.InvalidAuthorization",
            "`SignedHeaders` must name content-type and host, sorted, each once.",
        )
    account = next((each for each in accounts if each.secret_id == match["id"]), None)
    if account is None:
        raise RefusedError("AuthFailure.SecretIdNotFound", "The SecretId is not found.")
    timestamp = _timestamp(headers.get("x-tc-timestamp"))
    if abs(now - timestamp) > MAX_SKEW_S:
        raise RefusedError(
            "AuthFailure.SignatureExpire",
            f"The provided credentials could not be validated because of exceeding request time"
            f" limit: the service's time is {int(now)}, the request's {timestamp}.",
        )
    _check_signature(request, match, account, signed, timestamp)
    if headers.get("x-tc-token") != account.token:
        raise RefusedError("AuthFailure.TokenFailure", "The token is invalid.")
    return Signer(account=account, service=match["service"])


def _timestamp(text: str | None) -> int:
    if text is None:
        raise RefusedError(
            "MissingParameter", "The request is missing a required parameter `Timestamp`."
        )
    if not re.fullmatch(r"[0-9]{1,11}", text):
        raise RefusedError(
            "InvalidParameter", "The value type of parameter `Timestamp` is not valid."
        )
    return int(text)


def _check_signature(
    request: Request, match: re.Match[str], account: Account, signed: list[str], timestamp: int
) -> None:
    headers = request.headers
    service = match["service"]
    unsigned = headers.get(_HASH_HEADER) == _UNSIGNED
    # Names of headers that did not come are left out, and so the signature cannot fit.
    canonical = _tc3.canonical_request(
        [(name, headers[name]) for name in signed if name in headers],
        _UNSIGNED.encode() if unsigned else request.body,
        method=request.method,
        query=request.query,
    )
    expected = _tc3.signature(account.secret_key, canonical, service=service, timestamp=timestamp)
    host = headers.get("host", "")
    for_other = host.endswith(_CLOUD) and host.partition(".")[0] != service
    if (
        match["date"] != _tc3.utc_date(timestamp)
        or for_other
        or not hmac.compare_digest(expected, match["signature"])
    ):
        raise RefusedError(
            "AuthFailure.SignatureFailure",
            "The provided credentials could not be validated. Please check your signature is"
            " correct.",
        )
