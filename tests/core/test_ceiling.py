"""How many slots may be occupied, by what was accepted and refused; the time is handed in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import holodeck_gen as hg
from holodeck_gen._gate.ceiling import LONGEST_WAIT_S, PATIENCE_S, Ceiling, Grant
from holodeck_gen._gate.levels import DENSE, FIRM_S, SPARSE, TRUSTED_S, Known
from holodeck_gen._model.concurrency import AUTOMATIC_TOP, Concurrency
from holodeck_gen.errors import ConfigError


@pytest.mark.parametrize(
    ("value", "minimum", "maximum"),
    [("auto", None, None), (3, 3, 3), ("3", 3, 3), ("2-5", 2, 5), (" 4-4 ", 4, 4)],
)
def test_concurrency_is_read(value: int | str, minimum: int | None, maximum: int | None) -> None:
    assert Concurrency.parse(value) == Concurrency(minimum=minimum, maximum=maximum)


@pytest.mark.parametrize("value", [0, -1, True, "", "many", "5-2", "0-3", "1-", "-3", "1.5"])
def test_what_is_no_concurrency_is_refused(value: int | str) -> None:
    with pytest.raises(ConfigError):
        Concurrency.parse(value)


class Service:
    """Accepts as many jobs as its quota; every submit is answered at once."""

    def __init__(self, ceiling: Ceiling, quota: int) -> None:
        self.ceiling, self.quota = ceiling, quota
        self.now, self.running, self.refusals = 0.0, 0, 0

    def fill(self) -> int:
        """Submit as long as one more is allowed; returns how many run."""
        while self.running < self.ceiling.allowed(self.now, self.running):
            self.submit()
        return self.running

    def fill_to(self, count: int) -> None:
        while self.running < count:
            self.submit()

    def submit(self) -> None:
        grant = self.ceiling.grant(self.now, self.running)
        if self.running < self.quota:
            self.running += 1
            self.ceiling.accepted(self.now, grant)
        else:
            self.refusals += 1
            self.ceiling.refused(self.now, grant)

    def end(self, count: int = 1) -> None:
        self.running -= count
        for _ in range(count):
            self.ceiling.ended(self.now)

    def work(self, seconds: float, *, every_s: float = 1.0) -> None:
        """One job ends every so often, and another takes its place."""
        until = self.now + seconds
        while self.now < until:
            self.now += every_s
            if self.running:
                self.end()
            self.fill()


def automatic(known: Known | None = None, **limits: object) -> Ceiling:
    return Ceiling(Concurrency(), hg.Limits(**limits), known)  # type: ignore[arg-type]


class TestGrowth:
    def test_accepted_submits_alone_make_it_grow(self) -> None:
        assert Service(automatic(), 17).fill() == 17

    def test_a_refusal_ends_it_for_now(self) -> None:
        service = Service(automatic(), 17)
        service.fill()
        assert (service.refusals, service.ceiling.value) == (1, 17)

    def test_few_submits_are_unproven_at_a_time(self) -> None:
        ceiling = automatic()
        grants: list[Grant] = []

        def grow() -> int:
            fresh = 0
            while len(grants) < ceiling.allowed(0.0, len(grants)):
                grants.append(ceiling.grant(0.0, len(grants)))
                fresh += 1
            return fresh

        assert grow() == 2, "one is always allowed, and one is unproven"
        for _ in range(6):
            ceiling.accepted(0.0, grants[-1])
            assert grow() == 1
        ceiling.accepted(0.0, grants[-1])
        assert grow() == 2
        assert grow() == 0

    def test_an_answer_that_does_not_come_does_not_stop_it(self) -> None:
        ceiling = automatic()
        ceiling.grant(0.0, 0)
        ceiling.grant(0.0, 1)
        assert ceiling.allowed(PATIENCE_S - 0.1, 2) == 2
        assert ceiling.wake_at(0.0) == pytest.approx(PATIENCE_S)
        assert ceiling.allowed(PATIENCE_S, 2) == 3

    def test_it_begins_with_what_is_documented(self) -> None:
        ceiling = automatic(max_jobs=5)
        assert ceiling.allowed(0.0, 0) == 5

    def test_what_is_documented_and_not_enforced_is_never_exceeded(self) -> None:
        assert Service(automatic(max_jobs=5), 100).fill() == 5
        assert Service(automatic(max_jobs=5, max_jobs_enforced=True), 100).fill() == 100

    def test_where_nothing_is_refused_it_ends_somewhere(self) -> None:
        assert Service(automatic(), 10**6).fill() == AUTOMATIC_TOP

    def test_a_range_is_kept(self) -> None:
        service = Service(Ceiling(Concurrency.parse("2-6"), hg.Limits()), 100)
        assert service.ceiling.allowed(0.0, 0) == 2
        assert service.fill() == 6


class TestWhatIsNotSentYet:
    """Where submits wait for their turn at the pace, after they were granted."""

    def running(self, count: int) -> Ceiling:
        ceiling = automatic()
        Service(ceiling, 100).fill_to(count)
        return ceiling

    def test_what_does_not_run_yet_proves_no_level(self) -> None:
        ceiling = self.running(10)
        first, second = ceiling.grant(1.0, 10), ceiling.grant(1.0, 11)
        for _ in range(3):
            ceiling.ended(1.5)
        ceiling.sending(2.0, first, 12 - 3)
        assert first.level == 8, "seven run, and the second one is not sent"
        ceiling.accepted(2.1, first)
        ceiling.sending(2.2, second, 12 - 3)
        ceiling.accepted(2.3, second)
        assert (second.level, ceiling.levels.proven) == (9, 10)

    def test_one_that_is_sent_again_counts_itself_once(self) -> None:
        ceiling = self.running(10)
        grant = ceiling.grant(1.0, 10)
        ceiling.sending(1.0, grant, 11)
        ceiling.sending(2.0, grant, 11)
        assert grant.level == 11

    def test_an_answer_to_an_earlier_submit_does_not_overrule_a_refusal(self) -> None:
        ceiling = self.running(10)
        earlier, later = ceiling.grant(1.0, 10), ceiling.grant(1.0, 11)
        ceiling.sending(1.0, earlier, 12)
        for _ in range(3):
            ceiling.ended(1.05)
        ceiling.sending(1.1, later, 12 - 3)
        ceiling.refused(1.2, later)
        assert (earlier.level, ceiling.levels.limit) == (11, 8)
        ceiling.accepted(1.3, earlier)
        assert ceiling.levels.limit == 8


class TestOneMore:
    def settled(self, quota: int = 8) -> Service:
        service = Service(automatic(), quota)
        service.fill()
        service.now = 10.0
        service.fill()
        assert service.refusals == 1
        return service

    def test_it_is_tried_on_a_sparse_schedule(self) -> None:
        service = self.settled()
        tried: list[float] = []
        for second in range(1000):
            service.now = float(second)
            before = service.refusals
            service.fill()
            tried += [service.now] * (service.refusals - before)
        first, factor, longest = SPARSE
        assert tried == [first, first * (1 + factor), first * (1 + factor) + longest]

    def test_it_is_not_tried_while_slots_are_free(self) -> None:
        service = self.settled()
        service.now = 1000.0
        assert service.ceiling.allowed(1000.0, 5) == 8

    def test_a_success_lets_it_grow_again(self) -> None:
        service = self.settled()
        service.quota = 40
        service.now = SPARSE[0]
        assert service.fill() == 9
        service.now += FIRM_S
        assert service.fill() == 40

    def test_what_has_ended_and_was_not_noticed_proves_nothing(self) -> None:
        service = self.settled()
        service.now = SPARSE[0]
        service.running -= 1
        grant = service.ceiling.grant(service.now, 8)
        assert grant.more
        service.ceiling.accepted(service.now, grant)
        service.ceiling.ended(service.now + 0.1)
        service.running += 1
        service.work(SPARSE[0])
        assert service.ceiling.value == 8
        assert service.refusals <= 2


class TestLess:
    def steady(self, quota: int = 8) -> Service:
        service = Service(automatic(), quota)
        service.fill()
        service.work(60.0)
        assert service.running == quota
        return service

    def test_a_smaller_quota_is_found_at_once(self) -> None:
        service = self.steady()
        service.quota = 4
        before = service.refusals
        service.work(30.0)
        assert service.running == 4
        assert service.refusals - before <= 6

    def test_more_is_tried_sooner_where_it_was_proven_before(self) -> None:
        service = self.steady()
        service.quota = 4
        service.work(60.0)
        service.quota = 8
        service.work(DENSE[2] + 30.0)
        assert service.running == 8

    def test_refusals_of_one_cause_are_one_cut(self) -> None:
        service = self.steady(20)
        ceiling, now = service.ceiling, service.now
        service.end(5)
        grants = [ceiling.grant(now, 15 + i) for i in range(5)]
        for grant in grants:
            ceiling.refused(now, grant)
        assert ceiling.value == 15

    def test_it_waits_longer_and_longer_while_everything_is_refused(self) -> None:
        service = self.steady(3)
        service.quota = 0
        service.end(3)
        waits: list[float] = []
        for _ in range(8):
            wake = service.ceiling.wake_at(service.now)
            service.now = service.now if wake is None else wake
            begun = service.now
            service.submit()
            after = service.ceiling.wake_at(service.now)
            assert after is not None
            waits.append(after - begun)
        assert waits == sorted(waits)
        assert waits[-1] == LONGEST_WAIT_S

    def test_a_quota_is_never_none(self) -> None:
        service = self.steady(3)
        service.quota = 0
        service.work(300.0)
        assert service.running == 0
        since = service.ceiling.starved_since
        assert since is not None
        service.quota = 3
        service.work(2 * LONGEST_WAIT_S)
        assert service.running == 3
        assert service.ceiling.starved_since is None

    def test_the_provider_is_obeyed(self) -> None:
        service = self.steady(3)
        service.end(1)
        grant = service.ceiling.grant(service.now, 2)
        assert service.ceiling.refused(service.now, grant, 50.0) == 50.0
        assert service.ceiling.allowed(service.now + 49.9, 2) == 2

    def test_a_late_slot_at_the_beginning_is_no_smaller_quota(self) -> None:
        service = Service(automatic(), 1)
        service.fill()
        service.now = 20.0
        service.quota = 0
        service.end()
        while service.now < 50.0:
            service.now += 0.25
            service.fill()
        service.quota = 1
        while not service.running:
            service.now += 0.25
            service.fill()
        assert 30.0 <= service.ceiling.lag.seconds <= 35.0
        assert service.refusals <= 7


class TestLate:
    def test_an_early_try_without_a_slot_of_its_own_does_not_stop_everything(self) -> None:
        """Two jobs of an earlier run, one of which has ended; less is known than runs."""
        known = Known(proven=1, refused=3, lag_s=35.0, wait_s=90.0)
        service = Service(automatic(known, max_jobs=1, max_jobs_enforced=True), quota=2)
        service.running, service.now = 2, 71.0
        service.end()
        service.now += 30.0
        service.fill()
        service.now += 1000.0
        service.end(service.running)
        service.now += 1000.0
        assert service.fill() > 0


class TestKnown:
    def test_the_next_run_begins_where_this_one_ended(self) -> None:
        service = Service(automatic(), 9)
        service.fill()
        service.work(120.0)
        known = service.ceiling.findings(service.now)
        assert known is not None
        assert (known.proven, known.refused) == (9, 10)
        again = Service(automatic(known), 9)
        again.fill()
        again.work(120.0)
        assert (again.running, again.refusals) == (9, 0)

    def test_a_number_that_is_given_is_not_overruled(self) -> None:
        ceiling = Ceiling(Concurrency.parse(4), hg.Limits(), Known(proven=9, refused=10))
        assert ceiling.allowed(0.0, 0) == 4

    def test_what_was_remembered_and_is_no_longer_true_is_given_up(self) -> None:
        service = Service(automatic(Known(proven=9, refused=10)), 4)
        service.fill()
        service.work(TRUSTED_S + 10.0)
        found = service.ceiling.findings(service.now)
        assert service.running == 4
        assert found is not None
        assert (found.proven, found.refused) == (4, 5)

    def test_who_submitted_nothing_forgets_nothing(self) -> None:
        known = Known(proven=9, refused=10)
        assert automatic(known).findings(100.0) == known
        assert automatic().findings(100.0) is None

    def test_a_quota_that_was_full_at_first_is_not_remembered_as_none(self) -> None:
        """It ended a task whose picture was paid for."""
        ceiling = automatic(max_jobs=1, max_jobs_enforced=True)
        ceiling.refused(0.0, ceiling.grant(0.0, 0))
        grant = ceiling.grant(1.0, 0)
        ceiling.accepted(1.0, grant)
        ceiling.unanswered(grant)
        ceiling.ended(1.5)
        found = ceiling.findings(1.5)
        assert found is not None
        assert found.proven == 1

    def test_few_tasks_do_not_belittle_what_is_known(self) -> None:
        service = Service(automatic(Known(proven=9, refused=10)), 9)
        for _ in range(3):
            service.submit()
        found = service.ceiling.findings(1.0)
        assert found is not None
        assert (found.proven, found.refused) == (9, 10)


steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["submit", "accept", "refuse", "lose", "end"]), st.just(0.0)),
        st.tuples(st.just("wait"), st.floats(0.01, 100.0)),
    ),
    max_size=120,
)


@given(
    steps,
    st.sampled_from(["auto", "1", "3", "1-4", "2-6"]),
    st.sampled_from(
        [hg.Limits(), hg.Limits(max_jobs=3), hg.Limits(max_jobs=2, max_jobs_enforced=True)]
    ),
    st.none() | st.builds(Known, proven=st.integers(1, 20), refused=st.none() | st.integers(2, 20)),
)
def test_whatever_is_answered(
    given: list[tuple[str, float]], concurrency: str, limits: hg.Limits, known: Known | None
) -> None:
    """Never above the maximum; never below one; what runs is never cut away."""
    allowed = Concurrency.parse(concurrency)
    ceiling = Ceiling(allowed, limits, known)
    top = allowed.top(limits)
    now, running = 0.0, 0
    pending: list[Grant] = []
    for step, seconds in given:
        occupied = running + len(pending)
        now += seconds
        may = ceiling.allowed(now, occupied)
        assert may <= max(top, occupied)
        assert 1 <= ceiling.value <= top
        if step == "submit" and occupied < may:
            pending.append(ceiling.grant(now, occupied))
        elif step == "end" and running:
            running -= 1
            ceiling.ended(now)
        elif pending and step in ("accept", "refuse", "lose"):
            grant = pending.pop(0)
            if step == "accept":
                running += 1
                ceiling.accepted(now, grant)
            elif step == "refuse":
                before, cause = ceiling.value, ceiling._cause
                ceiling.refused(now, grant)
                if grant.number < cause:
                    # Sent before an earlier refusal was known: no reason to go below what runs.
                    assert ceiling.value >= min(before, running)
            else:
                ceiling.unanswered(grant)
    found = ceiling.findings(now)
    assert found is None or found.proven >= 1
    for grant in pending:
        ceiling.unanswered(grant)
    # However it went, after a while somebody may try.
    assert ceiling.allowed(now + 2 * SPARSE[2], 0) >= 1
