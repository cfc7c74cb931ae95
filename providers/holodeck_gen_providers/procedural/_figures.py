"""Outlines of small things, and how they stand in the light."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._canvas import Polygon, placed, shapes, stroke
from ._palette import mixed
from ._scene import WATER, Scene

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._noise import Field


def silhouette(scene: Scene, near: float) -> Field:
    """The color of a thing against the light, from far (0) to near (1)."""
    return mixed(scene.light.haze, scene.light.shade * 0.12, 0.45 + 0.5 * near)


def _mirrored(polygons: Sequence[Polygon], row: float) -> list[Polygon]:
    return [np.stack([p[:, 0], 2 * row - p[:, 1]], axis=1) for p in polygons]


def standing(scene: Scene, canvas: Field, parts: list[Polygon], color: Field, row: float) -> None:
    """Draw a thing, and on water its mirror image."""
    if scene.has(*WATER):
        shapes(canvas, _mirrored(parts, row), color, opacity=0.38)
    shapes(canvas, parts, color)


def flock(rng: np.random.Generator, x: float, y: float, unit: float) -> list[Polygon]:
    """Birds on the wing around a point."""
    parts = []
    for i in range(int(rng.integers(9, 16))):
        size = unit * rng.uniform(0.010, 0.024)
        at_x = x + unit * (0.035 * i * (1 if i % 2 else -0.75) + rng.normal(0, 0.01))
        at_y = y + unit * (0.012 * i + rng.normal(0, 0.012))
        lift, tilt = rng.uniform(0.2, 0.75), rng.normal(0, 0.12)
        t = np.linspace(-1, 1, 13)
        wing = lift * (np.abs(t) ** 0.7 - 0.75 * np.abs(t) ** 2) * 1.5 + tilt * t
        line = np.stack([at_x + size * t, at_y - size * wing], axis=1)
        parts.append(stroke(line, size * 0.22 * (1.05 - np.abs(t))))
    return parts


def junk(x: float, y: float, size: float, side: float) -> list[Polygon]:
    """A sailing boat by its middle on the water line; `size` is about its height in pixels."""
    hull = [(-0.42, 0.14), (-0.34, -0.02), (0.32, -0.02), (0.48, 0.2), (0.3, 0.11), (-0.3, 0.1)]
    main = [(-0.02, 0.2), (0.0, 1.02), (0.16, 0.86), (0.3, 0.55), (0.33, 0.24)]
    fore = [(-0.08, 0.22), (-0.06, 0.86), (-0.24, 0.6), (-0.34, 0.26)]
    mast = [(-0.03, 0.1), (-0.03, 1.06), (-0.01, 1.06), (-0.01, 0.1)]
    flip = (side, 1.0)
    return [
        placed([(a * flip[0], b) for a, b in part], x, y, size) for part in (hull, main, fore, mast)
    ]


def tower(x: float, y: float, size: float) -> list[Polygon]:
    """A pagoda of five roofs by the middle of its foot; `size` is its height in pixels."""
    parts = []
    for i in range(5):
        half, low = 0.155 * (1.0 - 0.13 * i), 0.165 * i
        wall = [(-half, low), (-half, low + 0.17), (half, low + 0.17), (half, low)]
        eave = half * 1.75
        roof = [
            (-eave * 1.06, low + 0.135),
            (-eave * 0.92, low + 0.118),
            (eave * 0.92, low + 0.118),
            (eave * 1.06, low + 0.135),
            (eave * 0.6, low + 0.15),
            (half * 0.8, low + 0.19),
            (-half * 0.8, low + 0.19),
            (-eave * 0.6, low + 0.15),
        ]
        parts += [placed(wall, x, y, size), placed(roof, x, y, size)]
    spire = [(-0.02, 0.83), (-0.006, 1.05), (0.006, 1.05), (0.02, 0.83)]
    return [*parts, placed(spire, x, y, size)]


def fish(x: float, y: float, size: float, side: float) -> list[Polygon]:
    """A fish by its middle; `size` is half its length in pixels, `side` where it looks."""
    t = np.linspace(0, 1, 12)
    half = 0.36 * np.sin(np.pi * t**0.8) + 0.02
    back = np.stack([1 - 1.7 * t, half], axis=1)
    body = np.concatenate([back, (back * (1.0, -1.0))[::-1]])
    tail = np.array([[-0.6, 0.0], [-1.05, 0.36], [-0.92, 0.0], [-1.05, -0.36]])
    fin = np.array([[0.3, 0.3], [-0.1, 0.58], [-0.3, 0.25]])
    return [part * (side * size, -size) + (x, y) for part in (body, tail, fin)]
