"""A city: ranks of towers with lit windows above water or a wet street."""

from __future__ import annotations

import attrs
import numpy as np

from ._canvas import bloom, cover, glow, shapes, spread, stroke
from ._landscape import paint_background, paint_heavens
from ._noise import Field, smoothstep
from ._palette import linear, mixed, turned
from ._scene import WATER, Scene
from ._sky import horizon_haze, paint_sky
from ._water import paint_water

_TABLE = 8191  # random numbers that windows are looked up in


def paint_skyline(scene: Scene) -> Field:
    """A canvas 3×H×W of a skyline and its reflection."""
    canvas = paint_sky(scene)
    paint_heavens(scene, canvas)
    horizon_haze(scene, canvas, amount=0.5)
    paint_background(scene, canvas)
    shore = scene.horizon + (scene.height - scene.horizon) * 0.30
    rng = scene.rng("city")
    ranks = 4
    for rank in range(ranks):
        near = rank / (ranks - 1)
        base = scene.horizon + (shore - scene.horizon) * near
        _rank(scene, canvas, rng, near=near, base=base)
    if scene.light.darkness > 0.5:
        above = canvas[:, : int(shore)]
        glow(above, scene.width / 2, shore, scene.unit * 0.22, _street_light(scene), 0.16)
    bloom(canvas, scene.unit * 0.014, above=0.6, strength=0.5)
    rough = 0.3 if scene.has(*WATER) else 0.10
    paint_water(scene, canvas, shore=shore, rough=rough)
    _quay(scene, canvas, shore)
    return canvas


def _street_light(scene: Scene) -> Field:
    return linear("#ff5fb0") if scene.has("neon", "cyberpunk") else linear("#ffb066")


def _quay(scene: Scene, canvas: Field, shore: float) -> None:
    """A dark line of embankment with lamps where the city meets its reflection."""
    color = mixed(scene.light.haze, scene.light.shade * 0.2, 0.8)
    line = np.array([[0.0, shore], [scene.width, shore]])
    shapes(canvas, [stroke(line, scene.unit * 0.008)], color)
    if scene.light.darkness < 0.3:
        return
    for x in np.arange(0.03, 1.0, 0.047) * scene.width:
        glow(canvas, x, shore - scene.unit * 0.008, scene.unit * 0.004, _street_light(scene), 0.9)


@attrs.frozen(kw_only=True, eq=False)
class _Towers:
    """The towers of a rank, by screen column: W values each."""

    top: Field
    roof: Field
    number: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    inside: Field
    wide: Field


def _rank(
    scene: Scene, canvas: Field, rng: np.random.Generator, *, near: float, base: float
) -> None:
    towers = _towers(scene, rng, near, base)
    top, bottom = max(int(towers.top.min()), 0), min(int(base) + 1, scene.height)
    if bottom <= top:
        return
    rows = np.arange(top, bottom, dtype=np.float32)[:, None]
    mask = np.clip(rows + 1.0 - towers.top[None, :], 0.0, 1.0)
    count = int(towers.number[-1]) + 1
    wall = _walls(scene, rng, near, count)
    face = towers.inside / towers.wide
    turned_away = (face > rng.uniform(0.55, 0.8, count)[towers.number]).astype(np.float32)
    if scene.sun[0] > scene.width / 2:
        turned_away = 1.0 - turned_away
    shade = 1.0 - 0.34 * turned_away
    low = smoothstep(base - scene.unit * 0.5, base, rows)
    color = spread(np.ones(3, np.float32)) * wall[:, towers.number][:, None, :] * shade
    mist = np.float32(0.55 * (1.0 - near) + 0.08) * low
    glowing = scene.light.haze * (0.7 if scene.light.darkness > 0.5 else 1.0)
    color = color + (spread(glowing) - color) * mist
    color = color + _windows(scene, rng, towers, rows, near)
    cover(canvas, mask, np.asarray(color, dtype=np.float32), top=top)


def _walls(scene: Scene, rng: np.random.Generator, near: float, count: int) -> Field:
    """A wall color for each tower, 3×count."""
    sun = scene.light.sun * (0.65 * (1.0 - scene.light.darkness) ** 1.5)
    stone = spread(mixed(linear("#8f8a86"), linear("#5f7890"), 0.5))[:, :, 0]
    tones = turned(np.repeat(stone, count, axis=1), chroma=1.2)
    tones = tones * rng.uniform(0.55, 1.3, count).astype(np.float32)
    warm = rng.uniform(-0.12, 0.12, count).astype(np.float32)
    tones = tones * np.stack([1.0 + warm, np.ones_like(warm), 1.0 - warm])
    lamp = (sun + scene.light.shade * (0.9 - 0.55 * scene.light.darkness))[:, None]
    wall = tones * lamp * (1.0 - 0.35 * near)
    share = np.float32(0.25 + 0.7 * near**0.7)
    haze = scene.light.haze[:, None]
    return np.asarray(haze + (wall - haze) * share, dtype=np.float32)


def _towers(scene: Scene, rng: np.random.Generator, near: float, base: float) -> _Towers:
    width, unit = scene.width, scene.unit
    x = np.arange(width, dtype=np.float32)
    top = np.full(width, base, dtype=np.float32)
    roof, inside, wide = top.copy(), np.zeros_like(x), np.ones_like(x)
    number = np.zeros(width, dtype=np.int64)
    left, count = -unit * 0.05, 0
    peak = scene.width * (0.5 + 0.2 * float(rng.normal()))
    while left < width:
        size = unit * (0.028 + 0.045 * near) * float(rng.uniform(0.6, 1.5))
        middle = 1.0 + 0.9 * np.exp(-(((left - peak) / (unit * 0.3)) ** 2))
        tall = unit * (0.14 - 0.05 * near) * middle * float(rng.uniform(0.5, 1.5))
        if rng.random() < 0.10 and near < 0.9:
            tall *= 1.55
        first, last = int(np.clip(left, 0, width)), int(np.clip(left + size + 1, 0, width))
        if last > first:
            column = x[first:last]
            top[first:last] = base - tall * _crown(rng, (column - left) / size)
            roof[first:last], number[first:last] = base - tall, count
            inside[first:last], wide[first:last] = column - left, size
            count += 1
        left += size * float(rng.uniform(0.85, 1.1))
    number = np.maximum.accumulate(number)
    return _Towers(top=top, roof=roof, number=number, inside=inside, wide=wide)


def _crown(rng: np.random.Generator, across: Field) -> Field:
    """The relative height of a tower over its width (0-1): flat, stepped, pointed, with a mast."""
    away = np.abs(across - 0.5)
    kind = int(rng.integers(5))
    shape = np.ones_like(across)
    if kind == 1:
        shape = np.where(away > 0.36, 0.84, np.where(away > 0.22, 0.93, 1.0))
    elif kind == 2:
        shape = 1.0 - 0.22 * away * 2.0
    elif kind == 3:
        shape = 1.0 - 0.16 * across
    if rng.random() < 0.3:
        shape = np.where(away < 0.035, 1.3, shape)
    return np.asarray(shape, dtype=np.float32)


def _windows(
    scene: Scene, rng: np.random.Generator, towers: _Towers, rows: Field, near: float
) -> Field:
    """Light of the windows, 3×h×W."""
    pitch = max(scene.unit * (0.0042 + 0.0062 * near), 2.0)
    down = np.maximum(rows - towers.roof[None, :], 0.0) / np.float32(pitch * 1.35)
    along = (towers.inside / np.float32(pitch))[None, :]
    story, bay = down.astype(np.int32), along.astype(np.int32)
    pane = ((down - story) > 0.38) & ((along - bay) > 0.3)
    pane &= towers.top[None, :] + pitch * 0.8 < rows
    count = int(towers.number[-1]) + 1
    table = rng.random(_TABLE, dtype=np.float32)
    number = towers.number.astype(np.int32)[None, :]
    chance = table[(number * 769 + story * 97 + (bay // 2) * 13 + bay * 389) % _TABLE]
    share = rng.uniform(0.08, 0.62, count).astype(np.float32)[towers.number]
    lit = (pane & (chance < share * (0.15 + 0.85 * scene.light.darkness))).astype(np.float32)
    lit *= 0.35 + chance / np.maximum(share, 0.05)
    tints = _window_tints(scene)[:, rng.integers(0, 4, count)][:, towers.number]
    power = np.float32((0.15 + 0.95 * scene.light.darkness) * (0.35 + 0.65 * near))
    day = pane.astype(np.float32) * np.float32(-0.06 * (1.0 - scene.light.darkness) * near)
    return np.asarray(tints[:, None, :] * (lit * power) + day, dtype=np.float32)


def _window_tints(scene: Scene) -> Field:
    if scene.has("neon", "cyberpunk"):
        codes = ("#ff4fa8", "#4fdcff", "#a86bff", "#ffc27a")
    else:
        codes = ("#ffc978", "#ffe1b0", "#ffb25c", "#d8e8ff")
    return np.stack([linear(code) for code in codes], axis=1)
