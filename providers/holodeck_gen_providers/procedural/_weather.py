"""What the air is full of: snow, rain, mist, lightning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._canvas import Polygon, cover, coverage, dots, glow, shapes, spread, stroke
from ._noise import Field, blurred, fractal, smoothstep
from ._palette import linear, mixed

if TYPE_CHECKING:
    from ._scene import Scene


def paint_weather(scene: Scene, canvas: Field) -> None:
    """Mist first, then what falls through it."""
    if scene.has("fog"):
        paint_mist(scene, canvas)
    if scene.has("lightning") or (scene.has("storm") and not scene.has("snow")):
        paint_lightning(scene, canvas)
    if scene.has("rain", "storm") and not scene.has("snow"):
        paint_rain(scene, canvas)
    if scene.has("snow"):
        paint_snow(scene, canvas)


def paint_snow(scene: Scene, canvas: Field) -> None:
    """Flakes at three distances, the nearest large and out of focus."""
    rng = scene.rng("snow")
    area = scene.width * scene.height / scene.unit**2
    color = mixed(linear("#ffffff"), scene.light.haze, 0.2)
    for count, size, opacity in ((1100, 0.0011, 0.55), (380, 0.0022, 0.7), (60, 0.0055, 0.32)):
        total = int(count * area)
        x = rng.uniform(0, scene.width, total).astype(np.float32)
        y = rng.uniform(0, scene.height, total).astype(np.float32)
        spreads = rng.uniform(0.6, 1.4, total).astype(np.float32)
        radius = np.asarray(spreads * scene.unit * size, dtype=np.float32)
        dots(canvas, x, y, radius, color, opacity=opacity * (1.0 - 0.3 * scene.light.darkness))


def paint_rain(scene: Scene, canvas: Field) -> None:
    """Slanting streaks, thin and dense far away, long and rare near."""
    rng = scene.rng("rain")
    area = scene.width * scene.height / scene.unit**2
    lean = float(rng.uniform(-0.25, 0.25))
    color = mixed(scene.light.haze, linear("#ffffff"), 0.35)
    for count, length, width, opacity in (
        (1300, 0.035, 0.0007, 0.22),
        (380, 0.07, 0.0012, 0.26),
        (70, 0.14, 0.0022, 0.2),
    ):
        drops: list[Polygon] = []
        for x, y, part in rng.uniform(-0.1, 1.1, (int(count * area), 3)):
            size = length * scene.unit * (0.6 + 0.5 * abs(part))
            start = np.array([x * scene.width, y * scene.height])
            end = start + np.array([lean * size, size])
            half = np.array([max(width * scene.unit, 0.35) / 2.0, 0.0])
            drops.append(np.array([start, end - half, end + half]))
        shapes(canvas, drops, color, opacity=opacity)


def paint_mist(scene: Scene, canvas: Field) -> None:
    """Banks of mist, thickest around the horizon."""
    rng = scene.rng("mist")
    rows = (np.arange(scene.height, dtype=np.float32)[:, None] - scene.horizon) / scene.unit
    drift = fractal(rng, scene.width, scene.height, cell=scene.unit * 0.16, octaves=5, stretch=3.5)
    bank = np.exp(-((rows / 0.17) ** 2)) * 0.8 + 0.10
    mask = bank * smoothstep(-1.5, 1.4, drift + 0.8 * bank)
    color = mixed(scene.light.haze, linear("#ffffff"), 0.25 * (1.0 - scene.light.darkness))
    cover(canvas, np.clip(mask, 0.0, 0.92).astype(np.float32), color)


def paint_lightning(scene: Scene, canvas: Field) -> None:
    """A forked bolt that lights the sky around it."""
    rng = scene.rng("lightning")
    x = scene.width * float(rng.uniform(0.25, 0.75))
    top, foot = -0.02 * scene.height, scene.horizon * float(rng.uniform(0.96, 1.0))
    bolts = _fork(
        rng,
        np.array([x, top]),
        np.array([x + rng.normal(0, 0.1) * scene.unit, foot]),
        scene.unit * 0.0045,
        2,
    )
    found = coverage(scene.width, scene.height, bolts)
    glow(canvas, x, scene.horizon * 0.35, scene.unit * 0.28, linear("#8ea6ff"), 0.30)
    if found is None:
        return
    mask, left, row = found
    full = np.zeros((scene.height, scene.width), dtype=np.float32)
    full[row : row + mask.shape[0], left : left + mask.shape[1]] = mask
    halo = blurred(full, scene.unit * 0.012) * 2.2 + blurred(full, scene.unit * 0.05) * 2.0
    canvas += spread(linear("#aab8ff")) * np.maximum(halo, 0.0)
    canvas += spread(linear("#f4f2ff")) * full * 2.5


def _fork(
    rng: np.random.Generator, start: Polygon, end: Polygon, width: float, depth: int
) -> list[Polygon]:
    steps = 28
    t = np.linspace(0.0, 1.0, steps)
    reach = float(np.hypot(*(end - start)))
    wander = np.cumsum(rng.normal(0, 0.022, (steps, 2)), axis=0) * reach
    wander -= t[:, None] * wander[-1]
    line = start + t[:, None] * (end - start) + wander * (1.0, 0.4)
    bolts = [stroke(line, np.maximum(width * (1.0 - 0.7 * t), 0.5))]
    if depth:
        for at in rng.integers(4, steps - 5, 3):
            aim = line[at] + reach * rng.uniform(0.2, 0.42) * np.array([rng.normal(0, 0.7), 0.8])
            bolts += _fork(rng, line[at], aim, width * 0.5, depth - 1)
    return bolts
