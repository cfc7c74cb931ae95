"""The sky: gradient, sun, moon and stars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._canvas import cover, disc, dots, glow, spread
from ._noise import Field, fractal, smoothstep
from ._palette import linear, mixed, ramp

if TYPE_CHECKING:
    from ._scene import Scene


def paint_sky(scene: Scene) -> Field:
    """A new canvas 3×H×W with the sky, and the haze color below the horizon."""
    canvas = np.empty((3, scene.height, scene.width), dtype=np.float32)
    rows = max(2, min(scene.height, round(scene.horizon)))
    colors = np.repeat(spread(scene.light.haze), scene.height, axis=1)[:, :, 0]
    colors[:, :rows] = ramp(scene.light.sky, rows)
    canvas[:] = spread(colors)
    _warm_side(scene, canvas)
    return canvas


def _warm_side(scene: Scene, canvas: Field) -> None:
    # Real skies are brighter around the sun all over; the gradient alone looks printed.
    low = scene.light.darkness < 0.9 and not scene.has("storm", "rain", "fog")
    strength = (0.30 if low else 0.10) * (0.4 if scene.light.elevation > 0.4 else 1.0)
    glow(canvas, *scene.sun, scene.unit * 0.30, scene.light.sun, strength)


def paint_sun(scene: Scene, canvas: Field) -> None:
    """The sun with its glare, larger when it is asked for by name."""
    radius = scene.unit * (0.062 if scene.has("sun") else 0.034)
    core = mixed(scene.light.sun, linear("#fffbe8"), 0.75)
    if scene.has("minimal"):
        disc(canvas, *scene.sun, scene.unit * 0.13, mixed(core, scene.light.sun, 0.5))
        return
    glow(canvas, *scene.sun, radius * 3.2, scene.light.sun, 0.55)
    glow(canvas, *scene.sun, radius * 1.1, core, 0.7)
    disc(canvas, *scene.sun, radius, core * 1.5)


def paint_moon(scene: Scene, canvas: Field) -> None:
    """The moon with its seas, a soft terminator and a halo."""
    rng = scene.rng("moon")
    x, y = scene.sun
    y = min(y, scene.horizon * 0.62)
    radius = scene.unit * float(rng.uniform(0.055, 0.085) if scene.has("moon") else 0.035)
    glow(canvas, x, y, radius * 4.0, scene.light.sun, 0.16)
    glow(canvas, x, y, radius * 1.3, scene.light.sun, 0.30)
    size = max(int(2 * radius + 4), 4)
    left, top = int(x - size / 2), int(y - size / 2)
    dx = (np.arange(size, dtype=np.float32)[None, :] + left + 0.5 - x) / radius
    dy = (np.arange(size, dtype=np.float32)[:, None] + top + 0.5 - y) / radius
    distance = np.hypot(dx, dy)
    seas = smoothstep(-0.2, 1.2, fractal(rng, size, size, cell=radius * 0.9, octaves=5))
    bright = 1.0 - 0.34 * seas - 0.18 * distance**2
    turn = float(rng.choice([-1.0, 1.0])) * float(rng.uniform(0.2, 1.3))
    bright = bright * (0.06 + 0.94 * smoothstep(-0.5, 0.25, dx * turn + 0.55 - dy * 0.2))
    color = spread(mixed(linear("#fff6e0"), scene.light.sun, 0.25) * 1.15) * bright
    mask = np.clip((1.0 - distance) * radius + 0.5, 0.0, 1.0)
    _cover_inside(canvas, mask, color, left, top)


def _cover_inside(canvas: Field, mask: Field, color: Field, left: int, top: int) -> None:
    """Cover with planes that may reach beyond the canvas."""
    _, height, width = canvas.shape
    x0, y0 = max(-left, 0), max(-top, 0)
    x1, y1 = min(mask.shape[1], width - left), min(mask.shape[0], height - top)
    if x0 < x1 and y0 < y1:
        inner = np.s_[y0:y1, x0:x1]
        cover(canvas, mask[inner], color[:, *inner], top=top + y0, left=left + x0)


def paint_stars(scene: Scene, canvas: Field, *, density: float = 1.0, bottom: float = 1.0) -> None:
    """Stars of many magnitudes and a few tints, fading out towards the horizon.

    Args:
        scene: the scene.
        canvas: 3×H×W, changed in place.
        density: 1 for an ordinary night.
        bottom: share of the height down to which stars are strewn.
    """
    rng = scene.rng("stars")
    area = scene.width * scene.height / scene.unit**2
    count = int(900 * density * area * min(1.0, (scene.unit / 500) ** 0.7))
    x = rng.uniform(0, scene.width, count).astype(np.float32)
    y = (rng.uniform(0, 1, count) * bottom * scene.height).astype(np.float32)
    magnitude = rng.uniform(0, 1, count).astype(np.float32) ** 7
    fade = np.clip(1.25 - y / (bottom * scene.height), 0.0, 1.0)
    opacity = np.asarray((0.16 + magnitude) * fade, dtype=np.float32)
    radius = np.asarray((0.0002 + 0.0016 * magnitude) * scene.unit, dtype=np.float32)
    tints = (linear("#ffffff"), linear("#b9d0ff"), linear("#ffe0b8"))
    kind = rng.choice(3, count, p=[0.6, 0.25, 0.15])
    for number, tint in enumerate(tints):
        chosen = kind == number
        dots(canvas, x[chosen], y[chosen], radius[chosen], tint * 1.2, opacity=opacity[chosen])
    for i in np.argsort(-magnitude)[: 4 + count // 200]:
        glow(
            canvas,
            float(x[i]),
            float(y[i]),
            scene.unit * 0.004,
            tints[kind[i]],
            0.5 * float(fade[i]),
        )


def paint_milky_way(scene: Scene, canvas: Field) -> None:
    """A slanted band of star dust with dark lanes."""
    rng = scene.rng("milky way")
    width, height = scene.width, scene.height
    lean = float(rng.choice([-1.0, 1.0])) * float(rng.uniform(0.5, 1.1))
    x = (np.arange(width, dtype=np.float32)[None, :] - width * rng.uniform(0.4, 0.6)) / scene.unit
    y = (np.arange(height, dtype=np.float32)[:, None] - height * 0.3) / scene.unit
    wobble = fractal(rng, width, height, cell=scene.unit * 0.35, octaves=5)
    away = (x.astype(np.float32) - y * lean) / np.float32(np.hypot(1, lean)) + 0.035 * wobble
    band = np.exp(-((away / 0.13) ** 2))
    lanes = smoothstep(0.1, 1.3, fractal(rng, width, height, cell=scene.unit * 0.14, octaves=7))
    dust = band * (1.0 - 0.75 * lanes * np.exp(-((away / 0.06) ** 2)))
    core = np.exp(-((away / 0.05) ** 2)) * (1.0 - 0.8 * lanes)
    fade = np.clip((scene.horizon - np.arange(height)) / scene.horizon * 2.0, 0.0, 1.0)
    rows = fade.astype(np.float32)[:, None]
    canvas += spread(linear("#5d7fd0")) * (dust * rows * 0.32)
    canvas += spread(linear("#ffc9d8")) * (core * rows * 0.22)
    dust_stars = rng.random((height, width), dtype=np.float32) < 0.010 * dust * rows
    canvas += dust_stars * np.float32(0.55)


def horizon_haze(scene: Scene, canvas: Field, *, amount: float) -> None:
    """Soften what stands at the horizon."""
    rows = (np.arange(scene.height, dtype=np.float32) - scene.horizon) / scene.unit
    veil = np.exp(-((rows / 0.07) ** 2)).astype(np.float32) * amount
    mask = np.broadcast_to(veil[:, None], (scene.height, scene.width))
    cover(canvas, mask, scene.light.haze)
