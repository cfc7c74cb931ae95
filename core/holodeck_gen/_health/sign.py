"""What one request's end says about the service behind an account."""

from __future__ import annotations

from typing import Literal, TypeAlias

from holodeck_gen.errors import (
    DownloadError,
    GenerationError,
    PluginError,
    ProviderError,
    RetryableError,
    SlotRefusedError,
    SubmitUncertainError,
    ThrottledError,
)

Sign: TypeAlias = Literal["well", "ill", "busy"]


def sign_of(error: BaseException | None) -> Sign | None:
    """What a request's end says about the service; None where it says nothing."""
    if error is None:
        return "well"
    if isinstance(error, ThrottledError):
        # It may be a gateway that says so, and is no sign of ill health.
        return "busy"
    if isinstance(error, SlotRefusedError):
        return "well"
    if isinstance(error, RetryableError | SubmitUncertainError | PluginError):
        return "ill"
    if isinstance(error, GenerationError):
        # A refusal is an answer, unless it is our own and nothing was sent. Whatever else it is
        # has nothing to do with the service.
        own = type(error) is ProviderError and error.not_created and error.code is None
        return "well" if isinstance(error, ProviderError | DownloadError) and not own else None
    return "ill" if isinstance(error, Exception) else None
