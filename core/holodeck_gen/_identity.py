"""What makes two tasks the same task."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from holodeck_gen._codec import to_json

if TYPE_CHECKING:
    from holodeck_gen._task import Task

#: Fields that say how a task is handled, not what is made.
_HANDLING = ("id", "metadata", "output", "priority", "affinity")


def digest(task: Task) -> str:
    """32 hex digits over everything that was asked for.

    Equal on every machine. Which of several equal tasks is meant is told by their order.
    """
    asked = {name: value for name, value in to_json(task).items() if name not in _HANDLING}
    text = json.dumps(asked, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
