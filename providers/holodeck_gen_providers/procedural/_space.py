"""Outer space: nebulae, spiral galaxies, planets with rings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._canvas import glow, spread
from ._noise import Field, fractal, profile, resized, sample, smoothstep
from ._palette import linear, mixed, ramp
from ._sky import paint_stars

if TYPE_CHECKING:
    from ._scene import Scene

_NEBULAE = (
    ("#0b1030", "#3a1f7a", "#c23f8f", "#ffb27a"),
    ("#06122a", "#0f4a78", "#2fb0b8", "#ffe0a8"),
    ("#14091f", "#6a1d3f", "#e0603f", "#ffd68a"),
    ("#07101f", "#233f9a", "#8a5fe0", "#ff9fd0"),
)
_PLANETS = (
    ("#7a4a32", "#d9a066", "#f3dcb4", "#b8743f"),
    ("#1f3f6a", "#4f8fc0", "#cfe4ea", "#35638f"),
    ("#4a2a52", "#a8608f", "#f0c0b8", "#6f3f7a"),
    ("#21433f", "#5f9f88", "#dcead0", "#3a6f66"),
)


def paint_space(scene: Scene) -> Field:
    """A canvas 3×H×W of the deep sky and what a scene wants in it."""
    canvas = np.empty((3, scene.height, scene.width), dtype=np.float32)
    canvas[:] = spread(linear("#03040c"))
    rng = scene.rng("space")
    paint_nebula(scene, canvas, strength=1.0 if scene.has("nebula") else 0.42)
    paint_stars(scene, canvas, density=2.4 if scene.has("stars") else 1.5, bottom=1.4)
    if scene.has("galaxy"):
        paint_galaxy(scene, canvas)
    side = float(rng.choice([0.27, 0.68]))
    if scene.has("planet") or not scene.has("galaxy", "nebula"):
        radius = scene.unit * float(rng.uniform(0.17, 0.26))
        y = scene.height * float(rng.uniform(0.42, 0.62))
        paint_planet(scene, canvas, scene.width * side, y, radius, part="planet")
        paint_planet(
            scene,
            canvas,
            scene.width * (0.92 - side),
            y - scene.unit * 0.24,
            radius * 0.2,
            part="moonlet",
        )
    return canvas


def paint_nebula(scene: Scene, canvas: Field, *, strength: float) -> None:
    """Glowing gas folded by a warp, with dark dust in front."""
    rng = scene.rng("nebula")
    step = 2 if scene.unit > 400 else 1
    width, height = -(-scene.width // step), -(-scene.height // step)
    unit = scene.unit / step
    base = fractal(rng, width, height, cell=unit * 0.42, octaves=8, gain=0.55)
    push, pull = (fractal(rng, width, height, cell=unit * 0.30, octaves=5) for _ in range(2))
    x = np.arange(width, dtype=np.float32)[None, :] + push * np.float32(unit * 0.07)
    y = np.arange(height, dtype=np.float32)[:, None] + pull * np.float32(unit * 0.07)
    gas = sample(base, x, y)
    tilt = float(rng.uniform(-0.9, 0.9))
    u = (np.arange(width, dtype=np.float32)[None, :] - width * float(rng.uniform(0.4, 0.6))) / unit
    v = (np.arange(height, dtype=np.float32)[:, None] - height * 0.5) / unit
    band = np.exp(-(((v - u * tilt) / (0.34 + 0.10 * push)) ** 2))
    glowing = smoothstep(-1.1, 2.3, gas + 1.1 * band - 0.5) * (0.25 + 0.75 * band)
    lanes = fractal(rng, width, height, cell=unit * 0.22, octaves=7, gain=0.55)
    dust = smoothstep(0.0, 1.6, sample(lanes, x, y) - 0.3 * gas)
    filament = np.exp(-np.abs(sample(lanes, x + pull * unit * 0.05, y)) * 4.0) * band * glowing
    place = np.clip(glowing * 0.92 + 0.16 * filament, 0.0, 1.0)
    codes = _NEBULAE[int(rng.integers(len(_NEBULAE)))]
    colors = ramp((linear("#03040c"), *(linear(code) for code in codes)), 256)
    index = (place * 255).astype(np.int32)
    power = (0.30 + 0.95 * place**2 + 0.5 * filament) * (1.0 - 0.8 * dust * band) * strength
    for plane, tone in zip(canvas, colors, strict=True):
        plane += np.maximum(resized(tone[index] * power, scene.width, scene.height), 0.0)


def paint_galaxy(scene: Scene, canvas: Field) -> None:
    """A tilted spiral with a warm core, blue arms and dark lanes."""
    rng = scene.rng("galaxy")
    step = 2 if scene.unit > 400 else 1
    width, height, unit = -(-scene.width // step), -(-scene.height // step), scene.unit / step
    cx, cy = width * float(rng.uniform(0.42, 0.58)), height * float(rng.uniform(0.42, 0.56))
    turn, squash = float(rng.uniform(-0.7, 0.7)), np.float32(rng.uniform(0.36, 0.62))
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    dx = (np.arange(width, dtype=np.float32)[None, :] - np.float32(cx)) / np.float32(unit)
    dy = (np.arange(height, dtype=np.float32)[:, None] - np.float32(cy)) / np.float32(unit)
    u, v = dx * cos + dy * sin, (dy * cos - dx * sin) / squash
    radius = np.hypot(u, v) + np.float32(1e-4)
    wobble = fractal(rng, width, height, cell=unit * 0.12, octaves=6, gain=0.55)
    winding = float(rng.choice([-1.0, 1.0])) * 3.6
    phase = 2.0 * (np.arctan2(v, u) + winding * np.log(radius * 6.0)) + 0.55 * wobble
    arms = (0.5 + 0.5 * np.cos(phase)) ** 2
    lanes = smoothstep(0.55, 1.0, 0.5 + 0.5 * np.cos(phase + 1.1)) * smoothstep(0.04, 0.12, radius)
    disc = np.exp(radius / -0.15) * (0.22 + 1.1 * arms) * (1.0 + 0.22 * wobble)
    disc = np.maximum(disc, 0.0) * (1.0 - 0.6 * lanes)
    core = np.exp(-((radius / 0.055) ** 1.2)) * 1.5
    colors = (linear("#7fa8ff") * 1.25, linear("#ff9fc0") * 0.35, linear("#ffd9a0"))
    for channel, plane in enumerate(canvas):
        blue, pink, warm = (float(color[channel]) for color in colors)
        light = disc * blue + disc * arms * pink + core * warm
        plane += resized(light, width * step, height * step)[: scene.height, : scene.width]
    dense = resized(disc, width * step, height * step)[: scene.height, : scene.width]
    canvas += (rng.random(dense.shape, dtype=np.float32) < 0.03 * dense) * np.float32(0.5)
    glow(canvas, cx * step, cy * step, scene.unit * 0.09, linear("#ffcf98"), 0.35)


def paint_planet(
    scene: Scene, canvas: Field, x: float, y: float, radius: float, *, part: str
) -> None:
    """A planet lit from one side: bands or lands, an atmosphere, sometimes rings.

    Args:
        scene: the scene.
        canvas: 3×H×W, changed in place.
        x: column of the middle.
        y: row of the middle.
        radius: pixels.
        part: name of the random choices.
    """
    rng = scene.rng(part)
    _, height, width = canvas.shape
    reach = radius * 2.5
    left, right = max(int(x - reach), 0), min(int(x + reach) + 1, width)
    top, bottom = max(int(y - reach), 0), min(int(y + reach) + 1, height)
    if left >= right or top >= bottom:
        return
    region = canvas[:, top:bottom, left:right]
    u = (np.arange(left, right, dtype=np.float32)[None, :] + 0.5 - np.float32(x)) / radius
    v = (np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5 - np.float32(y)) / radius
    away = np.hypot(u, v).astype(np.float32)
    sun = np.array([rng.choice([-0.75, 0.75]), -0.42, 0.45])
    front = np.sqrt(np.maximum(1.0 - away**2, 0.0))
    light = smoothstep(-0.12, 0.9, (u * sun[0] + v * sun[1] + front * sun[2]).astype(np.float32))
    tones = tuple(linear(code) for code in _PLANETS[int(rng.integers(len(_PLANETS)))])
    air = mixed(tones[2], linear("#9fc8ff"), 0.5)
    halo = np.exp(-np.maximum(away - 1.0, 0.0) * 16.0) * smoothstep(
        -0.6, 1.2, (u * sun[0] + v * sun[1]).astype(np.float32)
    )
    region += spread(air) * (halo * (away >= 1.0) * 0.55).astype(np.float32)
    ringed = part == "planet" and rng.random() < 0.65
    tilt = float(rng.uniform(-0.45, 0.45))
    skin = _surface(rng, u, v, front, tones, radius, tilt)
    rim = (1.0 - front) ** 3
    skin = skin * light * 1.25 + spread(air) * (rim * light * 0.7)
    if ringed:
        skin = skin * (1.0 - 0.55 * _ring_shadow(u, v, tilt))
    mask = np.clip((1.0 - away) * radius + 0.5, 0.0, 1.0)
    region += (skin - region) * mask
    if ringed:
        _rings(rng, region, u, v, away, tilt, mixed(tones[2], tones[1], 0.3))


def _surface(
    rng: np.random.Generator,
    u: Field,
    v: Field,
    front: Field,
    tones: tuple[Field, ...],
    radius: float,
    tilt: float,
) -> Field:
    """Colors 3×h×w of a gas giant's bands or of a rocky world's lands."""
    cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
    along, across = u * cos + v * sin, v * cos - u * sin
    latitude = np.arcsin(np.clip(across, -1.0, 1.0)).astype(np.float32)
    longitude = np.arctan2(along, front + np.float32(1e-3)).astype(np.float32)
    octaves = 7 if radius > 60 else 4
    plane = fractal(rng, 384, 384, cell=60, octaves=octaves, gain=0.55)
    banded = bool(rng.random() < 0.6)
    if banded:
        swirl = sample(plane, longitude * 60 + 190, latitude * 210 + 190)
        place = latitude * np.float32(rng.uniform(2.2, 3.6)) + 0.10 * swirl
        stripes = _bands(rng)
        index = np.clip((place * 0.12 + 0.5) * 255, 0, 255).astype(np.int32)
        share = stripes[index] + 0.05 * swirl
    else:
        share = 0.5 + 0.28 * sample(plane, longitude * 110 + 190, latitude * 110 + 190)
    colors = ramp(tones, 256)
    return np.asarray(colors[:, np.clip(share * 255, 0, 255).astype(np.int32)], dtype=np.float32)


def _bands(rng: np.random.Generator) -> Field:
    """256 values 0-1: the tone of each latitude of a banded planet."""
    return profile(rng, 256, cell=26, octaves=4, gain=0.6)


_RING_SQUASH = 0.24


def _ring_radius(u: Field, v: Field, tilt: float) -> tuple[Field, Field]:
    cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
    along, across = u * cos + v * sin, v * cos - u * sin
    return np.hypot(along, across / np.float32(_RING_SQUASH)).astype(np.float32), across


def _ring_shadow(u: Field, v: Field, tilt: float) -> Field:
    away, _ = _ring_radius(u, v + np.float32(0.16), tilt)
    return smoothstep(1.3, 1.4, away) * smoothstep(2.2, 2.1, away)


def _rings(
    rng: np.random.Generator,
    region: Field,
    u: Field,
    v: Field,
    away: Field,
    tilt: float,
    color: Field,
) -> None:
    ring, across = _ring_radius(u, v, tilt)
    grooves = np.clip(0.62 + 0.3 * fractal(rng, 512, 1, cell=40, octaves=5, gain=0.7)[0], 0.05, 1.0)
    index = np.clip((ring - 1.35) / 0.95 * 511, 0, 511).astype(np.int32)
    body = grooves[index] * smoothstep(1.35, 1.42, ring) * smoothstep(2.30, 2.18, ring)
    body *= 1.0 - 0.85 * np.exp(-(((ring - 1.95) / 0.03) ** 2))
    hidden = (away < 1.0) & (across < 0)
    mask = np.where(hidden, 0.0, body * 0.85).astype(np.float32)
    region += (spread(color) * np.float32(0.95) - region) * mask
