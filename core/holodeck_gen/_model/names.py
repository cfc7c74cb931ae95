"""Output names from a template such as ``{id}`` or ``{style}/{prompt:.40}-{key}``."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._model.artifact import Artifact
from holodeck_gen._model.nearest import did_you_mean
from holodeck_gen._model.size import format_size
from holodeck_gen.errors import ConfigError, InvalidTaskError, StorageError
from holodeck_gen.files import safe_component, safe_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holodeck_gen._model.task import Task

DEFAULT_WITH_ID = "{id}"
DEFAULT_WITHOUT_ID = "{prompt:.40}-{key}"


@attrs.frozen
class NameTemplate:
    """A checked template; None chooses ``{id}`` or, without an id, prompt and key."""

    text: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.text is None:
            return
        try:
            parsed = list(string.Formatter().parse(self.text))
        except ValueError as error:
            raise ConfigError(f"name template {self.text!r}: {error}") from error
        for _, field, _, conversion in parsed:
            if field is not None and (not field.isidentifier() or conversion):
                raise ConfigError(
                    f"name template {self.text!r}: {{{field}}} must be a plain field name"
                )
        safe_name(string.Formatter().vformat(self.text, (), _Probe()))

    def render(self, task: Task, artifact: Artifact, *, key: str, index: int, provider: str) -> str:
        """The name, without a suffix, of what was made of `task`, the `index`-th of its run.

        Raises:
            InvalidTaskError: The task has no such field.
        """
        if task.output is not None:
            return safe_name(task.output)
        template = self.text
        if template is None:
            template = DEFAULT_WITH_ID if task.id is not None else DEFAULT_WITHOUT_ID
        values: dict[str, object] = {
            **task.metadata,
            "id": task.id if task.id is not None else key,
            "index": index,
            # Spaces in names are a nuisance in a shell.
            "prompt": "-".join(task.prompt.split()),
            "seed": artifact.seed if artifact.seed is not None else task.seed,
            "key": key,
            "sha256": artifact.sha256,
            "model": task.model,
            "style": task.style,
            "size": format_size(task.size) if task.size else None,
            "provider": provider,
        }
        return safe_name(_format(template, values))

    def check(self, task: Task) -> None:
        """Find out before any cost whether `task` can be named.

        Raises:
            InvalidTaskError: The template asks for what the task does not have, or the name
                would leave the output folder.
        """
        probe = Artifact(path="probe", media_type="", sha256="0" * 64, size_bytes=0, seed=0)
        try:
            self.render(task, probe, key="0-1", index=0, provider="probe")
        except StorageError as error:
            raise InvalidTaskError(str(error)) from error


def numbered(name: str, number: int, total: int) -> str:
    """``name`` for one file, ``name-3`` for the third of several."""
    return name if total == 1 else f"{name}-{number}"


def alternative(name: str, suffix: str, attempt: int) -> str:
    """``a.png``, then ``a~2.png``, ``a~3.png`` …"""
    return f"{name}{suffix}" if attempt == 1 else f"{name}~{attempt}{suffix}"


def _format(template: str, values: Mapping[str, object]) -> str:
    parts: list[str] = []
    for literal, field, spec, _ in string.Formatter().parse(template):
        parts.append(literal)
        if field is None:
            continue
        value = values.get(field)
        if value is None:
            if field not in values:
                raise InvalidTaskError(
                    f"the name template asks for {field!r}, which the task does not have"
                    f"{did_you_mean(field, values)}"
                )
            continue
        try:
            text = format(value, spec or "")
        except (ValueError, TypeError):
            try:
                text = format(str(value), spec or "")
            except ValueError as error:
                raise InvalidTaskError(
                    f"the name template's {{{field}:{spec}}}: {error}"
                ) from error
        parts.append(safe_component(text))
    return "".join(parts)


class _Probe(dict[str, str]):
    """Any field, as a word: shows what a template does apart from its values."""

    def __missing__(self, key: str) -> _Word:
        return _Word("x")


class _Word(str):
    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return "x"
