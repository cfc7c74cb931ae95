"""Names that were probably meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """Up to three of `names` that are spelt like `name`, best first."""
    folded = {each.casefold(): each for each in names}
    close = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.6)
    return tuple(folded[each] for each in close)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The end of an error message: the nearest names, or all of them where none is near."""
    known = sorted(names)
    close = nearest(name, known)
    if close:
        return f"; did you mean {' or '.join(repr(each) for each in close)}?"
    if known:
        return f"; there are: {', '.join(known)}"
    return "; there are none"
