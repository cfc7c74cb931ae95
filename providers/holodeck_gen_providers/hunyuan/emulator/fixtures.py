"""Fixtures for pytest: ``pytest_plugins = ["holodeck_gen_providers.hunyuan.emulator.fixtures"]``.

``hunyuan_emulator`` is a running emulator with jobs of 0.2 s and cheap pictures, and the
environment of the test points at it. Override ``hunyuan_emulator_settings`` to have another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from holodeck_gen_providers.hunyuan.emulator import HunyuanEmulator, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def hunyuan_emulator_settings() -> Settings:
    """How `hunyuan_emulator` behaves."""
    return Settings(job_s=0.2, pictures="cheap")


@pytest.fixture
def hunyuan_emulator(
    hunyuan_emulator_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HunyuanEmulator]:
    """A running emulator; the environment points at it."""
    with HunyuanEmulator(hunyuan_emulator_settings) as emulator:
        for name, value in emulator.environ.items():
            monkeypatch.setenv(name, value)
        yield emulator
