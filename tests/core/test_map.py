"""What feeds a run, apart from what the engine makes of it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import attrs

from helpers import collect, opened
from holodeck_gen.testing import ScriptedProvider, run_virtual

if TYPE_CHECKING:
    from collections.abc import Iterator

    import holodeck_gen as hg


@attrs.define
class Twice:
    """Makes two of each, and remembers where."""

    threads: set[threading.Thread] = attrs.field(factory=set)

    def expand(self, task: hg.Task) -> Iterator[hg.Task]:
        self.threads.add(threading.current_thread())
        yield from (attrs.evolve(task, prompt=f"{task.prompt} {i}") for i in range(2))


def test_an_expander_that_thinks_does_not_hold_up_the_loop() -> None:
    twice = Twice()

    async def main() -> list[hg.Outcome]:
        async with opened(ScriptedProvider(), expand=[twice]) as studio:
            return await collect(studio.map(["a", "b"], ordered=True))

    outcomes = run_virtual(main())
    assert [each.task.prompt for each in outcomes] == ["a 0", "a 1", "b 0", "b 1"]
    assert threading.current_thread() not in twice.threads
