"""For authors of plugins: virtual time, a provider that follows a script, and a contract.

Nothing here needs pytest. `run_virtual` makes tests of minutes take milliseconds;
`ScriptedProvider` misbehaves as told and remembers what it saw; a test class that inherits
`ProviderContract` checks a provider against what the engine relies on.
"""

from __future__ import annotations

import asyncio
import json
import pickle
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._model.codec import from_json, to_json
from holodeck_gen._model.provider import JobRef, JobStatus, Limits, Provider, lacks
from holodeck_gen._model.task import Task
from holodeck_gen._model.values import thaw
from holodeck_gen._scripted import PNG, Act, Script, ScriptedJob, ScriptedProvider
from holodeck_gen._virtual import VirtualLoop, run_virtual
from holodeck_gen.errors import InvalidTaskError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "PNG",
    "Act",
    "ProviderContract",
    "Script",
    "ScriptedJob",
    "ScriptedProvider",
    "VirtualLoop",
    "run_virtual",
]


class ProviderContract:
    """What the engine relies on. Inherit it in a class named ``Test…`` and say what to test.

    Override `make_provider`, and where the provider does not draw plain pictures, `good_tasks`
    and `bad_tasks`. `secrets` are what may appear nowhere.
    """

    secrets: tuple[str, ...] = ()

    def make_provider(self) -> Provider:
        """A provider that needs no network; called inside the running loop."""
        raise NotImplementedError

    def good_tasks(self) -> Sequence[Task]:
        """Tasks that it can do, quick and small."""
        return [Task("a red cat", size="64x64", seed=7), Task("dawn", n=2, size=(64, 64))]

    def bad_tasks(self) -> Sequence[Task]:
        """Tasks that it must refuse before any cost."""
        return [Task("a", provider_options={"no-such-option": 1})]

    def test_it_has_the_attributes_of_a_provider(self) -> None:
        async def main() -> None:
            provider = self.make_provider()
            assert lacks(provider) == []
            assert provider.name
            assert provider.billing in ("paid", "free")
            assert isinstance(provider.limits, Limits)
            for task in self.good_tasks():
                assert isinstance(provider.quota_key(task), str)

        run_virtual(main())

    def test_prepare_is_pure_and_repeatable(self) -> None:
        async def main() -> None:
            one, other = self.make_provider(), self.make_provider()
            for task in self.good_tasks():
                first = one.prepare(task)
                assert first == one.prepare(task) == other.prepare(task)
                assert first.per_job >= 1

        run_virtual(main())

    def test_prepare_refuses_bad_tasks(self) -> None:
        async def main() -> None:
            provider = self.make_provider()
            for task in self.bad_tasks():
                refusal: InvalidTaskError | None = None
                try:
                    provider.prepare(task)
                except InvalidTaskError as error:
                    refusal = error
                assert refusal is not None, f"prepare took {task}"
                copy = pickle.loads(pickle.dumps(refusal))
                assert (type(copy), vars(copy)) == (type(refusal), vars(refusal))

        run_virtual(main())

    def test_requests_and_jobs_survive_json(self) -> None:
        async def main() -> None:
            provider = self.make_provider()
            for task in self.good_tasks():
                prepared = provider.prepare(task)
                read = json.loads(json.dumps(thaw(prepared.request)))
                assert attrs.evolve(prepared, request=read) == prepared
                answer = await provider.submit(prepared.request, key="contract#0")
                if isinstance(answer, JobRef):
                    assert from_json(json.loads(json.dumps(to_json(answer))), JobRef) == answer

        run_virtual(main())

    def test_a_job_ends_with_its_pictures(self) -> None:
        async def main() -> None:
            provider = self.make_provider()
            for task in self.good_tasks():
                prepared = provider.prepare(task)
                share = attrs.evolve(task, n=min(task.n, prepared.per_job))
                request = provider.prepare(share).request
                answer = await provider.submit(request, key=f"contract-{task.prompt}#0")
                status = answer if isinstance(answer, JobStatus) else await provider.poll(answer)
                while not status.final:
                    assert isinstance(answer, JobRef), "an answer at once is final"
                    await asyncio.sleep(provider.limits.poll_interval_s)
                    status = await provider.poll(answer)
                assert status.phase == "done", status
                assert len(status.outputs) == share.n

        run_virtual(main())

    def test_no_secret_leaves_it(self) -> None:
        async def main() -> None:
            provider = self.make_provider()
            key = provider.account_key()
            assert key == self.make_provider().account_key()
            told = [key, repr(provider)]
            told += [repr(provider.prepare(task)) for task in self.good_tasks()]
            for secret in self.secrets:
                assert not any(secret in text for text in told)

        run_virtual(main())
