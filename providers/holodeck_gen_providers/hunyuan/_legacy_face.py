"""The provider as the legacy client uses it: its quota, its retries, and what it asks to know."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import attrs

import holodeck_gen as hg
from holodeck_gen.errors import ProviderError, ThrottledError, TransientError
from holodeck_gen_providers.hunyuan import HunyuanOptions, _prepare, make_hunyuan
from holodeck_gen_providers.hunyuan._codes import verdict_of
from holodeck_gen_providers.hunyuan._legacy_words import NETWORK
from holodeck_gen_providers.hunyuan._provider import HunyuanProvider
from holodeck_gen_providers.hunyuan._services import STYLES

#: A job id that no job has.
NO_SUCH_JOB = "0"


@attrs.define(eq=False)
class Notes:
    """What callers of the legacy client want to know and no outcome tells, by task id.

    Attributes:
        urls: Where the service keeps a picture; with its signature, so nothing may log it.
        began: The monotonic time of the first submit.
        refusals: Submits that were refused and may be repeated.
    """

    urls: dict[str, str] = attrs.field(factory=dict, repr=False)
    began: dict[str, float] = attrs.field(factory=dict)
    refusals: dict[str, int] = attrs.field(factory=dict)

    def forget(self, task_id: str) -> None:
        """Its result is told."""
        for each in (self.urls, self.began, self.refusals):
            each.pop(task_id, None)


@attrs.define(kw_only=True, eq=False)
class LegacyFace:
    """Hands every call on to `HunyuanProvider`; nothing is sent, repeated or awaited here.

    Args:
        inner: The provider.
        notes: Where facts about tasks are left.
        max_retries: How often a submit may be repeated; for refusals of the pace, which the
            engine would repeat without end.
        retry_delay: Seconds before the first repetition.
    """

    inner: HunyuanProvider
    notes: Notes
    max_retries: int
    retry_delay: float
    loop: asyncio.AbstractEventLoop = attrs.field(factory=asyncio.get_running_loop, init=False)

    def __getattr__(self, name: str) -> Any:
        # Name, billing, limits, account and endpoint are the provider's.
        return getattr(self.inner, name)

    def quota_key(self, _task: hg.Task) -> str:
        """One for every model: ``max_concurrent_jobs`` counts all jobs of a client."""
        return "client"

    def prepare(self, task: hg.Task) -> hg.Prepared:
        """As the provider's, with the style in words where the model has no styles.

        The request carries the task's id to `submit` and `poll`.
        """
        model = _prepare.choose_model(task.model, self.inner.dialect, self.inner.default, ())
        style = task.style
        if style is not None and "style" not in model.fields:
            words = f"{task.prompt}，{STYLES.get(style, style)}风格"
            task = attrs.evolve(task, prompt=words, style=None)
        prepared = self.inner.prepare(task)
        state = {**prepared.request["state"], "task": task.id}
        return attrs.evolve(prepared, request={**prepared.request, "state": state})

    async def submit(self, request: hg.JsonObject, *, key: str) -> hg.JobRef | hg.JobStatus:
        """As the provider's."""
        task_id = request["state"]["task"]
        self.notes.began.setdefault(task_id, time.monotonic())
        try:
            answer = await self.inner.submit(request, key=key)
        except (ThrottledError, TransientError) as error:
            if not error.not_created:
                raise
            raise self._refused(task_id, error) from error
        self._note(task_id, getattr(answer, "outputs", ()))
        return answer

    async def poll(self, job: hg.JobRef) -> hg.JobStatus:
        """As the provider's."""
        status = await self.inner.poll(job)
        self._note(job.state["task"], status.outputs)
        return status

    async def answers(self) -> bool:
        """Whether the service takes the credentials; asks for a job that does not exist.

        Raises:
            ProviderError: It cannot be asked.
        """
        dialect = self.inner.dialect
        model = next(each for each in dialect.models if each.query is not None)
        job = hg.JobRef(job_id=NO_SUCH_JOB, state={"model": model.name})
        try:
            await self.inner.poll(job)
        except ProviderError as error:
            verdict = verdict_of(error.code) if error.code else None
            # The signature is checked first: who is told that the job is wrong has passed it.
            if verdict is not None and verdict.meaning in ("unknown_job", "refused"):
                return True
            raise
        return True

    def _note(self, task_id: str, outputs: Any) -> None:
        url = next((each.url for each in outputs if hasattr(each, "url")), None)
        if url is not None:
            self.notes.urls[task_id] = url

    def _refused(self, task_id: str, error: ThrottledError | TransientError) -> ProviderError:
        """`error`, with a longer wait if it concerns the pace; or the end of all repetition."""
        count = self.notes.refusals[task_id] = self.notes.refusals.get(task_id, 0) + 1
        if count > self.max_retries:
            return ProviderError(
                str(error),
                code=error.code or NETWORK,
                request_id=error.request_id,
                not_created=True,
                provider=error.provider,
            )
        if isinstance(error, ThrottledError):
            longer = 2 * self.retry_delay * 2.0 ** (count - 1)
            error.retry_after = max(error.retry_after or 0.0, longer)
        return error


def make_face(
    options: HunyuanOptions, ctx: hg.Context, *, notes: Notes, max_retries: int, retry_delay: float
) -> LegacyFace:
    """The factory's work: the provider, and the face in front of it."""
    inner: Any = make_hunyuan(options, ctx)
    return LegacyFace(inner=inner, notes=notes, max_retries=max_retries, retry_delay=retry_delay)
