"""A plugin in the place of ``hunyuan``: the same providers, polled often.

The emulator's jobs take a tenth of a second here, and the two seconds between two polls of a
real one would be most of each test.
"""

from __future__ import annotations

from typing import Any

import attrs

import holodeck_gen as hg
from holodeck_gen_providers.hunyuan import (
    Hunyuan3DOptions,
    HunyuanOptions,
    make_hunyuan,
    make_hunyuan3d,
)

POLL_INTERVAL_S = 0.05


class Hurried:
    """A provider, and nothing else than its poll interval is changed."""

    def __init__(self, provider: hg.Provider) -> None:
        self._provider: Any = provider

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    @property
    def limits(self) -> hg.Limits:
        return _hurried(self._provider.limits)

    def limits_for(self, task: hg.Task) -> hg.Limits:
        return _hurried(self._provider.limits_for(task))


def _hurried(limits: hg.Limits) -> hg.Limits:
    return attrs.evolve(limits, poll_interval_s=POLL_INTERVAL_S)


def make_hurried(options: HunyuanOptions | None, ctx: hg.Context) -> Any:
    """The factory of pictures."""
    return Hurried(make_hunyuan(options, ctx))


def _solids(options: Hunyuan3DOptions | None, ctx: hg.Context) -> Any:
    return Hurried(make_hunyuan3d(options, ctx))


@hg.hookimpl
def register_providers(register: hg.Register) -> None:
    register("hunyuan", make_hurried, options=HunyuanOptions, summary="Pictures.")
    register("hunyuan3d", _solids, options=Hunyuan3DOptions, summary="3D models.")
