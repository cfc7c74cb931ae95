"""A handle on a task from another place: another thread, or another process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

import holodeck_gen as hg
from helpers import failure_of, no_plugins, result_of
from holodeck_gen import _attach
from holodeck_gen._scripted import Script
from holodeck_gen.errors import (
    ConfigError,
    ContentRejectedError,
    JournalError,
    SubmitUncertainError,
    UnknownNameError,
)
from holodeck_gen.testing import ScriptedProvider, run_virtual
from runs import CAT, DOG, Runs

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "out")


def attached(runs: Runs, id: str = "cat", **arguments: Any) -> hg.Attached:
    arguments = {"provider": runs.provider, "config": hg.Config.of({}, environ={}), **arguments}
    return hg.attach(id, journal=runs.folder, **arguments)


def outcome_of(handle: hg.Attached, **arguments: Any) -> hg.Outcome:
    return run_virtual(handle.outcome_async(**arguments))


class TestNobodyWorks:
    def test_a_finished_task_needs_no_provider(self, runs: Runs) -> None:
        before = runs.run(CAT)["cat"]
        handle = hg.attach("cat", journal=runs.journal)
        assert handle.status() == "done"
        assert handle.result().artifacts == result_of(before).artifacts
        assert handle.result().resumed

    def test_a_failed_task_raises_what_it_failed_with(self, runs: Runs) -> None:
        runs.provider.scripts = {"a cat": Script(error=ContentRejectedError("no", code="C"))}
        runs.run(CAT)
        handle = hg.attach("cat", journal=runs.journal)
        assert handle.status() == "failed"
        with pytest.raises(ContentRejectedError, match="no") as raised:
            handle.result(timeout=5)
        assert raised.value.code == "C"

    def test_a_job_is_gone_on_with(self, runs: Runs) -> None:
        runs.killed(CAT, DOG, after_s=5)
        handle = attached(runs)
        assert handle.status() == "running"
        outcome = result_of(outcome_of(handle))
        assert outcome.artifacts[0].path is not None
        assert outcome.artifacts[0].path.parent == runs.folder
        assert handle.status() == "done"
        assert runs.jobs == 2

    def test_what_was_not_sent_is_sent(self, runs: Runs) -> None:
        runs.killed(CAT, DOG, after_s=5, concurrency=1)
        handle = attached(runs, "dog")
        assert handle.status() == "waiting"
        assert outcome_of(handle).ok
        assert runs.jobs == 2

    def test_an_uncertain_task_is_held(self, runs: Runs) -> None:
        runs.provider.scripts = {"a cat": Script(submits=["lose"])}
        runs.run(CAT)
        handle = attached(runs)
        assert handle.status() == "held"
        failure = failure_of(outcome_of(handle))
        assert (failure.state, type(failure.error)) == ("held", SubmitUncertainError)
        assert runs.jobs == 1

    def test_a_key_without_an_id(self, runs: Runs) -> None:
        (key,) = runs.run("a bird")
        assert attached(runs, key).status() == "done"

    def test_too_late_the_job_stays(self, runs: Runs) -> None:
        runs.provider.scripts = {"a cat": Script(job_s=100)}
        runs.killed(CAT, after_s=5)
        with pytest.raises(TimeoutError):
            outcome_of(attached(runs), timeout=20)
        assert outcome_of(attached(runs), timeout=200).ok
        assert runs.jobs == 1

    def test_an_unknown_id(self, runs: Runs) -> None:
        runs.run(CAT)
        with pytest.raises(UnknownNameError, match="has no task 'bat'"):
            attached(runs, "bat")

    def test_no_journal(self, tmp_path: Path) -> None:
        with pytest.raises(JournalError, match="there is no journal"):
            hg.attach("cat", journal=tmp_path / "nothing")

    def test_a_provider_that_cannot_be_made(self, runs: Runs) -> None:
        runs.killed(CAT, after_s=5)
        handle = attached(runs, provider=None, registry=no_plugins())
        with pytest.raises((ConfigError, UnknownNameError), match="scripted"):
            outcome_of(handle)
        assert attached(runs).status() == "running"


class TestSomebodyWorks:
    def test_it_is_waited_for_in_another_thread(
        self, runs: Runs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_attach, "LOOK_S", 0.01)
        seen: list[Any] = []

        def wait(id: str) -> None:
            handle = hg.attach(id, journal=runs.folder)
            seen.append(handle.status())
            seen.append(handle.result(timeout=30))

        async def main() -> None:
            async with runs.opened(provider=Quick()) as studio:
                handle = studio.submit(CAT)
                waiting = threading.Thread(target=wait, args=(await handle.admitted(),))
                waiting.start()
                while not seen:  # noqa: ASYNC110 -- it is a thread that is waited for
                    await asyncio.sleep(0.01)
                go.set()
                assert (await handle.outcome()).ok
                await asyncio.to_thread(waiting.join)

        go = asyncio.Event()

        class Quick(ScriptedProvider):
            async def submit(self, request: hg.JsonObject, *, key: str) -> Any:
                await go.wait()
                self.default = Script(job_s=0)
                self.limits = hg.Limits(max_jobs=1, poll_interval_s=0.01)
                return await ScriptedProvider.submit(self, request, key=key)

        asyncio.run(main())
        status, result = seen
        assert status == "waiting"
        assert result_of(result).key == "cat"

    def test_time_runs_out(self, runs: Runs) -> None:
        async def main() -> None:
            async with runs.opened() as studio:
                handle = studio.submit(CAT)
                id = await handle.admitted()
                with pytest.raises(TimeoutError):
                    await attached(runs, id).outcome_async(timeout=5)
                # Whoever waits does not disturb.
                found = await attached(runs, id).outcome_async(timeout=100)
                assert found.ok
                assert (await handle.outcome()).ok

        run_virtual(main())
        assert runs.jobs == 1

    def test_an_owner_that_ends_is_followed(self, runs: Runs) -> None:
        async def main() -> hg.Outcome:
            async with runs.opened() as studio:
                id = await studio.submit(CAT).admitted()
                await asyncio.sleep(5)
                waiting = asyncio.ensure_future(attached(runs, id).outcome_async())
                await asyncio.sleep(1)
                assert not waiting.done()
            return await waiting

        assert run_virtual(main()).ok
        assert runs.jobs == 1

    def test_two_who_wait_and_go_on_make_one_job(self, runs: Runs) -> None:
        runs.killed(CAT, after_s=5)

        async def main() -> list[hg.Outcome]:
            return await asyncio.gather(*[attached(runs).outcome_async() for _ in range(3)])

        outcomes = run_virtual(main())
        assert all(outcome.ok for outcome in outcomes)
        assert runs.jobs == 1


OWNER = """
import asyncio, sys
import holodeck_gen as hg
from holodeck_gen.testing import ScriptedProvider
from holodeck_gen._scripted import Script

async def main():
    # Its job ends when somebody else's clock says so.
    provider = ScriptedProvider(default=Script(job_s=float(sys.argv[2])))
    provider.limits = hg.Limits(max_jobs=1, poll_interval_s=0.01)
    config = hg.Config.of({}, environ={})
    async with hg.AsyncStudio(provider, output=sys.argv[1], config=config) as studio:
        handle = studio.submit("a cat", id="cat")
        await handle.admitted()
        while handle.status() != "running":
            await asyncio.sleep(0.01)
        print(handle.id, flush=True)
        await handle.outcome()

asyncio.run(main())
"""

OTHER = """
import json, sys
import holodeck_gen as hg
result = hg.attach(sys.argv[1], journal=sys.argv[2]).result(timeout=60)
print(json.dumps([result.key, str(result.artifacts[0].path)]))
"""


class TestProcesses:
    def owner(self, runs: Runs, job_s: float) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", OWNER, str(runs.folder), str(job_s)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def id_of(self, owner: subprocess.Popen[str]) -> str:
        assert owner.stdout is not None
        return owner.stdout.readline().strip()

    def test_an_id_is_good_in_another_process(self, runs: Runs) -> None:
        with self.owner(runs, 1.0) as owner:
            id = self.id_of(owner)
            other = subprocess.run(
                [sys.executable, "-c", OTHER, id, str(runs.folder)],
                capture_output=True,
                text=True,
                check=False,
            )
        assert owner.returncode == 0
        assert other.returncode == 0, other.stderr
        key, path = json.loads(other.stdout)
        assert (id, key) == ("cat", "cat")
        assert path == str((runs.folder / "cat.png").resolve())

    def test_a_killed_owners_task_is_gone_on_with(self, runs: Runs) -> None:
        with self.owner(runs, 1e9) as owner:
            id = self.id_of(owner)
            owner.kill()
        # The service's side of the job, as another process sees it.
        run_virtual(_submit_one(runs.provider))
        outcome = outcome_of(attached(runs, id))
        assert outcome.ok
        assert runs.provider.created.total() == 1


async def _submit_one(provider: ScriptedProvider) -> None:
    ref = await provider.submit({"prompt": "a cat", "n": 1, "seed": None}, key="elsewhere")
    assert isinstance(ref, hg.JobRef)
    assert ref.job_id == "job-0"
