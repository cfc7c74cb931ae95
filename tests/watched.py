"""A run that observers have something to tell of."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import holodeck_gen as hg
from holodeck_gen.testing import Script, ScriptedProvider

if TYPE_CHECKING:
    from pathlib import Path

#: Of each job.
PRICE = hg.Cost(amount=Decimal("0.25"), currency="CNY")
#: A task that is rejected.
BAD = hg.Task("something rude", id="bad")


def scripted() -> ScriptedProvider:
    """One job is refused at first and takes 20 s, another one 40 s; one prompt is rejected."""
    refusal = hg.errors.SlotRefusedError("full", code="Busy")
    return ScriptedProvider(
        scripts={
            "a cat": Script(job_s=20.0, submits=[refusal], cost=PRICE),
            "a dog": Script(job_s=40.0, cost=PRICE),
            BAD.prompt: Script(submits=[hg.errors.ContentRejectedError("no")]),
        }
    )


def same(file: Path, _task: hg.Task) -> Path:
    """A processor that leaves all as it is."""
    return file
