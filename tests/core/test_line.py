"""Higher priorities first, groups in turn, in order within a group."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from holodeck_gen._gate.line import Line, Waiter
from holodeck_gen.testing import run_virtual


def waiter(key: str) -> Waiter:
    return Waiter(key=key, turn=asyncio.get_running_loop().create_future())


def served(line: Line) -> list[str]:
    return [each.key for each in line.clear()]


def test_higher_priorities_come_first() -> None:
    async def main() -> list[str]:
        line = Line()
        for key, priority in [("a", 0), ("b", 5), ("c", -1), ("d", 5)]:
            line.push(waiter(key), priority=priority)
        return served(line)

    assert run_virtual(main()) == ["b", "d", "a", "c"]


def test_groups_of_equal_priority_take_turns() -> None:
    async def main() -> list[str]:
        line = Line()
        for key in ("a1", "a2", "a3", "b1", "c1", "b2"):
            line.push(waiter(key), group=key[0])
        return served(line)

    assert run_virtual(main()) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_group_that_comes_back_waits_for_those_that_had_no_turn() -> None:
    async def main() -> list[str]:
        line = Line()
        line.push(waiter("a1"), group="a")
        first = line.peek()
        line.pop()
        line.push(waiter("a2"), group="a")
        line.push(waiter("b1"), group="b")
        assert first is not None
        return [first.key, *served(line)]

    assert run_virtual(main()) == ["a1", "b1", "a2"]


def test_who_lost_a_place_is_first_of_its_priority() -> None:
    async def main() -> list[str]:
        line = Line()
        line.push(waiter("a"), group="a")
        line.push(waiter("b"), group="b", again=True)
        line.push(waiter("c"), priority=1)
        return served(line)

    assert run_virtual(main()) == ["c", "b", "a"]


def test_who_went_away_is_passed_over() -> None:
    async def main() -> list[str]:
        line = Line()
        gone = waiter("gone")
        line.push(gone)
        line.push(waiter("here"))
        gone.turn.cancel()
        return served(line)

    assert run_virtual(main()) == ["here"]


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abc"), st.booleans())))
def test_everybody_has_one_turn_and_no_group_waits_for_two_of_another(
    pushed: list[tuple[int, str, bool]],
) -> None:
    async def main() -> list[str]:
        line = Line()
        for number, (priority, group, again) in enumerate(pushed):
            line.push(waiter(f"{number}"), priority=priority, group=group, again=again)
        return served(line)

    order = [int(key) for key in run_virtual(main())]
    assert sorted(order) == list(range(len(pushed)))
    assert [pushed[number][0] for number in order] == sorted(
        (priority for priority, _, _ in pushed), reverse=True
    )
    for priority in range(3):
        fresh = [pushed[n][1] for n in order if pushed[n][0] == priority and not pushed[n][2]]
        left = Counter(fresh)
        had: Counter[str] = Counter()
        for group in fresh:
            had[group] += 1
            waiting = [other for other in left if had[other] < left[other]]
            assert all(had[group] <= had[other] + 1 for other in waiting)
