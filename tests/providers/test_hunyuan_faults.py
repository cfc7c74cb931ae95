"""Every fault of the service in every dialect: what becomes of the task, and what was paid.

The emulated service runs in this process on the virtual clock; only the sockets are left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest

import holodeck_gen as hg
from helpers import drain, failure_of, opened
from holodeck_gen.errors import (
    ContentRejectedError,
    JobFailedError,
    JobTimeoutError,
    PausedError,
    SubmitUncertainError,
)
from holodeck_gen.testing import run_virtual
from holodeck_gen_plugins.stores.local import LocalStore
from holodeck_gen_providers.hunyuan import (
    Hunyuan3DOptions,
    HunyuanOptions,
    make_hunyuan,
    make_hunyuan3d,
)
from holodeck_gen_providers.hunyuan.emulator import Account, Request, Service, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ACCOUNT = Account()
ENDPOINT = "http://127.0.0.1"
KEYS = {
    "secret_id": ACCOUNT.secret_id,
    "secret_key": ACCOUNT.secret_key,
    "endpoint": ENDPOINT,
}
DIALECTS = ("tokenhub", "aiart", "hunyuan", "ai3d")

#: What ends a submit without a job id, and whether a job was made all the same.
LOSSES = {
    "drop-before-accept": 0,
    "drop-after-accept": 1,
    "stall-before-accept": 0,
    "stall-after-accept": 1,
    "http-before-accept:502": 0,
    "http-after-accept:504": 1,
    "truncate-submit": 1,
    "unparsable-submit": 1,
    "no-job-id": 1,
}


@attrs.define(eq=False)
class World:
    """An emulated service, its clock, and a network without sockets.

    Attributes:
        dead: From when to when in the loop's time nothing comes back, and what comes instead.
    """

    service: Service
    now: Any
    dead: tuple[float, float, Exception | int] = (0.0, 0.0, 502)

    @classmethod
    def of(cls, **settings: Any) -> World:
        """Inside the running loop."""
        began, loop = time.time(), asyncio.get_running_loop()
        given = {"pictures": "cheap", "job_s": 30.0, "max_jobs": 2, **settings}

        def now() -> float:
            return began + loop.time()

        service = Service(settings=Settings(**given), clock=now)
        service.listen_at(ENDPOINT)
        return cls(service=service, now=now)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        begins, ends, instead = self.dead
        if begins <= asyncio.get_running_loop().time() < ends:
            if isinstance(instead, Exception):
                raise instead
            return httpx.Response(instead, text="<html>bad gateway</html>")
        headers = {name.lower(): value for name, value in request.headers.items()}
        reply = self.service.answer(
            Request(
                method=request.method,
                path=request.url.path,
                query=request.url.query.decode(),
                headers=headers,
                body=request.content,
            )
        )
        patience = request.extensions["timeout"]["read"] if request.method == "POST" else 60.0
        await asyncio.sleep(min(reply.wait_s, patience))
        if reply.wait_s > patience:
            raise httpx.ReadTimeout("no answer", request=request)
        body = reply.body if isinstance(reply.body, bytes) else await reply.body()
        match reply.delivery:
            case "dropped":
                raise httpx.RemoteProtocolError("disconnected", request=request)
            case "truncated":
                raise httpx.ReadError("half of it", request=request)
        date = formatdate(self.now(), usegmt=True)
        sent = {"Date": date, "Content-Type": reply.media_type, **reply.headers}
        return httpx.Response(reply.status, headers=sent, content=body)

    @property
    def jobs(self) -> int:
        """Jobs that were made."""
        made: int = self.service.stats()["jobs_created"]
        return made

    @property
    def refusals(self) -> Mapping[str, int]:
        """Refused requests by code."""
        refusals: Mapping[str, int] = self.service.stats()["refusals"]
        return refusals


def factory(dialect: str) -> Any:
    def make(_: object, ctx: hg.Context) -> hg.Provider:
        if dialect == "ai3d":
            return make_hunyuan3d(Hunyuan3DOptions(**KEYS), ctx)
        given = HunyuanOptions(api_key=ACCOUNT.api_key, dialect=dialect, **KEYS)
        return make_hunyuan(given, ctx)

    return make


def run(
    dialect: str,
    tasks: Sequence[hg.Task],
    *,
    studio: Mapping[str, Any] | None = None,
    dead: tuple[float, float, Exception | int] = (0.0, 0.0, 502),
    **settings: Any,
) -> tuple[list[hg.Outcome], World]:
    """Outcomes in the order of the tasks, and the world as it is then."""

    async def main() -> tuple[list[hg.Outcome], World]:
        world = World.of(**settings)
        world.dead = dead
        outcomes: list[hg.Outcome] = []
        transport = httpx.MockTransport(world.answer)
        arguments = {"concurrency": 2, **(studio or {})}
        async with opened(factory(dialect), transport=transport, **arguments) as opened_studio:
            # Where the account is paused, the outcomes tell it, too.
            with contextlib.suppress(PausedError):
                await drain(opened_studio.map(tasks), outcomes)
        return sorted(outcomes, key=lambda outcome: outcome.index), world

    return run_virtual(main())


def one(dialect: str, faults: str = "", **fields: Any) -> tuple[hg.Outcome, World]:
    """The outcome of one task."""
    settings = {name: fields.pop(name) for name in ("offline", "studio") if name in fields}
    outcomes, world = run(dialect, [task(dialect, **fields)], faults=faults, **settings)
    return outcomes[0], world


def task(dialect: str, prompt: str = "a cat", **fields: Any) -> hg.Task:
    return hg.Task(prompt, kind="model3d" if dialect == "ai3d" else "image", **fields)


@pytest.mark.parametrize("dialect", DIALECTS)
class TestEveryDialect:
    def test_fifty_tasks_on_two_slots_meet_no_refusal(self, dialect: str) -> None:
        outcomes, world = run(dialect, [task(dialect, f"cat {i}") for i in range(50)])
        assert [outcome.ok for outcome in outcomes] == [True] * 50
        stats = world.service.stats()
        assert (world.jobs, stats["max_jobs_at_once"], stats["leaked_credentials"]) == (50, 2, 0)
        # The run is longer than a signature may be old, and this machine's clock stands still.
        assert set(world.refusals) <= {"AuthFailure.SignatureExpire"}

    @pytest.mark.parametrize("loss", LOSSES)
    def test_a_submit_without_an_answer_is_held(self, dialect: str, loss: str) -> None:
        outcome, world = one(dialect, f"{loss}@1")
        failure = failure_of(outcome)
        assert failure.state == "held"
        assert isinstance(failure.error, SubmitUncertainError)
        assert world.service.stats()["submits"] <= 1
        assert world.jobs == LOSSES[loss]

    @pytest.mark.parametrize("loss", LOSSES)
    def test_it_is_sent_again_only_where_that_is_wanted(self, dialect: str, loss: str) -> None:
        outcome, world = one(dialect, f"{loss}@1", studio={"on_uncertain": "resubmit"})
        assert outcome.ok
        assert world.jobs == LOSSES[loss] + 1

    @pytest.mark.parametrize("fault", ["throttle-submit@1-3", "slots-full@1-3"])
    def test_a_refusal_for_now_is_waited_for(self, dialect: str, fault: str) -> None:
        outcome, world = one(dialect, fault)
        assert outcome.ok
        assert world.jobs == 1

    @pytest.mark.parametrize(
        "fault",
        [
            "drop-query@1-3",
            "stall-query@1",
            "http-query:502@1-3",
            "truncate-query@1-3",
            "unparsable-query@1-3",
            "throttle-query@1-3",
            "error-query:InternalError@1-3",
            "unknown-at-first:2",
            "slow-job:5",
            "url-expired",
        ],
    )
    def test_trouble_after_the_submit_costs_nothing(self, dialect: str, fault: str) -> None:
        outcome, world = one(dialect, fault)
        assert outcome.ok, outcome
        assert world.jobs == 1

    @pytest.mark.parametrize("fault", ["job-failed:ServerError", "no-picture"])
    def test_a_failed_job_fails_its_task(self, dialect: str, fault: str) -> None:
        outcome, world = one(dialect, fault)
        failure = failure_of(outcome)
        assert failure.state == "failed"
        assert isinstance(failure.error, JobFailedError)
        assert world.jobs == 1

    def test_a_job_without_end_is_overdue_and_collectable(self, dialect: str) -> None:
        failure = failure_of(one(dialect, "never-ends")[0])
        assert failure.state == "held"
        assert isinstance(failure.error, JobTimeoutError)
        assert failure.error.job_id

    @pytest.mark.parametrize("word", ["forbidden", "indecent"])
    def test_moderation_stops_its_task_alone(self, dialect: str, word: str) -> None:
        """At the submit, and in the job."""
        tasks = [task(dialect, f"a {word} cat"), task(dialect)]
        outcomes, _ = run(dialect, tasks)
        assert [outcome.ok for outcome in outcomes] == [False, True]
        failure = failure_of(outcomes[0])
        assert (failure.state, type(failure.error)) == ("failed", ContentRejectedError)

    def test_a_stale_clock_is_mended(self, dialect: str) -> None:
        outcome, world = one(dialect, "clock:900")
        assert outcome.ok
        assert world.jobs == 1

    def test_wrong_credentials_stop_the_batch(self, dialect: str) -> None:
        other = Account(secret_key="another-secret-key", api_key="sk-another")
        tasks = [task(dialect, f"cat {i}") for i in range(10)]
        outcomes, world = run(dialect, tasks, accounts=other)
        assert not any(outcome.ok for outcome in outcomes)
        assert {failure_of(outcome).state for outcome in outcomes} == {"held"}
        assert world.jobs == 0
        assert 1 <= sum(world.refusals.values()) <= 2

    def test_a_retired_interface_stops_the_batch(self, dialect: str) -> None:
        tasks = [task(dialect, f"cat {i}") for i in range(10)]
        outcomes, world = run(dialect, tasks, offline=[dialect])
        assert not any(outcome.ok for outcome in outcomes)
        assert world.jobs == 0

    def test_a_model_that_is_gone_stops_the_batch(self, dialect: str) -> None:
        code = "400004" if dialect == "tokenhub" else "InvalidParameterValue.Model"
        tasks = [task(dialect, f"cat {i}") for i in range(10)]
        outcomes, world = run(dialect, tasks, faults=f"refuse:{code}")
        assert {failure_of(outcome).state for outcome in outcomes} == {"held"}
        assert "choose another one" in str(failure_of(outcomes[0]).error)
        assert 1 <= sum(world.refusals.values()) <= 2


@pytest.mark.parametrize("dialect", ["tokenhub", "aiart"])
class TestTenMinutesDead:
    """In the middle of a batch, downloads included."""

    @pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ConnectTimeout("")])
    def test_without_a_connection_no_task_is_lost(self, dialect: str, error: Exception) -> None:
        tasks = [task(dialect, f"cat {i}") for i in range(40)]
        outcomes, world = run(dialect, tasks, dead=(200.0, 800.0, error))
        assert [outcome.ok for outcome in outcomes] == [True] * 40
        assert (world.jobs, world.service.stats()["billed"]) == (40, 40)

    @pytest.mark.parametrize("instead", [502, httpx.ReadError("reset")])
    def test_without_answers_few_are_held_and_none_fails(
        self, dialect: str, instead: Exception | int
    ) -> None:
        tasks = [task(dialect, f"cat {i}") for i in range(40)]
        outcomes, world = run(dialect, tasks, dead=(200.0, 800.0, instead), job_sigma=0.5)
        states = Counter(outcome.state for outcome in outcomes)
        assert states["failed"] == 0
        assert states["held"] <= 2 + 10
        assert world.jobs == states["done"]


DIRECT = (
    ("tokenhub", "hy-image-lite"),
    ("tokenhub", "hy-image-v3"),
    ("tokenhub", "hy-image-v3.5-preview"),
    ("aiart", "lite"),
    ("aiart", "rapid"),
    ("hunyuan", "lite"),
)


@pytest.mark.parametrize(("dialect", "model"), DIRECT)
class TestDirect:
    def test_it_makes_a_picture(self, dialect: str, model: str) -> None:
        outcome, world = one(dialect, model=model)
        assert outcome.ok, outcome
        assert world.jobs == 1

    @pytest.mark.parametrize("loss", LOSSES)
    def test_a_lost_answer_is_held_or_failed_and_never_paid_twice(
        self, dialect: str, model: str, loss: str
    ) -> None:
        outcome, world = one(dialect, f"{loss}@1", model=model)
        failure = failure_of(outcome)
        assert world.jobs == LOSSES[loss]
        if loss == "no-job-id":
            # It answered in full, and there was no picture in it.
            assert failure.state == "failed"
        else:
            assert isinstance(failure.error, SubmitUncertainError)
            assert "no job from which" in str(failure.error)

    @pytest.mark.parametrize("word", ["forbidden", "indecent"])
    def test_moderation_is_an_end(self, dialect: str, model: str, word: str) -> None:
        failure = failure_of(one(dialect, prompt=f"a {word} cat", model=model)[0])
        assert (failure.state, type(failure.error)) == ("failed", ContentRejectedError)


def test_words_become_a_picture_and_the_picture_a_model(tmp_path: Path) -> None:
    async def main() -> tuple[hg.Artifact, World]:
        world = World.of(pictures="drawn")
        transport = httpx.MockTransport(world.answer)
        store = LocalStore(tmp_path)
        async with opened(factory("tokenhub"), store=store, transport=transport) as studio:
            picture = await studio.generate("a cat", size="512x512")
        async with opened(factory("ai3d"), store=store, transport=transport) as studio:
            task = hg.Task(inputs=[picture.artifact], kind="model3d", model="rapid")
            model = await studio.generate(task)
        return model.artifact, world

    artifact, world = run_virtual(main())
    assert (artifact.media_type, world.jobs) == ("model/gltf-binary", 2)
    assert artifact.path is not None
    assert artifact.path.suffix == ".glb"
