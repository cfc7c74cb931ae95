"""What has changed between two samples of the same job slots."""

from __future__ import annotations

import attrs

from holodeck_gen.events import SlotsSampled


@attrs.frozen(kw_only=True)
class SlotChange:
    """By how much the figures of `SlotsSampled` are more, or fewer, than they were."""

    account: str
    quota: str
    taken: int
    waiting: int
    refusals: int
    taken_s: float
    allowed_s: float


@attrs.define(eq=False)
class Slots:
    """Remembers the last sample of each quota, of one studio.

    Several studios of one process add up in the same figures, so what each of them reports are
    its changes.
    """

    _last: dict[tuple[str, str], SlotsSampled] = attrs.field(factory=dict, init=False)

    def change(self, now: SlotsSampled) -> SlotChange:
        """What is new."""
        key = now.account, now.quota
        before, self._last[key] = self._last.get(key), now
        return SlotChange(
            account=now.account,
            quota=now.quota,
            taken=now.taken - (before.taken if before else 0),
            waiting=now.waiting - (before.waiting if before else 0),
            refusals=now.refusals - (before.refusals if before else 0),
            taken_s=now.taken_s - (before.taken_s if before else 0.0),
            allowed_s=now.allowed_s - (before.allowed_s if before else 0.0),
        )

    def leave(self) -> list[SlotChange]:
        """What there is to take back at the end: nothing is taken and nobody waits any more."""
        left = [
            SlotChange(
                account=last.account,
                quota=last.quota,
                taken=-last.taken,
                waiting=-last.waiting,
                refusals=0,
                taken_s=0.0,
                allowed_s=0.0,
            )
            for last in self._last.values()
        ]
        self._last.clear()
        return left
