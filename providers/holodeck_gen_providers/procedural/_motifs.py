"""Things that stand in a landscape or drift above it, each painted by its keyword."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ._buildings import paint_bridge, paint_lighthouse, paint_pagoda, paint_village
from ._canvas import ellipse, glow, placed, shapes, stroke
from ._figures import fish, flock, junk, silhouette, standing
from ._palette import linear, mixed
from ._scene import WATER, Scene

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._noise import Field


def paint_motifs(scene: Scene, canvas: Field) -> None:
    """Every thing a scene names, from far to near."""
    for keyword, paint in _MOTIFS.items():
        if scene.has(keyword):
            paint(scene, canvas)


def _birds(scene: Scene, canvas: Field) -> None:
    rng = scene.rng("birds")
    x0, y0 = scene.width * rng.uniform(0.25, 0.6), scene.horizon * rng.uniform(0.25, 0.55)
    shapes(canvas, flock(rng, x0, y0, scene.unit), silhouette(scene, 0.8))


def _boat(scene: Scene, canvas: Field) -> None:
    rng = scene.rng("boat")
    side = -1.0 if scene.sun[0] > scene.width / 2 else 1.0
    for number in range(int(rng.integers(1, 4))):
        near = (0.5, 0.22, 0.12)[number]
        row = scene.horizon + (scene.height - scene.horizon) * near
        x = scene.width * (
            0.5 + side * (0.14 + 0.12 * number * (-1) ** number) + rng.normal(0, 0.03)
        )
        color = silhouette(scene, 0.6 + 0.5 * near)
        standing(scene, canvas, junk(x, row, scene.unit * 0.36 * near, side), color, row)


def _fish(scene: Scene, canvas: Field) -> None:
    """Two fish that leap from the water, and the rings they leave."""
    if not scene.has(*WATER):
        return
    rng = scene.rng("leap")
    row = scene.horizon + (scene.height - scene.horizon) * 0.55
    middle = scene.width * rng.uniform(0.3, 0.7)
    for side in (-1.0, 1.0):
        x, size = middle + side * scene.unit * 0.07, scene.unit * rng.uniform(0.035, 0.05)
        turn = side * rng.uniform(0.5, 0.9)
        spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        body = [part @ spin + (x, row - size * 1.5) for part in fish(0.0, 0.0, size, side)]
        ring = ellipse(x, row + size * 0.4, size * 1.2, size * 0.2, 40)
        shapes(canvas, [stroke(ring, size * 0.05)], scene.light.sun, opacity=0.5)
        standing(scene, canvas, body, silhouette(scene, 0.8), row + size * 0.4)


def _lanterns(scene: Scene, canvas: Field) -> None:
    rng = scene.rng("lanterns")
    for i in range(26):
        near = (i / 25) ** 2.2
        x, y = scene.width * rng.uniform(0.03, 0.97), scene.height * rng.uniform(0.06, 0.8)
        size = scene.unit * (0.010 + 0.034 * near)
        glow(canvas, x, y, size * 0.9, linear("#ff8a35"), 0.45)
        body = [(-0.55, -0.75), (-0.8, 0.45), (-0.4, 0.85), (0.4, 0.85), (0.8, 0.45), (0.55, -0.75)]
        shapes(canvas, [placed(body, x, y, size)], linear("#ff9a3d") * 1.1)
        shapes(
            canvas, [ellipse(x, y + size * 0.35, size * 0.42, size * 0.4)], linear("#ffe09a") * 1.3
        )


def _balloons(scene: Scene, canvas: Field) -> None:
    rng = scene.rng("balloons")
    schemes = (("#d8432f", "#f4d27a"), ("#2f6fae", "#f3ead6"), ("#e08a2c", "#7a2f4f"))
    lamp = scene.light.shade * 0.35 + scene.light.sun * (0.95 - 0.5 * scene.light.darkness)
    for i, size in enumerate((0.035, 0.055, 0.12)):
        x = scene.width * (0.18 + 0.3 * i + rng.uniform(-0.08, 0.08))
        y = scene.horizon * rng.uniform(0.25, 0.65)
        first, second = (
            mixed(scene.light.haze, linear(c) * lamp, 0.55 + 0.2 * i)
            for c in schemes[(i + int(rng.integers(3))) % 3]
        )
        _balloon(canvas, x, y, scene.unit * size, first, second)


def _balloon(canvas: Field, x: float, y: float, size: float, first: Field, second: Field) -> None:
    t = np.linspace(0, 1, 24)
    half = np.sin(np.pi * t**0.62) ** 0.8 * 0.98 * (1 - 0.25 * t) + 0.10 * t
    rows = y - size + t * size * 2.3
    for stripe, share in enumerate((1.0, 0.72, 0.40, 0.14)):
        edge = np.concatenate(
            [
                np.stack([x + half * share * size, rows], axis=1),
                np.stack([x - half * share * size, rows], axis=1)[::-1],
            ]
        )
        shapes(canvas, [edge], (first if stripe % 2 == 0 else second) * (0.72 + 0.1 * stripe))
    basket = [(-0.11, -1.62), (-0.11, -1.82), (0.11, -1.82), (0.11, -1.62)]
    ropes = [
        stroke(
            np.array([[x + s * 0.1 * size, rows[-1]], [x + s * 0.1 * size, y + 1.65 * size]]),
            size * 0.02,
        )
        for s in (-1, 1)
    ]
    shapes(canvas, [placed(basket, x, y, size), *ropes], first * 0.25)


_MOTIFS: Final[dict[str, Callable[[Scene, Field], None]]] = {
    "birds": _birds,
    "village": paint_village,
    "bridge": paint_bridge,
    "boat": _boat,
    "fish": _fish,
    "pagoda": paint_pagoda,
    "lighthouse": paint_lighthouse,
    "balloon": _balloons,
    "lantern": _lanterns,
}
