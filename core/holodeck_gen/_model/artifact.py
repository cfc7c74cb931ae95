"""Files that were produced, and what they cost."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._model.values import JsonObject, freeze_object
from holodeck_gen.errors import InvalidTaskError

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHA256 = re.compile(r"[0-9a-f]{64}")


def _amount(_cost: object, _attribute: object, value: Decimal) -> None:
    if not value.is_finite() or value < 0:
        raise ValueError(f"an amount must be a finite number of at least 0, not {value}")


@attrs.frozen(kw_only=True)
class Cost:
    """An amount of money.

    Attributes:
        amount: In units of the currency.
        currency: ISO 4217 code, such as ``CNY``.
    """

    amount: Decimal = attrs.field(converter=Decimal, validator=_amount)
    currency: str = attrs.field(validator=attrs.validators.matches_re(r"[A-Z]{3}"))


def add_costs(costs: list[Cost]) -> Cost | None:
    """The sum of `costs`; None where there are none or their currencies differ."""
    if len({cost.currency for cost in costs}) != 1:
        return None
    return Cost(amount=sum((cost.amount for cost in costs), Decimal()), currency=costs[0].currency)


def in_number(artifacts: Iterable[Artifact]) -> tuple[Artifact, ...]:
    """Artifacts in the order of the pictures that were asked for, whichever was made first."""
    return tuple(sorted(artifacts, key=lambda artifact: artifact.number))


@attrs.frozen(kw_only=True)
class Artifact:
    """One produced file.

    Attributes:
        path: Where it is, if it is a local file; otherwise None and `uri` is set.
        uri: Where it is in a remote store.
        media_type: Such as ``image/png``.
        sha256: 64 hex digits over its bytes.
        size_bytes: Its length.
        width: Pixels, for pictures.
        height: Pixels, for pictures.
        seed: The seed that made it, where one was used.
        number: Which of its task's pictures it is, from 1; a processor may make several files of
            one.
        metadata: Facts from the provider, such as the keywords it drew from.
        sidecar: The JSON file beside it that tells how it was made, where one was wanted; of
            several files that were made of one picture, only the first has it.
    """

    path: Path | None = attrs.field(default=None, converter=attrs.converters.optional(Path))
    uri: str | None = None
    media_type: str
    sha256: str = attrs.field(validator=attrs.validators.matches_re(_SHA256))
    size_bytes: int = attrs.field(validator=attrs.validators.ge(0))
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    number: int = 1
    metadata: JsonObject = attrs.field(default=None, converter=freeze_object, hash=False)
    sidecar: Artifact | None = None

    def __attrs_post_init__(self) -> None:
        if (self.path is None) == (self.uri is None):
            raise InvalidTaskError("an artifact has either a path or a uri")

    def read_bytes(self) -> bytes:
        """Return the file's content.

        Raises:
            ValueError: It is in a remote store.
            OSError: It cannot be read.
        """
        if self.path is None:
            raise ValueError(f"{self.uri} is in a remote store; fetch it from there")
        return self.path.read_bytes()
