"""Pictures of nothing: folded color fields, currents of strokes, translucent discs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ._canvas import Polygon, coverage, ellipse, shapes, spread, stroke
from ._noise import Field, fractal, sample
from ._palette import linear, mixed, ramp

if TYPE_CHECKING:
    from ._scene import Scene

_SCHEMES: Final = (
    ("#0f1b3d", "#1f4e79", "#3f9c9c", "#f2d7a0", "#e8825a", "#b8334a"),
    ("#1c1230", "#5a2a6e", "#c2497f", "#f49a6c", "#fbe0b0", "#3f8f9f"),
    ("#10231f", "#25584a", "#7fa86a", "#e9dfae", "#e0a24a", "#a8452f"),
    ("#f3ead8", "#e5b98f", "#d0704f", "#8f3a48", "#2f2a4a", "#5f8fa8"),
    ("#0b1220", "#24416f", "#5f7fc0", "#c9c3e8", "#f5e6d8", "#ef8f8a"),
)


def paint_abstract(scene: Scene) -> Field:
    """A canvas 3×H×W in one of three manners."""
    rng = scene.rng("abstract")
    scheme = tuple(linear(code) for code in _SCHEMES[int(rng.integers(len(_SCHEMES)))])
    manner = (_folds, _currents, _discs)[int(rng.integers(3))]
    return manner(scene, rng, scheme)


def _folds(scene: Scene, rng: np.random.Generator, scheme: tuple[Field, ...]) -> Field:
    """Noise warped by noise, shaded like draped cloth."""
    step = 2 if scene.unit > 700 else 1
    width, height, unit = -(-scene.width // step), -(-scene.height // step), scene.unit / step
    # The noise is wider than the picture, so the warp never meets its mirrored edge.
    margin = int(unit * 0.5)
    planes = [
        fractal(rng, width + 2 * margin, height + 2 * margin, cell=unit * cell, octaves=4, gain=0.4)
        for cell in (0.50, 0.50, 0.42, 0.60)
    ]
    x = np.arange(width, dtype=np.float32)[None, :] + margin + np.zeros((height, 1), np.float32)
    y = np.arange(height, dtype=np.float32)[:, None] + margin + np.zeros((1, width), np.float32)
    push = np.float32(unit * 0.16)
    right = sample(planes[0], x, y) * push
    down = sample(planes[1], x, y) * push
    inner = sample(planes[2], x + right, y + down)
    field = sample(planes[3], x + push * inner + down, y - push * inner + right)
    relief = np.gradient(field, axis=0) - np.gradient(field, axis=1)
    relief *= np.float32(unit * 0.035)
    shade = 1.0 + 0.42 * relief / np.sqrt(1.0 + relief**2)
    place = np.mod(field * 0.23 + 0.12 * inner + 0.5, 2.0)
    place = 1.0 - np.abs(place - 1.0)
    vein = np.exp(-np.abs(np.mod(field * 2.2, 1.0) - 0.5) * 34.0) * 0.14
    index = np.clip(place * 511, 0, 511).astype(np.int32)
    colors = ramp(scheme, 512)
    canvas = np.empty((3, scene.height, scene.width), dtype=np.float32)
    for plane, tone in zip(canvas, colors, strict=True):
        full = tone[index] * shade + vein
        plane[:] = np.repeat(np.repeat(full, step, 0), step, 1)[: scene.height, : scene.width]
    return canvas


def _currents(scene: Scene, rng: np.random.Generator, scheme: tuple[Field, ...]) -> Field:
    """Thousands of strokes that follow a field of directions."""
    width, height, unit = scene.width, scene.height, scene.unit
    canvas = np.empty((3, height, width), dtype=np.float32)
    dark = sum(scheme[0]) < sum(scheme[-1])
    ground = scheme[0] * 0.8 if dark else scheme[0]
    canvas[:] = spread(ramp((ground, mixed(ground, scheme[1], 0.25)), height))
    size = 256
    plane = fractal(rng, size, size, cell=size * 0.42, octaves=3, gain=0.35)
    count, steps = 1500, 34
    at = rng.uniform(-0.08, 1.08, (count, 2)) * (width, height)
    paths = np.empty((count, steps, 2))
    lean = float(rng.uniform(0, 2 * np.pi))
    for i in range(steps):
        paths[:, i] = at
        column = (at[:, 0] / width * (size - 1)).astype(np.float32)
        row = (at[:, 1] / height * (size - 1)).astype(np.float32)
        angle = sample(plane, column, row) * 1.5 + lean
        at = at + np.stack([np.cos(angle), np.sin(angle)], axis=1) * unit * 0.0095
    start = paths[:, 0]
    hue = sample(
        plane,
        (start[:, 1] / height * 200).astype(np.float32),
        (start[:, 0] / width * 200).astype(np.float32),
    )
    group = np.clip((hue * 0.25 + 0.5) * 5 + rng.normal(0, 0.7, count), 0, 4).astype(int) + 1
    swell = np.sin(np.pi * np.linspace(0.02, 0.98, steps)) ** 0.7
    for batch in np.array_split(rng.permutation(count), 5):
        for number in range(1, 6):
            mine = batch[group[batch] == number]
            parts = [stroke(paths[i], swell * unit * rng.uniform(0.0012, 0.0065)) for i in mine]
            shapes(canvas, parts, scheme[number] * rng.uniform(0.85, 1.15), opacity=0.86)
    return canvas


def _discs(scene: Scene, rng: np.random.Generator, scheme: tuple[Field, ...]) -> Field:
    """Large translucent discs and arcs whose overlaps make new colors."""
    width, height, unit = scene.width, scene.height, scene.unit
    canvas = np.empty((3, height, width), dtype=np.float32)
    pale = mixed(
        scheme[3] if sum(scheme[0]) < sum(scheme[3]) else scheme[0], linear("#fbf5ea"), 0.7
    )
    canvas[:] = spread(ramp((pale, pale * 0.88), height))
    for i in range(13):
        size = unit * float(rng.uniform(0.06, 0.36) if i else 0.42)
        x, y = width * float(rng.uniform(0.08, 0.92)), height * float(rng.uniform(0.08, 0.92))
        color = mixed(scheme[int(rng.integers(len(scheme)))], pale, 0.22)
        outline = ellipse(x, y, size, size, 120)
        if rng.random() < 0.35:
            outline = np.concatenate([outline, outline[:1]])
            shape: Polygon = stroke(outline, size * float(rng.uniform(0.06, 0.3)))
        elif rng.random() < 0.4:
            shape = _half(outline, rng)
        else:
            shape = outline
        _glaze(canvas, shape, color, rng)
    lines = []
    for _ in range(3):
        a = rng.uniform(-0.1, 1.1, 2) * (width, height)
        b = rng.uniform(-0.1, 1.1, 2) * (width, height)
        lines.append(stroke(np.array([a, b]), unit * 0.0016))
    shapes(canvas, lines, scheme[0] if sum(scheme[0]) < 1 else scheme[4], opacity=0.7)
    return canvas


def _half(outline: Polygon, rng: np.random.Generator) -> Polygon:
    """Half of a closed outline, cut at a random angle."""
    start = int(rng.integers(len(outline)))
    return np.roll(outline, start, axis=0)[: len(outline) // 2]


def _glaze(canvas: Field, shape: Polygon, color: Field, rng: np.random.Generator) -> None:
    """Multiply a color in, graded across the shape like a printed tint."""
    found = coverage(canvas.shape[2], canvas.shape[1], [shape])
    if found is None:
        return
    mask, left, top = found
    grade = np.linspace(0.55, 1.0, mask.shape[0], dtype=np.float32)[:: int(rng.choice([-1, 1]))]
    amount = mask * grade[:, None] * np.float32(0.85)
    part = canvas[:, top : top + mask.shape[0], left : left + mask.shape[1]]
    tint = np.clip(color * 1.15, 0.0, 1.0)
    part *= 1.0 + (spread(tint) - 1.0) * amount
    part += spread(color) * (amount * 0.12)
