"""Slots that several studios share, on a clock that is moved by hand."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from structlog.testing import capture_logs

import holodeck_gen._seats.account as account_module
import holodeck_gen._seats.file as seat_file
from holodeck_gen._journal.ownership import Lock
from holodeck_gen._seats.account import (
    ENOUGH_JOBS,
    LEFT_MARGIN,
    LOST_MARGIN,
    AccountSeats,
    LeftJob,
)
from holodeck_gen._seats.file import SeatFile, begin_owner
from holodeck_gen._seats.shared import MEMORY, SharedSeats

TIMEOUT_S = 600.0
GATE = "pictures"


@attrs.define
class Account:
    """One account's file, and the time."""

    folder: Path
    now: float = 1_000_000.0
    files: list[SeatFile] = attrs.field(factory=list, init=False)
    _names: Iterator[str] = attrs.field(
        factory=lambda: (f"owner-{i}" for i in itertools.count()), init=False
    )

    @property
    def path(self) -> Path:
        return self.folder / "account.sqlite3"

    def studio(self, journal: str = "") -> Studio:
        """One more that takes part."""
        owner = next(self._names)
        lock = begin_owner(self.folder, owner)
        file = SeatFile.open(self.path)
        self.files.append(file)
        account = AccountSeats(
            file=file,
            owners=self.folder,
            owner=owner,
            journal=journal,
            clock=lambda: self.now,
        )
        return Studio(account, lock)

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@attrs.define(eq=False)
class Studio:
    """One that takes part."""

    account: AccountSeats
    lock: Lock
    seats: SharedSeats = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.seats = self.gate(GATE)

    def gate(self, name: str) -> SharedSeats:
        return SharedSeats(account=self.account, gate=name, timeout_s=TIMEOUT_S)

    def begin(self, key: str, limit: int = 2) -> None:
        """Take a slot and send a submit."""
        assert self.seats.take(key, limit)
        self.seats.sending(key)

    def close(self) -> None:
        """End as it should be."""
        self.account.close()
        self.lock.release()

    def kill(self) -> None:
        """End without a word."""
        self.account.file.close()
        self.lock.release()


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    account = Account(tmp_path)
    yield account
    for file in account.files:
        file.close()


class TestTaking:
    def test_all_together_have_no_more_than_the_limit(self, account: Account) -> None:
        one, other = account.studio(), account.studio()
        assert one.seats.take("a", 2)
        assert other.seats.take("b", 2)
        assert not one.seats.take("c", 2)
        assert (one.seats.others(), other.seats.others()) == (1, 1)
        other.seats.leave("b")
        assert one.seats.others() == 0
        assert one.seats.take("c", 2)

    def test_gates_do_not_share(self, account: Account) -> None:
        one, other = account.studio(), account.studio()
        assert one.seats.take("a", 1)
        solids = other.gate("solids")
        assert solids.others() == 0
        assert solids.take("b", 1)

    def test_what_runs_already_is_counted_above_the_limit(self, account: Account) -> None:
        one, other = account.studio(), account.studio()
        for key in "abc":
            one.seats.occupy(key)
        assert other.seats.others() == 3
        assert not other.seats.take("d", 3)
        one.seats.leave("a")
        assert other.seats.take("d", 3)

    def test_one_part_can_have_two(self, account: Account) -> None:
        """A lost submit's job and its successor's are both jobs."""
        one, other = account.studio(), account.studio()
        one.begin("a")
        one.seats.abandon("a")
        one.begin("a")
        assert other.seats.others() == 2
        assert one.seats.others() == 1
        one.seats.leave("a")
        assert other.seats.others() == 1


class TestTurns:
    def test_two_that_want_all_take_turns(self, account: Account) -> None:
        one, other = account.studio(), account.studio()
        assert one.seats.take("one", 1)
        assert not other.seats.take("other", 1)
        account.pass_s(0.25)
        served = []
        holder, waiter = one, other
        for _ in range(6):
            holder.seats.leave("one" if holder is one else "other")
            # It asks at once; who has waited comes later, and comes first.
            assert not holder.seats.take("one" if holder is one else "other", 1)
            account.pass_s(0.25)
            assert waiter.seats.take("other" if holder is one else "one", 1)
            holder, waiter = waiter, holder
            served.append(holder)
        assert served == [other, one] * 3

    def test_the_slots_are_shared_out_evenly(self, account: Account) -> None:
        one, other = account.studio(), account.studio()
        for i in range(4):
            assert one.seats.take(f"one-{i}", 4)
        for i in range(8):
            assert not other.seats.take(f"other-{i}", 4)
            if i == 2:
                break
            one.seats.leave(f"one-{i}")
            assert not one.seats.take("more", 4), "it has more than the one who waits"
            assert other.seats.take(f"other-{i}", 4)
        one.seats.leave("one-2")
        account.pass_s(0.1)
        assert one.seats.take("more", 4), "both have two, or it has less"

    def test_who_could_not_take_it_keeps_nobody_out(self, account: Account) -> None:
        modest, greedy = account.studio(), account.studio()
        for key in "abcd":
            assert greedy.seats.take(key, 4)
        assert not modest.seats.take("m", 1)
        greedy.seats.leave("a")
        assert greedy.seats.take("e", 4)

    def test_who_waits_no_more_keeps_nobody_out(self, account: Account) -> None:
        one, other = account.studio(), account.studio()
        assert one.seats.take("a", 1)
        assert not other.seats.take("b", 1)
        account.pass_s(2.0)
        one.seats.leave("a")
        assert one.seats.take("a", 1)


class TestLeftBehind:
    def test_a_killed_one_keeps_its_slots_as_long_as_its_jobs_may_run(
        self, account: Account
    ) -> None:
        killed, other = account.studio(), account.studio()
        assert killed.seats.take("a", 2)
        account.pass_s(300.0)
        killed.seats.sending("a")
        killed.kill()
        account.pass_s(2 * TIMEOUT_S - 1.0)
        assert other.seats.others() == 1
        account.pass_s(2.0)
        assert other.seats.others() == 0

    def test_a_living_one_keeps_them_for_as_long_as_it_likes(self, account: Account) -> None:
        one, other = account.studio(), account.studio()
        one.begin("a")
        account.pass_s(100 * TIMEOUT_S)
        assert other.seats.others() == 1

    def test_one_that_closes_leaves_what_runs(self, account: Account) -> None:
        one, other = account.studio(), account.studio()
        one.begin("runs")
        assert one.seats.take("done", 2)
        one.seats.leave("done")
        one.close()
        assert other.seats.others() == 1
        account.pass_s(2 * TIMEOUT_S + 1.0)
        assert other.seats.others() == 0

    def test_an_overdue_job_counts_for_longer(self, account: Account) -> None:
        one, other = account.studio(), account.studio()
        one.begin("a")
        account.pass_s(2 * TIMEOUT_S)
        one.seats.keep("a", TIMEOUT_S)
        one.close()
        account.pass_s(TIMEOUT_S - 1.0)
        assert other.seats.others() == 1

    def test_a_lost_submit_counts_among_the_others(self, account: Account) -> None:
        one = account.studio()
        one.begin("a", 1)
        one.seats.abandon("a")
        assert one.seats.others() == 1
        assert not one.seats.take("b", 1)
        account.pass_s(TIMEOUT_S + 1.0)
        assert one.seats.take("b", 1)

    def test_how_long_is_learnt(self, account: Account) -> None:
        one = account.studio()
        for i in range(ENOUGH_JOBS):
            assert one.seats.lost_s == TIMEOUT_S
            one.begin(f"job-{i}")
            account.pass_s(2.0 if i == 3 else 1.0)
            one.seats.leave(f"job-{i}", ended=True)
        assert one.seats.lost_s == pytest.approx(LOST_MARGIN * 2.0)
        assert one.seats.left_s == pytest.approx(LEFT_MARGIN * 2.0)
        # Others, and those who come later, know it, too.
        assert account.studio().seats.lost_s == pytest.approx(LOST_MARGIN * 2.0)
        one.begin("a")
        one.kill()
        other = account.studio()
        account.pass_s(LEFT_MARGIN * 2.0 + 0.1)
        assert other.seats.others() == 0

    def test_what_was_not_watched_teaches_nothing(self, account: Account) -> None:
        one = account.studio()
        for i in range(2 * ENOUGH_JOBS):
            one.seats.occupy(f"resumed-{i}")
            one.seats.leave(f"resumed-{i}", ended=True)
            one.begin(f"refused-{i}")
            one.seats.leave(f"refused-{i}")
        assert one.seats.lost_s == TIMEOUT_S

    def test_long_ago_is_forgotten(self, account: Account) -> None:
        one = account.studio()
        for i in range(3 * MEMORY):
            one.begin(f"job-{i}")
            account.pass_s(100.0 if i == 0 else 1.0)
            one.seats.leave(f"job-{i}", ended=True)
        assert one.seats.lost_s == pytest.approx(LOST_MARGIN)


def left(key: str, state: Literal["submitted", "uncertain"], since: float) -> LeftJob:
    return LeftJob(key=key, gate=GATE, state=state, since=since)


class TestTakingOver:
    def test_a_run_goes_on_where_its_predecessor_was_killed(self, account: Account) -> None:
        killed = account.studio("mine")
        for key in ("runs", "lost", "fetched", "refused"):
            killed.begin(key, 4)
        killed.kill()
        one = account.studio("mine")
        one.account.adopt(
            [left("runs", "submitted", account.now), left("lost", "uncertain", account.now)],
            timeout_s=TIMEOUT_S,
        )
        assert one.seats.others() == 2
        one.seats.occupy("runs")
        assert one.seats.others() == 1, "it was taken over, not taken twice"
        one.seats.leave("runs")
        # Submitted anew, it has a slot of its own.
        assert one.seats.take("lost", 2)
        assert not one.seats.take("next", 2)
        one.seats.leave("lost")
        one.close()
        again = account.studio("mine")
        again.account.adopt([], timeout_s=TIMEOUT_S)
        assert again.seats.others() == 1, "refused this time; the first may run all the same"

    def test_what_is_lost_stays_lost_over_many_runs(self, account: Account) -> None:
        first = account.studio("mine")
        first.begin("lost")
        first.seats.abandon("lost")
        first.close()
        for _ in range(3):
            again = account.studio("mine")
            again.account.adopt([left("lost", "uncertain", account.now)], timeout_s=TIMEOUT_S)
            assert again.seats.others() == 1
            again.close()
        anew = account.studio("mine")
        anew.account.adopt([], timeout_s=TIMEOUT_S)
        assert anew.seats.others() == 1, "somebody decided to submit it again; it may run"

    def test_what_only_the_journal_remembers(self, account: Account) -> None:
        one = account.studio("mine")
        account.pass_s(1000.0)
        one.account.adopt(
            [
                left("long ago", "uncertain", account.now - TIMEOUT_S - 1.0),
                left("just now", "uncertain", account.now - TIMEOUT_S + 1.0),
            ],
            timeout_s=TIMEOUT_S,
        )
        assert one.seats.others() == 1

    def test_found_after_all(self, account: Account) -> None:
        """A service that can be asked knows the job of a lost submit."""
        one = account.studio("mine")
        one.begin("lost")
        one.seats.abandon("lost")
        one.seats.occupy("lost")
        assert one.seats.others() == 0

    def test_other_journals_are_left_alone(self, account: Account) -> None:
        killed = account.studio("theirs")
        killed.begin("theirs-1-0")
        killed.kill()
        one = account.studio("mine")
        one.account.adopt([], timeout_s=TIMEOUT_S)
        assert one.seats.others() == 1

    def test_a_copy_that_is_at_work_is_left_alone(
        self, account: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(account_module, "PATIENCE_S", 0.0)
        original = account.studio("mine")
        original.begin("a")
        copy = account.studio("mine")
        copy.account.adopt([], timeout_s=TIMEOUT_S)
        assert copy.seats.others() == 1
        original.seats.leave("a")
        assert copy.seats.others() == 0


class TestTrouble:
    def test_it_is_private(self, account: Account) -> None:
        account.studio().begin("a")
        for path in account.folder.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path

    def test_two_that_make_the_file_at_once_share_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "seats.sqlite3"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as first:
            # As far as another one is that changes the file's mode just now.
            first.execute("BEGIN IMMEDIATE")
            tries: list[float] = []

            def later(seconds: float) -> None:
                tries.append(seconds)
                if len(tries) == 2:
                    first.execute("COMMIT")

            monkeypatch.setattr(time, "sleep", later)
            SeatFile.open(path).close()
            assert len(tries) == 2

    def test_who_keeps_the_file_locked_for_good_is_not_waited_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "seats.sqlite3"
        monkeypatch.setattr(seat_file, "PATIENCE_S", 0.05)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as first:
            first.execute("BEGIN IMMEDIATE")
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                SeatFile.open(path)

    def test_busy_is_not_now_and_nothing_is_forgotten(self, account: Account) -> None:
        one, other = account.studio(), account.studio()
        one.begin("a")
        one.begin("b")
        with contextlib.closing(sqlite3.connect(account.path, isolation_level=None)) as third:
            third.execute("BEGIN IMMEDIATE")
            assert not one.seats.take("c", 9)
            one.seats.leave("a")
            one.seats.abandon("b")
            one.seats.occupy("d")
            third.execute("ROLLBACK")
        # Until it could be written, nothing of this was seen.
        assert other.seats.others() == 2
        assert one.seats.take("c", 3)
        assert other.seats.others() == 3
        one.seats.leave("d")
        assert other.seats.others() == 2

    def test_a_file_that_breaks_is_done_without(self, account: Account) -> None:
        one = account.studio()
        with contextlib.closing(sqlite3.connect(account.path)) as third:
            third.execute("DROP TABLE seats")
        with capture_logs() as logs:
            assert not one.seats.take("a", 2)
            assert [one.seats.take(key, 2) for key in "abc"] == [True, True, False]
            one.seats.leave("a")
            assert one.seats.take("d", 2)
            assert one.seats.others() == 0
        assert [line["event"] for line in logs] == ["slots.not_shared"]
        # Nothing is written any more, so nothing is kept to be written.
        assert one.account.owed == []

    def test_without_the_file_a_lost_submit_counts_all_the_same(self, account: Account) -> None:
        one = account.studio()
        one.begin("a")
        one.account.file.gone = True
        one.seats.abandon("a")
        assert one.seats.take("b", 2)
        assert not one.seats.take("c", 2)
        account.pass_s(TIMEOUT_S + 1)
        assert one.seats.take("c", 2)

    def test_what_could_not_be_written_is_written_in_the_end(self, account: Account) -> None:
        """Else the slot would be taken for as long as a job can take."""
        one, other = account.studio(), account.studio()
        one.begin("a")
        with contextlib.closing(sqlite3.connect(account.path, isolation_level=None)) as third:
            third.execute("BEGIN IMMEDIATE")
            one.seats.leave("a", ended=True)
            third.execute("ROLLBACK")
        assert other.seats.others() == 1
        one.close()
        assert other.seats.others() == 0


NAMES = st.sampled_from("pq")
PARTS = st.tuples(st.sampled_from(["waits", "answered", "lost"]), st.floats(1 / 3, 1))


class Owners(RuleBasedStateMachine):
    """Studios come, die, close and come again. At the provider, where the truth is, there are
    never more jobs than allowed.

    Jobs take from a third of the longest time to the longest, so that what is learnt is true.
    """

    LIMIT = 3

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.account = Account(Path(folder))
        self.numbers = itertools.count()
        self.ends: list[float] = []
        #: By journal: its studio, if one is at work; what each part of it is doing.
        self.studios: dict[str, Studio | None] = dict.fromkeys("pq")
        self.unsent: dict[str, list[str]] = {name: [] for name in self.studios}
        self.running: dict[str, dict[str, float]] = {name: {} for name in self.studios}
        self.lost: dict[str, dict[str, float]] = {name: {} for name in self.studios}

    def teardown(self) -> None:
        for studio in self.studios.values():
            if studio is not None:
                studio.close()
        self.stack.close()

    def at_work(self, name: str) -> Studio:
        """A journal's studio, which comes if it is not there."""
        studio = self.studios[name]
        if studio is not None:
            return studio
        studio = self.studios[name] = self.account.studio(name)
        known = [left(key, "submitted", 0.0) for key in self.running[name]]
        known += [left(key, "uncertain", since) for key, since in self.lost[name].items()]
        studio.account.adopt(known, timeout_s=TIMEOUT_S)
        for key in self.running[name]:
            studio.seats.occupy(key)
        return studio

    @rule(name=NAMES)
    def come(self, name: str) -> None:
        self.at_work(name)

    @rule(name=NAMES, again=st.booleans(), parts=st.lists(PARTS, min_size=1, max_size=4))
    def ask(self, name: str, again: bool, parts: list[tuple[str, float]]) -> None:
        """Take slots; leave each so far, or send a submit that is answered or not."""
        studio = self.at_work(name)
        for fate, part in parts:
            key = f"{name}-{next(self.numbers)}"
            if again and self.lost[name]:
                key = next(iter(self.lost[name]))
            if not studio.seats.take(key, self.LIMIT):
                return
            self.lost[name].pop(key, None)
            self.unsent[name].append(key)
            if fate != "waits":
                self.send(name, part, known=fate == "answered")

    @rule(name=NAMES, part=st.floats(1 / 3, 1), known=st.booleans())
    def send(self, name: str, part: float, known: bool) -> None:
        studio = self.studios[name]
        if studio is None or not self.unsent[name]:
            return
        key = self.unsent[name].pop()
        studio.seats.sending(key)
        end = self.account.now + part * TIMEOUT_S
        self.ends.append(end)
        self.never_over()
        if known:
            self.running[name][key] = end
        else:
            self.lost[name][key] = self.account.now
            studio.seats.abandon(key)

    @rule(name=NAMES)
    def refuse(self, name: str) -> None:
        studio = self.studios[name]
        if studio is not None and self.unsent[name]:
            studio.seats.leave(self.unsent[name].pop())

    @rule(seconds=st.floats(0, 2 * TIMEOUT_S))
    def wait(self, seconds: float) -> None:
        self.account.pass_s(seconds)
        for name, studio in self.studios.items():
            ended = [key for key, end in self.running[name].items() if end <= self.account.now]
            for key in ended if studio is not None else ():
                del self.running[name][key]
                assert studio is not None
                studio.seats.leave(key, ended=True)

    @rule(name=NAMES, sent=st.booleans())
    def kill(self, name: str, sent: bool) -> None:
        studio = self.studios[name]
        if studio is None:
            return
        self.studios[name] = None
        if sent and self.unsent[name]:
            # On its way as the process dies: only the journal knows.
            key = self.unsent[name].pop()
            studio.seats.sending(key)
            self.ends.append(self.account.now + TIMEOUT_S)
            self.lost[name][key] = self.account.now
        self.unsent[name].clear()
        studio.kill()

    @rule(name=NAMES)
    def close(self, name: str) -> None:
        studio = self.studios[name]
        if studio is None:
            return
        self.studios[name] = None
        for key in self.unsent[name]:
            studio.seats.leave(key)
        self.unsent[name].clear()
        studio.close()

    @invariant()
    def never_over(self) -> None:
        self.ends = [end for end in self.ends if end > self.account.now]
        assert len(self.ends) <= self.LIMIT

    @precondition(lambda self: not any(self.studios.values()))
    @rule()
    def all_is_free_in_the_end(self) -> None:
        self.account.pass_s(2 * TIMEOUT_S + 1.0)
        for jobs in (*self.running.values(), *self.lost.values()):
            jobs.clear()
        self.ends.clear()
        studio = self.account.studio("last")
        for i in range(self.LIMIT):
            assert studio.seats.take(str(i), self.LIMIT)
        for i in range(self.LIMIT):
            studio.seats.leave(str(i))
        studio.close()


TestOwners = Owners.TestCase
TestOwners.settings = settings(max_examples=40, stateful_step_count=40)
