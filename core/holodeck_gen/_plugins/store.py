"""The store of a run: whether it can be used, and what the journal keeps of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from holodeck_gen._calls import DeadlineError, bounded
from holodeck_gen._plugins.registry import Configured
from holodeck_gen.errors import ConfigError, GenerationError, StorageError

if TYPE_CHECKING:
    from holodeck_gen._model.values import JsonObject

#: Seconds a store may take to say whether it can be used.
CHECK_S = 30.0


@attrs.frozen(kw_only=True)
class StoreNote:
    """Which store a run had; no credentials.

    Attributes:
        name: In the configuration; None where the output alone says it.
        where: The place, in the store's own words; None where it has none.
        made: The class of one that a program handed in; nobody else can make it. None where
            its ``placed_by`` says enough.
    """

    name: str | None = None
    where: str | None = None
    made: str | None = None

    @classmethod
    def of(cls, given: object, store: object) -> StoreNote:
        """What to keep of `store`, which was chosen by `given`."""
        where = getattr(store, "where", None)
        name = given.name if isinstance(given, Configured) else given
        name = name if isinstance(name, str) else None
        alone = given is not None and name is None and not hasattr(store, "placed_by")
        made = type(store).__name__ if alone else None
        return cls(name=name, where=where if isinstance(where, str) else None, made=made)

    @classmethod
    def read(cls, kept: Any) -> StoreNote | None:
        """The opposite of `to_json`; None where an older release kept nothing."""
        return cls(**kept) if isinstance(kept, dict) else None

    def to_json(self) -> JsonObject:
        """For the journal."""
        return attrs.asdict(self)

    def expect(self, store: object) -> None:
        """Make sure that `store` keeps files where this one did.

        Raises:
            ConfigError: It does not.
        """
        here = StoreNote.of(None, store).where
        if self.where is not None and here != self.where:
            again = f"a program made it ({self.made})" if self.made else "set its options again"
            raise ConfigError(
                f"the run kept its files in {self.where}, and this store is {here or 'another'}:"
                f" {again}, or say with --store where the files are to go"
            )


async def check_store(store: object) -> None:
    """Ask a store whether it can be used, if it can tell.

    Raises:
        StorageError, ConfigError: It cannot.
        PausedError: A disk is full.
    """
    check = getattr(store, "check", None)
    if check is None:
        return
    try:
        await bounded(check(), timeout_s=CHECK_S, what="the store's check")
    except DeadlineError as error:
        where = getattr(store, "where", None) or "the store"
        raise StorageError(
            f"{where} has not answered within {CHECK_S:g} s; nothing was submitted", stage="store"
        ) from error
    except GenerationError:
        raise
    except Exception as error:
        why = str(error) or type(error).__name__
        raise StorageError(
            f"the store cannot be used: {why}; nothing was submitted", stage="store"
        ) from error
