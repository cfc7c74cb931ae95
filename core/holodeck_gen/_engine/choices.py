"""What a studio is to be made of, looked up before anything is opened."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import attrs

from holodeck_gen._journal.journal import Journal
from holodeck_gen._journal.place import JournalChoice
from holodeck_gen._model.remote import canonical, is_remote
from holodeck_gen._plugins.registry import Kind
from holodeck_gen._plugins.resolve import Named, Resolver
from holodeck_gen._plugins.store import StoreNote

if TYPE_CHECKING:
    from holodeck_gen._config.config import Config
    from holodeck_gen._config.settings import Settings
    from holodeck_gen._plugins.registry import Registry
    from holodeck_gen._plugins.resolve import Maker, Pool


@attrs.frozen(kw_only=True)
class Choices:
    """Providers, stages, a place for files and a journal; none of them made yet.

    Attributes:
        resolver: Looks names up.
        providers: In their order, each with the name it was given by.
        output: A folder or an address.
        store: What keeps files; None where the output is not known yet.
        store_given: How it was named, or it; None where the output alone says it.
        stages: Those of each kind with their names, in order.
        journal: As the caller chose it or, where that was automatic, as it is configured; None
            means in memory.
    """

    resolver: Resolver
    providers: Sequence[tuple[str | None, Named]]
    output: str | os.PathLike[str] | None
    store: Named | None
    stages: Mapping[Kind, Sequence[tuple[str, Named]]]
    journal: Journal | JournalChoice
    store_given: Named | None

    @classmethod
    def of(
        cls,
        config: Config,
        registry: Registry,
        *,
        provider: Named | Sequence[Named] | None,
        output: str | os.PathLike[str] | None,
        store: Named | None,
        expand: Sequence[Named] | None,
        rewrite: Sequence[Named] | None,
        process: Sequence[Named] | None,
        observe: Sequence[Named] | None,
        journal: Journal | JournalChoice,
    ) -> Self:
        """Look everything up; what is None is as configured.

        Raises:
            ConfigError: Something is wrong, or there is none.
            UnknownNameError: Nothing has one of the names.
        """
        resolver = Resolver(registry=registry, config=config)
        output = config.get("output") if output is None else output
        if is_remote(output):
            output = canonical(output)
        store = config.get("store") if store is None else store
        if journal == "automatic":
            configured = config.get("journal", "automatic")
            journal = None if configured == "none" else configured
        return cls(
            resolver=resolver,
            providers=resolver.providers(provider),
            output=output,
            store=resolver.store(store, output),
            stages={
                "expander": resolver.stages("expander", expand),
                "rewriter": resolver.stages("rewriter", rewrite),
                "processor": resolver.stages("processor", process),
                "observer": resolver.stages("observer", observe),
            },
            journal=journal,
            store_given=store,
        )

    @property
    def config(self) -> Config:
        """Where unset arguments came from."""
        return self.resolver.config

    def store_at(self, folder: os.PathLike[str]) -> Named:
        """The store, where files go to `folder` if nothing else was chosen."""
        return self.store or self.resolver.store_at(folder)

    def pool(self, name: str, maker: Maker) -> Pool:
        """The provider of `name`, which only a task names.

        Raises:
            UnknownNameError, ConfigError: There is none, or it cannot be made.
        """
        return maker.pools(self.resolver.accounts(name))[0]

    def fingerprint(
        self, pools: Sequence[Pool], settings: Settings, store: object
    ) -> dict[str, Any]:
        """What of it may change the files; no secrets.

        Args:
            pools: The providers, made.
            settings: The rules of the work.
            store: The store, made.
        """
        return {
            "provider": [
                [each.name, each.account_key()] for pool in pools for each in pool.members
            ],
            "expand": [name for name, _ in self.stages["expander"]],
            "rewrite": [name for name, _ in self.stages["rewriter"]],
            "process": [name for name, _ in self.stages["processor"]],
            # Journals of earlier releases have none.
            "sidecar": settings.sidecar or None,
            "name": settings.name.text,
            "store": StoreNote.of(self.store_given, store).to_json(),
        }
