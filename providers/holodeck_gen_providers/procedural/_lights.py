"""Lights in the sky: aurora, rainbow, meteors, fireworks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._canvas import Polygon, bloom, dots, glow, shapes
from ._noise import Field, fractal, resized, smoothstep
from ._palette import linear, ramp

if TYPE_CHECKING:
    from ._scene import Scene


def paint_lights(scene: Scene, canvas: Field) -> None:
    """Every light of the sky a scene names."""
    if scene.has("aurora"):
        paint_aurora(scene, canvas)
    if scene.has("rainbow"):
        paint_rainbow(scene, canvas)
    if scene.has("meteor"):
        paint_meteors(scene, canvas)
    if scene.has("fireworks"):
        paint_fireworks(scene, canvas)


def paint_aurora(scene: Scene, canvas: Field) -> None:
    """Curtains of rays: a bright hem, then a long fade from green to violet."""
    rng = scene.rng("aurora")
    step = 2 if scene.unit > 400 else 1
    width, rows = -(-scene.width // step), max(2, int(scene.horizon))
    height = -(-rows // step)
    unit = scene.unit / step
    tones = (
        ("#5dffa0", "#2fd6b0", "#5a55d8"),
        ("#7dffb0", "#35c9c9", "#b04fc9"),
        ("#4ff0c0", "#3f9fe0", "#8a4fe0"),
    )
    low, middle, high = (linear(c) for c in tones[int(rng.integers(3))])
    y = np.arange(height, dtype=np.float32)[:, None]
    total = np.zeros((3, height, width), dtype=np.float32)
    for layer in range(3):
        hem = height * (0.50 + 0.16 * layer) + unit * 0.16 * (
            fractal(rng, width, 1, cell=unit * 0.4, octaves=4, gain=0.45)
        )
        fold = fractal(rng, width, 1, cell=unit * 0.05, octaves=4)
        veil = smoothstep(-0.6, 1.4, fractal(rng, width, 1, cell=unit * 0.45, octaves=2))
        rays = (0.55 + 0.45 * smoothstep(-1.2, 1.6, fold)) * veil
        tall = unit * (0.16 + 0.12 * smoothstep(-1.5, 1.5, fold))
        up = (hem - y) / tall
        shape = np.where(up > 0, np.exp(-np.maximum(up, 0) * 1.1), np.exp(np.minimum(up, 0) * 16.0))
        curtain = shape * rays * (0.55 + 0.2 * layer)
        height_share = np.clip(up / 2.6, 0.0, 1.0)
        rise = ramp((low, low, middle, high), 64)
        index = (height_share * 63).astype(np.int32)
        total += rise[:, index] * curtain
    for plane, added in zip(canvas, total, strict=True):
        plane[:rows] += np.maximum(resized(added, scene.width, rows), 0.0) * 0.8


def paint_rainbow(scene: Scene, canvas: Field) -> None:
    """A bow opposite the sun, with a faint second one outside."""
    x = scene.width - scene.sun[0]
    radius = scene.unit * 0.58
    y = scene.horizon + scene.unit * 0.12
    dx = np.arange(scene.width, dtype=np.float32)[None, :] - x
    dy = np.arange(scene.height, dtype=np.float32)[:, None] - y
    away = np.hypot(dx, dy) / radius
    codes = ("#000000", "#5a2fd0", "#2f6fff", "#28c76a", "#ffe14a", "#ff8a2a", "#ff3030", "#000000")
    colors = ramp(tuple(linear(c) for c in codes), 256)
    fade = np.clip(
        (scene.horizon + scene.unit * 0.05 - np.arange(scene.height)) / scene.unit * 5, 0, 1
    )
    rows = fade.astype(np.float32)[:, None]
    for inner, wide, strength, flip in ((0.95, 0.085, 0.42, 1), (1.2, 0.11, 0.13, -1)):
        place = np.clip((away - inner) / wide, 0.0, 1.0)
        index = (place * 255).astype(np.int32)
        canvas += colors[:, ::flip][:, index] * (rows * strength)
    canvas += (smoothstep(0.97, 0.8, away) * rows * 0.05)[None]


def paint_meteors(scene: Scene, canvas: Field) -> None:
    """Meteors falling side by side, bright at the head."""
    rng = scene.rng("meteors")
    angle = float(rng.uniform(0.5, 0.8)) * float(rng.choice([-1.0, 1.0]))
    course = np.array([np.sin(angle), np.cos(angle) * 0.75])
    for i in range(int(rng.integers(3, 7))):
        head = np.array(
            [scene.width * rng.uniform(0.15, 0.85), scene.horizon * rng.uniform(0.15, 0.75)]
        )
        length = scene.unit * (0.34 if i == 0 else rng.uniform(0.08, 0.2))
        width = scene.unit * (0.0042 if i == 0 else 0.002)
        side = np.array([course[1], -course[0]]) * width
        for share, opacity in ((1.0, 0.35), (0.55, 0.5), (0.2, 1.2)):
            tail: Polygon = np.array([head - side, head - course * length * share, head + side])
            shapes(canvas, [tail], linear("#dfe8ff"), opacity=opacity, emits=True)
        glow(canvas, float(head[0]), float(head[1]), width * 2.2, linear("#cfe0ff"), 0.9)


def paint_fireworks(scene: Scene, canvas: Field) -> None:
    """Bursts of falling sparks in a few bright colors."""
    rng = scene.rng("fireworks")
    codes = ("#ffb347", "#ff4f6d", "#6fc3ff", "#8dff9a", "#e08dff", "#fff0c0")
    layer = np.zeros_like(canvas)
    for i in range(int(rng.integers(4, 7))):
        size = scene.unit * rng.uniform(0.08, 0.2)
        x = scene.width * (0.15 + 0.7 * ((i * 0.382 + rng.uniform(0, 0.15)) % 1.0))
        y = scene.horizon * rng.uniform(0.15, 0.62)
        angle = rng.uniform(0, 2 * np.pi, (110, 1))
        reach = np.sqrt(rng.uniform(0.55, 1.0, (110, 1))) * np.cos(rng.uniform(0, 1.2, (110, 1)))
        t = np.linspace(0.15, 1.0, 34)[None, :]
        px = x + np.cos(angle) * reach * t * size
        py = y + np.sin(angle) * reach * t * size + 0.28 * size * t**2
        power = (0.12 + 0.9 * t**3) * np.ones_like(angle)
        radius = np.full(px.size, max(scene.unit * 0.0009, 0.3), dtype=np.float32)
        tint = linear(codes[int(rng.integers(len(codes)))])
        dots(
            layer,
            px.ravel().astype(np.float32),
            py.ravel().astype(np.float32),
            radius,
            tint,
            opacity=power.ravel().astype(np.float32),
        )
        glow(layer, x, y, size * 0.7, tint, 0.13)
    bloom(layer, scene.unit * 0.012, above=0.15, strength=1.3)
    canvas += layer
