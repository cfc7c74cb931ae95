"""Our own client against the emulator over real sockets: what only a network can do to it.

Whatever needs no socket is tried on the virtual clock elsewhere.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import attrs
import pytest

import holodeck_gen as hg
from helpers import collect, failure_of, opened
from holodeck_gen.errors import DownloadError, ProcessingError, SubmitUncertainError
from holodeck_gen_providers.hunyuan import (
    Hunyuan3DOptions,
    HunyuanOptions,
    make_hunyuan,
    make_hunyuan3d,
)
from holodeck_gen_providers.hunyuan.emulator import AsyncHunyuanEmulator, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

DIALECTS = ("tokenhub", "aiart", "hunyuan", "ai3d")


class Hurried:
    """The provider, polled every 50 ms: the emulator makes its pictures at once."""

    def __init__(self, provider: hg.Provider) -> None:
        self._provider = provider

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    @property
    def limits(self) -> hg.Limits:
        return attrs.evolve(self._provider.limits, poll_interval_s=0.05)

    def limits_for(self, task: hg.Task) -> hg.Limits:
        return self.limits


def run(
    dialect: str, faults: str, *, tasks: int = 1, **studio: Any
) -> tuple[list[hg.Outcome], Mapping[str, Any]]:
    """The outcomes and the service's counters."""

    async def main() -> tuple[list[hg.Outcome], Mapping[str, Any]]:
        settings = Settings(job_s=0.0, pictures="cheap", max_jobs=2, faults=faults)
        async with AsyncHunyuanEmulator(settings) as emulator:

            def make(_: object, ctx: hg.Context) -> Any:
                ctx = attrs.evolve(ctx, environ=emulator.environ)
                if dialect == "ai3d":
                    return Hurried(make_hunyuan3d(Hunyuan3DOptions(), ctx))
                return Hurried(make_hunyuan(HunyuanOptions(dialect=dialect), ctx))

            kind = "model3d" if dialect == "ai3d" else "image"
            wishes = [hg.Task(f"cat {number}", kind=kind) for number in range(tasks)]
            arguments = {"backoff_s": 0.05, "concurrency": 2, **studio}
            async with opened(make, **arguments) as opened_studio, asyncio.timeout(60):
                outcomes = await collect(opened_studio.map(wishes))
            return outcomes, emulator.stats()

    return asyncio.run(main())


@pytest.mark.parametrize("dialect", DIALECTS)
class TestSubmit:
    @pytest.mark.parametrize(
        ("fault", "jobs"),
        [
            ("drop-before-accept", 0),
            ("drop-after-accept", 1),
            ("stall-after-accept:30", 1),
            ("truncate-submit", 1),
            ("http-after-accept", 1),
        ],
    )
    def test_an_answer_that_is_lost_on_the_way_is_not_paid_twice(
        self, dialect: str, fault: str, jobs: int
    ) -> None:
        outcomes, stats = run(dialect, f"{fault}@1", request_timeout_s=0.5)
        failure = failure_of(outcomes[0])
        assert failure.state == "held"
        assert isinstance(failure.error, SubmitUncertainError)
        assert (stats["submits"], stats["jobs_created"]) == (1, jobs)


@pytest.mark.parametrize("dialect", DIALECTS)
class TestDownload:
    @pytest.mark.parametrize(
        "fault",
        [
            "drop-download",
            "http-download",
            "truncate-download",
            "oversized",
            "html-instead",
            "drop-query",
            "truncate-query",
        ],
    )
    def test_trouble_that_passes_costs_nothing(self, dialect: str, fault: str) -> None:
        outcomes, stats = run(dialect, f"{fault}@1")
        assert outcomes[0].ok, outcomes[0]
        assert (stats["jobs_created"], stats["faults"]) == (1, {fault: 1})

    @pytest.mark.parametrize(
        ("fault", "downloads"),
        [
            ("redirect", True),
            ("result-url", False),
            ("result-url:file:///etc/passwd", False),
            ("result-url:https://[fe80::1]:1/x", False),
        ],
    )
    def test_what_leads_elsewhere_is_not_followed(
        self, dialect: str, fault: str, downloads: bool
    ) -> None:
        outcomes, stats = run(dialect, fault)
        failure = failure_of(outcomes[0])
        assert isinstance(failure.error, DownloadError), failure.error
        assert failure.job_id
        assert (stats["jobs_created"], stats["downloads"] > 0) == (1, downloads)


@pytest.mark.parametrize("fault", ["gzip-bomb:130", "endless"])
def test_what_is_too_large_is_not_fetched_whole(fault: str) -> None:
    outcomes, stats = run("tokenhub", fault)
    assert isinstance(failure_of(outcomes[0]).error, DownloadError)
    # Once more where the poll after it tells another address.
    assert stats["downloads"] in (1, 2)


@pytest.mark.parametrize(
    "fault",
    [
        "bomb:20000",
        "broken-picture",
    ],
)
def test_a_picture_that_is_none_is_found_out(fault: str) -> None:
    outcomes, stats = run("tokenhub", fault)
    assert isinstance(failure_of(outcomes[0]).error, ProcessingError | DownloadError)
    assert stats["jobs_created"] == 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_pictures_come_with_nothing_leaked_or_refused(dialect: str) -> None:
    outcomes, stats = run(dialect, "", tasks=6)
    assert all(outcome.ok for outcome in outcomes)
    assert (stats["jobs_created"], stats["downloads"], stats["billed"]) == (6, 6, 6)
    assert (stats["refusals"], stats["leaked_credentials"]) == ({}, 0)
    assert stats["max_jobs_at_once"] <= 2
