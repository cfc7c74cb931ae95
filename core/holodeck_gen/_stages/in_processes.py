"""Which processors run in processes, where the command line asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from holodeck_gen._plugins.registry import Configured

if TYPE_CHECKING:
    from pathlib import Path

    from holodeck_gen._config.config import Config
    from holodeck_gen._stages.stages import Processor


class Workers(Protocol):
    """Processes that call processors by their names."""

    async def run(
        self, name: str, file: Path, task: object, *, timeout_s: float, what: str
    ) -> list[Path]:
        """Call the processor `name` with `file` and `task`; returns its files."""
        ...

    def close(self) -> None:
        """Let the processes end. Blocks."""
        ...


@attrs.frozen(kw_only=True)
class InProcess:
    """Stands for a processor that runs in `Workers`. Attributes as the processor's."""

    name: str
    seals: bool


@attrs.frozen(kw_only=True)
class Processes:
    """What the command line says of processes.

    Attributes:
        places: How many; each does one call at once.
        given: Settings, as nested tables.
    """

    places: int = attrs.field(validator=attrs.validators.ge(1))
    given: Mapping[str, Any] = attrs.field(repr=False)

    def divide(
        self, stages: Sequence[tuple[str, object]], made: Sequence[tuple[str, Any]], config: Config
    ) -> tuple[Sequence[tuple[str, Processor | InProcess]], Workers | None]:
        """The processors, those replaced that run in processes; and these, if there are such.

        Args:
            stages: As they were resolved.
            made: The same, made here: what is wrong with them was found out by that.
            config: What they were resolved by.
        """
        divided = [
            (name, InProcess(name=name, seals=bool(getattr(each, "seals", False))))
            if _passes(resolved, each)
            else (name, each)
            for (name, each), (_, resolved) in zip(made, stages, strict=True)
        ]
        names = tuple({each.name: None for _, each in divided if isinstance(each, InProcess)})
        if not names:
            return divided, None
        from holodeck_gen._stages.processes import StageProcesses
        from holodeck_gen._stages.worker import Recipe

        recipe = Recipe.of(names, self.given, config)
        return divided, StageProcesses(places=self.places, recipe=recipe)


def _passes(resolved: object, made: object) -> bool:
    # What a program registers itself, another process does not find.
    found = isinstance(resolved, Configured) and resolved.registration.owner != "this program"
    return found and not getattr(made, "remembers", False)
