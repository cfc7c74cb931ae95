"""A run that is one of several on an account, and tells when it sent its requests.

Run with ``-m e2e.sending FOLDER``: it says ``ready``, waits for a line, and prints a JSON object
of the system's monotonic times by action.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import holodeck_gen as hg
from holodeck_gen._accounts.accounts import Account
from holodeck_gen._pacing.pace import Pace
from holodeck_gen.testing import Script, ScriptedProvider

if TYPE_CHECKING:
    from holodeck_gen._model.provider import Action

#: Requests a second that the account allows, of each sort, and tasks of one run.
RATE, TASKS = 30, 25


def _watch(times: dict[str, list[float]]) -> None:
    """Write down when each request leaves."""
    pace_of, departure = Account.pace, Pace.departure
    names: dict[Pace, str] = {}

    def pace(self: Account, provider: hg.Provider, action: Action) -> Pace:
        found = pace_of(self, provider, action)
        names[found] = action
        return found

    async def watched(self: Pace) -> float:
        at = await departure(self)
        times.setdefault(names[self], []).append(at)
        return at

    setattr(Account, "pace", pace)  # noqa: B010 -- a method cannot be assigned to
    setattr(Pace, "departure", watched)  # noqa: B010


async def _work(folder: Path) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {}
    _watch(times)
    limits = hg.Limits(max_jobs=100, submit_rate=RATE, poll_rate=RATE, poll_interval_s=0.05)
    provider = ScriptedProvider(limits=limits, default=Script(job_s=0.2))
    async with hg.AsyncStudio(
        provider,
        output=folder,
        journal=None,
        config=hg.Config.of({}, environ={}),
        registry=hg.Registry(),
    ) as studio:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        async for outcome in studio.map([f"picture {i}" for i in range(TASKS)]):
            assert outcome.ok, outcome
    return times


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(_work(Path(sys.argv[1])))))
