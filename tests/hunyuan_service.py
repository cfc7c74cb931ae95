"""The emulated service on a clock that tests move, and clients that speak to it directly."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import attrs

from holodeck_gen_providers.hunyuan.emulator import Account, Reply, Request, Service, Settings
from hunyuan_signing import as_json, signed_headers

#: 2026-11-25 12:00:00 UTC.
NOON = 1_795_608_000.0
ACCOUNT = Account()
VERSIONS = {"hunyuan": "2023-09-01", "aiart": "2022-12-29", "ai3d": "2025-05-13"}


@attrs.define
class Clock:
    """Seconds since the epoch, moved by hand."""

    now: float = NOON

    def __call__(self) -> float:
        return self.now


@attrs.define(init=False)
class Bench:
    """A service, its clock, and one client for every dialect."""

    clock: Clock
    service: Service

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        settings = {"pictures": "cheap", "job_s": 10.0, **settings}
        self.service = Service(settings=Settings(**settings), clock=self.clock)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now += seconds

    def signed(self, service: str, action: str, parameters: Any, **changes: Any) -> Request:
        """A signed request; `changes` go to the signer, ``body`` replaces the body afterwards."""
        body = parameters if isinstance(parameters, bytes) else as_json(parameters)
        sent = changes.pop("body", body)
        dropped = changes.pop("without", ())
        headers = signed_headers(
            action,
            **{
                "version": VERSIONS.get(service, "2020-01-01"),
                "body": body,
                "service": service,
                "secret_id": ACCOUNT.secret_id,
                "secret_key": ACCOUNT.secret_key,
                "timestamp": int(self.clock.now),
                **changes,
            },
        )
        headers = {name: value for name, value in headers.items() if name not in dropped}
        return Request(headers=headers, body=sent)

    def call(self, service: str, action: str, parameters: Any, **changes: Any) -> dict[str, Any]:
        """The ``Response`` of a signed request."""
        reply = self.service.answer(self.signed(service, action, parameters, **changes))
        assert (reply.status, reply.media_type) == (200, "application/json")
        response: dict[str, Any] = json.loads(content(reply))["Response"]
        assert len(response["RequestId"]) == 36
        return response

    def code(self, service: str, action: str, parameters: Any, **changes: Any) -> str:
        """The error code of a signed request; empty where there is none."""
        response = self.call(service, action, parameters, **changes)
        return str(response.get("Error", {}).get("Code", ""))

    def post(
        self, path: str, parameters: Any, *, key: str = ACCOUNT.api_key
    ) -> tuple[Reply, dict[str, Any]]:
        """The reply to a request with a bearer key, and its JSON."""
        reply = self.send(path, parameters, key=key)
        return reply, json.loads(content(reply))

    def send(self, path: str, parameters: Any, *, key: str = ACCOUNT.api_key) -> Reply:
        """The reply to a request with a bearer key."""
        return self.service.answer(
            Request(
                path=path,
                headers={
                    "authorization": f"Bearer {key}",
                    "content-type": "application/json",
                    "host": "127.0.0.1",
                },
                body=as_json(parameters),
            )
        )

    def get(self, url: str, **headers: str) -> Reply:
        """A download."""
        path, _, query = url.removeprefix("http://127.0.0.1").partition("?")
        return self.service.answer(Request(method="GET", path=path, query=query, headers=headers))

    @property
    def stats(self) -> Any:
        """The service's counters."""
        return self.service.stats()


def content(reply: Reply) -> bytes:
    """The bytes of a reply."""
    body = reply.body
    if isinstance(body, bytes):
        return body

    async def made() -> bytes:
        return await body()

    return asyncio.run(made())
