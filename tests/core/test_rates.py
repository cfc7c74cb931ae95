"""Requests a second of an account, however many studios send there."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holodeck_gen as hg
from helpers import collect, opened
from holodeck_gen._accounts.accounts import Accounts
from holodeck_gen._config.settings import Settings
from holodeck_gen._model.concurrency import Concurrency
from holodeck_gen._pacing.pace import LOWEST_S, SLACK, Pace
from holodeck_gen._seats.file import SeatFile
from holodeck_gen._seats.rates import SharedBook
from holodeck_gen._seats.seating import Seating, steady_clock
from holodeck_gen.errors import ThrottledError
from holodeck_gen.testing import Script, ScriptedProvider, run_virtual

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RATE = 10.0
LIMITS = hg.Limits(
    max_jobs=100, submit_rate=RATE, poll_rate=RATE, download_rate=RATE, poll_interval_s=1.0
)


def most_in_a_second(sent: Sequence[float]) -> int:
    """Most requests within any one second."""
    times = sorted(sent)
    return max(sum(1 for at in times[i:] if at < first + 1) for i, first in enumerate(times))


@attrs.define(eq=False)
class Sender:
    """One studio's pace in an account's file, as another process would have it."""

    path: Path
    rate: float = RATE
    file: SeatFile = attrs.field(init=False)
    pace: Pace = attrs.field(init=False)
    sent: list[float] = attrs.field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.file = SeatFile.open(self.path)
        self.pace = Pace(self.rate, SharedBook(file=self.file, action="submit"))

    async def send(self, number: int, *, delays: Sequence[float] = (0.0,)) -> None:
        """Send so many as soon as may be, with so many seconds between token and sending."""

        async def one(delay_s: float) -> None:
            await self.pace.token()
            await asyncio.sleep(delay_s)
            self.sent.append(await self.pace.departure())

        async with asyncio.TaskGroup() as group:
            for i in range(number):
                group.create_task(one(delays[i % len(delays)]))


@attrs.define
class Account:
    """An account's file."""

    path: Path
    _senders: list[Sender] = attrs.field(factory=list, init=False)

    def sender(self, rate: float = RATE) -> Sender:
        """One more that sends."""
        self._senders.append(Sender(self.path, rate))
        return self._senders[-1]

    def locked(self) -> sqlite3.Connection:
        """The file in the hands of another."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        return connection

    def close(self) -> None:
        """Close what is open."""
        for sender in self._senders:
            sender.file.close()


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    with closing(Account(tmp_path / "account.sqlite3")) as found:
        yield found


class TestStudios:
    def test_two_send_no_more_than_one_may_and_as_much(self, tmp_path: Path) -> None:
        """Submits and polls as the provider sees them; the second one comes in the middle."""
        provider = ScriptedProvider(limits=LIMITS, default=Script(job_s=3.0))

        async def work(name: str, after_s: float) -> float:
            await asyncio.sleep(after_s)
            async with opened(provider, state=tmp_path) as studio:
                await collect(studio.map([f"{name} {i}" for i in range(60)]))
            return asyncio.get_running_loop().time()

        async def main() -> list[float]:
            return [*await asyncio.gather(work("one", 0.0), work("other", 2.05))]

        ends = run_virtual(main())
        assert most_in_a_second(provider.submits) <= RATE
        assert most_in_a_second(provider.polls) <= RATE
        busy = [at for at in provider.submits if 3.0 <= at < min(ends) - 3.0]
        assert (len(busy) - 1) / (busy[-1] - busy[0]) >= 0.9 * RATE
        # Nobody is kept waiting until the other is done.
        names = [job.request["prompt"].split()[0] for job in provider.jobs.values()][30:70]
        assert 15 <= names.count("one") <= 25

    @pytest.mark.parametrize("action", ["submit", "poll", "download"])
    def test_so_it_is_for_each_action(
        self, tmp_path: Path, action: Literal["submit", "poll", "download"]
    ) -> None:
        provider = ScriptedProvider(limits=LIMITS)

        async def main() -> list[float]:
            seatings = [
                Seating(settings=Settings(), clock=steady_clock(), folder=tmp_path)
                for _ in range(2)
            ]
            paces = [
                Accounts(concurrency=Concurrency.parse("auto"), seating=seating)
                .of(provider)
                .pace(provider, action)
                for seating in seatings
            ]
            sent: list[float] = await asyncio.gather(
                *(pace.turn() for pace in paces for _ in range(15))
            )
            for seating in seatings:
                seating.close()
            return sent

        sent = run_virtual(main())
        assert most_in_a_second(sent) <= RATE
        assert max(sent) - min(sent) == pytest.approx(29 * SLACK / RATE, abs=0.05)

    def test_one_that_sends_nothing_takes_nothing(self, tmp_path: Path) -> None:
        provider = ScriptedProvider(limits=LIMITS, default=Script(job_s=1.0))

        async def main() -> None:
            async with opened(provider, state=tmp_path) as idle:
                await collect(idle.map(["a dog"]))
                async with opened(provider, state=tmp_path) as studio:
                    await collect(studio.map([f"a cat {i}" for i in range(50)]))

        run_virtual(main())
        sent = provider.submits[1:]
        assert 49 / (sent[-1] - sent[0]) >= 0.98 * RATE

    def test_accounts_do_not_share(self, tmp_path: Path) -> None:
        providers = [ScriptedProvider(name=name, limits=LIMITS) for name in ("one", "other")]

        async def work(provider: ScriptedProvider) -> None:
            async with opened(provider, state=tmp_path) as studio:
                await collect(studio.map([f"a cat {i}" for i in range(20)]))

        async def main() -> None:
            await asyncio.gather(*map(work, providers))

        run_virtual(main())
        for provider in providers:
            assert 19 / (provider.submits[-1] - provider.submits[0]) >= 0.98 * RATE


class TestProcesses:
    @settings(max_examples=25)
    @given(
        st.integers(1, 30),
        st.lists(st.floats(0, 0.2), min_size=1, max_size=6),
        st.lists(st.floats(0, 0.7), min_size=1, max_size=4),
        st.lists(st.floats(0, 2), min_size=2, max_size=3),
    )
    def test_no_second_has_more_than_the_rate(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        rate: int,
        delays: list[float],
        stalls: list[float],
        begins: list[float],
    ) -> None:
        """Also where the processes stand still now and then, and come one after the other."""
        account = Account(tmp_path_factory.mktemp("seats") / "account.sqlite3")

        async def main() -> list[float]:
            loop = asyncio.get_running_loop()

            def stall(seconds: float) -> None:
                loop._virtual.now += seconds  # type: ignore[attr-defined]

            for i, seconds in enumerate(stalls):
                loop.call_later(0.3 + 0.8 * i, stall, seconds)

            async def work(sender: Sender, after_s: float) -> None:
                await asyncio.sleep(after_s)
                await sender.send(2 * rate, delays=delays)

            senders = [account.sender(float(rate)) for _ in begins]
            async with asyncio.TaskGroup() as group:
                for sender, after_s in zip(senders, begins, strict=True):
                    group.create_task(work(sender, after_s))
            account.close()
            return [at for sender in senders for at in sender.sent]

        assert most_in_a_second(run_virtual(main())) <= rate

    def test_one_that_died_has_still_sent_what_it_sent(self, account: Account) -> None:
        async def main() -> list[float]:
            died, next_one = account.sender(), account.sender()
            await died.send(10)
            died.file.close()
            await next_one.send(10)
            return died.sent + next_one.sent

        assert most_in_a_second(run_virtual(main())) <= RATE

    def test_a_refusal_is_obeyed_by_all(self, account: Account) -> None:
        async def main() -> tuple[float, float | None]:
            one, other = account.sender(), account.sender()
            one.pace.heard(ThrottledError("", retry_after=7.0), await one.pace.turn())
            return await other.pace.turn(), other.pace.rate

        at, rate = run_virtual(main())
        assert at == pytest.approx(7.0, abs=0.01)
        assert rate is not None
        assert rate < 0.8 * RATE

    def test_one_that_waits_already_obeys_it_too(self, account: Account) -> None:
        async def main() -> list[float]:
            one, other = account.sender(1.0), account.sender(1.0)
            await one.send(1)
            asyncio.get_running_loop().call_later(0.5, one.pace.hold, 30.0)
            await asyncio.gather(one.send(1), other.send(1))
            return sorted(one.sent + other.sent)

        assert run_virtual(main()) == pytest.approx([0.0, 30.5, 30.5 + SLACK], abs=0.01)

    def test_of_two_documented_rates_the_lower_is_believed_while_it_is_in_use(
        self, account: Account
    ) -> None:
        async def main() -> tuple[list[float], float]:
            fast, slow = account.sender(10.0), account.sender(2.0)
            await asyncio.gather(fast.send(12), slow.send(12))
            both = fast.sent + slow.sent
            assert len(fast.sent) == len(slow.sent) == 12
            await asyncio.sleep(LOWEST_S)
            fast.sent.clear()
            await fast.send(11)
            return both, 10 / (fast.sent[-1] - fast.sent[0])

        both, alone = run_virtual(main())
        assert most_in_a_second(both[1:]) <= 2
        assert alone >= 9.8

    def test_who_gives_up_waiting_leaves_the_turn_to_others(self, account: Account) -> None:
        async def main() -> float:
            one, other = account.sender(1.0), account.sender(1.0)
            await one.send(1)
            waiting = asyncio.ensure_future(one.pace.turn())
            await asyncio.sleep(0.5)
            waiting.cancel()
            await asyncio.wait([waiting])
            return await other.pace.turn()

        assert run_virtual(main()) == pytest.approx(SLACK, abs=0.01)

    def test_but_takes_none_from_those_who_wait_behind_it(self, account: Account) -> None:
        async def main() -> list[float]:
            one, other = account.sender(1.0), account.sender(1.0)
            await one.send(1)
            gives_up = asyncio.ensure_future(one.pace.turn())
            await asyncio.sleep(0.1)
            waits = asyncio.ensure_future(other.send(2))
            await asyncio.sleep(0.4)
            gives_up.cancel()
            await asyncio.wait([gives_up, waits])
            return other.sent

        assert run_virtual(main()) == pytest.approx([2 * SLACK, 3 * SLACK], abs=0.01)

    def test_times_of_before_the_machine_was_started_say_nothing(self, account: Account) -> None:
        async def before() -> None:
            await asyncio.sleep(1000.0)
            await account.sender(1 / 60).send(2)

        async def after() -> float:
            return await account.sender(1 / 60).pace.turn()

        run_virtual(before())
        assert run_virtual(after()) < 0.01

    def test_while_the_file_is_locked_nothing_is_sent(self, account: Account) -> None:
        async def main() -> float:
            sender = account.sender()
            with closing(account.locked()) as other:
                asyncio.get_running_loop().call_later(0.05, other.execute, "COMMIT")
                return await sender.pace.turn()

        assert run_virtual(main()) >= 0.05

    def test_what_was_heard_meanwhile_is_not_forgotten(self, account: Account) -> None:
        async def main() -> float:
            sender, other = account.sender(), account.sender()
            with closing(account.locked()) as holder:
                sender.pace.hold(20.0)
                holder.execute("COMMIT")
            await sender.pace.turn()
            return await other.pace.turn()

        assert run_virtual(main()) >= 20.0

    def test_without_the_file_each_goes_on_at_the_rate(self, account: Account) -> None:
        async def main() -> list[float]:
            sender = account.sender()
            await sender.send(5)
            with closing(sqlite3.connect(account.path)) as other:
                other.execute("DROP TABLE lanes")
                other.commit()
            await sender.send(20)
            assert sender.file.gone
            return sender.sent

        sent = run_virtual(main())
        assert most_in_a_second(sent) <= RATE
        assert 24 / (sent[-1] - sent[0]) >= 0.98 * RATE
