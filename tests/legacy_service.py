"""The emulated service for tests of the legacy client, polled often so that they are quick."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from holodeck_core.image_generation import HunyuanImageClientOptimized
from holodeck_gen_providers.hunyuan._provider import HunyuanProvider
from holodeck_gen_providers.hunyuan.emulator import HunyuanEmulator, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: For modules whose subject is not the warning.
KEPT = "ignore:.* of holodeck_core is kept for old code only:DeprecationWarning"
DIALECTS = ("tokenhub", "aiart", "hunyuan")
POLL_INTERVAL_S = 0.05


@contextlib.contextmanager
def serving(**settings: Any) -> Iterator[HunyuanEmulator]:
    """A running emulator; the environment points at it, with both kinds of credentials."""
    settings = {"job_s": 0.1, "max_jobs": 2, "pictures": "cheap", **settings}
    limits = HunyuanProvider._limits

    def hurried(self: HunyuanProvider, model: Any) -> Any:
        return attrs.evolve(limits(self, model), poll_interval_s=POLL_INTERVAL_S)

    with pytest.MonkeyPatch.context() as patch, HunyuanEmulator(Settings(**settings)) as emulator:
        patch.setattr(HunyuanProvider, "_limits", hurried)
        for name, value in emulator.environ.items():
            patch.setenv(name, value)
        yield emulator


def client(emulator: HunyuanEmulator, **arguments: Any) -> HunyuanImageClientOptimized:
    """A client with explicit keys that waits next to nothing before a retry."""
    keys = emulator.settings.accounts[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return HunyuanImageClientOptimized(
            keys.secret_id, keys.secret_key, **{"retry_delay": 0.01, **arguments}
        )


def journals(home: Path) -> list[Path]:
    """What is left below the user's state folder; `home` as `own_home` gives the work folder."""
    return sorted((home.parent / "state").rglob("journal.sqlite3"))
