"""What is brushed over the washes: trees, houses, boats, rain, and the red of the seal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._canvas import Polygon, coverage, ellipse, placed, stroke
from ._figures import flock, junk, tower
from ._noise import Field, blurred, fractal, smoothstep
from ._palette import linear
from ._trees import bamboo, broadleaf, palm, pine

if TYPE_CHECKING:
    from ._scene import Scene


def _brush(scene: Scene, ink: Field, parts: list[Polygon], density: float) -> None:
    """Set shapes in ink, with a soft bleeding edge."""
    found = coverage(scene.width, scene.height, parts)
    if found is None:
        return
    mask, left, top = found
    wet = blurred(mask, scene.unit * 0.004) if min(mask.shape) > 8 else mask
    part = ink[top : top + mask.shape[0], left : left + mask.shape[1]]
    np.maximum(part, mask * density + 0.25 * density * np.clip(wet - mask, 0.0, 1.0), out=part)


def ink_plants(scene: Scene, ink: Field, ground: Field) -> None:
    rng = scene.rng("ink plants")
    width, height, unit = scene.width, scene.height, scene.unit
    side = float(rng.choice([0.0, 1.0]))
    if scene.has("bamboo"):
        for depth, density in ((0.75, 0.25), (0.9, 0.5), (1.05, 1.25)):
            for _ in range(3):
                x = width * (side * 0.72 + rng.uniform(0.0, 0.28))
                _brush(scene, ink, bamboo(rng, x, height * 1.02, unit * depth), density)
    trees = [
        tree
        for word, tree in (("pine", pine), ("forest", pine), ("palm", palm), ("blossom", broadleaf))
        if scene.has(word)
    ]
    for tree in trees[:1]:
        for number in range(9 if scene.has("forest") else 4):
            x = width * ((1.0 - side) * 0.62 + rng.uniform(0.02, 0.36))
            foot = _footing(scene, ground, x)
            size = unit * rng.uniform(0.14, 0.26)
            _brush(scene, ink, tree(rng, x, foot, size), 0.45 + 0.08 * number)
    if scene.has("meadow", "flowers"):
        feet = np.stack(
            [rng.uniform(0, width, 260), height * (0.99 - 0.08 * rng.random(260))], axis=1
        )
        tips = feet - np.stack([rng.normal(0, 0.02, 260), rng.uniform(0.02, 0.07, 260)], 1) * unit
        half = np.array([unit * 0.0012 + 0.2, 0.0])
        blades = [np.array([f - half, t, f + half]) for f, t in zip(feet, tips, strict=True)]
        _brush(scene, ink, blades, 0.7)


def _footing(scene: Scene, ground: Field, x: float) -> float:
    """The row where a thing at a column stands, a little below the ridge."""
    return float(ground[int(np.clip(x, 0, scene.width - 1))]) + scene.unit * 0.012


def ink_things(scene: Scene, ink: Field, ground: Field) -> None:
    rng = scene.rng("ink things")
    width, height, unit = scene.width, scene.height, scene.unit
    if scene.has("pagoda", "city", "lighthouse"):
        x = width * rng.uniform(0.25, 0.75)
        _brush(scene, ink, tower(x, _footing(scene, ground, x), unit * 0.24), 0.95)
    if scene.has("village", "city"):
        for _ in range(8):
            x = width * rng.uniform(0.2, 0.8)
            y = _footing(scene, ground, x) + unit * rng.uniform(0.0, 0.05)
            roof = [(-0.8, 0.5), (-0.5, 0.95), (0.5, 0.95), (0.8, 0.5), (0.6, 0.45), (-0.6, 0.45)]
            _brush(scene, ink, [placed(roof, x, y, unit * 0.032)], 0.9)
    if scene.has("bridge"):
        t = np.linspace(-1, 1, 40)
        x0 = width * rng.uniform(0.35, 0.65)
        arch = np.stack([x0 + t * unit * 0.17, height * 0.83 - unit * 0.075 * (1 - t * t)], axis=1)
        _brush(scene, ink, [stroke(arch, unit * 0.012)], 0.8)
    if scene.has("boat"):
        side = float(rng.choice([-1.0, 1.0]))
        x, y = width * rng.uniform(0.3, 0.7), height * 0.88
        _brush(scene, ink, junk(x, y, unit * 0.13, side), 1.0)
        mirror = np.stack(
            [x + unit * 0.05 * np.linspace(-1, 1, 9), np.full(9, y + unit * 0.008)], 1
        )
        _brush(scene, ink, [stroke(mirror, unit * 0.004)], 0.35)
    if scene.has("birds", "autumn"):
        _brush(scene, ink, flock(rng, width * rng.uniform(0.3, 0.7), height * 0.2, unit), 0.9)
    if scene.has("stars", "galaxy", "meteor"):
        spots = [
            ellipse(rng.uniform(0, width), rng.uniform(0, 0.5) * height, r, r, 7)
            for r in unit * rng.uniform(0.001, 0.004, 90)
        ]
        _brush(scene, ink, spots, 0.5)


def ink_weather(scene: Scene, ink: Field) -> None:
    rng = scene.rng("ink weather")
    width, height, unit = scene.width, scene.height, scene.unit
    if scene.has("fog"):
        drift = fractal(rng, width, height, cell=unit * 0.2, octaves=5, stretch=3.0)
        ink *= 1.0 - 0.8 * smoothstep(-0.4, 1.0, drift)
    if scene.has("rain", "storm"):
        lean = rng.uniform(-0.3, 0.3)
        start = rng.uniform(-0.1, 1.0, (420, 2)) * (width, height)
        end = start + rng.uniform(0.03, 0.09, (420, 1)) * unit * np.array([lean, 1.0])
        half = np.array([max(unit * 0.0008, 0.3), 0.0])
        drops = [np.array([s, e - half, e + half]) for s, e in zip(start, end, strict=True)]
        _brush(scene, ink, drops, 0.32)
    if scene.has("snow", "winter"):
        flakes = [
            ellipse(rng.uniform(0, width), rng.uniform(0, height), r, r, 9)
            for r in np.maximum(unit * rng.uniform(0.001, 0.0045, 420), 0.5)
        ]
        found = coverage(width, height, flakes)
        if found is not None:
            mask, left, top = found
            ink += 0.10
            ink[top : top + mask.shape[0], left : left + mask.shape[1]] *= 1.0 - 0.95 * mask


def ink_vermilion(scene: Scene, canvas: Field) -> None:
    """The only color of the brush: sun or moon, blossoms, and the seal."""
    rng = scene.rng("vermilion")
    width, height, unit = scene.width, scene.height, scene.unit
    red = linear("#c3372b")
    x, y = (
        width * float(rng.choice([0.24, 0.34, 0.66, 0.76])),
        height * float(rng.uniform(0.15, 0.25)),
    )
    if scene.has("moon", "night"):
        _stain(canvas, [ellipse(x, y, unit * 0.06, unit * 0.06, 60)], linear("#f6eedb"), 0.85)
    elif scene.has("sun", "dawn", "sunset", "dusk", "noon") or not scene.has(
        "rain", "storm", "snow"
    ):
        size = unit * (0.075 if scene.has("sun") else 0.05)
        _stain(canvas, [ellipse(x, y, size, size, 60)], red, 0.88)
    if scene.has("blossom", "flowers", "spring", "lantern"):
        petals = [
            ellipse(rng.uniform(0, width), rng.uniform(0, height), r, r * 0.7, 9)
            for r in unit * rng.uniform(0.002, 0.007, 130)
        ]
        _stain(canvas, petals, linear("#dd7285"), 0.8)
    if scene.has("autumn"):
        leaves = [
            ellipse(rng.uniform(0, width), rng.uniform(0, height), r, r * 0.6, 7)
            for r in unit * rng.uniform(0.002, 0.006, 70)
        ]
        _stain(canvas, leaves, linear("#c8642a"), 0.85)
    _seal(scene, canvas, rng, red)


def _seal(scene: Scene, canvas: Field, rng: np.random.Generator, red: Field) -> None:
    """A square stamp with strokes cut out of it; it spells nothing."""
    size = scene.unit * 0.045
    x = scene.width * 0.93 - size / 2
    y = scene.height * 0.93 - size / 2
    square = np.array([[x, y], [x + size, y], [x + size, y + size], [x, y + size]])
    paper = linear("#efe6d2")
    _stain(canvas, [square], red, 0.9)
    cuts: list[Polygon] = []
    for at in (0.2, 0.4, 0.6, 0.8):
        start = float(rng.uniform(0.12, 0.5))
        end = start + float(rng.uniform(0.25, 0.38))
        across = np.array([[start, at], [end, at]]) * size + (x, y)
        down = np.array([[at, start], [at, end]]) * size + (x, y)
        cuts += [stroke(across, size * 0.06), stroke(down, size * 0.05)]
    _stain(canvas, cuts, paper, 0.85)


def _stain(canvas: Field, parts: list[Polygon], color: Field, opacity: float) -> None:
    """Color soaked into the paper: the strokes beneath show through."""
    found = coverage(canvas.shape[2], canvas.shape[1], parts)
    if found is None:
        return
    mask, left, top = found
    part = canvas[:, top : top + mask.shape[0], left : left + mask.shape[1]]
    part += (color.reshape(3, 1, 1) - part) * (mask * opacity)
