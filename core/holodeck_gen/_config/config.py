"""`Config`: settings from several places, each with where it came from.

Strongest first: values that were given, ``HOLODECK_GEN_*`` variables (of the environment,
then of the nearest ``.env`` file), the nearest ``holodeck-gen.toml``, ``[tool.holodeck-gen]``
of the nearest ``pyproject.toml``, and the user's own file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs

from holodeck_gen._config.keys import KEYS, convert
from holodeck_gen._config.secrets import (
    MASK,
    FromVariable,
    is_secret_name,
    keys_in,
    mark,
    mask,
    reveal,
)
from holodeck_gen._config.sources import Layer, file_layers, read_dotenv, variable_layers
from holodeck_gen._model.nearest import did_you_mean
from holodeck_gen._model.remote import is_remote
from holodeck_gen.errors import ConfigError

_Path: TypeAlias = tuple[str, ...]

_TABLES = ("providers", "stages", "prices")
_ENDPOINT = frozenset({"endpoint", "url", "host", "proxy"})


@attrs.frozen(kw_only=True)
class Setting:
    """One value, as it may be shown.

    Attributes:
        key: Such as ``providers.hunyuan.dialect``.
        value: Masked where it is a secret.
        origin: The place it was written in.
        secret: Whether it was masked.
    """

    key: str
    value: object
    origin: str
    secret: bool


@attrs.frozen(kw_only=True)
class _Entry:
    path: _Path
    value: Any
    layer: Layer

    @property
    def key(self) -> str:
        return ".".join(self.path)

    def shown(self) -> Setting:
        value = mask(self.value, secret=any(is_secret_name(name) for name in self.path[2:]))
        return Setting(
            key=self.key, value=value, origin=self.layer.origin, secret=MASK in str(value)
        )

    def resolved(self, environ: Mapping[str, str]) -> Any:
        try:
            return reveal(self.value, environ)
        except ConfigError as error:
            raise ConfigError(f"{self.layer.origin}: {self.key} {error}") from None

    def redirects(self) -> bool:
        """Whether it decides where the requests of a provider or stage, or files, go."""
        if self.path == ("output",):
            return is_remote(self.value)
        if self.path[0] not in _TABLES:
            return False
        names = [*self.path[2:], *keys_in(self.value)]
        return any(_ENDPOINT & set(name.lower().replace("-", "_").split("_")) for name in names)


def _snapshot(environ: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(environ))


@attrs.frozen(kw_only=True)
class Config:
    """Settings that apply, and the environment in which their secrets are looked up.

    Attributes:
        environ: The environment, with the ``.env`` file below it.
        dotenv: Names of variables that only the ``.env`` file sets.
    """

    environ: Mapping[str, str] = attrs.field(repr=False, converter=_snapshot)
    _entries: Mapping[_Path, _Entry] = attrs.field(alias="entries", repr=False)
    dotenv: frozenset[str] = frozenset()

    @classmethod
    def load(
        cls,
        given: Mapping[str, object] = MappingProxyType({}),
        *,
        cwd: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Config:
        """Collect the settings that apply here.

        Args:
            given: The strongest values, as nested tables; None means not given.
            cwd: Where files are looked for upward; the working directory by default.
            environ: Replaces the process's environment.

        Raises:
            ConfigError: A file is broken, or a setting is unknown or cannot be what it is.
        """
        here = Path.cwd() if cwd is None else cwd.absolute()
        outer = os.environ if environ is None else environ
        dotenv, inner = read_dotenv(here)
        layers = [
            Layer(origin="command line", values=given),
            *variable_layers(outer),
            *variable_layers({n: v for n, v in inner.items() if n not in outer}, file=dotenv),
            *file_layers(here),
        ]
        ours = frozenset(inner) - frozenset(outer)
        return cls(environ={**inner, **outer}, entries=_merge(layers), dotenv=ours)

    @classmethod
    def of(
        cls, values: Mapping[str, object], *, environ: Mapping[str, str] | None = None
    ) -> Config:
        """Only these values; no file and no variable is a setting.

        Raises:
            ConfigError: A setting is unknown or cannot be what it is.
        """
        layer = Layer(origin="given", values=values)
        outer = os.environ if environ is None else environ
        return cls(environ=dict(outer), entries=_merge([layer]))

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a top-level setting such as ``provider``.

        Raises:
            ConfigError: It is in a variable that is not set.
        """
        entry = self._entries.get((key,))
        if entry is None:
            return default
        value = entry.resolved(self.environ)
        try:
            return _converted(key, value, entry.layer)
        except ConfigError as error:
            # What a variable holds may be a secret: it is not repeated.
            raise ConfigError(
                f"{entry.layer.origin}: {key} cannot be what {entry.shown().value} holds"
            ) from (None if isinstance(entry.value, FromVariable) else error)

    def provider_options(self, name: str) -> tuple[str, dict[str, Any]]:
        """What ``[providers.NAME]`` uses (`name`, if it does not say) and its options.

        Raises:
            ConfigError: A value is in a variable that is not set.
        """
        return self._table("providers", name)

    def provider_accounts(self, name: str) -> tuple[str, list[dict[str, Any]]]:
        """As `provider_options`, once for each table of ``[[providers.NAME.accounts]]``.

        An account's options win over the provider's; without such tables there is one account.

        Raises:
            ConfigError: A value is in a variable that is not set, or the accounts are no tables.
        """
        use, options = self.provider_options(name)
        accounts = options.pop("accounts", [{}])
        tables = isinstance(accounts, list) and all(isinstance(each, dict) for each in accounts)
        if not tables or not accounts:
            raise ConfigError(
                f"providers.{name}.accounts must be tables of options: write"
                f" [[providers.{name}.accounts]] above each account's own"
            )
        return use, [{**options, **account} for account in accounts]

    def stage_options(self, name: str) -> tuple[str, dict[str, Any]]:
        """What ``[stages.NAME]`` uses and its options. As `provider_options`."""
        return self._table("stages", name)

    def prices(self) -> dict[str, dict[str, Any]]:
        """Every ``[prices.NAME]`` and what is written there.

        Raises:
            ConfigError: A value is in a variable that is not set.
        """
        rows: dict[str, tuple[str, dict[str, Any]]] = {}
        for path, entry in self._entries.items():
            if path[0] == "prices":
                _, row = rows.setdefault(path[1], (entry.path[1], {}))
                row[".".join(path[2:])] = entry.resolved(self.environ)
        return dict(rows.values())

    def settings(self) -> list[Setting]:
        """Every setting by key, secrets masked; resolves no variable."""
        return sorted((entry.shown() for entry in self._entries.values()), key=lambda s: s.key)

    @property
    def announcements(self) -> tuple[str, ...]:
        """A line for each provider's or stage's endpoint that a project's file or ``.env`` sets.

        An address as the output is one, too.

        A folder that was merely unpacked may not send the user's credentials elsewhere
        in silence.
        """
        found = [
            f"{entry.layer.origin} sets {entry.key} = {entry.shown().value}"
            for entry in self._entries.values()
            if entry.layer.project and entry.redirects()
        ]
        own = [name for name in sorted(self.dotenv) if name.endswith("_ENDPOINT")]
        # Variables of ours are settings, and are among those above.
        names = [name for name in own if not name.startswith("HOLODECK_GEN_")]
        return (*found, *(f".env sets {name} = {self.environ[name]}" for name in names))

    def _table(self, table: str, name: str) -> tuple[str, dict[str, Any]]:
        options: dict[str, Any] = {}
        for path, entry in self._entries.items():
            if path[:2] != (table, fold(name)):
                continue
            nested = options
            for part in path[2:-1]:
                nested = nested.setdefault(part, {})
            nested[path[-1]] = entry.resolved(self.environ)
        use = options.pop("use", name)
        if not isinstance(use, str):
            raise ConfigError(f"{table}.{name}.use must be a name, not {use!r}")
        return use, options


def _merge(layers: Iterable[Layer]) -> dict[_Path, _Entry]:
    """Every leaf of the layers, without those that a stronger layer sets as a whole."""
    merged: dict[_Path, _Entry] = {}
    for layer in layers:
        own: dict[_Path, _Entry] = {}
        for path, value in _checked(layer):
            folded = (path[0], fold(path[1]), *path[2:]) if len(path) > 1 else path
            if not any(_overlap(folded, stronger) for stronger in merged):
                own[folded] = _Entry(path=path, value=value, layer=layer)
        merged.update(own)
    return merged


def _overlap(one: _Path, other: _Path) -> bool:
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]


def fold(name: str) -> str:
    """A name in the form in which it is compared."""
    # A variable's name has neither hyphens nor case.
    return name.casefold().replace("-", "_")


def _checked(layer: Layer) -> Iterator[tuple[_Path, Any]]:
    for key, value in layer.values.items():
        if value is None:
            continue
        if key in _TABLES:
            yield from _leaves_of_table(key, value, layer)
        elif key in KEYS:
            marked = _marked(value, layer)
            in_variable = isinstance(marked, FromVariable)
            yield (key,), marked if in_variable else _converted(key, marked, layer)
        else:
            known = did_you_mean(key, (*KEYS, *_TABLES))
            raise ConfigError(f"{layer.origin}: there is no setting {key!r}{known}")


def _leaves_of_table(table: str, names: Any, layer: Layer) -> Iterator[tuple[_Path, Any]]:
    if not isinstance(names, Mapping):
        raise ConfigError(f"{layer.origin}: write [{table}.NAME], not {table} = …")
    for name, options in names.items():
        if not isinstance(options, Mapping):
            raise ConfigError(f"{layer.origin}: {table}.{name} must be a table of options")
        for option, value in options.items():
            yield from _leaves((table, name, option), _marked(value, layer))


def _leaves(path: _Path, value: Any) -> Iterator[tuple[_Path, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves((*path, str(key)), item)
    elif value is not None:
        yield path, value


def _marked(value: Any, layer: Layer) -> Any:
    try:
        return mark(value)
    except ConfigError as error:
        raise ConfigError(f"{layer.origin}: {error}") from None


def _converted(key: str, value: Any, layer: Layer) -> Any:
    return convert(key, value, origin=layer.origin, folder=layer.folder)
