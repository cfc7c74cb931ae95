"""Names that were probably meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the nearest names, or all where none is near."""
    folded = {each.casefold(): each for each in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(repr(folded[each]) for each in close)}?"
    return f"; there are: {', '.join(sorted(folded.values()))}" if folded else "; there are none"
