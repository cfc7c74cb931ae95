"""The signed dialects: Tencent Cloud's API 3.0."""

from __future__ import annotations

import base64
import re
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from holodeck_gen_providers.hunyuan.emulator._calls import Call, query, submit
from holodeck_gen_providers.hunyuan.emulator._files import content_of, file_names, file_url
from holodeck_gen_providers.hunyuan.emulator._interfaces import SERVED, SIGNED, Interface
from holodeck_gen_providers.hunyuan.emulator._signature import Signer, claimed_service, verify
from holodeck_gen_providers.hunyuan.emulator._state import State
from holodeck_gen_providers.hunyuan.emulator._wire import RefusedError, Reply, Request
from holodeck_gen_providers.hunyuan.emulator._wishes import revised

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holodeck_gen_providers.hunyuan.emulator._jobs import Job, Phase
    from holodeck_gen_providers.hunyuan.emulator._pictures import Maker

#: What is taken where no region is given. The SDK sends none where it is told none.
_HOME = "ap-guangzhou"
#: The image actions of hunyuan exist in one region only.
_REGIONS = {"hunyuan": re.compile(_HOME)}
_ANY_REGION = re.compile(r"[a-z]{2}-[a-z]+(-[a-z0-9]+)*")

_MESSAGES = {"queued": "排队中", "running": "处理中", "failed": "处理失败", "done": "处理完成"}


def answer_tc3(state: State, request: Request) -> Reply:
    """Answer a request to ``/``; always HTTP 200, unless a fault says otherwise."""
    service = claimed_service(request)
    dialect = SIGNED[service].name if service in SIGNED else service
    offset = state.clock_offset(dialect)
    now = state.clock()
    face = _Face(state)
    try:
        reply = _answer(state, face, request, now, offset)
    except RefusedError as error:
        reply = face.refused(error)
    if offset:
        date = formatdate(now + offset, usegmt=True)
        reply = attrs.evolve(reply, headers={**reply.headers, "Date": date})
    return reply


def _answer(state: State, face: _Face, request: Request, now: float, offset: float) -> Reply:
    if request.method != "POST":
        raise RefusedError("UnsupportedProtocol", "HTTP(S) with the method POST is supported.")
    signer = verify(request, state.settings.accounts, now + offset)
    interface, is_query = _interface(state, signer, request.headers)
    region = _region(interface, request.headers)
    parameters = _parameters(request)
    model = interface.models[0] if is_query else interface.model(parameters)
    if model is None:
        raise RefusedError("InvalidParameterValue.Model", "The model does not exist.")
    call = Call(
        face=face,
        interface=interface,
        model=model,
        account=signer.account.secret_id,
        region=region,
        parameters=parameters,
    )
    if is_query:
        return query(state, call, _job_id(parameters), now)
    return submit(state, call, now)


def _interface(state: State, signer: Signer, headers: Mapping[str, str]) -> tuple[Interface, bool]:
    for name in ("Action", "Version"):
        if not headers.get(f"x-tc-{name.lower()}"):
            raise RefusedError(
                "MissingParameter", f"The request is missing a required parameter `{name}`."
            )
    dialect = SIGNED.get(signer.service)
    if dialect is None:
        raise RefusedError("NoSuchProduct", "The product does not exist.")
    if headers["x-tc-version"] != dialect.version:
        raise RefusedError("NoSuchVersion", "The specified API version does not exist.")
    action = headers["x-tc-action"]
    served = SERVED.get((dialect.name, action))
    if served is None:
        raise RefusedError("InvalidAction", f"The API `{action}` does not exist.")
    interface, is_query = served
    names = {dialect.name, action, interface.name, *(model.name for model in interface.models)}
    if names & state.settings.offline:
        raise RefusedError("ActionOffline", f"The API `{action}` has been taken offline.")
    return interface, is_query


def _region(interface: Interface, headers: Mapping[str, str]) -> str:
    region = headers.get("x-tc-region") or _HOME
    if not _REGIONS.get(interface.dialect.name, _ANY_REGION).fullmatch(region):
        raise RefusedError("UnsupportedRegion", f"The region {region!r} is not supported.")
    return region


def _parameters(request: Request) -> dict[str, Any]:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip()
    if media_type != "application/json":
        raise RefusedError("InvalidRequest", "Content-Type must be application/json.")
    try:
        value = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise RefusedError("InvalidParameter", "The body is not a JSON object.")
    # What is null is not given: clients differ in whether they leave it out.
    return {name: each for name, each in value.items() if each is not None}


def _job_id(parameters: Mapping[str, Any]) -> str:
    for name in parameters:
        if name != "JobId":
            raise RefusedError("UnknownParameter", f"The parameter `{name}` is not recognized.")
    job_id = parameters.get("JobId")
    if job_id is None:
        raise RefusedError(
            "MissingParameter", "The request is missing a required parameter `JobId`."
        )
    if not isinstance(job_id, str):
        raise RefusedError("InvalidParameter", "The value type of parameter `JobId` is not valid.")
    return job_id


@attrs.frozen
class _Face:
    """Words answers as API 3.0 does. See `Face`."""

    state: State

    def accepted(self, job: Job, *, told: bool) -> Reply:
        return self._reply({"JobId": job.id} if told else {})

    def described(self, job: Job, now: float) -> Reply:
        words = job.interface.dialect.words
        phase = job.phase(now)
        fields: dict[str, Any] = {
            words.status: job.status(now),
            words.error_code: job.error if phase == "failed" else "",
            words.error_message: "The job failed." if phase == "failed" else "",
        }
        if job.interface.dialect.kind == "model3d":
            fields["ResultFile3Ds"] = self._solids(job, now) if phase == "done" else []
        else:
            fields |= self._pictures(job, phase, now)
        return self._reply(fields)

    def finished(self, job: Job, *, told: bool) -> Reply:
        if job.error:
            code = job.error if "." in job.error else f"FailedOperation.{job.error}"
            raise RefusedError(code, "The job failed.")
        names = file_names(job) if told else []
        fields: dict[str, Any] = {"ResultImage": ""}
        if "seed" in job.interface.models[0].fields:
            fields["Seed"] = job.wish.seed
        if not names:
            return self._reply(fields)
        if job.wish.inline:
            return Reply(body=self._inline(content_of(self.state, job, 0), fields))
        return self._reply({**fields, "ResultImage": file_url(self.state, job, names[0], job.ends)})

    def refused(self, error: RefusedError) -> Reply:
        self.state.refusals[error.code] += 1
        return self._reply({"Error": {"Code": error.code, "Message": error.message}})

    def _pictures(self, job: Job, phase: Phase, now: float) -> dict[str, Any]:
        done = phase == "done"
        made = [file_url(self.state, job, name, now) for name in file_names(job)] if done else []
        details = ["Success"] * (job.wish.count - job.missing)
        details += ["FailedOperation.GenerateImageFailed"] * job.missing
        return {
            "JobStatusMsg": _MESSAGES[phase],
            "ResultImage": made,
            "ResultDetails": details if done else [],
            "RevisedPrompt": [revised(job.wish)] * job.wish.count if done else [],
        }

    def _solids(self, job: Job, now: float) -> list[dict[str, str]]:
        names = file_names(job)
        return [
            {
                "Type": job.wish.format.upper(),
                "Url": file_url(self.state, job, names[index], now),
                "PreviewImageUrl": file_url(self.state, job, names[job.made + index], now),
            }
            for index in range(job.made)
        ]

    def _inline(self, make: Maker, fields: dict[str, Any]) -> Maker:
        async def body() -> bytes:
            picture = base64.b64encode(await make()).decode()
            return self._body({**fields, "ResultImage": picture})

        return body

    def _reply(self, fields: dict[str, Any]) -> Reply:
        return Reply(body=self._body(fields))

    def _body(self, fields: dict[str, Any]) -> bytes:
        return orjson.dumps({"Response": {**fields, "RequestId": self.state.request_id()}})
