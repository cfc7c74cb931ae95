"""What a chat service answers, told without telling its words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

#: Some models think aloud before they answer.
_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
#: A code is a word; a sentence could repeat the prompt or the key.
_CODE = re.compile(r"[\w.:-]{1,64}")
#: Seconds; a service that wants more rest than this will not be waited for.
MAX_REST_S = 60.0


class AnswerError(Exception):
    """There is no usable answer. Its words hold neither prompt nor key."""


class BusyError(AnswerError):
    """The same question may have an answer later.

    Attributes:
        rest_s: Seconds the service wants to be left alone.
    """

    def __init__(self, message: str, *, rest_s: float = 0.0) -> None:
        super().__init__(message)
        self.rest_s = rest_s


def answer_of(response: httpx.Response) -> str:
    """The words in a response.

    Raises:
        BusyError: It was asked too much, or has trouble.
        AnswerError: It refused, or answered nothing that can be used.
    """
    body = _body(response)
    if response.status_code != 200:
        code = _code_of(body)
        message = f"the service answered {response.status_code}{f' ({code})' if code else ''}"
        if response.status_code in (408, 425, 429) or response.status_code >= 500:
            rest_s = _rest_of(response)
            if rest_s <= MAX_REST_S and code != "insufficient_quota":
                raise BusyError(message, rest_s=rest_s)
        raise AnswerError(message)
    try:
        choice = body["choices"][0]
        text = choice["message"]["content"]
    except (TypeError, LookupError) as error:
        raise AnswerError("the service answered something that is no chat completion") from error
    end = choice.get("finish_reason")
    if end in ("length", "content_filter"):
        raise AnswerError(f"the answer ended early: {end}")
    text = _THOUGHTS.sub("", text).strip() if isinstance(text, str) else ""
    if not text:
        raise AnswerError("the answer is empty")
    return text


def _body(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _code_of(body: Any) -> str | None:
    error = body.get("error") if isinstance(body, dict) else None
    found = (error.get("code") or error.get("type")) if isinstance(error, dict) else None
    return found if isinstance(found, str) and _CODE.fullmatch(found) else None


def _rest_of(response: httpx.Response) -> float:
    try:
        return max(0.0, float(response.headers.get("Retry-After", "0")))
    except ValueError:
        # A date. Nobody sends one for a rate limit; the usual wait will do.
        return 0.0
