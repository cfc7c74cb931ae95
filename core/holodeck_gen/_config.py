"""`Config`: settings from several places, each with where it came from.

Strongest first: values that were given, ``HOLODECK_GEN_*`` variables (of the environment,
then of the nearest ``.env`` file), the nearest ``holodeck-gen.toml``, ``[tool.holodeck-gen]``
of the nearest ``pyproject.toml``, and the user's own file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs

from holodeck_gen._config_sources import Layer, file_layers, read_dotenv, variable_layers
from holodeck_gen._registry import did_you_mean
from holodeck_gen.errors import ConfigError

MASK = "••••"

_Path: TypeAlias = tuple[str, ...]

_TABLES = ("providers", "stages")
_SECRET = re.compile(r"key|secret|token|password", re.IGNORECASE)
_ENDPOINT = frozenset({"endpoint", "url", "host", "proxy"})
_USER_INFO = re.compile(r"(?<=://)[^/@\s]*@")


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


@attrs.frozen
class _Variable:
    """``{env = "X"}``: the value is in the environment variable X."""

    name: str


@attrs.frozen(kw_only=True)
class _Entry:
    path: _Path
    value: Any
    layer: Layer


@attrs.frozen(kw_only=True)
class Config:
    """Settings that apply, and the environment in which their secrets are looked up.

    Attributes:
        environ: The environment, with the ``.env`` file below it.
    """

    environ: Mapping[str, str] = attrs.field(repr=False, converter=lambda m: MappingProxyType({**m}))
    _entries: Mapping[_Path, _Entry] = attrs.field(repr=False)

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
        return cls(environ={**inner, **outer}, entries=_merge(layers))

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
        return _converted(entry.path, self._resolved(entry.value, entry), entry.layer)

    def provider_options(self, name: str) -> tuple[str, dict[str, Any]]:
        """What ``[providers.NAME]`` uses (`name`, if it does not say) and its options.

        Raises:
            ConfigError: A value is in a variable that is not set.
        """
        return self._table("providers", name)

    def stage_options(self, name: str) -> tuple[str, dict[str, Any]]:
        """What ``[stages.NAME]`` uses and its options. As `provider_options`."""
        return self._table("stages", name)

    def settings(self) -> list[Setting]:
        """Every setting by key, secrets masked; resolves no variable."""
        return sorted((_shown(entry) for entry in self._entries.values()), key=lambda s: s.key)

    @property
    def announcements(self) -> tuple[str, ...]:
        """A line for each provider's endpoint that a project's file sets.

        A folder that was merely unpacked may not send the user's credentials elsewhere
        in silence.
        """
        return tuple(
            f"{entry.layer.origin} sets {'.'.join(entry.path)} = {_shown(entry).value}"
            for entry in self._entries.values()
            if entry.layer.project and entry.path[0] == "providers" and _redirects(entry)
        )

    def _table(self, table: str, name: str) -> tuple[str, dict[str, Any]]:
        options: dict[str, Any] = {}
        for path, entry in self._entries.items():
            if path[:2] != (table, _fold(name)):
                continue
            nested = options
            for part in path[2:-1]:
                nested = nested.setdefault(part, {})
            nested[path[-1]] = self._resolved(entry.value, entry)
        use = options.pop("use", name)
        if not isinstance(use, str):
            raise ConfigError(f"{table}.{name}.use must be a name, not {use!r}")
        return use, options

    def _resolved(self, value: Any, entry: _Entry) -> Any:
        if isinstance(value, _Variable):
            if found := self.environ.get(value.name):
                return found
            raise ConfigError(
                f"{'.'.join(entry.path)} is in the environment variable {value.name}, which is"
                f" not set ({entry.layer.origin})"
            )
        if isinstance(value, Mapping):
            return {key: self._resolved(item, entry) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._resolved(item, entry) for item in value]
        return value


def _merge(layers: Iterable[Layer]) -> dict[_Path, _Entry]:
    """Every leaf of the layers, without those that a stronger layer sets as a whole."""
    merged: dict[_Path, _Entry] = {}
    for layer in layers:
        own: dict[_Path, _Entry] = {}
        for path, value in _checked(layer):
            folded = (path[0], _fold(path[1]), *path[2:]) if len(path) > 1 else path
            if not any(_overlap(folded, stronger) for stronger in merged):
                own[folded] = _Entry(path=path, value=value, layer=layer)
        merged.update(own)
    return merged


def _overlap(one: _Path, other: _Path) -> bool:
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]


def _fold(name: str) -> str:
    # A variable's name has neither hyphens nor case.
    return name.casefold().replace("-", "_")


def _checked(layer: Layer) -> Iterator[tuple[_Path, Any]]:
    for key, value in layer.values.items():
        if value is None:
            continue
        if key in _TABLES:
            yield from _leaves_of_table(key, value, layer)
        elif key in _KEYS:
            marked = _marked(value)
            if not isinstance(marked, _Variable):
                marked = _converted((key,), marked, layer)
            yield (key,), marked
        else:
            known = did_you_mean(key, (*_KEYS, *_TABLES))
            raise ConfigError(f"{layer.origin}: there is no setting {key!r}{known}")


def _leaves_of_table(table: str, names: Any, layer: Layer) -> Iterator[tuple[_Path, Any]]:
    if not isinstance(names, Mapping):
        raise ConfigError(f"{layer.origin}: write [{table}.NAME], not {table} = …")
    for name, options in names.items():
        if not isinstance(options, Mapping):
            raise ConfigError(f"{layer.origin}: {table}.{name} must be a table of options")
        for option, value in options.items():
            yield from _leaves((table, name, option), _marked(value))


def _leaves(path: _Path, value: Any) -> Iterator[tuple[_Path, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves((*path, str(key)), item)
    elif value is not None:
        yield path, value


def _marked(value: Any) -> Any:
    """`value` with each ``{env = "X"}`` in it made a `_Variable`."""
    if isinstance(value, Mapping):
        if set(value) == {"env"} and isinstance(value["env"], str):
            return _Variable(value["env"])
        return {key: _marked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_marked(item) for item in value]
    return value


def _shown(entry: _Entry) -> Setting:
    value = _masked(entry.value, secret=any(_SECRET.search(name) for name in entry.path[2:]))
    return Setting(
        key=".".join(entry.path),
        value=value,
        origin=entry.layer.origin,
        secret=MASK in str(value),
    )


def _masked(value: Any, *, secret: bool = False) -> Any:
    if isinstance(value, _Variable):
        return f"{MASK} from {value.name}"
    if isinstance(value, Mapping):
        return {
            key: _masked(item, secret=secret or bool(_SECRET.search(str(key))))
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_masked(item, secret=secret) for item in value]
    if secret:
        return MASK
    return _USER_INFO.sub(f"{MASK}@", value) if isinstance(value, str) else value


def _redirects(entry: _Entry) -> bool:
    names = [*entry.path[2:], *_keys_in(entry.value)]
    return any(_ENDPOINT & set(name.lower().replace("-", "_").split("_")) for name in names)


def _keys_in(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _keys_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _keys_in(item)


def _converted(path: _Path, value: Any, layer: Layer) -> Any:
    (key,) = path
    try:
        return _KEYS[key](value, layer)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{layer.origin}: {key} {error}") from error


def _text(value: Any, _layer: Layer) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"must be text, not {value!r}")
    return value


def _names(value: Any, layer: Layer) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise ValueError(f"must be a list of names, not {value!r}")
    return tuple(_text(item, layer).strip() for item in items)


def _provider(value: Any, layer: Layer) -> str | tuple[str, ...]:
    names = _names(value, layer)
    if not names:
        raise ValueError("must name at least one provider")
    return names[0] if len(names) == 1 else names


def _folder(value: Any, layer: Layer) -> str:
    path = Path(_text(value, layer)).expanduser()
    return str(layer.folder / path if layer.folder else path)


def _concurrency(value: Any, _layer: Layer) -> int | str:
    text = str(value).strip()
    bounds = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", text)
    if text == "auto" and isinstance(value, str):
        return text
    if bounds is None or isinstance(value, bool) or not 1 <= int(bounds[1]) <= int(bounds[2] or 1e6):
        raise ValueError(f'must be a whole number, "auto" or "MIN-MAX", not {value!r}')
    return text if bounds[2] else int(text)


def _on_uncertain(value: Any, _layer: Layer) -> str:
    if value not in ("hold", "resubmit"):
        raise ValueError(f'must be "hold" or "resubmit", not {value!r}')
    return str(value)


def _attempts(value: Any, _layer: Layer) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,6}", str(value)) or int(value) < 1:
        raise ValueError(f"must be a whole number of at least 1, not {value!r}")
    return int(value)


def _seconds(value: Any, _layer: Layer) -> float:
    try:
        seconds = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        seconds = float("nan")
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"must be a number of seconds, not {value!r}")
    return seconds


_KEYS: Mapping[str, Callable[[Any, Layer], Any]] = {
    "provider": _provider,
    "output": _folder,
    "store": _text,
    "concurrency": _concurrency,
    "name": _text,
    "expand": _names,
    "rewrite": _names,
    "process": _names,
    "on_uncertain": _on_uncertain,
    "attempts": _attempts,
    "backoff_s": _seconds,
    "request_timeout_s": _seconds,
    "job_timeout_s": _seconds,
}
