"""What makes two tasks the same task."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from holodeck_gen._model.codec import dumps, fields

if TYPE_CHECKING:
    from holodeck_gen._model.task import Task
    from holodeck_gen._model.values import JsonObject

#: Fields that say how a task is handled, not what is made.
_HANDLING = frozenset({"id", "metadata", "output", "priority", "affinity"})


def digest(task: Task) -> str:
    """32 hex digits over everything that was asked for.

    Equal on every machine. Which of several equal tasks is meant is told by their order.
    """
    return digest_of(fields(task))


def digest_of(given: JsonObject) -> str:
    """As `digest`, of a task's `fields`."""
    asked = {name: value for name, value in given.items() if name not in _HANDLING}
    return hashlib.blake2b(dumps(asked, sort=True).encode(), digest_size=16).hexdigest()
