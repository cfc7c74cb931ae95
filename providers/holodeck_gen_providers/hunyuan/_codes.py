"""What each of the service's error codes means to a caller, as data.

The codes are those of Tencent's SDKs (hunyuan 3.1.180, aiart 3.1.82), of the common list
(https://cloud.tencent.com/document/api/1668/88076) and of TokenHub
(https://cloud.tencent.com/document/product/1823/131595). Neither says which of them prove that
no job was made; the column here follows each code's documented meaning, and where that leaves
doubt it says no.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from holodeck_gen.errors import (
    AuthError,
    BillingError,
    ContentRejectedError,
    ProviderError,
    RetryableError,
    SlotRefusedError,
    ThrottledError,
    TransientError,
)

Meaning: TypeAlias = Literal[
    "throttled", "slots", "again", "failing", "refused", "auth", "retired", "billing",
    "moderation", "unknown_job",
]  # fmt: skip

#: TokenHub's code for a model that it does not have or, in answers to a query, a job: see
#: `NO_MODEL`.
TOKENHUB_UNKNOWN = "400004"
TOKENHUB_ADVICE = "use dialect=tokenhub with HUNYUAN_API_KEY"


@attrs.frozen(kw_only=True)
class Verdict:
    """One row of the table.

    Attributes:
        meaning: Names the row's kind.
        error: The class to raise.
        not_created: Whether an answer to a submit with this code proves that no job was made.
        final: Whether such an answer ends the matter although it does not prove that: the work
            was done, or refused half-way, and there is no job to ask after.
        retry_after: Seconds to wait where the service does not say.
        quota_only: Of `BillingError`: whether other models of the account are not concerned.
        advice: What to do, for the message.
    """

    meaning: Meaning
    error: type[ProviderError]
    not_created: bool
    final: bool = False
    retry_after: float | None = None
    quota_only: bool = False
    advice: str = ""

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return issubclass(self.error, RetryableError)


_THROTTLED = Verdict(meaning="throttled", error=ThrottledError, not_created=True)
_THROTTLED_LONG = attrs.evolve(_THROTTLED, retry_after=5.0)
_SLOTS = Verdict(meaning="slots", error=SlotRefusedError, not_created=True)
#: Refused for now, by a quota or a resource that is not a matter of the pace.
_LATER = Verdict(meaning="again", error=TransientError, not_created=True, retry_after=10.0)
_DELIVERING = attrs.evolve(_LATER, retry_after=60.0)
_FETCHING = Verdict(
    meaning="again",
    error=TransientError,
    not_created=True,
    advice="the service could not fetch a reference picture or logo from its address",
)
_FAILING = Verdict(meaning="failing", error=TransientError, not_created=False)
_REFUSED = Verdict(meaning="refused", error=ProviderError, not_created=True)
_AUTH = Verdict(
    meaning="auth",
    error=AuthError,
    not_created=True,
    advice="check the credentials and their rights",
)
_STALE = attrs.evolve(_AUTH, advice="set this machine's clock")
_TOKEN = attrs.evolve(_AUTH, advice="get new temporary credentials")
_ADDRESS = attrs.evolve(_AUTH, advice="this machine's address is not allowed to use the account")
#: Billing, because it ends the service for the whole account or model and not for one task.
_RETIRED = Verdict(
    meaning="retired",
    error=BillingError,
    not_created=True,
    advice=f"the service has retired this interface; {TOKENHUB_ADVICE}",
)
#: An action is one model's, or those of one kind.
_RETIRED_ACTION = attrs.evolve(_RETIRED, quota_only=True)
#: Likewise: tasks are only sent for models that the tables know, so it is gone for all of them.
NO_MODEL = attrs.evolve(
    _RETIRED_ACTION, advice="the service has no such model any more; choose another one"
)
_BILLING = Verdict(
    meaning="billing",
    error=BillingError,
    not_created=True,
    advice="check credit, resource packs and whether the service is activated in the console",
)
#: Packs and free quotas are bought or given for one model; of others nothing is known, and a
#: refusal that tells costs nothing.
_PACK = attrs.evolve(_BILLING, quota_only=True)
_PROMPT = Verdict(
    meaning="moderation",
    error=ContentRejectedError,
    not_created=True,
    advice="change the prompt or the reference pictures",
)
_PICTURE = Verdict(
    meaning="moderation",
    error=ContentRejectedError,
    not_created=False,
    final=True,
    advice="change the prompt, or try another seed",
)
_UNKNOWN_JOB = Verdict(meaning="unknown_job", error=ProviderError, not_created=False)


def _rows(verdict: Verdict, codes: str, *, prefix: str = "") -> dict[str, Verdict]:
    return {prefix + code: verdict for code in codes.split()}


#: Codes of API 3.0.
CODES: dict[str, Verdict] = {
    "RequestLimitExceeded": _THROTTLED,
    **_rows(
        _THROTTLED_LONG,
        "UinLimitExceeded GlobalRegionUinLimitExceeded IPLimitExceeded",
        prefix="RequestLimitExceeded.",
    ),
    "RequestLimitExceeded.JobNumExceed": _SLOTS,
    "LimitExceeded": _LATER,
    "ResourceUnavailable.Delivering": _DELIVERING,
    **_rows(
        _FAILING,
        "InternalError FailedOperation ServiceUnavailable ResourceUnavailable"
        " ResourceInsufficient ResourceInUse",
    ),
    **_rows(
        _FAILING,
        "InnerError ServerError RpcFail EngineServerError ConsoleServerError RequestTimeout"
        " EngineRequestTimeout Unknown EngineServerLimitExceeded",
        prefix="FailedOperation.",
    ),
    **_rows(_FETCHING, "ImageDownloadError DownloadError", prefix="FailedOperation."),
    **_rows(
        _AUTH,
        "InvalidAuthorization InvalidSecretId MFAFailure SecretIdNotFound SignatureFailure"
        " UnauthorizedOperation",
        prefix="AuthFailure.",
    ),
    "AuthFailure.SignatureExpire": _STALE,
    "AuthFailure.TokenFailure": _TOKEN,
    "UnauthorizedOperation": _AUTH,
    **_rows(_ADDRESS, "IpInBlacklist IpNotInWhitelist"),
    **_rows(_RETIRED_ACTION, "ActionOffline InvalidAction"),
    **_rows(_RETIRED, "NoSuchVersion NoSuchProduct"),
    **_rows(
        _REFUSED,
        "InvalidParameter InvalidParameterValue MissingParameter UnknownParameter InvalidRequest"
        " UnsupportedOperation UnsupportedProtocol UnsupportedRegion RequestSizeLimitExceeded"
        " ResponseSizeLimitExceeded DryRunOperation OperationDenied",
    ),
    **_rows(
        _REFUSED,
        "InvalidParameter ImageCountLimitExceededError ImageProcessingFailureError",
        prefix="InvalidParameter.",
    ),
    **_rows(
        _REFUSED,
        "ParameterValueError TextLengthExceed UrlIllegal ImageEmpty ImageRequestError"
        " LogoParamErr StyleConflict InvalidImageResolution",
        prefix="InvalidParameterValue.",
    ),
    "InvalidParameterValue.Model": NO_MODEL,
    **_rows(
        _REFUSED,
        "ImageDecodeFailed ImageResolutionExceed ImageSizeExceed RequestEntityTooLarge",
        prefix="FailedOperation.",
    ),
    **_rows(_UNKNOWN_JOB, "FailedOperation.JobNotExist ResourceNotFound"),
    **_rows(_PROMPT, "TextIllegalDetected ImageIllegalDetected", prefix="OperationDenied."),
    **_rows(_PICTURE, "GenerateImageFailed ModerationFailed", prefix="FailedOperation."),
    **_rows(_BILLING, "InArrears LowBalance StopUsing NotExist", prefix="ResourceUnavailable."),
    "ResourcesSoldOut.ChargeStatusException": _BILLING,
    "ResourceInsufficient.ChargeResourceExhaust": _PACK,
    **_rows(
        _BILLING,
        "ServiceNotActivated ServiceStop ServiceStopArrears UserUnAuthError"
        " PartnerAccountUnSupport SetPayModeExceed",
        prefix="FailedOperation.",
    ),
    **_rows(_PACK, "FreeResourcePackExhausted ResourcePackExhausted", prefix="FailedOperation."),
}

#: For codes that are in no list; none of these is the beginning of another.
PREFIXES: dict[str, Verdict] = {
    "InvalidParameter": _REFUSED,
    "Unsupported": _REFUSED,
    "Missing": _REFUSED,
    "AuthFailure": _AUTH,
    "Unauthorized": _AUTH,
    "RequestLimitExceeded": _THROTTLED,
    "LimitExceeded": _LATER,
    "ResourceUnavailable.": _BILLING,
    "ResourcesSoldOut": _BILLING,
    "OperationDenied": _PICTURE,
    "InternalError": _FAILING,
    "FailedOperation": _FAILING,
}

#: TokenHub's own codes and types, and the codes of its chat-like endpoint.
TOKENHUB_CODES: dict[str, Verdict] = {
    **_rows(_REFUSED, f"400001 400002 {TOKENHUB_UNKNOWN} invalid_request_error"),
    **_rows(_AUTH, "401002 403001 403002 403005 authentication_error permission_error"),
    **_rows(_BILLING, "401007 401008 403004"),
    "FREE_QUOTA_EXHAUSTED": _PACK,
    **_rows(_THROTTLED, "429001 rate_limit_error"),
    **_rows(_PICTURE, "451001 content_filter content_filter_error"),
    **_rows(_FAILING, "502001 upstream_error"),
}

#: Where nothing in the body tells. A 4xx is the refusal of a request that was understood to be
#: wrong; a 5xx may come from a gateway behind which the work went on.
STATUSES: dict[int, Verdict] = {
    401: _AUTH,
    402: _BILLING,
    403: _AUTH,
    408: _FAILING,
    409: _FAILING,
    422: _PICTURE,
    425: _FAILING,
    429: _THROTTLED,
    451: _PICTURE,
    499: _FAILING,
}

_LAST_PARTS = {code.rpartition(".")[2]: verdict for code, verdict in CODES.items() if "." in code}


def verdict_of(code: str) -> Verdict | None:
    """What `code` means; None for one of which nothing at all is known.

    Args:
        code: Of any family; in failed jobs it may lack its prefix, such as ``ServerError``.
    """
    # Only a code without a dot may have lost its prefix: that another family's code ends alike
    # proves nothing.
    found = CODES.get(code) or TOKENHUB_CODES.get(code) or _LAST_PARTS.get(code)
    if found is not None:
        return found
    return next((PREFIXES[prefix] for prefix in PREFIXES if code.startswith(prefix)), None)


def verdict_of_status(status: int) -> Verdict:
    """What an HTTP status means where the body does not tell."""
    if status in STATUSES:
        return STATUSES[status]
    return _REFUSED if 300 <= status < 500 else _FAILING
