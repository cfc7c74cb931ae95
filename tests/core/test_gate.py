"""Who gets a job slot, when, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from structlog.testing import capture_logs

import holodeck_gen as hg
from helpers import failure_of, opened, result_of
from holodeck_gen._gate.local import LOOK_AGAIN_S, LocalGate
from holodeck_gen._gate.proven import Memory
from holodeck_gen._jobs.job import LONGEST_STARVED_S
from holodeck_gen._model.concurrency import Concurrency
from holodeck_gen._seats.own import OwnSeats
from holodeck_gen.errors import PausedError, SlotRefusedError
from holodeck_gen.testing import Script, ScriptedProvider, run_virtual

if TYPE_CHECKING:
    from pathlib import Path

    from holodeck_gen._gate.gate import Slot


def gate_of(concurrency: int | str = 1, **more: Any) -> LocalGate:
    return LocalGate(Concurrency.parse(concurrency), hg.Limits(), **more)


def now() -> float:
    return asyncio.get_running_loop().time()


async def turns(gate: LocalGate, *wishes: dict[str, Any]) -> list[int]:
    """In which order these get the one slot of `gate`, each for a second."""
    order: list[int] = []

    async def one(number: int, wish: dict[str, Any]) -> None:
        slot = await gate.slot(**wish)
        order.append(number)
        slot.accepted()
        await asyncio.sleep(1.0)
        slot.release(clean=True)

    first = await gate.slot()
    tasks = [asyncio.ensure_future(one(number, wish)) for number, wish in enumerate(wishes)]
    await asyncio.sleep(0)
    assert gate.waiting == len(wishes)
    first.accepted()
    first.release(clean=True)
    await asyncio.gather(*tasks)
    assert (gate.held, gate.waiting) == (0, 0)
    return order


def test_higher_priorities_then_groups_in_turn_then_in_order() -> None:
    async def main() -> list[int]:
        return await turns(
            gate_of(),
            {"group": "a"},
            {"group": "a"},
            {"group": "b"},
            {"group": "b", "priority": 1},
            {"group": "b", "again": True},
        )

    # The group that was served with the higher priority is not the next one.
    assert run_virtual(main()) == [3, 4, 0, 2, 1]


def test_a_refused_slot_is_given_back_and_the_line_waits() -> None:
    async def main() -> list[float]:
        gate = gate_of(3)
        running = await gate.slot()
        running.accepted()
        refused = await gate.slot()
        assert refused.refused(retry_after_s=7.0) == 7.0
        assert gate.held == 1
        refused.release(clean=False)
        assert gate.held == 1, "a place is given back once"
        times = [now()]
        await gate.slot()
        return [*times, now()]

    before, after = run_virtual(main())
    assert after - before == pytest.approx(7.0)


def test_who_is_cancelled_in_the_line_leaves_it() -> None:
    async def main() -> None:
        gate = gate_of()
        first = await gate.slot()
        gone = asyncio.ensure_future(gate.slot())
        here = asyncio.ensure_future(gate.slot())
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        assert gate.waiting == 1
        first.release(clean=False)
        await here
        assert gate.held == 1

    run_virtual(main())


def test_who_is_cancelled_with_a_slot_in_hand_gives_it_back() -> None:
    async def main() -> None:
        gate = gate_of()
        first = await gate.slot()
        gone = asyncio.ensure_future(gate.slot())
        await asyncio.sleep(0)
        first.release(clean=False)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert gate.held == 0

    run_virtual(main())


def test_who_runs_already_takes_a_slot_whatever_is_allowed() -> None:
    async def main() -> None:
        gate = gate_of(2)
        slots = [gate.occupy() for _ in range(3)]
        waiting = asyncio.ensure_future(gate.slot())
        for slot in slots[:2]:
            await asyncio.sleep(1.0)
            assert not waiting.done()
            slot.release(clean=True)
        await waiting
        assert gate.held == 2

    run_virtual(main())


def test_a_pause_reaches_those_who_wait() -> None:
    async def main() -> None:
        gate = gate_of()
        await gate.slot()
        waiting = asyncio.ensure_future(gate.slot())
        await asyncio.sleep(0)
        gate.dismiss(PausedError("no credit", reason="pay"))
        with pytest.raises(PausedError) as caught:
            await waiting
        assert caught.value.reason == "pay"

    run_virtual(main())


@attrs.define
class SharedSeats:
    """Seats of which others have some; `keys` are those of the gate."""

    taken: Callable[[], int]
    keys: list[str] = attrs.field(factory=list)
    abandoned: list[str] = attrs.field(factory=list)

    def others(self) -> int:
        return self.taken()

    def take(self, key: str, limit: int) -> bool:
        if len(self.keys) + self.taken() >= limit:
            return False
        self.keys.append(key)
        return True

    def occupy(self, key: str) -> None:
        self.keys.append(key)

    def sending(self, key: str) -> None:
        assert key in self.keys

    def keep(self, key: str, at_most_s: float) -> None:
        assert key in self.keys

    def abandon(self, key: str) -> None:
        self.keys.remove(key)
        self.abandoned.append(key)

    def leave(self, key: str, *, ended: bool = False) -> None:
        self.keys.remove(key)


class TestSeats:
    def test_what_others_occupy_is_not_given_away(self) -> None:
        async def main() -> tuple[float, SharedSeats]:
            seats = SharedSeats(lambda: 2 if now() < 10.0 else 1)
            gate = gate_of(2, seats=seats)
            await gate.slot(key="part")
            return now(), seats

        at, seats = run_virtual(main())
        assert 10.0 <= at <= 10.0 + LOOK_AGAIN_S + 1e-3
        assert seats.keys == ["part"]

    def test_who_is_beaten_to_a_slot_looks_again(self) -> None:
        class Beaten(SharedSeats):
            def take(self, key: str, limit: int) -> bool:
                return now() >= 1.0 and super().take(key, limit)

        async def main() -> float:
            await gate_of(2, seats=Beaten(lambda: 0)).slot(key="part")
            return now()

        assert run_virtual(main()) == pytest.approx(1.0, abs=LOOK_AGAIN_S)

    def test_every_seat_is_left(self) -> None:
        async def main() -> list[str]:
            seats = SharedSeats(lambda: 0)
            gate = gate_of(3, seats=seats)
            done, refused = await gate.slot(key="done"), await gate.slot(key="refused")
            resumed: Slot = gate.occupy(key="resumed")
            assert sorted(seats.keys) == ["done", "refused", "resumed"]
            done.accepted()
            refused.refused()
            for slot in (done, refused, resumed):
                slot.release(clean=True)
            return seats.keys

        assert run_virtual(main()) == []

    def test_what_is_not_watched_any_more_is_told(self) -> None:
        async def main() -> SharedSeats:
            seats = SharedSeats(lambda: 0)
            gate = gate_of(1, seats=seats)
            lost = await gate.slot(key="lost")
            lost.sending()
            lost.abandon()
            lost.release(clean=False)
            assert gate.held == 0
            return seats

        seats = run_virtual(main())
        assert (seats.keys, seats.abandoned) == ([], ["lost"])

    def test_an_abandoned_job_is_counted_without_others(self) -> None:
        async def main() -> float:
            gate = gate_of(1, seats=OwnSeats(timeout_s=30.0))
            (await gate.slot()).abandon()
            await gate.slot()
            return now()

        assert run_virtual(main()) == pytest.approx(30.0, abs=LOOK_AGAIN_S)


class TestMemory:
    def test_what_was_found_out_is_kept_at_the_end(self, tmp_path: Path) -> None:
        async def main() -> int:
            gate = gate_of("auto", memory=Memory(tmp_path / "gate.json"))
            for _ in range(3):
                (await gate.slot()).accepted()
            (await gate.slot()).refused()
            gate.close()
            return gate_of("auto", memory=Memory(tmp_path / "gate.json")).ceiling

        assert run_virtual(main()) == 3

    def test_a_gate_that_was_not_used_keeps_nothing(self, tmp_path: Path) -> None:
        async def main() -> None:
            gate_of("auto", memory=Memory(tmp_path / "gate.json")).close()

        run_virtual(main())
        assert not (tmp_path / "gate.json").exists()


class TestThroughTheEngine:
    def test_a_refused_submit_lets_the_more_important_go_first(self) -> None:
        provider = ScriptedProvider(
            scripts={"first": Script(submits=[SlotRefusedError("full", retry_after=10.0)])},
            limits=hg.Limits(max_jobs=1),
        )

        async def main() -> None:
            async with opened(provider) as studio:
                first = studio.submit("first")
                await asyncio.sleep(5.0)
                last = studio.submit("last")
                important = studio.submit(hg.Task("important", priority=1))
                for handle in (first, last, important):
                    assert (await handle.outcome()).ok

        run_virtual(main())
        order = [job.request["prompt"] for job in provider.jobs.values()]
        assert order == ["important", "first", "last"]

    def test_every_refusal_is_told(self) -> None:
        seen: list[hg.Event] = []
        provider = ScriptedProvider(
            default=Script(submits=[SlotRefusedError("full", code="JobNumExceed")] * 3)
        )

        async def main() -> hg.Outcome:
            async with opened(provider, on_event=seen.append, attempts=1) as studio:
                return await studio.submit("a").outcome()

        with capture_logs() as logs:
            assert result_of(run_virtual(main())).attempts == 4
        retried = [event for event in seen if isinstance(event, hg.events.RequestRetried)]
        assert [event.code for event in retried] == ["JobNumExceed"] * 3
        assert [event.wait_s for event in retried] == sorted(event.wait_s for event in retried)
        assert sum(log["event"] == "request.retried" for log in logs) == 3

    def test_who_is_refused_for_ever_is_paused(self) -> None:
        provider = ScriptedProvider(quota=0)

        async def main() -> hg.Outcome:
            async with opened(provider) as studio:
                return await studio.submit("a").outcome()

        failure = failure_of(run_virtual(main()))
        assert failure.state == "held"
        assert isinstance(failure.error, PausedError)
        assert LONGEST_STARVED_S <= provider.submits[-1] <= LONGEST_STARVED_S + 60.0
