"""From what the service says went wrong to the library's errors."""

from __future__ import annotations

import email.utils
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import attrs

from holodeck_gen.errors import (
    BillingError,
    ContentRejectedError,
    JobFailedError,
    ProviderError,
    RetryableError,
)
from holodeck_gen_providers.hunyuan._codes import Verdict, verdict_of, verdict_of_status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Characters of a message; some services answer with a page.
MAX_MESSAGE = 300
#: Characters of a code.
MAX_CODE = 100
#: Seconds; more than that is no wait but a fault.
MAX_RETRY_AFTER_S = 86_400.0


@attrs.frozen(kw_only=True)
class Fault:
    """An error answer.

    Attributes:
        code: The service's own; the HTTP status where it gives none.
        verdict: What the code means.
        message: The service's words.
        request_id: For its support.
        retry_after: Seconds that the service asks for.
    """

    code: str
    verdict: Verdict
    message: str = ""
    request_id: str | None = None
    retry_after: float | None = None

    def error(self, *, provider: str, job_id: str | None = None, remark: str = "") -> ProviderError:
        """The error to raise for the call that was answered with this; ends with `remark`."""
        words = [f"{self.code}: {self.message}" if self.message else self.code]
        words += [each for each in (self.verdict.advice, remark) if each]
        facts: dict[str, Any] = {
            "code": self.code,
            "request_id": self.request_id,
            "not_created": self.verdict.not_created,
            "provider": provider,
            "job_id": job_id,
        }
        if issubclass(self.verdict.error, BillingError):
            facts["quota_only"] = self.verdict.quota_only
        if issubclass(self.verdict.error, RetryableError):
            facts["retry_after"] = self.retry_after or self.verdict.retry_after
        return self.verdict.error("; ".join(words), **facts)


def job_error(code: str, message: str, *, provider: str, job_id: str | None) -> ProviderError:
    """Why a job failed, or one of its pictures is missing: moderation, or anything else.

    A failed job is over, whatever its code would mean as the answer to a request.
    """
    verdict = verdict_of(code)
    moderated = verdict is not None and verdict.meaning == "moderation"
    cls = ContentRejectedError if moderated else JobFailedError
    reason = ": ".join(part for part in (code, message[:MAX_MESSAGE]) if part) or "no reason given"
    if moderated and verdict is not None:
        reason = f"{reason}; {verdict.advice}"
    return cls(reason, code=code or None, not_created=False, provider=provider, job_id=job_id)


def fault_in(
    answer: Mapping[str, Any] | None,
    *,
    status: int,
    headers: Mapping[str, str],
    now: float,
    redact: Callable[[str], str],
) -> Fault | None:
    """The error in an answer, wherever the service has put it.

    Args:
        answer: The parsed body; None where it is not an object.
        status: HTTP's. Errors come with 200, too.
        headers: HTTP's.
        now: Seconds since the epoch by the service's clock.
        redact: Takes secrets out of the service's words.
    """
    wait = retry_after(headers.get("retry-after"), now=now)
    answer = answer if answer is not None else {}
    response = answer.get("Response")
    inner = response if isinstance(response, dict) else answer
    request_id = _text(inner.get("RequestId") or inner.get("request_id")) or None
    told = inner.get("Error") or inner.get("error")
    if told:
        error = told if isinstance(told, dict) else {"message": told}
        codes = [
            _text(error.get(name))[:MAX_CODE]
            for name in ("upstream_code", "Code", "code", "type", "Type")
        ]
        code, verdict = _first_known(codes, status)
        return Fault(
            code=code,
            verdict=verdict,
            message=redact(_text(error.get("Message") or error.get("message")))[:MAX_MESSAGE],
            request_id=_text(error.get("request_id")) or request_id,
            retry_after=wait,
        )
    if status != 200:
        return Fault(
            code=f"HTTP {status}",
            verdict=verdict_of_status(status),
            request_id=request_id,
            retry_after=wait,
        )
    return None


def _first_known(codes: list[str], status: int) -> tuple[str, Verdict]:
    given = [code for code in codes if code]
    for code in given:
        if (verdict := verdict_of(code)) is not None:
            return code, verdict
    return (given[0] if given else f"HTTP {status}"), verdict_of_status(status)


def retry_after(value: str | None, *, now: float) -> float | None:
    """Seconds from a ``Retry-After`` header, which holds seconds or a date (RFC 9110, 10.2.3)."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        moment = http_date(value)
        seconds = -1.0 if moment is None else max(0.0, moment - now)
    return seconds if 0 <= seconds < MAX_RETRY_AFTER_S else None


# Every answer has one, and those of one second are equal.
@lru_cache(maxsize=64)
def http_date(value: str | None) -> float | None:
    """Seconds since the epoch from an HTTP date; None where it is none."""
    if not value:
        return None
    try:
        return email.utils.parsedate_to_datetime(value).timestamp()
    except ValueError:
        return None


def _text(value: object) -> str:
    return "" if value is None else str(value)
