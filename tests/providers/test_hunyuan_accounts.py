"""Several accounts of the real provider, as the configuration names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import holodeck_gen as hg
from helpers import FakeStore, result_of
from holodeck_gen_providers.hunyuan.emulator import Account, HunyuanEmulator, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

SECOND = Account(secret_id="AKIDsecond", secret_key="second-secret", api_key="sk-second")


@pytest.fixture(scope="module")
def emulator() -> Iterator[HunyuanEmulator]:
    settings = Settings(accounts=(Account(), SECOND), max_jobs=2, job_s=0.2, pictures="cheap")
    with HunyuanEmulator(settings) as emulator:
        yield emulator


def studio(emulator: HunyuanEmulator, accounts: list[dict[str, Any]]) -> hg.Studio:
    tables = {"endpoint": emulator.endpoint, "dialect": "tokenhub", "accounts": accounts}
    environ = {"FIRST": Account().api_key, "SECOND": SECOND.api_key, "WRONG": "sk-wrong"}
    return hg.Studio(
        "hunyuan",
        store=FakeStore(),
        journal=None,
        concurrency=2,
        config=hg.Config.of({"providers": {"hunyuan": tables}}, environ=environ),
    )


def test_both_accounts_are_used(emulator: HunyuanEmulator) -> None:
    with studio(emulator, [{"api_key": {"env": "FIRST"}}, {"api_key": {"env": "SECOND"}}]) as both:
        info = both.describe()
        outcomes = both.generate_all([hg.Task(f"a lake, {i}") for i in range(4)])
    assert (info.provider, info.jobs_at_once) == ("hunyuan (2 accounts)", 4)
    assert all(outcome.ok for outcome in outcomes)
    most = emulator.stats()["max_jobs_at_once_by_quota"].values()
    assert sorted(most) == [2, 2]


def test_an_account_with_a_wrong_key_leaves_the_work_to_the_other(
    emulator: HunyuanEmulator,
) -> None:
    with studio(emulator, [{"api_key": {"env": "WRONG"}}, {"api_key": {"env": "SECOND"}}]) as both:
        outcomes = both.generate_all([hg.Task(f"a sea, {i}") for i in range(3)])
    assert sum(result_of(outcome).attempts for outcome in outcomes) <= 3 + 2
