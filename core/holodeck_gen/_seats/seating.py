"""How one studio comes to the slots that it shares, and what it takes over from an earlier run."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

from holodeck_gen._config.settings import Settings
from holodeck_gen._journal.ownership import Lock, network_file_system
from holodeck_gen._journal.place import slots_folder
from holodeck_gen._log import Logger
from holodeck_gen._model.task import Task
from holodeck_gen._pacing.lane import Book, OwnBook
from holodeck_gen._seats.account import AccountSeats, LeftJob, gate_of
from holodeck_gen._seats.file import SeatFile, begin_owner, end_owner, tell_unshared
from holodeck_gen._seats.own import OwnSeats, Seats
from holodeck_gen._seats.rates import SharedBook
from holodeck_gen._seats.shared import SharedSeats
from holodeck_gen.errors import StorageError

if TYPE_CHECKING:
    from holodeck_gen._journal.rows import Rows
    from holodeck_gen._model.provider import Action, Limits, Provider

_log = Logger("holodeck_gen.seating")

#: In the names of the files; a release that changes what is in them changes it.
VERSION = 1


@attrs.frozen(kw_only=True)
class Left:
    """A part that was at a provider when an earlier run of the journal ended.

    Attributes:
        account: The `account_key`.
        task: What it was to make.
        key: Its submit key.
        state: What the journal says.
        since: When it got there, in seconds since the epoch.
    """

    account: str
    task: Task
    key: str
    state: Literal["submitted", "uncertain"]
    since: float


@attrs.define(kw_only=True, eq=False)
class Seating:
    """Gives the gates of one studio their seats. Without a folder it can write, it shares none.

    Args:
        journal: Names the journal that this studio owns; empty where a later run could not know
            which jobs were its own.
        left: What is in that journal.
        clock: Seconds since the epoch.
    """

    settings: Settings
    clock: Callable[[], float]
    journal: str = ""
    left: Sequence[Left] = ()
    folder: Path = attrs.field(factory=slots_folder)
    _owner: str = attrs.field(init=False, factory=lambda: secrets.token_hex(8))
    _lock: Lock | None = attrs.field(default=None, init=False)
    _alone: bool = attrs.field(default=False, init=False)
    _accounts: dict[str, AccountSeats] = attrs.field(factory=dict, init=False)

    def seats(self, provider: Provider, task: Task, limits: Limits) -> Seats:
        """The seats of the gate that `task` goes through."""
        timeout_s = self.settings.job_timeout(limits)
        account = self.account(provider)
        if account is None:
            return OwnSeats(timeout_s)
        gate = gate_of(provider.quota_key(task))
        return SharedSeats(account=account, gate=gate, timeout_s=timeout_s)

    def book(self, provider: Provider, action: Action) -> Book:
        """What is known of the account's requests of one sort."""
        account = self.account(provider)
        return OwnBook() if account is None else SharedBook(file=account.file, action=action)

    def account(self, provider: Provider) -> AccountSeats | None:
        """What is known of the account's slots; None where they are not shared. Blocks.

        The first call for an account takes over what an earlier run has left there.
        """
        # What costs nothing runs here, or has limits that are nobody's money.
        if provider.billing == "free" or self._alone:
            return None
        key = provider.account_key()
        if key not in self._accounts:
            path = self.folder / f"{_digest(key)}-{VERSION}.sqlite3"
            try:
                self._accounts[key] = account = self._open(path)
            except (StorageError, OSError, sqlite3.Error) as error:
                self._alone = True
                tell_unshared(path, error)
                return None
            account.adopt(
                self._left_at(key, provider), timeout_s=self.settings.job_timeout(provider.limits)
            )
            left = account.left()
            if left.lost or left.jobs:
                # Else a run with few slots would stand still and not say why.
                _log.warning(
                    "slots.kept",
                    provider=provider.name,
                    lost_submits=left.lost,
                    jobs_of_ended_runs=left.jobs,
                    at_most_s=round(left.at_most_s),
                )
        return self._accounts[key]

    def close(self) -> None:
        """Leave behind what still runs at the providers, and let go. Blocks."""
        for account in self._accounts.values():
            account.close()
        if self._lock is not None:
            end_owner(self.folder, self._owner, self._lock)

    def _open(self, path: Path) -> AccountSeats:
        kind = network_file_system(self.folder)
        if kind is not None:
            raise StorageError(f"it lies on a network file system ({kind})", stage="slots")
        if self._lock is None:
            # Before the first row: who has rows and no lock is dead.
            self._lock = begin_owner(self.folder, self._owner)
        return AccountSeats(
            file=SeatFile.open(path),
            owners=self.folder,
            owner=self._owner,
            journal=self.journal,
            clock=self.clock,
        )

    def _left_at(self, account: str, provider: Provider) -> list[LeftJob]:
        return [
            LeftJob(
                key=each.key,
                gate=gate_of(provider.quota_key(each.task)),
                state=each.state,
                since=each.since,
            )
            for each in self.left
            if each.account == account
        ]


def left_in(rows: Rows) -> list[Left]:
    """What the last run of a journal had at providers."""
    return [
        Left(
            account=entry.plan.account,
            task=entry.rewritten or entry.task,
            key=entry.part(index).submit_key,
            state=record.state,
            since=record.changed_at or 0.0,
        )
        for entry in rows.at_provider()
        for index, record in entry.parts.items()
        if entry.plan is not None and record.state in ("submitted", "uncertain")
    ]


def steady_clock() -> Callable[[], float]:
    """Seconds since the epoch that go on with the running loop, also on a virtual one."""
    loop_time = asyncio.get_running_loop().time
    offset = time.time() - loop_time()
    return lambda: max(time.time(), offset + loop_time())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
