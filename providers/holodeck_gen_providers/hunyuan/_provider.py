"""`HunyuanProvider`: one account in one dialect. What differs between dialects is in the tables."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import attrs

import holodeck_gen as hg
from holodeck_gen.errors import (
    ConfigError,
    InvalidTaskError,
    ProviderError,
    TransientError,
)
from holodeck_gen_providers.hunyuan import _prepare
from holodeck_gen_providers.hunyuan._answers import Reader, lost_job
from holodeck_gen_providers.hunyuan._codes import NO_MODEL, TOKENHUB_UNKNOWN
from holodeck_gen_providers.hunyuan._references import attach
from holodeck_gen_providers.hunyuan._tables import Dialect, Model
from holodeck_gen_providers.hunyuan._wire import DIRECT_READ_S, NO_JOB, FaultError, Wire, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds for which a job may be unknown: right after its submit it is not known everywhere, and
#: it is paid for. Less than the deadline of a request, within which a resumed job is asked for.
UNKNOWN_S = 45.0

#: Seconds; pictures take half a minute to a minute and a half, models several minutes.
_JOB_TIMEOUT_S = {"image": 600.0, "model3d": 1800.0}
_REQUEST_TIMEOUT_S = 60.0


@attrs.define(kw_only=True)
class HunyuanProvider:
    """Makes pictures or 3D models; one call of the service for each call of its methods.

    Args:
        name: The provider's name.
        default: The model of tasks that name none.
        wire: How the service is called.
        others: Dialects that a model may belong to instead, for errors.
    """

    name: str
    default: Model
    wire: Wire
    others: tuple[Dialect, ...] = attrs.field(default=(), repr=False)
    billing: hg.Billing = attrs.field(default="paid", init=False)
    _account_key: str = attrs.field(init=False, repr=False)
    _unknown: dict[str, float] = attrs.field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._account_key = self.wire.account.key

    @property
    def dialect(self) -> Dialect:
        """Its table."""
        return self.wire.account.dialect

    @property
    def endpoint(self) -> str:
        """Where the service is, such as ``https://aiart.tencentcloudapi.com``."""
        return self.wire.account.endpoint

    @property
    def account_label(self) -> str:
        """Dialect, account (masked) and host, for people."""
        account = self.wire.account
        host = account.endpoint.partition("://")[2]
        return f"{account.dialect.name}, account {account.shown} at {host}"

    @property
    def limits(self) -> hg.Limits:
        """Those of the default model, with time enough for the slowest."""
        limits = self._limits(self.default)
        if any(model.direct for model in self.dialect.models):
            # The engine has one deadline for a provider's requests; ours are in the wire.
            return attrs.evolve(limits, request_timeout_s=DIRECT_READ_S + 20.0)
        return limits

    def limits_for(self, task: hg.Task) -> hg.Limits:
        """Those of the model that `task` is for: job slots are counted for each action."""
        return self._limits(self._model(task.model))

    def account_key(self) -> str:
        """A digest of dialect, endpoint and account; no secret."""
        return self._account_key

    def quota_key(self, task: hg.Task) -> str:
        """The action: the service counts job slots for each."""
        return self._model(task.model).submit

    def duration_key(self, request: hg.JsonObject) -> str:
        """Model, size, number, and whether the service rewrites the prompt, which takes time."""
        model, body = self._row(request["state"]), request["body"]
        words = ("size", "n")
        shape = [str(body.get(model.fields[word], "")) for word in words if word in model.fields]
        revise = model.options.get("revise")
        rewrites = body.get(revise.field, model.rewrites) if revise else model.rewrites
        return " ".join([model.name, *shape, "rewritten" if rewrites else "as told"])

    def prepare(self, task: hg.Task) -> hg.Prepared:
        """Translate and check. As `holodeck_gen.Provider.prepare`."""
        return _prepare.prepare(task, self.dialect, self._model(task.model))

    async def submit(self, request: hg.JsonObject, *, key: str) -> hg.JobRef | hg.JobStatus:
        """Begin a job, or fetch the answer that comes at once.

        As `holodeck_gen.Provider.submit`. The service knows no idempotency keys.
        """
        model = self._row(request["state"])
        body, words = dict(request["body"]), self.dialect.words
        if request["references"]:
            await asyncio.to_thread(attach, body, request["references"], model)
        try:
            answer = await self.wire.call(
                model.submit,
                encode(body),
                direct=model.direct,
                job_field="" if model.direct else words.job_id,
            )
        except FaultError as error:
            fault = error.fault
            if fault.code == TOKENHUB_UNKNOWN:
                fault = attrs.evolve(fault, verdict=NO_MODEL)
            lost = model.direct and not fault.verdict.not_created
            failure = fault.error(provider=self.name, remark=NO_JOB if lost else "")
            if fault.verdict.final:
                # There is no job to ask after, and nothing that a repetition would mend.
                return hg.JobStatus(phase="failed", error=failure)
            raise failure from None
        if model.direct:
            ended = self._reader(model, request["state"]).finished(answer)
            return attrs.evolve(ended, request_id=answer.request_id)
        job_id = answer.fields.get(words.job_id)
        if not isinstance(job_id, str | int) or not str(job_id):
            raise TransientError(
                f"{model.submit} was answered without a job id", provider=self.name
            )
        return hg.JobRef(
            job_id=str(job_id),
            state={**request["state"], "at": answer.at},
            request_id=answer.request_id,
        )

    async def poll(self, job: hg.JobRef) -> hg.JobStatus:
        """Ask once. As `holodeck_gen.Provider.poll`."""
        model = self._row(job.state)
        if model.query is None:
            raise ProviderError(f"{model.name} answers at once and has no jobs", provider=self.name)
        body = {self.dialect.words.job_id: job.job_id}
        if not self.dialect.signed:
            body = {"model": model.name, **body}
        try:
            answer = await self.wire.call(
                model.query, encode(body), job_field=self.dialect.words.status
            )
        except FaultError as error:
            failure = error.fault.error(provider=self.name, job_id=job.job_id)
            if error.fault.verdict.meaning == "unknown_job":
                raise self._not_known(job.job_id, failure) from None
            raise failure from None
        self._unknown.pop(job.job_id, None)
        status = self._reader(model, job.state, job_id=job.job_id).status(answer)
        return attrs.evolve(status, request_id=answer.request_id)

    def _not_known(self, job_id: str, failure: ProviderError) -> ProviderError:
        now = asyncio.get_running_loop().time()
        if now - self._unknown.setdefault(job_id, now) < UNKNOWN_S:
            return TransientError(
                str(failure), code=failure.code, provider=self.name, job_id=job_id
            )
        del self._unknown[job_id]
        return lost_job(failure, job_id)

    def _reader(
        self, model: Model, state: Mapping[str, Any], *, job_id: str | None = None
    ) -> Reader:
        return Reader(
            provider=self.name, dialect=self.dialect, model=model, job_id=job_id, state=state
        )

    def _model(self, name: str | None) -> Model:
        return _prepare.choose_model(name, self.dialect, self.default, self.others)

    def _row(self, state: Mapping[str, Any]) -> Model:
        """The model of a request or job that may come from another run."""
        model = self.dialect.model(str(state.get("model")))
        if model is None:
            raise ProviderError(
                f"this was prepared for {state.get('model')!r}, which dialect"
                f" {self.dialect.name} does not have",
                not_created=True,
                provider=self.name,
            )
        return model

    def _limits(self, model: Model) -> hg.Limits:
        return hg.Limits(
            max_jobs=model.max_jobs,
            # More can be bought, the service does not tell, and a refusal is not billed.
            max_jobs_enforced=True,
            refusals_free=True,
            submit_rate=model.submit_rate,
            poll_rate=model.poll_rate,
            request_timeout_s=_REQUEST_TIMEOUT_S,
            job_timeout_s=_JOB_TIMEOUT_S[self.dialect.kind],
        )


def configured_model(name: str, dialect: Dialect) -> Model:
    """The default model.

    Raises:
        ConfigError: The dialect has none of this name.
    """
    try:
        return _prepare.choose_model(name or None, dialect, dialect.models[0], ())
    except InvalidTaskError as error:
        raise ConfigError(str(error)) from error
