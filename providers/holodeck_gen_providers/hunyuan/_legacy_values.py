"""What goes into the legacy client and what comes out of it."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

DEFAULT_MODEL = "hunyuan-pro"
DEFAULT_RESOLUTION = "1024:1024"


# Dataclasses, because callers may take them apart as such.
@dataclass
class GenerationTask:
    """One picture to make.

    Attributes:
        resolution: ``"W:H"`` in pixels.
        output_path: The file to write, in whatever folder; one that is there is replaced. None
            means that only the service's URL is wanted.
        task_id: Empty is replaced by a unique one.
    """

    prompt: str
    resolution: str = DEFAULT_RESOLUTION
    style: str | None = None
    model: str = DEFAULT_MODEL
    output_path: str | os.PathLike[str] | None = None
    task_id: str = ""

    def __post_init__(self) -> None:
        if not self.task_id:
            self.task_id = f"task_{time.time_ns() // 1_000_000}_{uuid.uuid4().hex[:12]}"


@dataclass
class GenerationResult:
    """What became of a task.

    Attributes:
        image_url: Where the service keeps the picture, for about an hour; not for logs, since
            it carries a signature.
        local_path: Where the picture is, if a path was asked for.
        error_message: Begins with the service's code, or ``TimeoutError``, ``NetworkError``, …
        generation_time: Seconds from the submit to the file, without the wait for a turn.
    """

    task_id: str
    success: bool
    image_url: str | None = field(default=None, repr=False)
    local_path: str | None = None
    error_message: str | None = None
    generation_time: float = 0.0
    job_id: str | None = None
