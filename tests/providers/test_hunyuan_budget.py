"""The bill of the emulated service against the budget, on virtual time and without a socket."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from decimal import Decimal
from typing import Any

import httpx
import pytest

import holodeck_gen as hg
from helpers import drain, opened
from holodeck_gen.errors import PausedError
from holodeck_gen.testing import run_virtual
from holodeck_gen_providers.hunyuan import HunyuanOptions, make_hunyuan
from holodeck_gen_providers.hunyuan.emulator import Account, Request, Service, Settings
from hunyuan_service import NOON

PRICE = Decimal("0.2")
TASKS = 100
#: Whatever can happen to a submit, in between, and to a job; by the seed.
FAULTS = ",".join(
    [
        "drop-before-accept=0.04",
        "drop-after-accept=0.04",
        "stall-after-accept=0.02",
        "http-after-accept=0.03",
        "truncate-submit=0.02",
        "no-job-id=0.02",
        "throttle-submit=0.05",
        "slots-full=0.05",
        "refuse:InternalError=0.02",
        "drop-query=0.05",
        "error-query:InternalError=0.02",
        "job-failed=0.1",
        "no-picture=0.03",
        "never-ends=0.02",
        "slow-job=0.05",
        "drop-download=0.05",
    ]
)


class Wired(httpx.AsyncBaseTransport):
    """Carries requests to a service in this process."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path, _, query = request.url.raw_path.decode().partition("?")
        reply = self._service.answer(
            Request(
                method=request.method,
                path=path,
                query=query,
                headers={name.lower(): value for name, value in request.headers.items()},
                body=await request.aread(),
            )
        )
        await asyncio.sleep(0.05 + reply.wait_s)
        if reply.delivery != "whole":
            raise httpx.ReadError("the connection was closed")
        body = reply.body if isinstance(reply.body, bytes) else await reply.body()
        headers = {"Content-Type": reply.media_type, **reply.headers}
        return httpx.Response(reply.status, headers=headers, content=body, request=request)


def bill(seed: int, *, budget: str, **settings: Any) -> tuple[Decimal, Decimal, int]:
    """What the service charges in the end, what was counted, and tasks done."""

    async def main() -> tuple[Decimal, Decimal, int]:
        loop = asyncio.get_running_loop()
        service = Service(
            settings=Settings(
                pictures="cheap", job_sigma=0.5, max_jobs=16, seed=seed, faults=FAULTS, **settings
            ),
            clock=lambda: NOON + loop.time(),
        )
        account = Account()

        def make(_: object, ctx: hg.Context) -> Any:
            options = HunyuanOptions(
                dialect="tokenhub", api_key=account.api_key, endpoint=service.base_url
            )
            return make_hunyuan(options, ctx)

        outcomes: list[hg.Outcome] = []
        async with opened(
            make,
            transport=Wired(service),
            concurrency=16,
            budget=budget,
            backoff_s=0.5,
            job_timeout_s=120.0,
            config=hg.Config.of(
                {"prices": {"hunyuan": {"amount": str(PRICE), "currency": "CNY"}}}, environ={}
            ),
        ) as studio:
            with suppress(PausedError):
                await drain(studio.map(f"cat {i}" for i in range(TASKS)), outcomes)
            counted = studio.describe().spending
        await asyncio.sleep(3600)
        assert counted.in_flight == ()
        spent = sum((each.amount for each in counted.spent), Decimal())
        return service.stats()["billed"] * PRICE, spent, sum(outcome.ok for outcome in outcomes)

    random.seed(seed)
    return run_virtual(main())


def check(seed: int) -> None:
    charged, spent, done = bill(seed, budget="10 CNY", bill_failures=bool(seed % 2))
    assert charged <= spent
    assert spent == 10, "all of it is used, and no more"
    assert done >= 25


@pytest.mark.parametrize("seed", range(6))
def test_the_bill_is_not_larger_than_the_budget(seed: int) -> None:
    check(seed)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_bill_is_not_larger_than_the_budget_in_200_runs() -> None:
    for seed in range(200):
        check(seed)
