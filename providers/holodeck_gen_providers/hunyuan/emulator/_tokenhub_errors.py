"""TokenHub's error bodies: https://cloud.tencent.com/document/product/1823/131595."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from holodeck_gen_providers.hunyuan.emulator._wire import RefusedError


@attrs.frozen(kw_only=True)
class TokenhubError:
    """One error as it is told.

    Attributes:
        status: Of HTTP.
        type: The class of error.
        code: Six digits.
        message: For people.
        upstream: The code of the service behind it, if it was that one's fault.
    """

    status: int
    type: str
    code: str
    message: str
    upstream: str = ""


#: By the first three digits of the code.
_TYPES = {
    "400": "invalid_request_error",
    "401": "authentication_error",
    "402": "permission_error",
    "403": "permission_error",
    "422": "content_filter_error",
    "429": "rate_limit_error",
    "451": "content_filter_error",
}
#: Codes whose HTTP status is not in their first digits.
_STATUSES = {"401007": 402, "401008": 402, "403004": 402}

#: From codes of API 3.0, by the longest prefix that fits.
_NUMBERS = {
    "MissingParameter": "400002",
    "InvalidParameter": "400001",
    "UnknownParameter": "400001",
    "UnsupportedOperation": "400001",
    "FailedOperation.Image": "400001",
    "FailedOperation.JobNotExist": "400004",
    "RequestLimitExceeded": "429001",
    "OperationDenied": "451001",
    "ResourceUnavailable": "401008",
}
#: What only the service behind the gateway can know. Which errors name that service's code is
#: not documented; ``refuse:429001`` shows a concurrency limit without it.
_BEHIND = ("FailedOperation.", "RequestLimitExceeded.")
_RATE = "rate limit exceeded on dimension: rpm"
_CONCURRENT = "concurrent requests exceed limit"


def error_of(error: RefusedError) -> TokenhubError:
    """The error in TokenHub's words.

    Args:
        error: Its code is one of TokenHub's numbers, with ``200/`` before it where HTTP says
            200 and with ``/CODE`` after it where an upstream code is named; or one of API 3.0.
    """
    in_200 = error.code.startswith("200/")
    code, _, upstream = error.code.removeprefix("200/").partition("/")
    message = error.message
    if not code.isdigit():
        if code == "RequestLimitExceeded":
            message = _RATE
        elif code.startswith("RequestLimitExceeded."):
            message = _CONCURRENT
        upstream = code if code.startswith(_BEHIND) or _number(code) == "502001" else upstream
        code = _number(code)
    status = _STATUSES.get(code, int(code[:3]))
    if not 400 <= status <= 599:
        status = 502
    return TokenhubError(
        status=200 if in_200 else status,
        type=_TYPES.get(code[:3], "upstream_error"),
        code=code,
        message=message,
        upstream=upstream,
    )


def error_body(error: TokenhubError, request_id: str) -> dict[str, Any]:
    """The JSON of it."""
    told: dict[str, Any] = {
        "type": error.type,
        "code": error.code,
        "message": error.message,
        "source": "upstream" if error.upstream else "client",
        "request_id": request_id,
    }
    if error.upstream:
        told |= {"upstream_code": error.upstream, "upstream_status": error.status}
    return {"error": told}


def _number(code: str) -> str:
    fitting = [prefix for prefix in _NUMBERS if code.startswith(prefix)]
    return _NUMBERS[max(fitting, key=len)] if fitting else "502001"
