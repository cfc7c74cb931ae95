"""Room for pictures: as many at once as fit, in their order, and none is forgotten."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

import holodeck_gen as hg
from helpers import collect, opened
from holodeck_gen._results import room
from holodeck_gen._results.room import Room
from holodeck_gen._stages.threads import StageThreads
from holodeck_gen.testing import Script, ScriptedProvider, run_virtual
from pictures import encoded, gradient

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


@attrs.define
class Held:
    """How much is in a room, and the order in which it came."""

    now: int = 0
    most: int = 0
    order: list[int] = attrs.field(factory=list)

    async def hold(self, room: Room, number: int, size: int, for_s: float = 1.0) -> None:
        async with room.taken(size):
            self.order.append(number)
            self.now += min(size, room.total)
            self.most = max(self.most, self.now)
            try:
                await asyncio.sleep(for_s)
            finally:
                self.now -= min(size, room.total)


@given(
    sizes=st.lists(st.tuples(st.integers(0, 15), st.floats(0, 3), st.booleans()), max_size=12),
    after_s=st.floats(0, 5),
)
def test_it_is_never_too_full_and_everybody_gets_in(
    sizes: list[tuple[int, float, bool]], after_s: float
) -> None:
    async def main() -> None:
        room, held = Room(total=10), Held()
        work = [
            asyncio.ensure_future(held.hold(room, number, size, for_s))
            for number, (size, for_s, _) in enumerate(sizes)
        ]
        await asyncio.sleep(after_s)
        for each, (_, _, cancelled) in zip(work, sizes, strict=True):
            if cancelled:
                each.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        assert held.most <= 10
        assert held.order == sorted(held.order)
        stays = {number for number, (_, _, cancelled) in enumerate(sizes) if not cancelled}
        assert stays <= set(held.order)
        # Nothing of it is lost: all of it can be had again.
        async with room.taken(10):
            pass

    run_virtual(main())


def test_who_gives_up_in_front_lets_the_others_in() -> None:
    async def main() -> list[int]:
        room, held = Room(total=10), Held()
        work = [
            asyncio.ensure_future(held.hold(room, number, size, 100.0))
            for number, size in enumerate([6, 6, 3])
        ]
        await asyncio.sleep(1)
        assert held.order == [0]
        work[1].cancel()
        await asyncio.sleep(1)
        for each in work:
            each.cancel()
        return held.order

    assert run_virtual(main()) == [0, 2]


def test_pictures_in_the_stages_at_once_are_bounded_by_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 40×30 pixels three fit in here, however many threads there are."""
    held = Held()

    async def run(_threads: StageThreads, stage: Any, *args: Any, **_: Any) -> Any:
        held.now += 1
        held.most = max(held.most, held.now)
        await asyncio.sleep(1)
        held.now -= 1
        return stage(*args)

    monkeypatch.setattr(room, "PIXELS", 3 * 40 * 30)
    monkeypatch.setattr(StageThreads, "run", run)
    picture = hg.Bytes(data=encoded("png", gradient((40, 30))))
    provider = ScriptedProvider(
        limits=hg.Limits(max_jobs=12), default=Script(job_s=0.0, outputs=(picture,))
    )

    async def main() -> list[hg.Outcome]:
        async with opened(provider, output=tmp_path, process=[lambda file, _: file]) as studio:
            tasks = [hg.Task("a door", id=str(number)) for number in range(12)]
            return await collect(studio.map(tasks))

    assert all(outcome.ok for outcome in run_virtual(main()))
    assert held.most == 3
