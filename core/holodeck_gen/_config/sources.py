"""Where settings are written: TOML files, environment variables and a ``.env`` file."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from holodeck_gen.errors import ConfigError

PREFIX = "HOLODECK_GEN_"
#: Variables of that prefix which are no settings.
NOT_SETTINGS = frozenset({"HOLODECK_GEN_PLUGINS"})
FILE_NAME = "holodeck-gen.toml"
#: Folders above the working directory in which a ``.env`` file is looked for.
DOTENV_PARENTS = 3

_LINE = re.compile(r" \(at line (\d+), column \d+\)| \(at end of document\)")


@attrs.frozen(kw_only=True)
class Layer:
    """Values that were written in one place.

    Attributes:
        origin: The place, for messages and listings.
        values: Settings as nested tables.
        project: Whether it came with the working directory rather than from the user.
        folder: What relative paths in it are relative to; None means the working directory.
    """

    origin: str
    values: Mapping[str, Any] = attrs.field(repr=False)
    project: bool = False
    folder: Path | None = None


def file_layers(cwd: Path) -> Iterator[Layer]:
    """Yield the layers of the files that apply in `cwd`, strongest first.

    Raises:
        ConfigError: A file cannot be read; names the file and the line.
    """
    if own := _nearest(cwd, FILE_NAME):
        yield Layer(origin=str(own), values=read_toml(own), project=True, folder=own.parent)
    if shared := _nearest(cwd, "pyproject.toml"):
        values = _table(read_toml(shared), "tool", "holodeck-gen", file=shared)
        origin = f"{shared} [tool.holodeck-gen]"
        yield Layer(origin=origin, values=values, project=True, folder=shared.parent)
    users = user_file()
    if users.is_file():
        yield Layer(origin=str(users), values=read_toml(users))


def user_file() -> Path:
    """The user's own file, whether or not it exists."""
    from platformdirs import user_config_path

    return user_config_path("holodeck-gen") / "config.toml"


def read_toml(file: Path) -> dict[str, Any]:
    """Parse one file; a byte order mark is accepted.

    Raises:
        ConfigError: It cannot be read or is not TOML; names the file and the line.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror or error}") from error
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}, line {line}: not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        found = _LINE.search(str(error))
        line = int(found[1]) if found and found[1] else data.count(b"\n") + 1
        reason = _LINE.sub("", str(error))
        raise ConfigError(f"{file}, line {line}: not TOML: {reason}") from error
    except RecursionError as error:
        raise ConfigError(f"{file}: nested too deeply") from error


def read_dotenv(cwd: Path) -> tuple[Path | None, dict[str, str]]:
    """The nearest ``.env`` file of `cwd` and three folders above, and its variables.

    Raises:
        ConfigError: The file cannot be read.
    """
    for folder in (cwd, *cwd.parents)[: DOTENV_PARENTS + 1]:
        file = folder / ".env"
        if not file.is_file():
            continue
        from dotenv import dotenv_values

        try:
            found = dotenv_values(file, encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file} cannot be read: {error}") from error
        return file, {name: value for name, value in found.items() if value is not None}
    return None, {}


def variable_layers(variables: Mapping[str, str], *, file: Path | None = None) -> Iterator[Layer]:
    """Yield a layer for each ``HOLODECK_GEN_…`` variable that is not empty.

    Two underscores stand for the dot: ``HOLODECK_GEN_PROVIDERS__HUNYUAN__DIALECT``.

    Args:
        variables: The environment, or what `file` holds.
        file: The ``.env`` file they come from, if they do.
    """
    for name, text in sorted(variables.items()):
        if not name.startswith(PREFIX) or name in NOT_SETTINGS or not text:
            continue
        values: dict[str, Any] = {}
        put(values, name.removeprefix(PREFIX).lower().split("__"), value_of_text(text))
        origin = f"{file}: {name}" if file else f"variable {name}"
        yield Layer(origin=origin, values=values, project=file is not None)


def value_of_text(text: str) -> Any:
    """What a command line or variable means: JSON lists, objects and quoted text, else text.

    Numbers stay text, because only the option's type tells the number 123 from the
    password ``123``.
    """
    if text[:1] in ("[", "{", '"'):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def path_of_key(key: str) -> list[str]:
    """``providers.hunyuan.dialect`` in its parts, which may be quoted as in TOML.

    Raises:
        ConfigError: It is not a key.
    """
    parts: list[str] = []
    try:
        table: Any = tomllib.loads(f"{key} = 0") if not {"\n", "="} & set(key) else None
        while isinstance(table, dict):
            ((part, table),) = table.items()
            parts.append(part)
    except (ValueError, RecursionError):
        table = None
    if table != 0 or not all(parts):
        raise ConfigError(f"{key!r} is not a key; write it as providers.hunyuan.dialect")
    return parts


def put(values: dict[str, Any], path: list[str], value: Any) -> None:
    """Set the value at `path` in nested tables, which are made where they are missing."""
    *tables, last = path
    for name in tables:
        table = values.setdefault(name, {})
        if not isinstance(table, dict):
            table = values[name] = {}
        values = table
    values[last] = value


def _nearest(cwd: Path, name: str) -> Path | None:
    for folder in (cwd, *cwd.parents):
        if (folder / name).is_file():
            return folder / name
    return None


def _table(values: Mapping[str, Any], *path: str, file: Path) -> Mapping[str, Any]:
    for name in path:
        values = values.get(name, {})
        if not isinstance(values, Mapping):
            raise ConfigError(f"{file}: {name!r} must be a table")
    return values
