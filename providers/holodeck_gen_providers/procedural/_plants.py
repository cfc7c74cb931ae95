"""Trees, bamboo, grass and flowers as silhouettes in planes of growing nearness."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final

import numpy as np

from ._canvas import Polygon, cover, ellipse, shapes, stroke
from ._land import meadow_color
from ._noise import Field, profile
from ._palette import linear, mixed
from ._scene import WATER, Scene

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
        points += [
            (x + right[i], y - tall * (up[i] - 0.035)),
            (x + right[i] * 0.45, y - tall * up[i] * 0.97),
        ]
    points += [
        (x + tall * 0.012, y - tall * 0.08),
        (x + tall * 0.012, y + 1),
        (x - tall * 0.012, y + 1),
    ]
    for i in range(tiers):
        points += [
            (x - left[i] * 0.45, y - tall * up[i] * 0.97),
            (x - left[i], y - tall * (up[i] - 0.035)),
        ]
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
    for lower, upper in itertools.pairwise(stalk):
        gap = (upper - lower) * 0.04
        parts.append(
            stroke(
                np.array([lower + gap, (lower + upper) / 2, upper - gap]),
                tall * 0.016 * np.array([1.12, 0.92, 1.12]),
            )
        )
    for _ in range(18):
        joint = stalk[int(rng.integers(4, 14))]
        side = rng.choice([-1.0, 1.0])
        start = joint + np.array([side * rng.uniform(0.0, 0.1), rng.normal(0, 0.015)]) * tall
        angle = rng.uniform(0.15, 1.15)
        parts.append(
            _leaf(start, side * np.cos(angle), np.sin(angle), tall * rng.uniform(0.07, 0.13))
        )
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
    elif scene.has("mountains", "lake") and not scene.has("meadow", "flowers", "sea", "minimal"):
        _near_bank(scene, canvas)
    if scene.has("meadow", "flowers"):
        paint_flowers(scene, canvas)


def _wood(scene: Scene, canvas: Field, kind: Tree) -> None:
    """Ranks of trees that darken as they come near."""
    rng = scene.rng("wood")
    autumn = scene.has("autumn", "spring", "summer")
    tree = broadleaf if kind is pine and autumn and not scene.has("pine") else kind
    # Trees stand back from water, so that it can be seen.
    wet = scene.has(*WATER)
    for near in (0.0, 0.08) if wet else (0.0, 0.25, 0.5, 0.75, 1.0):
        base = scene.horizon + (scene.height - scene.horizon) * (0.10 + 0.92 * near**1.4)
        tall = scene.unit * (0.13 + 0.52 * near**1.5) * (1.5 if tree is bamboo else 1.0)
        color = _rank_color(scene, near)
        _row(scene, canvas, rng, tree, base=base, tall=tall, color=color, gap=0.25 * near)
    if wet:
        _frame(scene, canvas, tree)


def _rank_color(scene: Scene, near: float) -> Field:
    leaf = mixed(meadow_color(scene), linear("#1c3a2c"), 0.25 if scene.has("autumn") else 0.6)
    if scene.has("winter", "snow"):
        leaf = linear("#53687a")
    lamp = scene.light.shade * 0.9 + scene.light.sun * (0.35 * (1.0 - scene.light.darkness))
    dark = leaf * lamp * (0.9 - 0.55 * near)
    if scene.has("autumn") and not scene.has("pine"):
        fire = (linear("#d9952b"), linear("#c65a22"), linear("#a83a24"))
        dark = fire[round(near * 8) % 3] * lamp * (1.0 - 0.35 * near)
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
        x += tall * rng.uniform(0.10, 0.30) * (1.4 if tree is bamboo else 1.0)
    shapes(canvas, parts, color)
    if tree is broadleaf:
        _sunlit(scene, canvas, parts, color)


def _sunlit(scene: Scene, canvas: Field, parts: list[Polygon], color: Field) -> None:
    """Lighter leaf clusters on the side of the sun."""
    lights = []
    for part in parts:
        middle, size = part.mean(axis=0), np.ptp(part[:, 0])
        if len(part) > 4 and size > 3.0:
            toward = np.sign(scene.sun[0] - middle[0]) * size * 0.14
            lights.append((part - middle) * 0.62 + middle + (toward, -size * 0.16))
    shapes(canvas, lights, color * 1.35 + scene.light.sun * 0.03, opacity=0.75)


def fill_below(canvas: Field, line: Field, color: Field) -> None:
    """Cover what lies below a line of W rows, with a soft edge of a pixel."""
    top = int(np.clip(line.min(), 0, canvas.shape[1]))
    rows = np.arange(top, canvas.shape[1], dtype=np.float32)[:, None] + 1.0
    if len(rows):
        cover(canvas, np.clip(rows - line[None, :], 0.0, 1.0), color, top=top)


def _near_bank(scene: Scene, canvas: Field) -> None:
    """A dark wooded bank across the foot of the picture, lowest below the sun."""
    rng = scene.rng("bank")
    color = _rank_color(scene, 1.0) * 0.75
    x = np.linspace(0.0, 1.0, scene.width, dtype=np.float32)
    away = np.abs(x - np.float32(scene.sun[0] / scene.width))
    rough = profile(rng, scene.width, cell=scene.unit * 0.3, octaves=6) - 0.5
    line = scene.height - scene.unit * (0.015 + 0.20 * away**1.3 + 0.05 * rough)
    parts: list[Polygon] = []
    place = 0.0
    while place < scene.width:
        column = int(place)
        size = scene.unit * rng.uniform(0.025, 0.10) * (0.45 + 1.1 * float(away[column]))
        parts += pine(rng, place, float(line[column]) + 2.0, size)
        place += size * rng.uniform(0.12, 0.5) + 1.0
    shapes(canvas, parts, color)
    fill_below(canvas, line.astype(np.float32), color)


def _frame(scene: Scene, canvas: Field, kind: Tree) -> None:
    """A few near trees at the sides, which lead the eye between them."""
    rng = scene.rng("frame")
    color = _rank_color(scene, 1.0)
    if kind is not broadleaf:
        color = color * 0.7
    bank = profile(rng, scene.width, cell=scene.unit * 0.6, octaves=5)
    side = -1.0 if scene.sun[0] > scene.width / 2 else 1.0
    toward = np.linspace(-1.0, 1.0, scene.width, dtype=np.float32) * np.float32(side)
    edge = np.where(toward > 0, np.abs(toward) ** 2.2, 0.45 * np.abs(toward) ** 4)
    line = scene.height - scene.unit * (0.012 + 0.115 * edge + 0.05 * (bank - 0.5))
    ground = mixed(color, scene.light.shade * 0.15, 0.6)
    parts: list[Polygon] = []
    for place, size in ((0.86, 0.74), (0.68, 0.5), (0.97, 0.56), (-0.92, 0.42), (-0.8, 0.28)):
        x = scene.width * (0.5 + side * 0.5 * (place + rng.normal(0, 0.03)))
        foot = float(line[int(np.clip(x, 0, scene.width - 1))])
        parts += kind(rng, x, foot, scene.unit * size * rng.uniform(0.85, 1.15))
    shapes(canvas, parts, color)
    if kind is broadleaf:
        _sunlit(scene, canvas, parts, color)
    fill_below(canvas, line.astype(np.float32), ground)


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
