"""Signs requests to Tencent's API 3.0 from its documentation alone, without the package's code."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

HOST = "127.0.0.1:8080"


def signed_headers(
    action: str,
    version: str,
    body: bytes,
    *,
    service: str,
    secret_id: str,
    secret_key: str,
    timestamp: int,
    region: str | None = "ap-guangzhou",
    host: str = HOST,
    content_type: str = "application/json",
    date: str | None = None,
    more: tuple[str, ...] = (),
    extra: dict[str, str] | None = None,
) -> dict[str, str]:
    """Headers by lower-case name.

    Args:
        date: Of the scope, where it is not to be the timestamp's.
        more: Names of further headers to sign.
        extra: Further headers to send.
    """
    headers = {
        "content-type": content_type,
        "host": host,
        "x-tc-action": action,
        "x-tc-version": version,
        "x-tc-timestamp": str(timestamp),
        **({"x-tc-region": region} if region else {}),
        **(extra or {}),
    }
    day = date or datetime.fromtimestamp(timestamp, UTC).date().isoformat()
    names = sorted({"content-type", "host", *more})
    payload = body
    if headers.get("x-tc-content-sha256") == "UNSIGNED-PAYLOAD":
        payload = b"UNSIGNED-PAYLOAD"
    canonical = "\n".join(
        [
            "POST",
            "/",
            "",
            *(f"{name}:{headers[name]}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(payload).hexdigest(),
        ]
    )
    scope = f"{day}/{service}/tc3_request"
    text = "\n".join(
        [
            "TC3-HMAC-SHA256",
            str(timestamp),
            scope,
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key = ("TC3" + secret_key).encode()
    for part in (day, service, "tc3_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    headers["authorization"] = (
        f"TC3-HMAC-SHA256 Credential={secret_id}/{scope}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return headers


def as_json(value: Any) -> bytes:
    """JSON as the official SDK writes it."""
    return json.dumps(value).encode()
