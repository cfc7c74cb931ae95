"""Lighthouses, pagodas, villages and bridges."""

from __future__ import annotations

import numpy as np

from ._canvas import glow, placed, shapes, stroke
from ._figures import silhouette, standing, tower
from ._land import meadow_color
from ._noise import Field, profile, smoothstep
from ._palette import linear, mixed
from ._plants import fill_below, land_tongue
from ._scene import WATER, Scene


def _glowing(scene: Scene) -> Field:
    return linear("#ffc46b") * (0.25 + 1.1 * scene.light.darkness)


def paint_lighthouse(scene: Scene, canvas: Field) -> None:
    rng = scene.rng("lighthouse")
    side = 1.0 if scene.sun[0] < scene.width / 2 else -1.0
    x, size = scene.width * (0.5 + side * 0.3), scene.unit * 0.34
    t = (np.arange(scene.width, dtype=np.float32) - x) * side / scene.unit
    rock = profile(rng, scene.width, cell=scene.unit * 0.12, octaves=6) - 0.5
    rise = smoothstep(-0.36, 0.10, t) * (0.17 + 0.09 * rock)
    foot = scene.horizon + scene.unit * 0.09
    line = np.where(rise > 0.012, foot - (rise - 0.02) * scene.unit, scene.height + 2.0)
    color = silhouette(scene, 1.0)
    base = float(line[int(x)]) + 0.02 * size
    land_tongue(canvas, line, foot, color)
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


def paint_pagoda(scene: Scene, canvas: Field) -> None:
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


def paint_village(scene: Scene, canvas: Field) -> None:
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
    land_tongue(canvas, line.astype(np.float32), foot, color)


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


def paint_bridge(scene: Scene, canvas: Field) -> None:
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
    standing(scene, canvas, parts, silhouette(scene, 0.75), row)
