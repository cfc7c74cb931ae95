"""A stand-in for Tencent's service, for tests of the client side: it answers and remembers."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest

import holodeck_gen as hg
from holodeck_gen.errors import InvalidTaskError
from holodeck_gen.testing import run_virtual
from holodeck_gen_providers.hunyuan import (
    Hunyuan3DOptions,
    HunyuanOptions,
    make_hunyuan,
    make_hunyuan3d,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SECRET_ID = "AKIDcanary0000000000000000000000id01"
SECRET_KEY = "canarySecretKey000000000000000key1"
API_KEY = "sk-canary00000000000000000000000api1"
TOKEN = "canaryToken0000000000000000000000tok"
SECRETS = (SECRET_KEY, API_KEY, TOKEN)
#: Seconds since the epoch at which the fakes live, unless told otherwise.
NOW = 1_795_600_000.0


@attrs.define(eq=False)
class Capture:
    """A logger that keeps what it is told."""

    events: list[tuple[str, str, dict[str, Any]]] = attrs.field(factory=list)

    def __getattr__(self, level: str) -> Any:
        return lambda event, **facts: self.events.append((level, event, facts))


@attrs.define(eq=False)
class FakeService:
    """Gives scripted replies in order, the last one again and again.

    Attributes:
        replies: What comes back: responses, errors of the network, or functions of the request.
        requests: What came in.
        log: What the providers logged.
    """

    replies: list[Any] = attrs.field(factory=list)
    requests: list[httpx.Request] = attrs.field(factory=list)
    log: Capture = attrs.field(factory=Capture)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if callable(reply) and not isinstance(reply, httpx.Response):
            reply = reply(request)
        if isinstance(reply, Exception):
            raise reply
        assert isinstance(reply, httpx.Response)
        return reply

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.content) for request in self.requests]

    def context(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        wall_clock: Callable[[], float] = lambda: NOW,
    ) -> hg.Context:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self.answer))
        return hg.Context(
            http=lambda: client,
            wall_clock=wall_clock,
            environ={} if environ is None else environ,
            log=self.log,  # type: ignore[arg-type]
        )

    def provider(self, dialect: str, **options: Any) -> Any:
        """A provider in one dialect, with credentials."""
        keys = {"secret_id": SECRET_ID, "secret_key": SECRET_KEY}
        if dialect == "ai3d":
            return make_hunyuan3d(Hunyuan3DOptions(**{**keys, **options}), self.context())
        keys = {"api_key": API_KEY} if dialect == "tokenhub" else keys
        given = HunyuanOptions(**{**keys, "dialect": dialect, **options})
        return make_hunyuan(given, self.context())


def tc3(status: int = 200, *, date: float | None = None, **fields: Any) -> httpx.Response:
    """An answer of API 3.0."""
    return plain({"Response": {**fields, "RequestId": "req-1"}}, status=status, date=date)


def tc3_error(code: str, message: str = "told", *, date: float | None = None) -> httpx.Response:
    """An error of API 3.0, which comes with status 200."""
    return tc3(Error={"Code": code, "Message": message}, date=date)


def plain(
    body: Any, *, status: int = 200, date: float | None = None, **headers: str
) -> httpx.Response:
    """Any JSON."""
    stamp = {} if date is None else {"Date": formatdate(date, usegmt=True)}
    return httpx.Response(status, json=body, headers={**stamp, **headers})


def verify(request: httpx.Request, *, secret_id: str = SECRET_ID, key: str = SECRET_KEY) -> str:
    """Check a signature by the published recipe, in no way by the code under test.

    Returns:
        The service that the scope names.
    """
    sent = {name.decode().lower(): value.decode() for name, value in request.headers.raw}
    algorithm, _, rest = sent["authorization"].partition(" ")
    assert algorithm == "TC3-HMAC-SHA256"
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    identity, date, service, end = parts["Credential"].split("/")
    assert (identity, end) == (secret_id, "tc3_request")
    stamp = sent["x-tc-timestamp"]
    assert date == time.strftime("%Y-%m-%d", time.gmtime(int(stamp)))
    names = parts["SignedHeaders"].split(";")
    assert names == sorted(names)
    assert {"content-type", "host"} <= set(names)
    lines = "".join(f"{name}:{sent[name]}\n" for name in names)
    body = hashlib.sha256(request.content).hexdigest()
    canonical = "\n".join(["POST", "/", "", lines, ";".join(names), body])
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join([algorithm, stamp, f"{date}/{service}/tc3_request", digest])
    derived = ("TC3" + key).encode()
    for step in (date, service, "tc3_request", text):
        derived = hmac.new(derived, step.encode(), hashlib.sha256).digest()
    assert derived.hex() == parts["Signature"]
    return service


#: A result's address, with a query that must not be seen in logs.
URL = "https://results.example.com/1.png?q-sign-time=1;2"


@attrs.define(eq=False)
class JobService:
    """Every dialect's jobs in the least possible: each is queued, runs, and is done."""

    polls: dict[str, int] = attrs.field(factory=dict)
    made: dict[str, int] = attrs.field(factory=dict)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        body = json.loads(request.content)
        action = request.headers.get("X-TC-Action") or request.url.path
        if "Submit" in action or action.endswith("/submit"):
            job = f"job-{len(self.polls)}"
            self.polls[job], self.made[job] = 0, body.get("Num", 1)
            hub = {"id": job, "status": "queued", "request_id": "req-1"}
            return tc3(JobId=job) if action[0] != "/" else plain(hub)
        if "Query" in action or action.endswith("/query"):
            return self._status(body, action)
        if action == "/v1/wand/hunyuan-image/v35-generation":
            image = {"url": URL, "width": 1024, "height": 1024}
            return plain({"id": "1", "choices": [{"delta": {"image": image}}]})
        if action[0] == "/":
            return plain({"created": 1, "request_id": "req-1", "data": [{"url": URL}]})
        return tc3(ResultImage=URL)

    def _status(self, body: Mapping[str, Any], action: str) -> httpx.Response:
        job = body.get("JobId") or body["id"]
        self.polls[job] += 1
        step = min(self.polls[job], 3) - 1
        urls = [URL] * self.made[job]
        if action[0] == "/":
            data = [{"url": url, "revised_prompt": "told otherwise"} for url in urls]
            status = ("queued", "running", "completed")[step]
            return plain({"status": status, "data": data if step == 2 else [], "request_id": "r"})
        if "3D" in action:
            files = [{"Type": "GLB", "Url": URL, "PreviewImageUrl": "https://p.example.com/1"}]
            status = ("WAIT", "RUN", "DONE")[step]
            return tc3(Status=status, ErrorCode="", ResultFile3Ds=files if step == 2 else [])
        return tc3(
            JobStatusCode=("1", "2", "5")[step],
            JobErrorCode="",
            ResultImage=urls if step == 2 else [],
            ResultDetails=["Success"] * len(urls) if step == 2 else [],
            RevisedPrompt=["told otherwise"] * len(urls),
        )


def prepared(dialect: str, task: hg.Task) -> hg.Prepared:
    """What a dialect makes of a task."""

    async def main() -> hg.Prepared:
        found: hg.Prepared = FakeService().provider(dialect).prepare(task)
        return found

    return run_virtual(main())


def body(dialect: str, prompt: str = "a", **fields: Any) -> dict[str, Any]:
    """The request that a task becomes, without its reference pictures."""
    return dict(prepared(dialect, hg.Task(prompt, **fields)).request["body"])


def refusal(dialect: str, prompt: str = "a", **fields: Any) -> str:
    """Why a task is refused before any cost."""
    with pytest.raises(InvalidTaskError) as caught:
        prepared(dialect, hg.Task(prompt, **fields))
    return str(caught.value)
