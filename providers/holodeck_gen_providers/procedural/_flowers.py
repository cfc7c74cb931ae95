"""Grass and flowers at the feet, petals and leaves in the air."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._canvas import Polygon, ellipse, shapes
from ._land import meadow_color
from ._noise import Field, profile
from ._palette import linear, mixed
from ._relief import from_river

if TYPE_CHECKING:
    from ._scene import Scene


def paint_flowers(scene: Scene, canvas: Field) -> None:
    """Grass and flowers that grow from specks at the horizon to blooms at the feet."""
    rng = scene.rng("flowers")
    palettes = (
        ("#e8483f", "#f7d560", "#f6efe0"),
        ("#9a6fd0", "#c9a6ec", "#f3e3a0"),
        ("#f08fb0", "#fbe6ee", "#ffd27a"),
    )
    tints = [linear(code) for code in palettes[int(rng.integers(3))]]
    lamp = scene.light.shade * 0.6 + scene.light.sun * (1.05 - 0.8 * scene.light.darkness)
    many = 1.0 if scene.has("flowers", "spring", "summer") else 0.3
    patches = profile(rng, scene.width, cell=scene.unit * 0.3, octaves=3)
    for near in np.linspace(0.05, 1.0, 14) ** 1.3:
        base = scene.horizon + (scene.height * 1.06 - scene.horizon) * near
        blade = scene.unit * (0.006 + 0.085 * near)
        feet, tips = _blades(scene, rng, base, blade)
        _grass(scene, canvas, feet, tips, near=near, lamp=lamp)
        thick = patches[np.clip(tips[:, 0], 0, scene.width - 1).astype(int)]
        heads = np.flatnonzero(rng.random(len(tips)) < 0.55 * many * thick**2)
        size = np.maximum(blade * 0.13 * rng.uniform(0.6, 1.25, len(tips)), 0.4)
        for number, tint in enumerate(tints):
            bloom = mixed(scene.light.haze, tint * lamp, 0.55 + 0.45 * near)
            mine = heads[number::3]
            shapes(
                canvas,
                [ellipse(tips[i][0], tips[i][1], size[i], size[i] * 0.7, 10) for i in mine],
                bloom,
            )
            hearts = [
                ellipse(tips[i][0], tips[i][1] - size[i] * 0.12, size[i] * 0.4, size[i] * 0.26, 7)
                for i in mine
                if size[i] > 2.0
            ]
            shapes(canvas, hearts, bloom * linear("#b98a4a"))


def _blades(
    scene: Scene, rng: np.random.Generator, base: float, tall: float
) -> tuple[Polygon, Polygon]:
    """Feet and tips, N×2 each, of a row of grass."""
    count = int(min(5.0 * scene.width / (tall + 1.0), 900))
    feet = np.stack(
        [rng.uniform(0, scene.width, count), base + rng.normal(0, 0.35, count) * tall], axis=1
    )
    if scene.has("river"):
        depth = scene.unit * 0.95 / np.maximum(feet[:, 1] - scene.horizon, 1.0)
        across = (feet[:, 0] - scene.width / 2) / (scene.unit * 0.95) * depth
        feet = feet[from_river(scene, across.astype(np.float32), depth.astype(np.float32)) > 1.5]
        count = len(feet)
    lean = rng.normal(0.12, 0.25, count) * tall
    return feet, feet + np.stack([lean, -tall * rng.uniform(0.4, 1.15, count)], axis=1)


def _grass(
    scene: Scene, canvas: Field, feet: Polygon, tips: Polygon, *, near: float, lamp: Field
) -> None:
    half = np.array([scene.unit * 0.0028 * near + 0.2, 0.0])
    blades = [np.array([f - half, t, f + half]) for f, t in zip(feet, tips, strict=True)]
    green = meadow_color(scene) * lamp
    for share, tone in enumerate((0.50, 0.72, 0.98)):
        color = mixed(scene.light.haze, green * tone * (1.05 - 0.3 * near), 0.6 + 0.4 * near)
        shapes(canvas, blades[share::3], color, opacity=0.85)


def paint_fallen(scene: Scene, canvas: Field) -> None:
    """Petals or leaves adrift in the air."""
    rng = scene.rng("petals")
    tint = linear("#ffc2d2") if scene.has("blossom", "spring") else linear("#e07b2c")
    lamp = scene.light.shade * 0.5 + scene.light.sun * (1.0 - 0.6 * scene.light.darkness)
    parts = []
    for _ in range(90):
        x, y = rng.uniform(0, scene.width), scene.height * rng.uniform(0.1, 1.0)
        size = scene.unit * 0.004 * rng.uniform(0.5, 2.2)
        turn = rng.uniform(0, np.pi)
        petal = ellipse(0, 0, size, size * 0.5, 9)
        cos, sin = np.cos(turn), np.sin(turn)
        parts.append(petal @ np.array([[cos, sin], [-sin, cos]]) + (x, y))
    shapes(canvas, parts, tint * lamp, opacity=0.9)
