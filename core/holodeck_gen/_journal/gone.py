"""What is paid for and can no longer be had: only a new job brings it, if somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holodeck_gen._journal.rows import is_kept
from holodeck_gen.errors import DownloadError, RetryableError

if TYPE_CHECKING:
    from holodeck_gen._journal.journal import PartRecord

#: Seconds for which an address is taken to work that does not tell when it expires.
UNTOLD_S = 86_400.0


def is_gone(part: PartRecord) -> bool:
    """Whether what a part's job made was looked for in vain after its time was over.

    Looking for it includes asking the job for fresh addresses. A service that was out of order
    before that time says nothing.
    """
    if not is_kept(part):
        return False
    if part.state == "failed" and part.files and all(each.path.exists() for each in part.files):
        return False
    if not part.outputs:
        # What was in the spool is not, and the job was asked for it.
        return part.error is not None and not isinstance(part.error, RetryableError)
    end = part.expires_at or (part.submitted_at or 0.0) + UNTOLD_S
    return isinstance(part.error, DownloadError) and (part.changed_at or 0.0) >= end
