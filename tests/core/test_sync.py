"""`Studio` in programs that have event loops of their own."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING

import pytest

import holodeck_gen as hg
from helpers import FakeStore, no_plugins
from holodeck_gen.testing import ScriptedProvider

if TYPE_CHECKING:
    from pathlib import Path


def studio(folder: Path) -> hg.Studio:
    """One that is not open yet."""
    return hg.Studio(
        ScriptedProvider(),
        output=folder,
        store=FakeStore(),
        journal=None,
        config=hg.Config.of({}, environ={}),
        registry=no_plugins(),
    )


def test_opens_and_closes_inside_a_running_loop(tmp_path: Path) -> None:
    async def main() -> None:
        with studio(tmp_path) as running:
            assert running.describe().jobs_at_once

    asyncio.run(main())


def test_leaves_the_current_loop_of_the_thread_alone(tmp_path: Path) -> None:
    mine = asyncio.new_event_loop()
    asyncio.set_event_loop(mine)
    try:
        with studio(tmp_path):
            assert asyncio.get_event_loop_policy().get_event_loop() is mine
        assert asyncio.get_event_loop_policy().get_event_loop() is mine
    finally:
        asyncio.set_event_loop(None)
        mine.close()


@pytest.mark.parametrize("way", ["map", "generate_all"])
def test_interrupt_stops_gracefully(tmp_path: Path, way: str) -> None:
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGINT))
    with studio(tmp_path) as running:
        run = getattr(running, way)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            list(run([f"{i}" for i in range(1000)]))
    timer.join()


def test_a_stage_that_comes_too_late_is_refused() -> None:
    studio = hg.Studio(ScriptedProvider(), store=FakeStore(), registry=no_plugins())
    with pytest.raises(hg.errors.ConfigError, match=r"'mine' comes too late .*Registry"):
        studio.register("processor", "mine", lambda _options, _ctx: print)
