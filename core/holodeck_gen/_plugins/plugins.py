"""Finds plugins by their entry points and loads them one at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import attrs
import pluggy

from holodeck_gen import hookspecs
from holodeck_gen._log import Logger
from holodeck_gen.errors import DuplicateNameError, PluginLoadError

#: Entry-point group and pluggy project.
GROUP = "holodeck_gen"
#: Comma-separated names; only these plugins are loaded.
ONLY_VARIABLE = "HOLODECK_GEN_PLUGINS"

_log = Logger("holodeck_gen.plugins")


@attrs.frozen(kw_only=True)
class Plugin:
    """An installed plugin, loaded or not.

    Attributes:
        name: Its entry point's name.
        distribution: The distribution and version that installed it.
        target: The module its entry point names.
    """

    name: str
    distribution: str
    target: str


@attrs.define(eq=False)
class Plugins:
    """The installed plugins; each is imported only when something asks for it.

    Args:
        find: Returns the entry points; replaced in tests.
        only: Names to which loading is restricted; None means all.
    """

    find: Callable[[], tuple[EntryPoint, ...]] = attrs.field(
        default=lambda: tuple(entry_points(group=GROUP))
    )
    only: frozenset[str] | None = None
    broken: dict[str, PluginLoadError] = attrs.field(factory=dict, init=False)
    _manager: pluggy.PluginManager = attrs.field(init=False)
    _found: dict[str, list[EntryPoint]] | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hookspecs)

    @classmethod
    def from_environment(cls) -> Plugins:
        """Honour ``HOLODECK_GEN_PLUGINS``."""
        named = os.environ.get(ONLY_VARIABLE)
        if named is None:
            return cls()
        return cls(only=frozenset(name.strip() for name in named.split(",") if name.strip()))

    def names(self) -> list[str]:
        """Every plugin that may be loaded, sorted; imports none."""
        return sorted(self._entries())

    def describe(self, name: str) -> Plugin:
        """Tell about a plugin without importing it."""
        entry = self._entries()[name][0]
        return Plugin(name=name, distribution=_distribution(entry), target=entry.value)

    def load(self, name: str) -> object | None:
        """Import and register the plugin `name` if it is not yet; None where it is broken.

        A broken plugin is one warning that names it, once.

        Raises:
            DuplicateNameError: Two distributions install a plugin of this name.
        """
        entries = self._entries().get(name, [])
        if len(entries) > 1:
            owners = " and ".join(_distribution(entry) for entry in entries)
            raise DuplicateNameError(
                f"{owners} both install a plugin named {name!r}; uninstall one of them"
            )
        if not entries or name in self.broken:
            return None
        known: object | None = self._manager.get_plugin(name)
        if known is not None:
            return known
        try:
            return self._register(entries[0])
        except Exception as error:
            reason = f"plugin {name!r} ({_distribution(entries[0])}) is broken: {error!r}"
            failure = PluginLoadError(reason, plugin=name)
            failure.__cause__ = error
            self.broken[name] = failure
            _log.warning("plugin.broken", plugin=name, error=repr(error))
            return None

    def load_all(self) -> Iterator[tuple[str, object]]:
        """Load every plugin, one after the other; yield those that work."""
        for name in self.names():
            if (plugin := self.load(name)) is not None:
                yield name, plugin

    def loaded(self) -> list[object]:
        """The plugins that were loaded so far."""
        return list(self._manager.get_plugins())

    def implementation(self, plugin: object, hook: str) -> Callable[..., Any] | None:
        """The function with which `plugin` implements `hook`, if it does."""
        caller = getattr(self._manager.hook, hook)
        for found in caller.get_hookimpls():
            if found.plugin is plugin:
                function: Callable[..., Any] = found.function
                return function
        return None

    def _register(self, entry: EntryPoint) -> object:
        plugin: object = entry.load()
        self._manager.register(plugin, name=entry.name)
        try:
            # A mistyped hook would otherwise be ignored in silence.
            self._manager.check_pending()
        except pluggy.PluginValidationError:
            self._manager.unregister(plugin)
            raise
        return plugin

    def _entries(self) -> dict[str, list[EntryPoint]]:
        if self._found is None:
            self._found = {}
            for entry in self.find():
                if self.only is None or entry.name in self.only:
                    self._found.setdefault(entry.name, []).append(entry)
        return self._found


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown distribution"
