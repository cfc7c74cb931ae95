"""Below the surface: shafts of light, a rippled seabed, weeds, corals and fish."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._canvas import Polygon, dots, ellipse, glow, shapes, spread, stroke
from ._figures import fish
from ._noise import Field, fractal, profile, resized, smoothstep
from ._palette import linear, mixed, ramp
from ._plants import fill_below

if TYPE_CHECKING:
    from ._scene import Scene

_SEAS = (
    ("#bdf4ee", "#4fc4cf", "#15799a", "#0a3f63", "#06213c"),
    ("#d6f5dc", "#5fc9b0", "#1d8683", "#0d4a58", "#062a38"),
    ("#c9e8ff", "#4f9fe0", "#1f5fb0", "#123577", "#0a1a45"),
)


def paint_underwater(scene: Scene) -> Field:
    """A canvas 3×H×W."""
    rng = scene.rng("underwater")
    codes = _SEAS[int(rng.integers(len(_SEAS)))]
    tones = tuple(linear(code) for code in codes)
    dim = 1.0 - 0.72 * (scene.light.darkness > 0.8)
    canvas = np.repeat(spread(ramp(tones, scene.height, bend=0.75) * dim), scene.width, axis=2)
    glow(canvas, scene.sun[0], 0.0, scene.unit * 0.22, tones[0], 0.8 * dim)
    _rays(scene, canvas, rng, tones[0] * dim)
    far = tones[2] * dim
    for rank in range(3):
        near = rank / 2
        _reef(scene, canvas, rng, mixed(far, tones[4] * 0.35, 0.3 + 0.65 * near), near)
    _shoals(scene, canvas, rng, mixed(far, tones[4] * 0.3, 0.75))
    _bubbles(scene, canvas, rng, tones[0])
    return canvas


def _rays(scene: Scene, canvas: Field, rng: np.random.Generator, color: Field) -> None:
    """Shafts fan out from the sun above the surface; ripples glitter on its underside."""
    step = 2 if scene.unit > 400 else 1
    width, height = -(-scene.width // step), -(-scene.height // step)
    y = np.arange(height, dtype=np.float32)[:, None] * step / scene.unit
    x = (np.arange(width, dtype=np.float32)[None, :] * step - scene.sun[0]) / scene.unit
    angle = np.arctan2(x, y + np.float32(0.35))
    beams = profile(rng, 1024, cell=34, octaves=4, gain=0.6)
    index = np.clip((angle / 2.8 + 0.5) * 1023, 0, 1023).astype(np.int32)
    fade = np.exp(-y / 0.62) * np.exp(-((angle / 0.75) ** 2))
    light = smoothstep(0.40, 0.95, beams[index]) * fade * 0.85
    ripple = fractal(rng, width, height, cell=scene.unit / step * 0.05, octaves=3, stretch=4.0)
    light += np.exp(-np.abs(ripple) * 5.0) * np.exp(-y / 0.05) * 0.7
    canvas += spread(color) * np.maximum(
        resized(light.astype(np.float32), scene.width, scene.height), 0
    )


def _reef(scene: Scene, canvas: Field, rng: np.random.Generator, color: Field, near: float) -> None:
    line = scene.height * (0.76 + 0.16 * near) - scene.unit * (0.24 - 0.06 * near) * (
        profile(rng, scene.width, cell=scene.unit * 0.34, octaves=6, gain=0.5) - 0.4
    )
    fill_below(canvas, line.astype(np.float32), color)
    parts: list[Polygon] = []
    for _ in range(int(10 + 8 * near)):
        x = rng.uniform(0, scene.width)
        foot = float(line[int(np.clip(x, 0, scene.width - 1))]) + scene.unit * 0.01
        size = scene.unit * rng.uniform(0.06, 0.16) * (0.6 + 0.9 * near)
        parts += (
            _weed(rng, x, foot, size * 1.5) if rng.random() < 0.5 else _coral(rng, x, foot, size)
        )
    shapes(canvas, parts, color)
    corals: list[Polygon] = []
    for _ in range(5):
        x = rng.uniform(0, scene.width)
        foot = float(line[int(np.clip(x, 0, scene.width - 1))]) + scene.unit * 0.01
        corals += _coral(rng, x, foot, scene.unit * 0.07 * (0.6 + 0.9 * near))
    shapes(canvas, corals, mixed(color, linear("#d2526a"), 0.35 + 0.25 * near))


def _weed(rng: np.random.Generator, x: float, y: float, tall: float) -> list[Polygon]:
    t = np.linspace(0, 1, 16)
    parts = []
    for _ in range(3):
        sway = np.sin(t * rng.uniform(3, 6) + rng.uniform(0, 6)) * tall * 0.08 * t
        spine = np.stack(
            [x + rng.normal(0, 0.06) * tall + sway, y - t * tall * rng.uniform(0.6, 1)], 1
        )
        parts.append(stroke(spine, tall * 0.055 * (1.02 - t)))
    return parts


def _coral(rng: np.random.Generator, x: float, y: float, tall: float) -> list[Polygon]:
    return _branch(rng, np.array([x, y]), np.pi / 2 + rng.normal(0, 0.15), tall * 0.5, 4)


def _branch(
    rng: np.random.Generator, start: Polygon, angle: float, length: float, depth: int
) -> list[Polygon]:
    end = start + np.array([np.cos(angle), -np.sin(angle)]) * length
    parts = [
        stroke(np.array([start, end]), length * np.array([0.26, 0.19])),
        ellipse(end[0], end[1], length * 0.1, length * 0.1, 8),
    ]
    if depth:
        for turn in (-0.45, 0.45):
            parts += _branch(rng, end, angle + turn + rng.normal(0, 0.15), length * 0.72, depth - 1)
    return parts


def _shoals(scene: Scene, canvas: Field, rng: np.random.Generator, color: Field) -> None:
    many = 3 if scene.has("fish") else 1
    for _ in range(many):
        cx, cy = scene.width * rng.uniform(0.2, 0.8), scene.height * rng.uniform(0.22, 0.6)
        side = float(rng.choice([-1.0, 1.0]))
        size = scene.unit * rng.uniform(0.012, 0.024)
        parts: list[Polygon] = []
        for _ in range(34):
            x = cx + rng.normal(0, 0.12) * scene.unit
            y = cy + rng.normal(0, 0.05) * scene.unit + 0.15 * (x - cx)
            parts += fish(x, y, size * rng.uniform(0.7, 1.2), side)
        shapes(canvas, parts, color)
    if scene.has("fish"):
        tints = ("#ff9a3c", "#ffd24a", "#ff6f6f")
        for tint in tints:
            x, y = scene.width * rng.uniform(0.2, 0.8), scene.height * rng.uniform(0.35, 0.7)
            shapes(
                canvas,
                fish(x, y, scene.unit * 0.055, float(rng.choice([-1, 1]))),
                linear(tint) * 0.8,
            )


def _bubbles(scene: Scene, canvas: Field, rng: np.random.Generator, color: Field) -> None:
    count = 150
    column = rng.choice(scene.width * rng.uniform(0.1, 0.9, 5), count)
    x = (column + rng.normal(0, 0.02, count) * scene.unit).astype(np.float32)
    y = rng.uniform(0, scene.height, count).astype(np.float32)
    radius = (scene.unit * 0.0045 * rng.random(count) ** 3 + scene.unit * 0.0008).astype(np.float32)
    dots(canvas, x, y, radius, color, opacity=0.30)
