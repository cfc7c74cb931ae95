"""The top-level settings and what they may be."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holodeck_gen._model.money import as_written, parse_money
from holodeck_gen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BOUNDS = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")


def convert(key: str, value: Any, *, origin: str, folder: Path | None) -> Any:
    """Return `value` as the setting `key` is used; variables and command lines give text.

    Args:
        key: One of `KEYS`.
        value: As it was written.
        origin: Where, for messages.
        folder: What a relative path is relative to; None means the working directory.

    Raises:
        ConfigError: It cannot be what it is.
    """
    try:
        converted = KEYS[key](value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{origin}: {key} must be {error}") from error
    if key == "output" and folder is not None and "://" not in converted:
        return str(folder / converted)
    return converted


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"text, not {value!r}")
    return value


def _names(value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise ValueError(f"a list of names, not {value!r}")
    return tuple(_text(item).strip() for item in items)


def _provider(value: Any) -> str | tuple[str, ...]:
    names = _names(value)
    if not names:
        raise ValueError("the name of a provider")
    return names[0] if len(names) == 1 else names


def _output(value: Any) -> str:
    text = _text(value)
    return text if "://" in text else str(Path(text).expanduser())


def _concurrency(value: Any) -> int | str:
    if value == "auto":
        return "auto"
    bounds = _BOUNDS.fullmatch(str(value).strip())
    lowest = int(bounds[1]) if bounds else 0
    highest = int(bounds[2] or lowest) if bounds else 0
    if not 1 <= lowest <= highest:
        raise ValueError(f'a whole number, "auto" or "MIN-MAX", not {value!r}')
    return f"{lowest}-{highest}" if bounds and bounds[2] else lowest


def _budget(value: Any) -> str:
    parse_money(value)
    return as_written(value)


def _on_uncertain(value: Any) -> str:
    if value not in ("hold", "resubmit"):
        raise ValueError(f'"hold" or "resubmit", not {value!r}')
    return str(value)


def _journal(value: Any) -> str:
    text = _text(value)
    return text if text in ("automatic", "invocation", "none") else str(Path(text).expanduser())


def _resume(value: Any) -> str:
    if value not in ("always", "never", "if-possible"):
        raise ValueError(f'"always", "never" or "if-possible", not {value!r}')
    return str(value)


def _cache_reuse(value: Any) -> str:
    if value not in ("reproducible", "any"):
        raise ValueError(f'"reproducible" or "any", not {value!r}')
    return str(value)


def _flag(value: Any) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise ValueError(f"true or false, not {value!r}")
    return str(value).lower() == "true"


def _attempts(value: Any) -> int:
    if not re.fullmatch(r"[1-9]\d{0,5}", str(value)):
        raise ValueError(f"a whole number of at least 1, not {value!r}")
    return int(value)


def _seconds(value: Any) -> float:
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"a number of seconds, not {value!r}")
    return seconds


def _timeout(value: Any) -> float:
    if seconds := _seconds(value):
        return seconds
    raise ValueError("more than 0 seconds")


KEYS: Mapping[str, Callable[[Any], Any]] = {
    "provider": _provider,
    "output": _output,
    "store": _text,
    "concurrency": _concurrency,
    "probe": _flag,
    "budget": _budget,
    "name": _text,
    "journal": _journal,
    "network_journal": _flag,
    "cache": _output,
    "cache_reuse": _cache_reuse,
    "resume": _resume,
    "expand": _names,
    "rewrite": _names,
    "process": _names,
    "observe": _names,
    "sidecar": _flag,
    "on_uncertain": _on_uncertain,
    "attempts": _attempts,
    "backoff_s": _seconds,
    "request_timeout_s": _timeout,
    "job_timeout_s": _timeout,
    "outage_s": _timeout,
}
