"""Names for providers and stages, and how something is made from a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, get_args

import attrs

from holodeck_gen._model.nearest import did_you_mean, nearest
from holodeck_gen._model.provider import Context
from holodeck_gen._plugins.plugins import Plugins
from holodeck_gen.errors import (
    ConfigError,
    DuplicateNameError,
    PluginLoadError,
    UnknownNameError,
)

if TYPE_CHECKING:
    from holodeck_gen._model.values import JsonObject

Kind: TypeAlias = Literal["provider", "expander", "rewriter", "processor", "store", "observer"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: Called as ``factory(options, ctx)`` inside the running loop; `options` is an instance of
#: the registered options class, or None where there is none.
Factory: TypeAlias = Callable[[Any, Context], Any]


class Register(Protocol):
    """What a registration hook is given."""

    def __call__(
        self, name: str, factory: Factory, *, options: type | None = None, summary: str = ""
    ) -> None:
        """Register one factory.

        Args:
            name: Unique among its kind.
            factory: ``factory(options, ctx)``; heavy imports belong inside it.
            options: An attrs class; it parses and documents the configuration.
            summary: One sentence for listings.
        """
        ...


@attrs.frozen(kw_only=True)
class Registration:
    """One name, and how to make what it names. Fields as in `Register`; `owner` for messages."""

    kind: Kind
    name: str
    factory: Factory
    options: type | None = None
    summary: str = ""
    owner: str


@attrs.frozen(kw_only=True)
class Configured:
    """A registered thing together with checked options; made when a studio starts."""

    registration: Registration
    options: Any = attrs.field(repr=False)
    name: str

    def make(self, ctx: Context) -> Any:
        """Call the factory.

        Raises:
            PluginLoadError: The factory failed.
            ConfigError: The factory refused its options.
        """
        try:
            return self.registration.factory(self.options, ctx)
        except PluginLoadError:
            raise
        except ConfigError as error:
            if self.name == self.registration.name:
                raise
            # A factory does not know under which name it is configured.
            raise ConfigError(f"{self.registration.kind} {self.name!r}: {error}") from error
        except Exception as error:
            raise PluginLoadError(
                f"{self.registration.kind} {self.name!r} of {self.registration.owner}"
                f" could not be made: {error!r}",
                plugin=self.name,
            ) from error


@attrs.define(eq=False)
class Registry:
    """Every name in use; loads plugins only as far as a look-up needs."""

    plugins: Plugins = attrs.field(factory=Plugins.from_environment)
    _known: dict[tuple[Kind, str], list[Registration]] = attrs.field(factory=dict, init=False)
    _asked: set[str] = attrs.field(factory=set, init=False)

    def register(
        self,
        kind: Kind,
        name: str,
        factory: Factory,
        *,
        options: type | None = None,
        summary: str = "",
    ) -> None:
        """Register a factory from code, without a plugin.

        Raises:
            ConfigError: There is no such kind.
            DuplicateNameError: The name is taken.
        """
        if kind not in KINDS:
            raise ConfigError(f"{kind!r} is not a kind; choose one of {', '.join(KINDS)}")
        if taken := self._search(kind, name):
            raise DuplicateNameError(
                f"{taken[0].owner} already registers a {kind} named {name!r}; choose another name"
            )
        self._add(kind, name, factory, options, summary, owner="this program")

    def find(self, kind: Kind, name: str) -> Registration:
        """Return what is registered as `name`.

        Raises:
            UnknownNameError: Nothing is; names the nearest.
            DuplicateNameError: Two plugins claim it.
        """
        found = self._search(kind, name)
        if not found:
            raise self._unknown(kind, name)
        if len(found) > 1:
            owners = " and ".join(sorted(registration.owner for registration in found))
            raise DuplicateNameError(
                f"{owners} both register a {kind} named {name!r}; load only one of them"
            )
        return found[0]

    def configure(
        self, kind: Kind, name: str, values: JsonObject, *, use: str | None = None
    ) -> Any:
        """Find the `kind` registered as `use` (or `name`) and check `values` against its options.

        Raises:
            UnknownNameError, DuplicateNameError: As `find`.
            ConfigError: An option is unknown or cannot be what it is.
        """
        from holodeck_gen._plugins.options import parse_options

        registration = self.find(kind, use or name)
        where = f"{kind} {name!r}"
        options = parse_options(registration.options, values, where=where)
        return Configured(registration=registration, options=options, name=name)

    def all(self, kind: Kind) -> list[Registration]:
        """Everything registered of one kind, by name; loads every plugin."""
        self._load_rest()
        found = [each for (k, _), entries in self._known.items() if k == kind for each in entries]
        return sorted(found, key=lambda registration: registration.name)

    def of_plugin(self, plugin: str) -> list[Registration]:
        """What one plugin registers."""
        self._load(plugin)
        owner = self._owner(plugin)
        return [each for entries in self._known.values() for each in entries if each.owner == owner]

    def _search(self, kind: Kind, name: str) -> list[Registration]:
        if (kind, name) not in self._known:
            self._load(name)
        if (kind, name) not in self._known:
            for other in self.plugins.names():
                self._load(other)
                if (kind, name) in self._known:
                    break
        return self._known.get((kind, name), [])

    def _unknown(self, kind: Kind, name: str) -> Exception:
        self._load_rest()
        if name in self.plugins.broken:
            return self.plugins.broken[name]
        names = sorted({n for k, n in self._known if k == kind})
        return UnknownNameError(
            f"there is no {kind} named {name!r}{did_you_mean(name, names)}",
            nearest=nearest(name, names),
        )

    def _load_rest(self) -> None:
        for name in self.plugins.names():
            self._load(name)

    def _load(self, plugin: str) -> None:
        if plugin in self._asked:
            return
        loaded = self.plugins.load(plugin)
        self._asked.add(plugin)
        if loaded is None:
            return
        staged: list[tuple[Any, ...]] = []
        owner = self._owner(plugin)
        try:
            for kind in KINDS:
                hook = self.plugins.implementation(loaded, f"register_{kind}s")
                if hook is not None:
                    hook(_stage(staged, kind))
        except Exception as error:
            # Registrations are taken all or none, so that a half-registered plugin is not used.
            failure = PluginLoadError(f"{owner} failed to register: {error!r}", plugin=plugin)
            failure.__cause__ = error
            self.plugins.broken[plugin] = failure
            return
        for entry in staged:
            self._add(*entry, owner=owner)

    def _add(
        self,
        kind: Kind,
        name: str,
        factory: Factory,
        options: type | None,
        summary: str,
        *,
        owner: str,
    ) -> None:
        registration = Registration(
            kind=kind, name=name, factory=factory, options=options, summary=summary, owner=owner
        )
        self._known.setdefault((kind, name), []).append(registration)

    def _owner(self, plugin: str) -> str:
        return f"plugin {plugin!r} ({self.plugins.describe(plugin).distribution})"


def _stage(staged: list[tuple[Any, ...]], kind: Kind) -> Register:
    def register(
        name: str, factory: Factory, *, options: type | None = None, summary: str = ""
    ) -> None:
        if options is not None and not attrs.has(options):
            raise TypeError(f"the options of {kind} {name!r} must be an attrs class")
        staged.append((kind, name, factory, options, summary))

    return register
