"""Faults that the service can be told to have, and which request is struck by which.

The grammar, items separated by commas::

    [DIALECT/]NAME[:VALUE][~WORD][=CHANCE | @FIRST | @FIRST-LAST | @FIRST-]

``drop-after-accept=0.05`` strikes one submit in twenty, by the seed; ``@3`` the third, ``@3-8``
the third to the eighth, ``@3-`` all from the third; without either it strikes always.
``aiart/`` restricts it to one dialect, ``~word`` to prompts that contain the word, and what it
does not apply to is not counted. Of several at one point of a request, the first wins.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs
from immutabledict import immutabledict

from holodeck_gen_providers.hunyuan.emulator._interfaces import SERVED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Where a fault strikes: when the clock is read, at a submit, at a query, in the job itself (so
#: that it is decided once, when the job is accepted), at a download.
Point: TypeAlias = Literal["clock", "submit", "query", "job", "download"]

DIALECTS = tuple(dict.fromkeys(dialect for dialect, _ in SERVED))


@attrs.frozen
class FaultKind:
    """One kind of fault.

    Attributes:
        point: Where it strikes.
        value: What its value is when none is given; empty where it takes none.
        summary: One sentence.
    """

    point: Point
    value: str
    summary: str


_METADATA_URL = "http://169.254.169.254/latest/meta-data/"

#: Every fault by name.
KINDS: Mapping[str, FaultKind] = immutabledict(
    {
        "clock": FaultKind("clock", "600", "The service's clock reads VALUE seconds later."),
        "drop-before-accept": FaultKind("submit", "", "The connection closes; there is no job."),
        "drop-after-accept": FaultKind(
            "submit", "", "The job exists, the connection closes and its id is never told."
        ),
        "stall-before-accept": FaultKind(
            "submit", "3600", "No answer for VALUE seconds, then a drop; there is no job."
        ),
        "stall-after-accept": FaultKind(
            "submit", "3600", "The job exists; no answer for VALUE seconds, then a drop."
        ),
        "http-before-accept": FaultKind(
            "submit", "502", "HTTP VALUE with a page of HTML; there is no job."
        ),
        "http-after-accept": FaultKind(
            "submit", "502", "HTTP VALUE with a page of HTML; the job exists."
        ),
        "truncate-submit": FaultKind("submit", "", "The job exists; half of the answer comes."),
        "unparsable-submit": FaultKind("submit", "", "The job exists; HTTP 200 without JSON."),
        "no-job-id": FaultKind(
            "submit", "", "The job exists; HTTP 200 without its id, or without a picture."
        ),
        "throttle-submit": FaultKind("submit", "", "Refused: too many requests a second."),
        "slots-full": FaultKind("submit", "", "Refused: too many jobs at once."),
        "refuse": FaultKind("submit", "InternalError", "Refused with code VALUE."),
        "error-in-200": FaultKind(
            "submit", "502001", "TokenHub: refused with code VALUE in an HTTP 200."
        ),
        "drop-query": FaultKind("query", "", "The connection closes."),
        "stall-query": FaultKind("query", "3600", "No answer for VALUE seconds, then a drop."),
        "http-query": FaultKind("query", "502", "HTTP VALUE with a page of HTML."),
        "truncate-query": FaultKind("query", "", "Half of the answer comes."),
        "unparsable-query": FaultKind("query", "", "HTTP 200 without JSON."),
        "throttle-query": FaultKind("query", "", "Refused: too many requests a second."),
        "error-query": FaultKind("query", "InternalError", "Refused with code VALUE."),
        "job-failed": FaultKind("job", "ServerError", "The job ends failed with code VALUE."),
        "never-ends": FaultKind("job", "", "The job runs for ever."),
        "slow-job": FaultKind("job", "10", "The job takes VALUE times as long."),
        "odd-status": FaultKind("job", "paused", "Until its end the job's status is VALUE."),
        "unknown-at-first": FaultKind(
            "job", "1", "The first VALUE queries answer that there is no such job."
        ),
        "partial": FaultKind("job", "1", "VALUE of the job's pictures are not made."),
        "no-picture": FaultKind("job", "", "The job is done and names no picture."),
        "url-expired": FaultKind("job", "", "The first addresses told have expired already."),
        "result-url": FaultKind("job", _METADATA_URL, "The result's address is VALUE."),
        "drop-download": FaultKind("download", "", "The connection closes."),
        "stall-download": FaultKind(
            "download", "3600", "No answer for VALUE seconds, then a drop."
        ),
        "http-download": FaultKind("download", "502", "HTTP VALUE with a page of HTML."),
        "truncate-download": FaultKind("download", "", "Half of the announced bytes come."),
        "oversized": FaultKind("download", "", "Twice the announced bytes come."),
        "endless": FaultKind("download", "", "The body has no length and no end."),
        "html-instead": FaultKind("download", "", "HTTP 200 and HTML instead of a picture."),
        "wrong-type": FaultKind("download", "text/plain", "The right bytes, declared as VALUE."),
        "broken-picture": FaultKind("download", "", "A PNG that ends in its middle."),
        "bomb": FaultKind("download", "20000", "A small PNG that claims VALUE pixels a side."),
        "gzip-bomb": FaultKind("download", "64", "VALUE MiB of zeros, compressed."),
        "redirect": FaultKind("download", _METADATA_URL, "HTTP 302 to VALUE."),
    }
)

#: Whose values are digits and no numbers.
_CODES = ("error-in-200",)
_STATUSES = {float(status) for status in HTTPStatus if status >= 400}

_ITEM = re.compile(
    r"(?:(?P<dialect>[a-z0-9]+)/)?(?P<name>[a-z0-9-]+)(?::(?P<value>.*?))?(?:~(?P<word>[^=@]+))?"
    r"(?:=(?P<chance>[0-9.]+)|@(?P<first>[0-9]+)(?P<open>-(?P<last>[0-9]+)?)?)?"
)


@attrs.frozen(kw_only=True)
class Fault:
    """One item of the grammar; `first` and `last` count what it applies to, from 1."""

    name: str
    value: str
    dialect: str | None = None
    word: str | None = None
    chance: float | None = None
    first: int = 1
    last: float = float("inf")


def parse_faults(text: str | Sequence[Fault]) -> tuple[Fault, ...]:
    """Read the grammar above.

    Raises:
        ValueError: With a message that names the item.
    """
    if not isinstance(text, str):
        return tuple(text)
    return tuple(_parse(item.strip()) for item in text.split(",") if item.strip())


def _parse(item: str) -> Fault:
    match = _ITEM.fullmatch(item)
    if match is None:
        raise ValueError(f"fault {item!r} is not [DIALECT/]NAME[:VALUE][~WORD][=CHANCE or @N-M]")
    kind = KINDS.get(match["name"])
    if kind is None:
        raise ValueError(f"there is no fault {match['name']!r}; there are {', '.join(KINDS)}")
    if match["dialect"] not in (None, *DIALECTS):
        raise ValueError(f"fault {item!r}: the dialects are {', '.join(DIALECTS)}")
    if match["value"] and not kind.value:
        raise ValueError(f"fault {item!r}: {match['name']} takes no value")
    value = match["value"] or kind.value
    if kind.value.isdigit() and match["name"] not in _CODES:
        number = _number(value, item)
        if match["name"].startswith("http-") and number not in _STATUSES:
            raise ValueError(f"fault {item!r}: {value} is not an HTTP status of an error")
    chance = None if match["chance"] is None else _number(match["chance"], item)
    if chance is not None and chance > 1:
        raise ValueError(f"fault {item!r}: a chance is from 0 to 1")
    first = int(match["first"] or 1)
    last: float = float("inf")
    if match["first"] and not match["open"]:
        last = first
    elif match["last"]:
        last = int(match["last"])
    if not 1 <= first <= last:
        raise ValueError(f"fault {item!r}: counting goes upward from 1")
    return Fault(
        name=match["name"],
        value=value,
        dialect=match["dialect"],
        word=match["word"],
        chance=chance,
        first=first,
        last=last,
    )


def _number(text: str, item: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"fault {item!r}: {text!r} is not a number")
    return number


@attrs.define(eq=False)
class FaultPlan:
    """Decides by count, or by chance from the seed, so that a run can be repeated.

    Each fault has random numbers of its own: adding one does not move the others.

    Attributes:
        struck: How often each fault struck.
    """

    faults: tuple[Fault, ...]
    seed: int = 0
    struck: Counter[str] = attrs.field(factory=Counter, init=False)
    _seen: list[int] = attrs.field(init=False)
    _chances: list[random.Random] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._seen = [0] * len(self.faults)
        self._chances = [
            random.Random(f"{self.seed}/{place}/{fault.name}")
            for place, fault in enumerate(self.faults)
        ]

    def strike(self, point: Point, *, dialect: str, prompt: str = "") -> list[Fault]:
        """The faults that strike here, now; each is counted."""
        return [
            fault
            for place, fault in enumerate(self.faults)
            if KINDS[fault.name].point == point and self._strikes(place, dialect, prompt)
        ]

    def _strikes(self, place: int, dialect: str, prompt: str) -> bool:
        fault = self.faults[place]
        if fault.dialect not in (None, dialect) or (fault.word and fault.word not in prompt):
            return False
        self._seen[place] += 1
        strikes = fault.first <= self._seen[place] <= fault.last
        if fault.chance is not None:
            strikes = self._chances[place].random() < fault.chance
        if strikes:
            self.struck[fault.name] += 1
        return strikes
