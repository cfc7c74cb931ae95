"""The rewriter that asks a chat model: any service with OpenAI's interface."""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import attrs

import holodeck_gen as hg
from holodeck_gen import files
from holodeck_gen.errors import ConfigError, InvalidTaskError, RewriteError
from holodeck_gen_plugins._extras import missing
from holodeck_gen_plugins.rewriters._answers import AnswerError, BusyError, answer_of

if TYPE_CHECKING:
    from aiolimiter import AsyncLimiter
    from tenacity import RetryCallState

#: What the model is told unless the user says otherwise.
SYSTEM = (
    "You write prompts for an image generator. Make the user's prompt richer in visual detail"
    " without changing its subject or its language. Answer with the prompt and nothing else."
)
#: Seconds before the second try; doubled for each further one.
BACKOFF_S = 1.0


def _is_address(_options: object, _field: object, value: str) -> None:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"base_url: {value!r} is no http(s) address")


@attrs.frozen(kw_only=True)
class ChatOptions:
    """Options of the chat rewriter.

    Attributes:
        base_url: The service, such as https://api.openai.com/v1 or http://localhost:11434/v1.
        model: Its name of a model.
        api_key: Best as { env = "NAME" }. Local services need none.
        system: What the model is to do with the prompt.
        temperature: From 0 to 2; None is the service's own.
        body: Further fields of the request, as the service names them.
        rate: Requests a second, at most.
        at_once: Requests at the same time, at most.
        attempts: Tries of one request in all.
        timeout_s: Seconds one request may take.
        on_error: fail makes it the task's failure; keep goes on with the prompt as it was.
        cache: A folder in which answers are kept, with their prompts, for the same prompt.
    """

    base_url: str = attrs.field(validator=_is_address)
    model: str
    api_key: str | None = attrs.field(default=None, repr=False)
    system: str = SYSTEM
    temperature: float | None = None
    body: dict[str, Any] = attrs.field(factory=dict)
    rate: float = attrs.field(default=5.0, validator=attrs.validators.gt(0.0))
    at_once: int = attrs.field(default=8, validator=attrs.validators.ge(1))
    attempts: int = attrs.field(default=4, validator=attrs.validators.ge(1))
    timeout_s: float = attrs.field(default=60.0, validator=attrs.validators.gt(0.0))
    on_error: Literal["fail", "keep"] = "fail"
    cache: str | None = None

    def question(self, prompt: str) -> dict[str, Any]:
        """The request's body."""
        messages = [{"role": "user", "content": prompt}]
        if self.system:
            messages.insert(0, {"role": "system", "content": self.system})
        question: dict[str, Any] = {"model": self.model, "messages": messages}
        if self.temperature is not None:
            question["temperature"] = self.temperature
        return question | self.body


@attrs.define(eq=False)
class Chat:
    """Puts each prompt to the model, and its answer in the prompt's place.

    Neither prompts nor keys are logged or part of an error.
    """

    options: ChatOptions
    ctx: hg.Context
    pace: AsyncLimiter
    cache: Path | None
    _places: asyncio.Semaphore = attrs.field(init=False)
    #: One for each question that is being asked, so that nobody asks it meanwhile.
    _asked: WeakValueDictionary[str, asyncio.Lock] = attrs.field(
        factory=WeakValueDictionary, init=False
    )

    def __attrs_post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.options.at_once)

    async def rewrite(self, task: hg.Task) -> hg.Task:
        """The task with the model's words. As `holodeck_gen.Rewriter`.

        Raises:
            RewriteError: There is no answer, and `on_error` is ``"fail"``.
        """
        if not task.prompt.strip():
            return task
        try:
            words = await self._answer(task.prompt)
            return attrs.evolve(task, prompt=words)
        except (AnswerError, InvalidTaskError) as error:
            if self.options.on_error == "keep":
                self.ctx.log.warning("chat.prompt_kept", task=task.id, error=str(error))
                return task
            raise RewriteError(f"chat: {error}", stage="chat") from error

    async def _answer(self, prompt: str) -> str:
        question = self.options.question(prompt)
        if self.cache is None:
            return await self._ask(question)
        what = json.dumps([self.options.base_url, question], sort_keys=True)
        name = f"{hashlib.sha256(what.encode()).hexdigest()}.json"
        lock = self._asked.setdefault(name, asyncio.Lock())
        async with lock:
            known = await asyncio.to_thread(_remembered, self.cache / name)
            if known is None:
                known = await self._ask(question)
                kept = {"model": self.options.model, "prompt": prompt, "answer": known}
                await asyncio.to_thread(_remember, self.cache, name, kept)
        return known

    async def _ask(self, question: dict[str, Any]) -> str:
        """Ask as often as it takes and is allowed."""
        import tenacity

        exponential = tenacity.wait_random_exponential(multiplier=BACKOFF_S, max=20.0)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            rest_s = error.rest_s if isinstance(error, BusyError) else 0.0
            return max(rest_s, exponential(state))

        tries = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(BusyError),
            stop=tenacity.stop_after_attempt(self.options.attempts),
            wait=wait,
            sleep=asyncio.sleep,
            reraise=True,
        )
        async for attempt in tries:
            with attempt:
                return await self._ask_once(question)
        raise AssertionError("tenacity ends with an answer or an error")

    async def _ask_once(self, question: dict[str, Any]) -> str:
        import httpx

        key = self.options.api_key
        async with self._places:
            await self.pace.acquire()
            try:
                response = await self.ctx.http().post(
                    f"{self.options.base_url.rstrip('/')}/chat/completions",
                    json=question,
                    headers={"Authorization": f"Bearer {key}"} if key else None,
                    timeout=httpx.Timeout(self.options.timeout_s),
                )
            except httpx.RequestError as error:
                raise BusyError(f"the service cannot be reached: {type(error).__name__}") from error
        return answer_of(response)


def _remembered(file: Path) -> str | None:
    try:
        answer = json.loads(file.read_bytes())["answer"]
    except (OSError, ValueError, LookupError, TypeError):
        # Missing or damaged: it is asked again.
        return None
    return answer if isinstance(answer, str) and answer.strip() else None


def _remember(folder: Path, name: str, what: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as aside:
        file = Path(aside) / name
        file.write_text(json.dumps(what, ensure_ascii=False), encoding="utf-8")
        files.overwrite(file, folder / name)


def make_chat(options: ChatOptions | None, ctx: hg.Context) -> Chat:
    """The factory.

    Raises:
        ConfigError: Nothing says whom to ask.
        PluginLoadError: The extra is not installed.
    """
    try:
        import tenacity  # noqa: F401 -- said now, and not with the first prompt
        from aiolimiter import AsyncLimiter
    except ImportError as error:
        raise missing("chat", "aiolimiter and tenacity") from error
    if options is None:
        raise ConfigError("chat needs base_url and model")
    cache = None if options.cache is None else Path(options.cache).expanduser()
    return Chat(options, ctx, AsyncLimiter(1, 1 / options.rate), cache)


@hg.hookimpl
def register_rewriters(register: hg.Register) -> None:
    """Register the rewriter."""
    register(
        "chat",
        make_chat,
        options=ChatOptions,
        summary="Asks a chat model for better words, or for a translation.",
    )
