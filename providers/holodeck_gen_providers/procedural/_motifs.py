"""Things that stand in a landscape: boats, birds, pagodas, lighthouses, houses, bridges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ._canvas import Polygon, ellipse, glow, placed, shapes, stroke
from ._land import meadow_color
from ._noise import Field, profile
from ._palette import linear, mixed
from ._plants import fill_below
from ._scene import WATER, Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def paint_motifs(scene: Scene, canvas: Field) -> None:
    """Every thing a scene names, from far to near."""
    for keyword, paint in _MOTIFS.items():
        if scene.has(keyword):
            paint(scene, canvas)


def silhouette(scene: Scene, near: float) -> Field:
    """The color of a thing against the light, from far (0) to near (1)."""
    return mixed(scene.light.haze, scene.light.shade * 0.12, 0.45 + 0.5 * near)


def _mirrored(polygons: Sequence[Polygon], row: float) -> list[Polygon]:
    return [np.stack([p[:, 0], 2 * row - p[:, 1]], axis=1) for p in polygons]


def _standing(scene: Scene, canvas: Field, parts: list[Polygon], color: Field, row: float) -> None:
    """Draw a thing, and on water its mirror image."""
    if scene.has(*WATER):
        shapes(canvas, _mirrored(parts, row), color, opacity=0.38)
    shapes(canvas, parts, color)


def _glowing(scene: Scene) -> Field:
    return linear("#ffc46b") * (0.25 + 1.1 * scene.light.darkness)


def _birds(scene: Scene, canvas: Field) -> None:
    rng = scene.rng("birds")
    x0, y0 = scene.width * rng.uniform(0.25, 0.6), scene.horizon * rng.uniform(0.25, 0.55)
    shapes(canvas, flock(rng, x0, y0, scene.unit), silhouette(scene, 0.8))


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
        _standing(scene, canvas, junk(x, row, scene.unit * 0.36 * near, side), color, row)


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


def _lighthouse(scene: Scene, canvas: Field) -> None:
    rng = scene.rng("lighthouse")
    side = 1.0 if scene.sun[0] < scene.width / 2 else -1.0
    x, size = scene.width * (0.5 + side * 0.3), scene.unit * 0.34
    t = (np.arange(scene.width, dtype=np.float32) - x) * side / scene.unit
    rock = profile(rng, scene.width, cell=scene.unit * 0.12, octaves=6) - 0.5
    rise = 1.0 / (1.0 + np.exp(-(t + 0.14) * 16.0)) * (0.17 + 0.09 * rock)
    foot = scene.horizon + scene.unit * 0.09
    line = np.where(rise > 0.012, foot - (rise - 0.02) * scene.unit, scene.height + 2.0)
    color = silhouette(scene, 1.0)
    base = float(line[int(x)]) + 0.02 * size
    _land_tongue(canvas, line, foot, color)
    lamp = scene.light.sun * (0.85 - 0.5 * scene.light.darkness) + scene.light.shade * 0.35
    white = linear("#f4efe6") * lamp
    shapes(
        canvas, [placed([(-0.10, 0), (-0.066, 0.8), (0.066, 0.8), (0.10, 0)], x, base, size)], white
    )
    red = white * linear("#c8372f")
    for low in (0.12, 0.44):
        a, b = 0.10 - 0.0425 * low, 0.10 - 0.0425 * (low + 0.16)
        band = [(-a, low), (-b, low + 0.16), (b, low + 0.16), (a, low)]
        shapes(canvas, [placed(band, x, base, size)], red)
    top = [(-0.1, 0.8), (-0.1, 0.825), (0.1, 0.825), (0.1, 0.8)]
    roof = [(-0.075, 0.93), (0, 1.03), (0.075, 0.93)]
    shapes(canvas, [placed(top, x, base, size), placed(roof, x, base, size)], color)
    pane = [(-0.05, 0.825), (-0.05, 0.93), (0.05, 0.93), (0.05, 0.825)]
    shapes(canvas, [placed(pane, x, base, size)], linear("#ffe9a8") * 1.4)
    _beam(scene, canvas, x, base - 0.875 * size, -side)


def _land_tongue(canvas: Field, line: Field, foot: float, color: Field) -> None:
    """Rock between a skyline of W rows and its foot on the water."""
    rows = np.arange(canvas.shape[1], dtype=np.float32)[:, None]
    top = max(int(line.min()), 0)
    under = np.clip(foot + (foot - line[None, :]) * 0.12 - rows[top:], 0.0, 1.0)
    mask = np.clip(rows[top:] + 1.0 - line[None, :], 0.0, 1.0) * under
    part = canvas[:, top:]
    part += (color.reshape(3, 1, 1) - part) * mask


def _beam(scene: Scene, canvas: Field, x: float, y: float, side: float) -> None:
    shine = 0.15 + 0.45 * scene.light.darkness
    glow(canvas, x, y, scene.unit * 0.03, linear("#ffe3a0"), 1.6 * shine)
    far = scene.width * 1.2
    for width, share in ((0.10, 0.25), (0.06, 0.3), (0.03, 0.4)):
        cone = [
            [x, y - 1],
            [x + side * far, y - far * width * 1.4],
            [x + side * far, y + far * width * 0.5],
            [x, y + 1],
        ]
        shapes(canvas, [np.array(cone)], linear("#ffedc0"), opacity=share * shine * 0.6, emits=True)


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
        _standing(scene, canvas, body, silhouette(scene, 0.8), row + size * 0.4)


def fish(x: float, y: float, size: float, side: float) -> list[Polygon]:
    """A fish by its middle; `size` is half its length in pixels, `side` where it looks."""
    t = np.linspace(0, 1, 12)
    half = 0.36 * np.sin(np.pi * t**0.8) + 0.02
    back = np.stack([1 - 1.7 * t, half], axis=1)
    body = np.concatenate([back, (back * (1.0, -1.0))[::-1]])
    tail = np.array([[-0.6, 0.0], [-1.05, 0.36], [-0.92, 0.0], [-1.05, -0.36]])
    fin = np.array([[0.3, 0.3], [-0.1, 0.58], [-0.3, 0.25]])
    return [part * (side * size, -size) + (x, y) for part in (body, tail, fin)]


def _pagoda(scene: Scene, canvas: Field) -> None:
    rng = scene.rng("pagoda")
    side = 1.0 if scene.sun[0] < scene.width / 2 else -1.0
    x, size = scene.width * (0.5 + side * rng.uniform(0.2, 0.3)), scene.unit * 0.4
    t = (np.arange(scene.width, dtype=np.float32) - x) / scene.unit
    bumps = profile(rng, scene.width, cell=scene.unit * 0.1, octaves=5) - 0.5
    hill = np.exp(-((t / 0.3) ** 2)) * 0.16 + 0.03 * bumps
    line = scene.height * 1.0 - (hill - 0.02) * scene.unit * 1.2
    if scene.has(*WATER):
        line = np.where(hill > 0.01, line, scene.height + 2.0)
    color = silhouette(scene, 1.0)
    base = float(line[int(x)]) + scene.unit * 0.015
    shapes(canvas, tower(x, base, size), color)
    fill_below(canvas, line.astype(np.float32), color)
    lamps = [
        placed(
            [(-0.03, 0), (-0.03, 0.045), (0.03, 0.045), (0.03, 0)],
            x,
            base - size * (0.085 + 0.165 * i),
            size * (1 - 0.12 * i),
        )
        for i in range(5)
    ]
    shapes(canvas, lamps, _glowing(scene))
    if scene.light.darkness > 0.3:
        glow(canvas, x, base - size * 0.4, size * 0.16, linear("#ff9d4a"), 0.25)


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


def _village(scene: Scene, canvas: Field) -> None:
    rng = scene.rng("village")
    row = scene.horizon + (scene.height - scene.horizon) * 0.16
    middle = scene.width * rng.uniform(0.3, 0.7)
    if scene.has(*WATER):
        _spit(scene, canvas, rng, middle, row)
    wall = mixed(scene.light.haze, scene.light.shade * 0.5, 0.7)
    roof = mixed(scene.light.haze, linear("#8d4a38") * scene.light.sun, 0.6) * 0.6
    if scene.has("snow", "winter"):
        roof = mixed(scene.light.haze, linear("#f4f7ff"), 0.6)
    order = sorted(rng.normal(0, 1, 15), key=lambda away: -abs(away))
    for away in order:
        size = scene.unit * rng.uniform(0.030, 0.055) * (1.25 - 0.25 * abs(away))
        x, y = middle + away * scene.unit * 0.15, row + scene.unit * rng.uniform(-0.012, 0.03)
        _house(scene, canvas, x, y, size, wall * rng.uniform(0.8, 1.15), roof)


def _spit(scene: Scene, canvas: Field, rng: np.random.Generator, middle: float, row: float) -> None:
    """A low tongue of land on the water for houses to stand on."""
    t = (np.arange(scene.width, dtype=np.float32) - middle) / scene.unit
    rough = profile(rng, scene.width, cell=scene.unit * 0.2, octaves=5) - 0.5
    rise = 0.075 - 0.28 * t**2 + 0.02 * rough
    foot = row + scene.unit * 0.03
    line = np.where(rise > 0, foot - rise * scene.unit, scene.height + 2.0)
    color = mixed(scene.light.haze, meadow_color(scene) * scene.light.shade * 0.55, 0.75)
    _land_tongue(canvas, line.astype(np.float32), foot, color)


def _house(
    scene: Scene, canvas: Field, x: float, y: float, size: float, wall: Field, roof: Field
) -> None:
    shapes(canvas, [placed([(-0.6, 0), (-0.6, 0.6), (0.6, 0.6), (0.6, 0)], x, y, size)], wall)
    top = [(-0.75, 0.55), (-0.45, 1.15), (0.45, 1.15), (0.75, 0.55)]
    chimney = [(0.22, 1.0), (0.22, 1.4), (0.36, 1.4), (0.36, 1.0)]
    shapes(canvas, [placed(top, x, y, size), placed(chimney, x, y, size)], roof)
    windows = [
        placed([(c, 0.18), (c, 0.42), (c + 0.2, 0.42), (c + 0.2, 0.18)], x, y, size)
        for c in (-0.42, -0.1, 0.22)
    ]
    shapes(canvas, windows, _glowing(scene))
    if scene.light.darkness > 0.3:
        glow(canvas, x, y, size * 0.7, linear("#ffb35c"), 0.3)


def _bridge(scene: Scene, canvas: Field) -> None:
    row = scene.horizon + (scene.height - scene.horizon) * 0.30
    size = scene.unit * 0.17
    t = np.linspace(-1, 1, 61)
    rise = np.cos(t * np.pi / 2) ** 1.2
    span = scene.width * 0.62
    x = scene.width * 0.5 + t * span
    deck = np.stack([x, row - size * (0.12 + 0.85 * rise)], axis=1)
    under = np.stack([x, row - size * (0.02 + 0.72 * rise)], axis=1)[::-1]
    parts = [np.concatenate([deck, under])]
    for arch in np.linspace(-0.75, 0.75, 7):
        foot = scene.width * 0.5 + arch * span
        tall = size * (0.1 + 0.8 * np.cos(arch * np.pi / 2) ** 1.2)
        wide = size * 0.09
        parts.append(
            np.array(
                [
                    [foot - wide, row],
                    [foot - wide * 0.6, row - tall],
                    [foot + wide * 0.6, row - tall],
                    [foot + wide, row],
                ]
            )
        )
    rail = np.stack([x, row - size * (0.24 + 0.85 * rise)], axis=1)
    parts.append(stroke(rail, size * 0.022))
    parts += [
        stroke(np.array([a, b]), size * 0.02) for a, b in zip(rail[::2], deck[::2], strict=True)
    ]
    _standing(scene, canvas, parts, silhouette(scene, 0.75), row)


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
    "village": _village,
    "bridge": _bridge,
    "boat": _boat,
    "fish": _fish,
    "pagoda": _pagoda,
    "lighthouse": _lighthouse,
    "balloon": _balloons,
    "lantern": _lanterns,
}
