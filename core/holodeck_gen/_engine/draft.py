"""How a task is put to a provider, before anything of it is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import attrs

from holodeck_gen._journal.journal import Entry, Plan
from holodeck_gen._journal.shares import batched, missing, portion, runs_of, shares_of, split
from holodeck_gen._model.money import total
from holodeck_gen._model.provider import Prepared, Provider
from holodeck_gen._model.task import Task
from holodeck_gen._plugins.resolve import Pool
from holodeck_gen._spending.prices import Prices, price_name
from holodeck_gen.errors import InvalidTaskError, ProviderError, TaskError

if TYPE_CHECKING:
    from holodeck_gen._model.artifact import Cost

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Drafts:
    """Makes plans, without any cost.

    Args:
        pools: Returns, for a task, the providers in their order.
        prices: What jobs cost.
    """

    pools: Callable[[Task], Sequence[Pool]]
    prices: Prices

    def check(self, task: Task) -> Prepared:
        """Prepare `task` for the first provider that can do it.

        Raises:
            InvalidTaskError: None can.
        """
        return self._first(task, self.prepare)

    def _first(self, task: Task, put: Callable[[Task, Provider], T]) -> T:
        first: InvalidTaskError | None = None
        for pool in self.pools(task):
            for provider in pool.members:
                try:
                    return put(task, provider)
                except InvalidTaskError as error:
                    first = first or error
        assert first is not None
        raise first

    def prepare(self, task: Task, provider: Provider) -> Prepared:
        """Ask the provider to translate `task`; its faults become errors of the task."""
        try:
            prepared = provider.prepare(task)
            if not isinstance(prepared, Prepared):
                raise TypeError(f"prepare returned {type(prepared).__name__}, not Prepared")
        except TaskError:
            raise
        except Exception as error:
            raise ProviderError(
                f"{provider.name} could not prepare the task: {str(error) or type(error).__name__}",
                not_created=True,
                provider=provider.name,
            ) from error
        return prepared

    def price(self, task: Task) -> tuple[Cost | None, str]:
        """What `task` will cost, None where nobody says; and the name of the price.

        Raises:
            TaskError: It cannot be run.
        """
        plan = self._first(task, self.draft)
        return total(plan.prices), price_name(plan.provider, plan.model)

    def _prices(
        self, provider: Provider, shares: Sequence[Task], prepared: Sequence[Prepared]
    ) -> tuple[Cost | None, ...]:
        return tuple(
            self.prices.of_job(
                provider,
                model=each.model or share.model,
                pictures=share.n,
                estimate=each.estimate,
            )
            for share, each in zip(shares, prepared, strict=True)
        )

    def draft(self, task: Task, provider: Provider) -> Plan:
        """How the task would be put to a provider.

        Raises:
            TaskError: It cannot be.
        """
        per_job = self.prepare(task, provider).per_job
        prepared = [self.prepare(share, provider) for share in split(task, per_job)]
        return Plan(
            provider=provider.name,
            account=provider.account_key(),
            per_job=per_job,
            requests=tuple(each.request for each in prepared),
            model=prepared[0].model or task.model,
            warnings=prepared[0].warnings,
            seed_effective=prepared[0].seed_effective,
            prices=self._prices(provider, split(task, per_job), prepared),
        )

    def follow_up(self, provider: Provider, entry: Entry, task: Task, plan: Plan) -> Plan:
        """The plan with parts for what its jobs ended without; itself where that is nothing."""
        added: list[tuple[tuple[int, ...], Task, Prepared]] = []
        for share in shares_of(task, plan):
            record = entry.parts.get(share.index)
            if record is None or record.state != "stored":
                continue
            unmade = missing(share, record.files, record.outputs)
            for run in runs_of(unmade, seeded=task.seed is not None):
                # The provider may take fewer at once than it did then.
                per_job = self.prepare(portion(task, run), provider).per_job
                for places in batched(run, per_job):
                    part = portion(task, places)
                    added.append((places, part, self.prepare(part, provider)))
        if not added:
            return plan
        # Journals of older releases know no prices.
        known = plan.prices or (None,) * len(plan.requests)
        prices = self._prices(provider, [t for _, t, _ in added], [p for *_, p in added])
        return attrs.evolve(
            plan,
            requests=(*plan.requests, *(prepared.request for *_, prepared in added)),
            follow_ups=(*plan.follow_ups, *(places for places, *_ in added)),
            prices=(*known, *prices),
        )
