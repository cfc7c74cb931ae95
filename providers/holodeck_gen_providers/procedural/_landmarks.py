"""What moves in a landscape by itself: a waterfall, a volcano's smoke and fire."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._canvas import cover, glow, shapes, spread
from ._land import crater, meadow_color
from ._noise import Field, blurred, clamped, fractal, profile, smoothstep
from ._palette import linear, mixed
from ._trees import pine

if TYPE_CHECKING:
    from ._scene import Scene
    from ._terrain import View


def paint_eruption(scene: Scene, seen: View, canvas: Field) -> None:
    """A plume that leans with the wind over a glowing crater."""
    rng = scene.rng("plume")
    across, away = crater(scene)
    x = scene.width / 2 + seen.focal * across / away
    y = scene.horizon - seen.focal * 6.9 / away
    height = max(int(y + scene.unit * 0.02), 2)
    up = (y - np.arange(height, dtype=np.float32)[:, None]) / scene.unit
    drift = np.float32(rng.choice([-1.0, 1.0])) * np.maximum(up, 0.0) ** 1.4 * 0.75
    puffs = fractal(rng, scene.width, height, cell=scene.unit * 0.09, octaves=6, gain=0.55)
    column = (np.arange(scene.width, dtype=np.float32)[None, :] - np.float32(x)) / scene.unit
    wide = 0.030 + 0.30 * np.maximum(up, 0.0)
    body = 1.15 - np.abs(column - drift) / wide + 0.38 * puffs
    mask = smoothstep(0.0, 0.55, body) * smoothstep(-0.02, 0.02, up) * np.exp(-up * 1.6)
    fire = np.exp(-np.maximum(up, 0.0) / 0.07)
    ash = mixed(scene.light.haze, scene.light.shade, 0.6) * (0.45 + 0.3 * scene.light.darkness)
    bright = clamped(0.75 + 0.35 * puffs, 0.3, 1.4)
    color = spread(ash) * bright + spread(linear("#ff6a2a")) * (fire * 0.9)
    cover(canvas, clamped(mask * 0.92), color)
    strength = 0.5 + 0.6 * scene.light.darkness
    glow(canvas, x, y, scene.unit * 0.022, linear("#ffb050"), strength * 1.5)
    glow(canvas, x, y, scene.unit * 0.07, linear("#ff4a1c"), strength * 0.7)


def paint_waterfall(scene: Scene, canvas: Field) -> None:
    """A cliff with trees on it, and water that falls over its edge into a pool."""
    rng = scene.rng("waterfall")
    unit, width = scene.unit, scene.width
    side = -1.0 if scene.sun[0] > width / 2 else 1.0
    middle = width / 2 + side * min(width * 0.22, unit * 0.28)
    t = ((np.arange(width, dtype=np.float32) - np.float32(middle)) / unit).astype(np.float32)
    rough = profile(rng, width, cell=unit * 0.12, octaves=7, gain=0.55) - 0.5
    foot = scene.horizon + (scene.height - scene.horizon) * 0.30
    shoulder = smoothstep(0.40, 0.22, np.abs(t + 0.05 * rough)) + smoothstep(0.1, 0.5, t * side)
    dip = np.exp(-((t / 0.06) ** 2)) * 0.035
    tall = unit * (0.46 * clamped(shoulder) * (1.0 + 0.25 * rough) - dip)
    line = (foot + unit * 0.02 - tall).astype(np.float32)
    line = np.where(tall > unit * 0.025, line, scene.height + 2.0).astype(np.float32)
    trees = []
    for x in rng.uniform(0, width, int(46 * width / unit)):
        if tall[int(x)] > unit * 0.28 and abs(x - middle) > unit * 0.055:
            trees += pine(rng, float(x), float(line[int(x)]) + 3.0, unit * rng.uniform(0.03, 0.10))
    shapes(canvas, trees, mixed(scene.light.haze, scene.light.shade * 0.15, 0.8))
    _cliff(scene, canvas, rng, line, foot)
    _fall(
        scene,
        canvas,
        rng,
        middle,
        float(line[int(np.clip(middle, 0, width - 1))]),
        foot,
    )


def _cliff(scene: Scene, canvas: Field, rng: np.random.Generator, line: Field, foot: float) -> None:
    top, bottom = max(int(line.min()), 0), min(int(foot + scene.unit * 0.03), scene.height)
    if bottom - top < 2:
        return
    rows = np.arange(top, bottom, dtype=np.float32)[:, None]
    strata = fractal(
        rng, scene.width, bottom - top, cell=scene.unit * 0.10, octaves=6, gain=0.6, stretch=0.35
    )
    wobble = clamped(foot + strata * scene.unit * 0.006 - rows)
    mask = clamped(rows + 1.0 - line[None, :]) * wobble
    lamp = scene.light.sun * (0.8 - 0.6 * scene.light.darkness)
    lit = linear("#8b8078") * (lamp + scene.light.shade * 0.5)
    dark = linear("#3a3d42") * (scene.light.shade * 0.9 + lamp * 0.12)
    color = spread(dark) + spread(lit - dark) * smoothstep(-0.9, 1.5, strata)
    moss = meadow_color(scene) * (lamp * 0.7 + scene.light.shade * 0.4)
    turf = smoothstep(0.05, 0.0, (rows - line[None, :]) / scene.unit + 0.02 * strata)
    color = color + (spread(moss) - color) * turf
    color = color + (spread(scene.light.haze) - color) * 0.16
    cover(canvas, mask, color, top=top)


def _fall(
    scene: Scene, canvas: Field, rng: np.random.Generator, x: float, lip: float, foot: float
) -> None:
    top, bottom = max(int(lip), 0), min(int(foot), scene.height)
    if bottom - top < 2:
        return
    down = np.linspace(0.0, 1.0, bottom - top, dtype=np.float32)[:, None]
    t = (np.arange(scene.width, dtype=np.float32)[None, :] - np.float32(x)) / scene.unit
    threads = fractal(
        rng, scene.width, bottom - top, cell=scene.unit * 0.22, octaves=7, gain=0.62, stretch=0.06
    )
    wide = 0.036 + 0.022 * down
    mask = smoothstep(1.25, 0.75, np.abs(t) / wide + 0.12 * threads)
    water = mixed(linear("#f4fbff"), scene.light.haze, 0.25) * (1.0 - 0.55 * scene.light.darkness)
    color = spread(water) * clamped(0.78 + 0.2 * threads, 0.35, 1.1)
    cover(canvas, clamped(mask * (0.9 + 0.1 * down)), color, top=top)
    spray = np.zeros((scene.height, scene.width), dtype=np.float32)
    reach = int(scene.unit * 0.09)
    left, right = max(int(x) - reach, 0), min(int(x) + reach, scene.width)
    spray[max(bottom - reach // 3, 0) : bottom + reach // 4, left:right] = 1.0
    cover(canvas, clamped(blurred(spray, scene.unit * 0.045) * 0.8), water)
