"""Sumi-e: diluted ink on paper. Ink is a density that darkens paper, never a light."""

from __future__ import annotations

import attrs
import numpy as np

from ._ink_marks import ink_plants, ink_things, ink_vermilion, ink_weather
from ._noise import Field, clamped, fractal, profile, smoothstep
from ._palette import linear
from ._scene import WATER, Scene

_SMOOTH_LAND = ("desert", "beach", "meadow", "flowers")


def paint_ink(scene: Scene) -> Field:
    """A canvas 3×H×W: paper, washes of mountains, brush strokes, a vermilion seal."""
    shape = (scene.height, scene.width)
    ink = np.zeros(shape, dtype=np.float32)
    grain = _fibers(scene)
    _sky_wash(scene, ink)
    ground = _mountains(scene, ink)
    if scene.has(*WATER):
        _water(scene, ink)
    ink_plants(scene, ink, ground)
    ink_things(scene, ink, ground)
    ink_weather(scene, ink)
    # Fibers take up ink unevenly, more so where it is thin.
    ink *= 1.0 + 0.13 * grain
    canvas = _on_paper(scene, ink, grain)
    ink_vermilion(scene, canvas)
    return canvas


def _fibers(scene: Scene) -> Field:
    rng = scene.rng("paper")
    fine = fractal(rng, scene.width, scene.height, cell=max(scene.unit * 0.006, 2.5), octaves=3)
    broad = fractal(rng, scene.width, scene.height, cell=scene.unit * 0.12, octaves=4)
    return fine * 0.7 + broad * 0.5


def _on_paper(scene: Scene, ink: Field, grain: Field) -> Field:
    paper = linear("#efe6d2" if not scene.has("monochrome") else "#eeeeec")
    tone = linear("#1d2126" if not scene.has("golden") else "#3a2610")
    if scene.has("night"):
        ink = ink + np.float32(0.55)
    canvas = np.empty((3, *ink.shape), dtype=np.float32)
    np.maximum(ink, 0.0, out=ink)
    fade = np.exp(-1.9 * ink)
    for channel, (white, black) in enumerate(zip(paper, tone, strict=True)):
        canvas[channel] = black + (white * (1.0 + 0.014 * grain) - black) * fade
    _tint(scene, canvas)
    return canvas


def _tint(scene: Scene, canvas: Field) -> None:
    """A pale wash of color for the season or the hour, strongest at the foot or the top."""
    washes = {
        "spring": "#cfe0b0",
        "summer": "#a9cfa8",
        "autumn": "#eebf86",
        "winter": "#c5d4e4",
        "dawn": "#f6cdb0",
        "sunset": "#f2a983",
        "dusk": "#c3b3cf",
        "night": "#8fa3bd",
        "aurora": "#9fd8c0",
        "storm": "#aab0b4",
    }
    for keyword, code in washes.items():
        if scene.has(keyword):
            share = np.linspace(0.85, 0.15, scene.height, dtype=np.float32)[:, None]
            canvas *= 1.0 + (linear(code).reshape(3, 1, 1) - 1.0) * share


def _sky_wash(scene: Scene, ink: Field) -> None:
    rng = scene.rng("ink sky")
    heavy = 0.30 if scene.has("storm", "rain", "clouds", "night", "snow", "fog") else 0.07
    cloud = fractal(rng, scene.width, scene.height, cell=scene.unit * 0.22, octaves=6, stretch=2.2)
    rows = np.linspace(1.0, 0.0, scene.height, dtype=np.float32)[:, None]
    ink += heavy * smoothstep(-0.8, 1.8, cloud) * np.minimum(rows * 1.4, 1.0)
    if scene.has("clouds"):
        # Line clouds: the contours of the same field, drawn with a fine brush.
        line = np.exp(-np.abs(np.mod(cloud * 1.6, 1.0) - 0.5) * 26.0)
        ink += 0.32 * line * smoothstep(0.3, 0.9, rows) * smoothstep(-0.2, 0.8, cloud)


def _mountains(scene: Scene, ink: Field) -> Field:
    """Ranges from pale to dark; each is dark along its ridge and dissolves into mist below.

    Returns:
        The row of the nearest ridge, W values: the ground things stand on.
    """
    rng = scene.rng("ink ranges")
    steep = scene.has("mountains", "canyon", "volcano", "waterfall", "island")
    count = 5 if steep else 3
    work = _brushwork(scene, rng)
    top = np.full(scene.width, scene.height, dtype=np.float32)
    focus = float(rng.uniform(0.25, 0.75))
    for rank in range(count):
        near = rank / (count - 1)
        sharp = steep and rank < count - 1
        cell = scene.unit * (0.40 - 0.06 * near if sharp else 0.45)
        line = profile(rng, scene.width, cell=cell, octaves=8, gain=0.5, sharp=sharp)
        if sharp:
            line = 0.62 * line**0.8 + 0.38 * profile(rng, scene.width, cell=cell * 0.7, octaves=8)
        roll = profile(rng, scene.width, cell=scene.unit * 0.5, octaves=5, gain=0.45)
        focus = (focus + float(rng.uniform(0.35, 0.65))) % 1.0
        away = np.linspace(0.0, 1.0, scene.width, dtype=np.float32) - np.float32(focus)
        hold = 0.25 + 1.1 * np.exp(-((away / 0.24) ** 2))
        tall = (
            scene.unit * ((0.52 - 0.16 * near) if sharp else 0.10) * float(rng.uniform(0.85, 1.2))
        )
        base = scene.height * (0.50 + 0.36 * near)
        top = (base - tall * line * hold - scene.unit * 0.10 * (roll - 0.5)).astype(np.float32)
        if scene.has("volcano") and rank == 1:
            top = np.minimum(top, _cone(scene, rng, base))
        shift = int(rng.integers(scene.width // 2 + 1))
        _range(scene, ink, work, top, near=near, shift=shift)
    return top


def _cone(scene: Scene, rng: np.random.Generator, base: float) -> Field:
    x = np.arange(scene.width, dtype=np.float32) - scene.width * float(rng.uniform(0.35, 0.65))
    flank = np.maximum(np.abs(x) / scene.unit - 0.035, 0.0)
    return np.asarray(base - scene.unit * 0.36 * np.exp(-flank / 0.17), dtype=np.float32)


@attrs.frozen(kw_only=True, eq=False)
class _Brushwork:
    """Textures of the brush, each larger than the picture so that ranges can differ.

    Attributes:
        bleed: the ragged edge of wet ink.
        pools: where ink gathers.
        strokes: thin marks along the fall of the flanks.
    """

    bleed: Field
    pools: Field
    strokes: Field


def _brushwork(scene: Scene, rng: np.random.Generator) -> _Brushwork:
    wide, tall, unit = int(scene.width * 1.5), scene.height, scene.unit
    return _Brushwork(
        bleed=fractal(rng, wide, tall, cell=unit * 0.02, octaves=3),
        pools=fractal(rng, wide, tall, cell=unit * 0.16, octaves=4),
        strokes=fractal(rng, wide, tall, cell=unit * 0.07, octaves=6, stretch=0.16, gain=0.62),
    )


def _range(
    scene: Scene, ink: Field, work: _Brushwork, top: Field, *, near: float, shift: int
) -> None:
    """One range below its ridge, W rows; `shift` is the column its texture is taken from."""
    start = int(np.clip(top.min() - 2, 0, scene.height - 1))
    rows = np.arange(start, scene.height, dtype=np.float32)[:, None]
    here = np.s_[: len(rows), shift : shift + scene.width]
    bleed, strokes = work.bleed[here], work.strokes[here]
    below = (rows - top[None, :] + bleed * np.float32(scene.unit * 0.0016)) / scene.unit
    inside = clamped(below * scene.unit)
    depth = np.maximum(below, 0.0)
    wash = np.exp(depth / -(0.07 + 0.05 * near)) * (1.0 + 0.28 * work.pools[here])
    dry = smoothstep(0.2, 1.5, strokes + 0.5 * bleed) * np.exp(depth / -0.075)
    power = 0.20 + 0.95 * near**1.4
    density = np.maximum(wash, 0.0) * 0.66 + np.exp(depth / -0.006) * 0.30
    density += dry * (0.22 + 0.38 * near)
    part = ink[start:]
    # What lies behind a nearer range is washed out by it.
    part *= 1.0 - inside * np.exp(depth / -0.5) * 0.97
    part += inside * density * power


def _water(scene: Scene, ink: Field) -> None:
    rng = scene.rng("ink water")
    start = int(scene.height * 0.80)
    rows = scene.height - start
    if rows < 2:
        return
    wave = fractal(rng, scene.width, rows, cell=scene.unit * 0.028, octaves=3, stretch=7.0)
    fade = smoothstep(0.0, 0.4, np.linspace(0, 1, rows, dtype=np.float32))[:, None]
    part = ink[start:]
    part *= 1.0 - 0.92 * fade
    strong = 0.9 if scene.has("sea", "storm") else 0.4
    part += strong * np.exp(-np.abs(wave - 0.7) * 14.0) * fade * 0.5 + 0.05 * fade
    if scene.has("waterfall"):
        _fall(scene, ink, rng)


def _fall(scene: Scene, ink: Field, rng: np.random.Generator) -> None:
    x = int(scene.width * rng.uniform(0.35, 0.65))
    half = max(int(scene.unit * 0.022), 1)
    rows = slice(int(scene.height * 0.42), int(scene.height * 0.80))
    part = ink[rows, max(x - half, 0) : x + half]
    threads = fractal(rng, part.shape[1], part.shape[0], cell=half * 2.0, octaves=4, stretch=0.12)
    part[:] = 0.02 + 0.10 * smoothstep(0.3, 1.2, threads)
