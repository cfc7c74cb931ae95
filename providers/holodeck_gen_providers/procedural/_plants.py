"""Trees, bamboo, grass and flowers as silhouettes in planes of growing nearness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from ._canvas import Polygon, cover, ellipse, shapes, stroke
from ._land import meadow_color
from ._noise import Field, profile
from ._palette import linear, mixed
from ._scene import Scene

Tree = Callable[[np.random.Generator, float, float, float], list[Polygon]]
"""Outlines of a tree: generator, column and row of its foot, height in pixels."""


def pine(rng: np.random.Generator, x: float, y: float, tall: float) -> list[Polygon]:
    """A conifer of ragged whorls."""
    tiers = 11
    up = np.linspace(0.1, 1.0, tiers)
    reach = tall * 0.21 * (1.03 - up) ** 0.85
    right, left = (reach * rng.uniform(0.75, 1.15, tiers) for _ in range(2))
    points = [(x, y - tall)]
    for i in reversed(range(tiers)):
        points += [(x + right[i], y - tall * (up[i] - 0.035)), (x + right[i] * 0.45, y - tall * up[i] * 0.97)]
    points += [(x + tall * 0.012, y - tall * 0.08), (x + tall * 0.012, y + 1), (x - tall * 0.012, y + 1)]
    for i in range(tiers):
        points += [(x - left[i] * 0.45, y - tall * up[i] * 0.97), (x - left[i], y - tall * (up[i] - 0.035))]
    return [np.array(points)]


def broadleaf(rng: np.random.Generator, x: float, y: float, tall: float) -> list[Polygon]:
    """A round tree of leaf clusters on a short trunk."""
    trunk = np.array([[x, y + 2], [x + rng.normal(0, 0.02) * tall, y - tall * 0.5]])
    crown = [stroke(trunk, tall * 0.05)]
    for _ in range(16):
        angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1) ** 0.6
        cx = x + np.cos(angle) * away * tall * 0.27
        cy = y - tall * 0.62 + np.sin(angle) * away * tall * 0.26
        size = tall * rng.uniform(0.08, 0.15)
        crown.append(ellipse(cx, cy, size, size * 0.85, 11))
    return crown


def palm(rng: np.random.Generator, x: float, y: float, tall: float) -> list[Polygon]:
    """A leaning palm with drooping fronds."""
    t = np.linspace(0, 1, 9)
    lean = rng.uniform(-0.35, 0.35) * tall
    trunk = np.stack([x + lean * t**1.8, y + 2 - tall * t], axis=1)
    parts = [stroke(trunk, tall * (0.045 - 0.022 * t))]
    for angle in np.linspace(-0.5, np.pi + 0.5, 9) + rng.normal(0, 0.12, 9):
        length = tall * rng.uniform(0.36, 0.48)
        frond = np.stack(
            [
                trunk[-1, 0] + np.cos(angle) * length * t,
                trunk[-1, 1] - np.sin(angle) * length * t * 0.7 + length * 0.75 * t**2.2,
            ],
            axis=1,
        )
        parts.append(stroke(frond, tall * 0.075 * np.sin(np.pi * (0.06 + 0.94 * t)) + 0.3))
    return parts


def bamboo(rng: np.random.Generator, x: float, y: float, tall: float) -> list[Polygon]:
    """A jointed, bending stalk with sprays of narrow leaves."""
    t = np.linspace(0, 1, 14)
    bend = rng.normal(0, 0.1) * tall
    stalk = np.stack([x + bend * t**2, y + 2 - tall * t], axis=1)
    parts = []
    for lower, upper in zip(stalk[:-1], stalk[1:], strict=True):
        gap = (upper - lower) * 0.04
        parts.append(stroke(np.array([lower + gap, (lower + upper) / 2, upper - gap]),
                            tall * 0.016 * np.array([1.12, 0.92, 1.12])))
    for _ in range(22):
        joint = stalk[int(rng.integers(4, 14))]
        side = rng.choice([-1.0, 1.0])
        start = joint + (side * rng.uniform(0.0, 0.10) * tall, rng.normal(0, 0.015) * tall)
        angle = rng.uniform(0.15, 1.15)
        parts.append(_leaf(start, side * np.cos(angle), np.sin(angle), tall * rng.uniform(0.07, 0.13)))
    return parts


def _leaf(start: Polygon, dx: float, dy: float, length: float) -> Polygon:
    t = np.linspace(0, 1, 5)
    spine = start + np.stack([dx * t, dy * t], axis=1) * length
    return stroke(spine, length * 0.15 * np.sin(np.pi * (0.08 + 0.9 * t)))


_TREES: Final[dict[str, Tree]] = {
    "bamboo": bamboo,
    "palm": palm,
    "pine": pine,
    "blossom": broadleaf,
    "forest": pine,
}


def paint_plants(scene: Scene, canvas: Field) -> None:
    """The vegetation a scene asks for, from the far edge of the land to the nearest grass."""
    kind = next((tree for word, tree in _TREES.items() if scene.has(word)), None)
    if scene.has("forest", "bamboo"):
        _wood(scene, canvas, kind or pine)
    elif kind is not None:
        _frame(scene, canvas, kind)
    if scene.has("meadow", "flowers"):
        paint_flowers(scene, canvas)


def _wood(scene: Scene, canvas: Field, kind: Tree) -> None:
    """Ranks of trees that darken as they come near."""
    rng = scene.rng("wood")
    autumn = scene.has("autumn", "spring", "summer")
    tree = broadleaf if kind is pine and autumn and not scene.has("pine") else kind
    ranks = 5
    for rank in range(ranks):
        near = rank / (ranks - 1)
        base = scene.horizon + (scene.height - scene.horizon) * (0.10 + 0.92 * near**1.4)
        tall = scene.unit * (0.10 + 0.42 * near**1.5) * (1.5 if tree is bamboo else 1.0)
        color = _rank_color(scene, near)
        _row(scene, canvas, rng, tree, base=base, tall=tall, color=color, gap=0.25 * near)


def _rank_color(scene: Scene, near: float) -> Field:
    leaf = mixed(meadow_color(scene), linear("#1c3a2c"), 0.25 if scene.has("autumn") else 0.6)
    if scene.has("winter", "snow"):
        leaf = linear("#53687a")
    lamp = scene.light.shade * 0.9 + scene.light.sun * (0.35 * (1.0 - scene.light.darkness))
    dark = leaf * lamp * (0.9 - 0.55 * near)
    if scene.has("blossom"):
        dark = mixed(dark, linear("#f2a9bd") * lamp, 0.7)
    return mixed(scene.light.haze, dark, 0.30 + 0.68 * near**0.8)


def _row(
    scene: Scene,
    canvas: Field,
    rng: np.random.Generator,
    tree: Tree,
    *,
    base: float,
    tall: float,
    color: Field,
    gap: float,
) -> None:
    """One rank of trees on its own strip of ground."""
    line = base + (profile(rng, scene.width, cell=scene.unit * 0.5, octaves=4) - 0.5) * tall * 0.4
    fill_below(canvas, line, color)
    middle = scene.sun[0] + rng.normal(0, 0.05) * scene.width
    x, parts = -tall * 0.2, list[Polygon]()
    while x < scene.width + tall * 0.2:
        column = int(np.clip(x, 0, scene.width - 1))
        size = tall * rng.uniform(0.55, 1.1)
        # A clearing around the sun keeps the depth of the wood open.
        clear = abs(x - middle) < scene.unit * gap
        parts += tree(rng, x, float(line[column]), size * (0.35 if clear else 1.0))
        x += tall * rng.uniform(0.10, 0.30)
    shapes(canvas, parts, color)


def fill_below(canvas: Field, line: Field, color: Field) -> None:
    """Cover what lies below a line of W rows, with a soft edge of a pixel."""
    top = int(np.clip(line.min(), 0, canvas.shape[1]))
    rows = np.arange(top, canvas.shape[1], dtype=np.float32)[:, None] + 1.0
    if len(rows):
        cover(canvas, np.clip(rows - line[None, :], 0.0, 1.0), color, top=top)


def _frame(scene: Scene, canvas: Field, kind: Tree) -> None:
    """A few near trees at the sides, which lead the eye between them."""
    rng = scene.rng("frame")
    color = _rank_color(scene, 1.0)
    if kind is not broadleaf:
        color = color * 0.7
    bank = profile(rng, scene.width, cell=scene.unit * 0.6, octaves=5)
    edge = np.abs(np.linspace(-1.0, 1.0, scene.width, dtype=np.float32)) ** 2.5
    line = scene.height * (0.985 - 0.085 * edge) - scene.unit * 0.04 * (bank - 0.5)
    ground = mixed(color, scene.light.shade * 0.15, 0.6)
    parts: list[Polygon] = []
    side = -1.0 if scene.sun[0] > scene.width / 2 else 1.0
    for place, size in ((0.86, 0.74), (0.68, 0.5), (0.97, 0.56), (-0.92, 0.42), (-0.8, 0.28)):
        x = scene.width * (0.5 + side * 0.5 * (place + rng.normal(0, 0.03)))
        foot = float(line[int(np.clip(x, 0, scene.width - 1))])
        parts += kind(rng, x, foot, scene.unit * size * rng.uniform(0.85, 1.15))
    shapes(canvas, parts, color)
    fill_below(canvas, line, ground)


def paint_flowers(scene: Scene, canvas: Field) -> None:
    """Grass and flowers that grow from specks at the horizon to blooms at the feet."""
    rng = scene.rng("flowers")
    palettes = (("#e8483f", "#f7d560", "#f6efe0"), ("#9a6fd0", "#c9a6ec", "#f3e3a0"),
                ("#f08fb0", "#fbe6ee", "#ffd27a"))
    tints = [linear(code) for code in palettes[int(rng.integers(3))]]
    lamp = scene.light.shade * 0.6 + scene.light.sun * (1.05 - 0.8 * scene.light.darkness)
    grass = meadow_color(scene) * lamp
    many = 1.0 if scene.has("flowers", "spring", "summer") else 0.35
    for near in np.linspace(0.12, 1.0, 9):
        base = scene.horizon + (scene.height * 1.03 - scene.horizon) * near
        blade = scene.unit * 0.085 * near
        count = int(2.2 * scene.width / (blade + 1.0))
        feet = np.stack([rng.uniform(0, scene.width, count),
                         base + rng.normal(0, 0.35, count) * blade], axis=1)
        lean = rng.normal(0.1, 0.3, count) * blade
        tip = feet + np.stack([lean, -blade * rng.uniform(0.5, 1.2, count)], axis=1)
        half = np.array([blade * 0.035 + 0.2, 0.0])
        tone = mixed(scene.light.haze, grass * (1.05 - 0.6 * near), 0.55 + 0.45 * near)
        shapes(canvas, [np.array([f - half, t, f + half]) for f, t in zip(feet, tip, strict=True)],
               tone)
        heads = rng.permutation(count)[: int(count * 0.3 * many)]
        for number, tint in enumerate(tints):
            mine = heads[number::3]
            size = np.maximum(blade * 0.10 * rng.uniform(0.7, 1.3, len(mine)), 0.4)
            shapes(canvas, [ellipse(*tip[i], s, s * 0.72, 9) for i, s in zip(mine, size, strict=True)],
                   mixed(scene.light.haze, tint * lamp, 0.5 + 0.5 * near))


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

