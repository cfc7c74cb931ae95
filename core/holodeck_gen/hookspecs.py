"""The hooks a plugin may implement, each with ``@holodeck_gen.hookimpl``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from holodeck_gen._plugins.registry import Register
    from holodeck_gen.events import Event

hookspec = pluggy.HookspecMarker("holodeck_gen")
hookimpl = pluggy.HookimplMarker("holodeck_gen")


@hookspec
def register_providers(register: Register) -> None:
    """Call ``register(name, factory, options=…, summary=…)`` for each provider."""


@hookspec
def register_expanders(register: Register) -> None:
    """Call ``register`` for each expander."""


@hookspec
def register_rewriters(register: Register) -> None:
    """Call ``register`` for each rewriter."""


@hookspec
def register_processors(register: Register) -> None:
    """Call ``register`` for each processor."""


@hookspec
def register_stores(register: Register) -> None:
    """Call ``register`` for each store."""


@hookspec
def register_observers(register: Register) -> None:
    """Call ``register`` for each observer: something that is called with events."""


@hookspec
def register_commands(cli: click.Group) -> None:
    """Add commands to the command line."""


@hookspec
def on_event(event: Event) -> None:
    """Observe what happens; called in a thread of its own, never in the engine's way."""
