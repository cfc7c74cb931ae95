"""From what a user names to what the engine runs: names, objects and factories alike."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from holodeck_gen._calls import bounded
from holodeck_gen._config.config import Config
from holodeck_gen._http.clients import LazyClient
from holodeck_gen._log import Logger
from holodeck_gen._model.provider import Context, Provider, lacks
from holodeck_gen._model.remote import canonical, is_remote, refuse_half
from holodeck_gen._plugins.registry import Configured, Kind, Registration, Registry
from holodeck_gen.errors import ConfigError, PluginLoadError

if TYPE_CHECKING:
    import os

    from holodeck_gen.events import Observer

_log = Logger("holodeck_gen.resolve")

#: Seconds a provider or stage may take to close.
CLOSE_S = 10.0

#: A name, something configured, an object of the kind, or a factory.
Named: TypeAlias = Any

#: The method by which an object of a kind is told from a factory that makes one.
_METHOD: dict[Kind, str] = {
    "provider": "submit",
    "expander": "expand",
    "rewriter": "rewrite",
    "processor": "__call__",
    "store": "put",
    "observer": "__call__",
}


#: The setting that lists the stages of a kind.
_SETTING: dict[Kind, str] = {
    "expander": "expand",
    "rewriter": "rewrite",
    "processor": "process",
    "observer": "observe",
}


@attrs.frozen(kw_only=True)
class Pool:
    """A provider's accounts, of which one is as good as the other.

    Attributes:
        name: What the user calls the provider.
        members: One for each account.
    """

    name: str
    members: tuple[Provider, ...]


@attrs.frozen(kw_only=True)
class Resolver:
    """Looks names up before anything runs, so that a wrong one costs nothing."""

    registry: Registry
    config: Config

    def providers(self, given: Named | Sequence[Named] | None) -> list[tuple[str | None, Named]]:
        """One provider or several, none of them made yet, each with the name it was given by.

        Raises:
            ConfigError: None is named or configured.
        """
        given = self.config.get("provider") if given is None else given
        if given is None:
            names = ", ".join(each.name for each in self.registry.all("provider"))
            raise ConfigError(f"no provider is named or configured; choose one of: {names}")
        several = isinstance(given, Sequence) and not isinstance(given, str)
        found = [one for each in (given if several else [given]) for one in self.accounts(each)]
        if not found:
            raise ConfigError("the list of providers is empty")
        return found

    def accounts(self, given: Named) -> list[tuple[str | None, Named]]:
        """One provider at each of its accounts."""
        if not isinstance(given, str):
            return [(None, _object_or_factory("provider", given))]
        use, accounts = self.config.provider_accounts(given)
        return [
            (given, self.registry.configure("provider", given, options, use=use))
            for options in accounts
        ]

    def stages(self, kind: Kind, given: Sequence[Named] | None) -> list[tuple[str, Named]]:
        """Stages of one kind with their names, in order."""
        setting = _SETTING[kind]
        named = self.config.get(setting, ()) if given is None else given
        if isinstance(named, str):
            raise ConfigError(f"{setting} is a list, also where there is only one: [{named!r}]")
        stages: list[tuple[str, Named]] = []
        for each in named:
            if isinstance(each, str):
                use, options = self.config.stage_options(each)
                stages.append((each, self.registry.configure(kind, each, options, use=use)))
            else:
                stages.append((_name_of(each), _object_or_factory(kind, each)))
        return stages

    def store(self, given: Named | None, output: str | os.PathLike[str] | None) -> Named | None:
        """The store; None where neither a store nor an output is known yet.

        Raises:
            ConfigError: Store and output name two places, or the output is half an address.
        """
        refuse_half(output)
        given = self.config.get("store") if given is None else given
        if isinstance(given, str):
            return self.named_store(given, output)
        if given is not None:
            return _object_or_factory("store", given)
        return None if output is None else self.store_at(output)

    def store_at(self, output: str | os.PathLike[str]) -> Configured:
        """The store of an output, whatever the configuration says of another one."""
        name = "object" if is_remote(output) else "local"
        if name == "local":
            made: Configured = self.registry.configure("store", name, {"folder": str(output)})
            return made
        return self.named_store(name, output)

    def named_store(self, name: str, output: str | os.PathLike[str] | None) -> Configured:
        """The store that the configuration has under `name`, for files of `output`.

        Raises:
            UnknownNameError, ConfigError: It cannot be made, or names another place.
        """
        use, options = self.config.stage_options(name)
        if use == "local" and output is not None and not is_remote(output):
            options = {"folder": str(output), **options}
        elif is_remote(output) and self._takes_address(use):
            own = options.setdefault("url", canonical(output))
            if canonical(str(own)) != canonical(output):
                raise ConfigError(
                    f"stages.{name}.url is {own} and the output is {output}: files go to one"
                    " place, so leave one of them out"
                )
            options["url"] = canonical(output)
        made: Configured = self.registry.configure("store", name, options, use=use)
        return made

    def _takes_address(self, store: str) -> bool:
        options = self.registry.find("store", store).options
        return options is not None and "url" in attrs.fields_dict(options)

    def observers(self) -> list[tuple[str, Observer]]:
        """The hooks ``on_event`` of the plugins that are loaded or were asked for by name."""
        plugins = self.registry.plugins
        for name in plugins.only or ():
            plugins.load(name)
        found = [(each, plugins.implementation(each, "on_event")) for each in plugins.loaded()]
        return [(_name_of(each), _by_name(hook)) for each, hook in found if hook is not None]


@attrs.define(kw_only=True, eq=False)
class Maker:
    """Makes what a `Resolver` found, inside the running loop, and closes it again."""

    http: LazyClient
    environ: Mapping[str, str]
    wall_clock: Callable[[], float]
    _made: list[Any] = attrs.field(factory=list, init=False)

    def provider(self, resolved: Named) -> Provider:
        """The provider.

        Raises:
            PluginLoadError: The factory made something else.
        """
        made: Provider = self._make(resolved)
        if missing := lacks(made):
            raise PluginLoadError(
                f"{_name_of(resolved)} is not a provider: it lacks {', '.join(missing)}",
                plugin=_name_of(resolved),
            )
        return made

    def pools(self, resolved: Sequence[tuple[str | None, Named]]) -> list[Pool]:
        """The providers in their order, those of one name together.

        Raises:
            PluginLoadError: A factory made something else.
            ConfigError: An account is there twice.
        """
        # Two names for one provider are the user's way to tell them apart.
        pools: dict[tuple[str, str], list[Provider]] = {}
        for given, each in resolved:
            made = self.provider(each)
            members = pools.setdefault((given or made.name, made.name), [])
            if any(made.account_key() == other.account_key() for other in members):
                raise ConfigError(
                    f"an account of {made.name} is there twice ({made.account_key()}); give each"
                    " of its accounts the credentials of its own"
                )
            members.append(made)
        return [Pool(name=name, members=tuple(each)) for (name, _), each in pools.items()]

    def stages(self, resolved: Sequence[tuple[str, Named]]) -> list[tuple[str, Any]]:
        """Each stage with its name."""
        return [(name, self._make(each)) for name, each in resolved]

    def store(self, resolved: Named) -> Any:
        """The store."""
        return self._make(resolved)

    def observer(self, resolved: Named) -> Observer:
        """The observer."""
        made: Observer = self._make(resolved)
        return made

    async def aclose(self) -> None:
        """Close what was made here; what the caller handed in ready is the caller's."""
        for made in reversed(self._made):
            close = getattr(made, "aclose", None)
            if close is None:
                continue
            try:
                await bounded(close(), timeout_s=CLOSE_S, what="aclose")
            except Exception as error:
                # The results are there; a plugin that cannot let go does not take them away.
                _log.warning("plugin.close_failed", plugin=_name_of(made), error=repr(error))

    def _make(self, resolved: Named) -> Any:
        if not isinstance(resolved, Configured):
            return resolved
        made = resolved.make(
            Context(
                http=self.http,
                wall_clock=self.wall_clock,
                environ=self.environ,
                log=Logger(f"holodeck_gen.{resolved.name}"),
            )
        )
        if not hasattr(made, _METHOD[resolved.registration.kind]):
            raise PluginLoadError(
                f"{resolved.registration.owner} made a {type(made).__name__} for the"
                f" {resolved.registration.kind} {resolved.name!r}, which has no"
                f" {_METHOD[resolved.registration.kind]!r}",
                plugin=resolved.name,
            )
        self._made.append(made)
        return made


def _object_or_factory(kind: Kind, given: Any) -> Any:
    if isinstance(given, Configured):
        if given.registration.kind != kind:
            raise ConfigError(f"{given.name} is a {given.registration.kind}, not a {kind}")
        return given
    if hasattr(given, _METHOD[kind]) and not inspect.isclass(given):
        return given
    if callable(given):
        registration = Registration(
            kind=kind, name=_name_of(given), factory=given, owner="this program"
        )
        return Configured(registration=registration, options=None, name=registration.name)
    raise ConfigError(f"{given!r} is neither a name nor a {kind} nor a factory of one")


def _name_of(given: Any) -> str:
    name = getattr(given, "name", None) or getattr(given, "__name__", None)
    return name if isinstance(name, str) else type(given).__name__


def _by_name(observer: Callable[..., Any]) -> Observer:
    # pluggy passes hook arguments by name, and an implementation may leave them out.
    takes = inspect.signature(observer).parameters
    return (lambda event: observer(event=event)) if "event" in takes else (lambda _: observer())
