"""How a raw file came about: what only the run that fetched it knows of the job."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

import attrs

from holodeck_gen._model.values import in_order


@attrs.frozen(kw_only=True)
class Origin:
    """Kept with a raw file, so that whoever tells of its job later, or again, tells the same.

    Attributes:
        job_id: The provider's job; None where an answer came at once.
        request_ids: The provider's ids of the submit and of the query that told of the end.
        submitted_at: When the job was accepted, in seconds since the epoch.
        ended_at: When its end was seen, likewise.
        release: The release of holodeck-gen that fetched it.
        reused: Whether it was made for another task and comes from the generation cache.
    """

    job_id: str | None = None
    request_ids: tuple[str, ...] = attrs.field(default=(), converter=in_order)
    submitted_at: float | None = None
    ended_at: float | None = None
    release: str | None = None
    reused: bool = False


@cache
def this_release() -> str:
    """The installed release of holodeck-gen."""
    return version("holodeck-gen")
