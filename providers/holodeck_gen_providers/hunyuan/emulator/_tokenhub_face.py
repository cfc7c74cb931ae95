"""The dialect of bearer keys: TokenHub."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from holodeck_gen_providers.hunyuan.emulator._calls import Call, query, submit
from holodeck_gen_providers.hunyuan.emulator._files import content_of, file_names, file_url
from holodeck_gen_providers.hunyuan.emulator._interfaces import BEARER, SERVED, Interface
from holodeck_gen_providers.hunyuan.emulator._state import State
from holodeck_gen_providers.hunyuan.emulator._tokenhub_errors import error_body, error_of
from holodeck_gen_providers.hunyuan.emulator._wire import RefusedError, Reply, Request
from holodeck_gen_providers.hunyuan.emulator._wishes import revised

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holodeck_gen_providers.hunyuan.emulator._jobs import Job
    from holodeck_gen_providers.hunyuan.emulator._settings import Account

_BEARER = "Bearer "


def is_served(path: str) -> bool:
    """Whether TokenHub has this path."""
    return (BEARER.name, path) in SERVED


def answer_tokenhub(state: State, request: Request) -> Reply:
    """Answer a request to one of TokenHub's paths."""
    face = _Face(state)
    now = state.clock()
    try:
        if request.method != "POST":
            raise RefusedError("400001", "The method must be POST.")
        account = _account(state, request)
        interface, is_query = SERVED[BEARER.name, request.path]
        return _answer(state, face, request, account, interface, is_query=is_query, now=now)
    except RefusedError as error:
        return face.refused(error)


def _answer(
    state: State,
    face: _Face,
    request: Request,
    account: Account,
    interface: Interface,
    *,
    is_query: bool,
    now: float,
) -> Reply:
    parameters = _parameters(request)
    model = interface.model(parameters) if parameters.get("model") else None
    if model is None:
        raise _no_model(parameters)
    if {interface.dialect.name, interface.name, model.name} & state.settings.offline:
        raise _no_model(parameters)
    call = Call(
        face=face,
        interface=interface,
        model=model,
        # Shown in counters, so it must not be the key.
        account=hashlib.sha256(account.api_key.encode()).hexdigest()[:12],
        parameters=parameters,
    )
    if is_query:
        job_id = parameters.get("id")
        if not isinstance(job_id, str):
            raise RefusedError("400002", "id is required")
        return query(state, call, job_id, now)
    return submit(state, call, now)


def _account(state: State, request: Request) -> Account:
    given = request.headers.get("authorization", "")
    for account in state.settings.accounts:
        if hmac.compare_digest(given.encode(), (_BEARER + account.api_key).encode()):
            return account
    raise RefusedError("401002", "The API key is invalid.")


def _parameters(request: Request) -> dict[str, Any]:
    try:
        value = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise RefusedError("400001", "The body is not a JSON object.")
    # What is null is not given: clients differ in whether they leave it out.
    return {name: each for name, each in value.items() if each is not None}


def _no_model(parameters: Mapping[str, Any]) -> RefusedError:
    model = parameters.get("model")
    if not model:
        return RefusedError("400002", "model is required")
    return RefusedError("400004", f"model {model!r} does not exist")


@attrs.frozen
class _Face:
    """Words answers as TokenHub does. See `Face`."""

    state: State

    def accepted(self, job: Job, *, told: bool) -> Reply:
        fields = {"status": "queued", "object": "image.generation"}
        return self._reply({"id": job.id, **fields} if told else fields)

    def described(self, job: Job, now: float) -> Reply:
        phase = job.phase(now)
        fields: dict[str, Any] = {"id": job.id, "status": job.status(now), "data": []}
        if phase == "failed":
            assert job.error is not None
            fields["error"] = {"code": job.error, "message": "The job failed."}
        elif phase == "done":
            fields["data"] = self._data(job, now)
        return self._reply(fields)

    def finished(self, job: Job, *, told: bool) -> Reply:
        chat = job.interface.models[0].answer == "choices"
        if job.error and chat:
            return self._chat_error(job)
        if job.error:
            moderated = job.error == "FailedOperation.GenerateImageFailed"
            raise RefusedError("451001" if moderated else f"502001/{job.error}", "The job failed.")
        names = file_names(job) if told else []
        if chat:
            return self._chat(job, names)
        fields: dict[str, Any] = {"id": job.id, "created": int(job.created), "data": []}
        fields["tokenhub_usage"] = {"total_tokens": 1}
        if names and job.wish.inline:
            return Reply(body=self._inline(job, fields))
        return self._reply({**fields, "data": self._data(job, job.ends) if names else []})

    def refused(self, error: RefusedError) -> Reply:
        found = error_of(error)
        self.state.refusals[found.code] += 1
        body = error_body(found, self.state.request_id())
        return Reply(status=found.status, body=orjson.dumps(body))

    def _data(self, job: Job, now: float) -> list[dict[str, str]]:
        return [
            {"url": file_url(self.state, job, name, now), "revised_prompt": revised(job.wish)}
            for name in file_names(job)
        ]

    def _chat(self, job: Job, names: list[str]) -> Reply:
        wish = job.wish
        picture = [
            {
                "url": file_url(self.state, job, name, job.ends),
                "width": wish.width,
                "height": wish.height,
            }
            for name in names
        ]
        delta = {"role": "assistant", **({"image": picture[0]} if picture else {})}
        choice = {"index": 0, "delta": delta, "finish_reason": "stop"}
        return self._reply({"id": job.id, "created": int(job.created), "choices": [choice]})

    def _chat_error(self, job: Job) -> Reply:
        # Documented as HTTP 200: the last frame of an answer that had begun.
        code = "content_filter"
        if job.error != "FailedOperation.GenerateImageFailed":
            code = job.error or ""
        error = {"type": "upstream_error", "code": code, "message": "The job failed."}
        if code == "content_filter":
            error["type"] = "content_filter_error"
        choice = {"index": 0, "delta": {}, "finish_reason": "error"}
        return self._reply({"id": job.id, "choices": [choice], "error": error})

    def _inline(self, job: Job, fields: dict[str, Any]) -> Any:
        make = content_of(self.state, job, 0)

        async def body() -> bytes:
            picture = base64.b64encode(await make()).decode()
            return self._body({**fields, "data": [{"b64_json": picture}]})

        return body

    def _reply(self, fields: Mapping[str, Any]) -> Reply:
        return Reply(body=self._body(fields))

    def _body(self, fields: Mapping[str, Any]) -> bytes:
        return orjson.dumps({**fields, "request_id": self.state.request_id()})
