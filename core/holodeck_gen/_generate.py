"""One picture from one call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from holodeck_gen._model.remote import is_remote, refuse_half
from holodeck_gen._model.task import Task
from holodeck_gen._plugins.registry import Configured, Registry
from holodeck_gen._studio import AsyncStudio
from holodeck_gen._sync import Studio
from holodeck_gen.errors import ConfigError

if TYPE_CHECKING:
    import os

    from holodeck_gen._model.outcome import Result
    from holodeck_gen._plugins.resolve import Named


def generate(
    prompt: Task | str,
    *,
    provider: Named | None = None,
    output: str | os.PathLike[str] | None = None,
    sidecar: bool | None = None,
    **fields: Any,
) -> Result:
    """Make one task's media and return where it is.

    Args:
        prompt: The words, or a task.
        provider: A name, object or factory; None means the configured one.
        output: The file to write, or its address such as ``s3://BUCKET/dawn.png``. None keeps
            it in a new temporary folder.
        sidecar: Whether it gets a JSON file beside it that tells how it was made.
        **fields: Fields of `Task`, such as ``size="1024x1024"``.

    Raises:
        ConfigError: No provider is named or configured.
        TaskError: It ended without a result.
    """
    task, folder = _task_and_folder(prompt, output, fields)
    with Studio(provider, output=folder, journal="invocation", sidecar=sidecar) as studio:
        return studio.generate(task)


async def agenerate(
    prompt: Task | str,
    *,
    provider: Named | None = None,
    output: str | os.PathLike[str] | None = None,
    sidecar: bool | None = None,
    **fields: Any,
) -> Result:
    """`generate` for code that runs in an event loop."""
    task, folder = _task_and_folder(prompt, output, fields)
    async with AsyncStudio(
        provider, output=folder, journal="invocation", sidecar=sidecar
    ) as studio:
        return await studio.generate(task)


def provider(name: str, **options: Any) -> Configured:
    """Choose a provider with options in code: ``Studio(hg.provider("procedural", quality=2))``.

    Raises:
        UnknownNameError: There is no such provider.
        ConfigError: An option is unknown or cannot be what it is.
    """
    configured: Configured = Registry().configure("provider", name, options)
    return configured


def _task_and_folder(
    prompt: Task | str, output: str | os.PathLike[str] | None, fields: dict[str, Any]
) -> tuple[Task, Path | str | None]:
    task = Task(prompt, **fields) if isinstance(prompt, str) else attrs.evolve(prompt, **fields)
    if output is None:
        return task, None
    refuse_half(output)
    if is_remote(output):
        folder, _, name = output.rpartition("/")
        if not name or folder.endswith("/"):
            raise ConfigError(f"{output} is the address of a folder; add the name of the file")
        return attrs.evolve(task, output=name), folder
    file = Path(output)
    return attrs.evolve(task, output=file.name), file.parent
