"""Trees, bamboo, grass and flowers as silhouettes in planes of growing nearness."""

from __future__ import annotations

from typing import Final

import numpy as np

from ._canvas import Polygon, cover, shapes
from ._flowers import paint_flowers
from ._land import meadow_color
from ._noise import Field, clamped, profile
from ._palette import linear, mixed
from ._scene import WATER, Scene
from ._trees import Tree, bamboo, broadleaf, palm, pine

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
    shore = () if scene.has("waterfall") else (0.0, 0.08)
    for near in shore if wet else (0.0, 0.25, 0.5, 0.75, 1.0):
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
        dark = mixed(dark, linear("#f4b3c6") * (lamp * 0.6 + 0.32 * (1.2 - near)), 0.85)
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
    if scene.has(*WATER):
        land_tongue(canvas, line, base + tall * 0.12, color)
    else:
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


def land_tongue(canvas: Field, line: Field, foot: float, color: Field) -> None:
    """Low land between a skyline of W rows and its foot on the water."""
    top = int(np.clip(line.min(), 0, canvas.shape[1]))
    rows = np.arange(top, canvas.shape[1], dtype=np.float32)[:, None]
    under = clamped(foot + (foot - line[None, :]) * 0.12 - rows)
    cover(canvas, clamped(rows + 1.0 - line[None, :]) * under, color, top=top)


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
