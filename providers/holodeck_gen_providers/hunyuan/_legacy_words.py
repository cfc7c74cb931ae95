"""Error messages as callers of the legacy client match them: the old word first, then advice."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from holodeck_gen import errors
from holodeck_gen_providers.hunyuan._codes import Meaning, verdict_of, verdict_of_status

if TYPE_CHECKING:
    from pathlib import Path

NETWORK = "NetworkError"
TIMEOUT = "TimeoutError"
INVALID = "InvalidParameter"

#: For codes of TokenHub and of HTTP, which old callers cannot know.
_WORDS: dict[Meaning, str] = {
    "throttled": "RequestLimitExceeded",
    "slots": "RequestLimitExceeded.JobNumExceed",
    "again": "LimitExceeded",
    "failing": "InternalError",
    "refused": INVALID,
    "auth": "AuthFailure",
    "retired": "UnsupportedOperation",
    "billing": "ResourceUnavailable",
    "moderation": "OperationDenied",
    "unknown_job": "FailedOperation.JobNotExist",
}
_ADVICE = {
    "RequestLimitExceeded": "lower max_concurrent_jobs",
    INVALID: "check the parameter's form",
    TIMEOUT: "raise timeout",
    NETWORK: "check the connection",
}
#: Codes of API 3.0, such as ``FailedOperation.InnerError``; TokenHub's are numbers or in snakes.
_OLD_CODE = re.compile(r"[A-Z][A-Za-z0-9]+(\.[A-Z][A-Za-z0-9]+)*")


def message_of(error: errors.GenerationError, *, journal: Path | None = None) -> str:
    """What `error` says, in words that old callers know.

    Args:
        error: Why a task has no picture.
        journal: Of the run, for what is paid for and not here.
    """
    if isinstance(error, errors.PausedError):
        # The first task tells the code; those after it are refused for the same reason.
        return error.reason if error.reason in str(error) else f"{error.reason}; {error}"
    word, said = _word(error), str(error)
    message = said if said.startswith(word) else f"{word}: {said}"
    advice = next((_ADVICE[each] for each in _ADVICE if word.startswith(each)), "")
    if isinstance(error, errors.SubmitUncertainError):
        # Whatever it was, another try could be paid for twice.
        advice = ""
    if isinstance(error, errors.ProcessingError | errors.StorageError) and error.job_id and journal:
        advice = f"job {error.job_id} is paid for: 'holodeck-gen collect {journal.parent}'"
    return f"{message}; {advice}" if advice and advice not in message else message


def _word(error: errors.GenerationError) -> str:
    if isinstance(error, errors.InvalidTaskError):
        return INVALID
    if isinstance(error, errors.JobTimeoutError):
        return TIMEOUT
    if isinstance(error, errors.ProviderError):
        return _word_of_code(error)
    return type(error).__name__


def _word_of_code(error: errors.ProviderError) -> str:
    code = error.code
    if code and _OLD_CODE.fullmatch(code):
        return code
    if code:
        verdict = verdict_of(code)
        if verdict is None and code.startswith("HTTP "):
            verdict = verdict_of_status(int(code.removeprefix("HTTP ")))
        if verdict is not None:
            return _WORDS[verdict.meaning]
    if isinstance(error, errors.ContentRejectedError):
        return _WORDS["moderation"]
    if isinstance(error, errors.SubmitUncertainError):
        # The engine's own deadline is no error of the network.
        return TIMEOUT if isinstance(error.__cause__, errors.PluginError) else NETWORK
    if isinstance(error, errors.TransientError):
        return NETWORK
    return "FailedOperation"
