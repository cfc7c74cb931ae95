"""A neon street at night in one-point perspective, wet from rain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from ._canvas import Polygon, bloom, cover, glow, shapes, spread
from ._landscape import paint_heavens
from ._noise import Field, blurred, fractal, smoothstep
from ._palette import linear, mixed
from ._sky import paint_sky

if TYPE_CHECKING:
    from ._scene import Scene

_EYE = 0.28  # height of the eye above the street; half the street is 1 wide
_TABLE = 8191
_NEON = ("#ff2d8a", "#21d4ff", "#a64bff", "#ffb02e", "#38ffb0", "#ff5a3c")


@attrs.frozen(kw_only=True, eq=False)
class _Street:
    """Vanishing point in pixels, and pixels per unit at distance 1."""

    x: float
    y: float
    focal: float


def paint_street(scene: Scene) -> Field:
    """A canvas 3×H×W of walls of windows and signs that mirror in the wet road."""
    canvas = paint_sky(scene)
    paint_heavens(scene, canvas)
    rng = scene.rng("street")
    street = _Street(
        x=scene.width * float(rng.uniform(0.38, 0.62)),
        y=scene.height * float(rng.uniform(0.60, 0.70)),
        focal=scene.unit * 0.62,
    )
    glow(canvas, street.x, street.y, scene.unit * 0.16, scene.light.sky[-1], 0.9)
    for away in (2.0, 1.0):
        _walls(scene, canvas, rng, street, away)
    _signs(scene, canvas, rng, street)
    _cables(scene, canvas, rng, street)
    bloom(canvas, scene.unit * 0.010, above=0.55, strength=0.45)
    bloom(canvas, scene.unit * 0.05, above=0.55, strength=0.5)
    _road(scene, canvas, rng, street)
    return canvas


def _walls(
    scene: Scene, canvas: Field, rng: np.random.Generator, street: _Street, away: float
) -> None:
    """Both rows of houses at a distance from the middle of the street."""
    offset = np.arange(scene.width, dtype=np.float32) + 0.5 - np.float32(street.x)
    z = np.float32(away * street.focal) / np.maximum(np.abs(offset), 0.5)
    z = np.minimum(z, 60.0)
    edges = np.cumsum(rng.uniform(0.5, 1.5, 80)).astype(np.float32) * np.float32(away**0.5)
    house = np.searchsorted(edges, z) + np.where(offset > 0, 100, 0)
    tall = (rng.uniform(1.4, 4.2, 200) * away**0.9).astype(np.float32)
    tall[rng.random(200) < 0.12] *= 1.8
    scale = z / np.float32(street.focal)
    top = street.y - (tall[house] - _EYE) / scale
    foot = np.float32(street.y) + np.float32(_EYE) / scale
    first, last = max(int(top.min()), 0), min(int(foot.max()) + 1, scene.height)
    rows = np.arange(first, last, dtype=np.float32)[:, None]
    mask = np.clip(rows + 1.0 - top[None, :], 0.0, 1.0) * np.clip(foot[None, :] - rows, 0.0, 1.0)
    up = (street.y - rows) * scale[None, :] + np.float32(_EYE)
    veil = 1.0 - np.exp(-z / 9.0)
    tone = rng.uniform(0.5, 1.4, 200).astype(np.float32)[house]
    wall = spread(scene.light.shade * 0.22) * tone[None, None, :]
    street_glow = np.exp(-np.maximum(up, 0.0) / 0.5) * 0.35
    color = wall + spread(scene.light.sky[3]) * street_glow
    color = color + _windows(scene, rng, house, z, up)
    haze = mixed(scene.light.haze, scene.light.sky[2], 0.5)
    color = color + (spread(haze) - color) * veil[None, None, :]
    cover(canvas, mask.astype(np.float32), np.asarray(color, dtype=np.float32), top=first)


def _windows(
    scene: Scene,
    rng: np.random.Generator,
    house: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    z: Field,
    up: Field,
) -> Field:
    across = (z / np.float32(0.085))[None, :]
    floor = up / np.float32(0.12)
    bay, story = across.astype(np.int32), floor.astype(np.int32)
    pane = ((floor - story) > 0.4) & ((across - bay) > 0.25) & (up > 0.12)
    table = rng.random(_TABLE, dtype=np.float32)
    number = house.astype(np.int32)[None, :]
    chance = table[(number * 769 + story * 97 + bay * 389) % _TABLE]
    share = rng.uniform(0.1, 0.5, 200).astype(np.float32)[house]
    # Where a window is narrower than a pixel its average stands in for it.
    width = np.abs(np.gradient(across[0]))
    fine = np.clip(1.4 - width, 0.0, 1.0)
    lit = (pane & (chance < share)) * (0.3 + 0.7 * chance / share)
    lit = lit * fine + (0.20 * share) * (1.0 - fine)
    tints = np.stack([linear(c) for c in ("#ffb765", "#7fd8ff", "#ff7ac0", "#ffe2b5")], axis=1)
    tint = tints[:, rng.integers(0, 4, 200)[house]]
    return np.asarray(tint[:, None, :] * lit.astype(np.float32) * 0.75, dtype=np.float32)


def _signs(scene: Scene, canvas: Field, rng: np.random.Generator, street: _Street) -> None:
    """Blade signs that stand out from the walls, far ones first."""
    for z in sorted(rng.uniform(0.85, 7.0, 34), reverse=True):
        side = rng.choice([-1.0, 1.0])
        wide, tall = rng.uniform(0.06, 0.2), rng.uniform(0.25, 0.9)
        low = rng.uniform(0.35, 1.5)
        color = linear(_NEON[int(rng.integers(len(_NEON)))])
        fade = float(np.exp(-z / 9.0))
        outer, inner = side * 1.0, side * (1.0 - wide)
        frame = _board(street, z, outer, inner, low, low + tall)
        shapes(canvas, [frame], scene.light.shade * 0.25 * fade + scene.light.haze * (1 - fade))
        _sign_face(canvas, rng, street, z, (outer, inner, low, low + tall), color * fade)


def _board(
    street: _Street, z: float, left: float, right: float, low: float, high: float
) -> Polygon:
    scale = street.focal / z
    x0, x1 = street.x + left * scale, street.x + right * scale
    y0, y1 = street.y - (high - _EYE) * scale, street.y - (low - _EYE) * scale
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def _sign_face(
    canvas: Field,
    rng: np.random.Generator,
    street: _Street,
    z: float,
    extent: tuple[float, float, float, float],
    color: Field,
) -> None:
    """Luminous panels and strokes in place of writing."""
    left, right, low, high = extent
    span = right - left
    a, b = left + 0.12 * span, right - 0.12 * span
    cells = int(rng.integers(3, 7))
    step = (high - low) / cells
    bars = []
    for i in range(cells):
        bottom = low + (i + 0.15) * step
        for j in range(int(rng.integers(2, 4))):
            y = bottom + step * 0.26 * j
            start, end = sorted(rng.uniform(0.0, 1.0, 2))
            if end - start > 0.25:
                bars.append(
                    _board(street, z, a + (b - a) * start, a + (b - a) * end, y, y + step * 0.12)
                )
        post = a + (b - a) * float(rng.uniform(0.2, 0.8))
        bars.append(_board(street, z, post, post + 0.1 * span, bottom, bottom + step * 0.7))
    if rng.random() < 0.35:
        shapes(canvas, [_board(street, z, a, b, low + 0.04, high - 0.04)], color * 0.8, emits=True)
        shapes(canvas, bars, color * 0.1)
    else:
        shapes(canvas, bars, color * 1.5, emits=True)
    scale = street.focal / z
    middle = street.x + (left + right) / 2 * scale
    glow(
        canvas,
        middle,
        street.y - ((low + high) / 2 - _EYE) * scale,
        (high - low) * scale * 0.45,
        color,
        0.10,
    )


def _cables(scene: Scene, canvas: Field, rng: np.random.Generator, street: _Street) -> None:
    t = np.linspace(0.0, 1.0, 20)
    lines = []
    for _ in range(7):
        near, far = rng.uniform(0.9, 2.2), rng.uniform(1.5, 4.0)
        high = rng.uniform(1.2, 2.4)
        side = rng.choice([-1.0, 1.0])
        x = street.x + street.focal * side * ((1 - t) / near - t / far)
        y = street.y - street.focal * (high - _EYE) * ((1 - t) / near + t / far)
        y = y + np.sin(np.pi * t) * scene.unit * 0.05
        half = max(scene.unit * 0.0011, 0.3)
        lines.append(np.concatenate([np.stack([x, y - half], 1), np.stack([x, y + half], 1)[::-1]]))
    shapes(canvas, lines, scene.light.sky[0] * 0.4)


def _road(scene: Scene, canvas: Field, rng: np.random.Generator, street: _Street) -> None:
    """The street mirrors each column about the foot of its wall, smeared by ripples."""
    offset = np.abs(np.arange(scene.width, dtype=np.float32) + 0.5 - np.float32(street.x))
    foot = np.float32(street.y) + offset * np.float32(_EYE)
    top = int(street.y)
    rows = np.arange(top, scene.height, dtype=np.float32)[:, None]
    if len(rows) < 2:
        return
    wave = fractal(
        rng, scene.width, len(rows), cell=scene.unit * 0.035, octaves=5, stretch=4.0, gain=0.65
    )
    down = rows - foot[None, :]
    source = foot[None, :] - down + wave * np.maximum(down, 0.0) * 0.10
    row = np.clip(source, 0, scene.height - 1).astype(np.int32)
    flat = row * scene.width + np.arange(scene.width, dtype=np.int32)
    pools = fractal(rng, scene.width, len(rows), cell=scene.unit * 0.12, octaves=5, stretch=3.5)
    wet = 0.38 + 0.5 * smoothstep(-0.4, 0.9, pools)
    mask = np.clip(down + 0.5, 0.0, 1.0)
    asphalt = scene.light.shade * 0.10
    mirrored = np.empty((3, *wave.shape), dtype=np.float32)
    for channel, share in enumerate(asphalt):
        sharp = canvas[channel].ravel()[flat]
        smear = blurred(sharp, scene.unit * 0.02)
        mirrored[channel] = (sharp * 0.65 + smear * 0.6) * wet + share
    cover(canvas, mask, mirrored, top=top)
