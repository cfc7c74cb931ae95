"""Clouds: a far layer in perspective and near heaps with sunlit rims."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._canvas import cover, spread
from ._noise import Field, clamped, fractal, profile, resized, sample, smoothstep
from ._palette import linear, mixed

if TYPE_CHECKING:
    from ._scene import Scene

_MAP = 512  # side of the noise the cloud layer is sampled from


def paint_layer(scene: Scene, canvas: Field, *, amount: float) -> None:
    """A layer of broken cloud receding to the horizon, lit from the side of the sun.

    Args:
        scene: the scene.
        canvas: 3×H×W, changed in place.
        amount: 0 for a clear sky to 1 for an overcast one.
    """
    rng = scene.rng("cloud layer")
    rows = max(2, min(scene.height, int(scene.horizon)))
    step = 2 if scene.unit > 500 else 1
    width, height = -(-scene.width // step), -(-rows // step)
    plane = fractal(rng, _MAP, _MAP, cell=_MAP / 5, octaves=7, gain=0.52, stretch=1.5)
    x = (np.arange(width, dtype=np.float32)[None, :] * step - scene.width / 2) / scene.unit
    y = (scene.horizon - np.arange(height, dtype=np.float32)[:, None] * step) / scene.horizon
    far = 1.0 / (np.maximum(y, 0.0) + 0.16)
    column, row = x * far * 74.0 + 256.0, far * 150.0
    density = sample(plane, column, row + np.zeros_like(x))
    toward = np.float32(np.sign(scene.sun[0] - scene.width / 2) or 1.0)
    behind = sample(plane, column + toward * 9.0, row - 7.0 + np.zeros_like(x))
    edge = 1.15 - 2.1 * amount
    mask = smoothstep(edge, edge + 1.3, density) * smoothstep(0.02, 0.3, y) * 0.9
    relief = clamped(0.55 + 0.42 * (density - behind))
    near_sun = _near_sun(scene, width, height, step)
    light, shade = _colors(scene)
    bright = resized(clamped(relief * 0.8 + near_sun * 0.5, 0.0, 1.25), scene.width, rows)
    color = spread(shade) + spread(light - shade) * bright
    cover(canvas, resized(np.clip(mask, 0.0, 1.0), scene.width, rows), color)


def _near_sun(scene: Scene, width: int, height: int, step: int) -> Field:
    dx = (np.arange(width, dtype=np.float32)[None, :] * step - scene.sun[0]) / scene.unit
    dy = (np.arange(height, dtype=np.float32)[:, None] * step - scene.sun[1]) / scene.unit
    return np.exp(-(dx**2 + dy**2) * 9.0, dtype=np.float32)


def _colors(scene: Scene) -> tuple[Field, Field]:
    """Sunlit and shaded color of a cloud."""
    sky = scene.light.sky
    if scene.light.darkness > 0.8:
        return mixed(sky[-1], scene.light.sun, 0.3), mixed(sky[2], sky[3], 0.4)
    light = mixed(scene.light.sun, linear("#ffffff"), 0.45 if scene.light.darkness < 0.1 else 0.1)
    return light, mixed(scene.light.shade, sky[2], 0.6)


def paint_heaps(scene: Scene, canvas: Field, *, count: int = 3) -> None:
    """Heaped clouds in banks that grow towards the eye, with flat feet and bright rims."""
    rng = scene.rng("cloud heaps")
    light, shade = _colors(scene)
    for bank in range(count):
        near = bank / max(count - 1, 1)
        foot = scene.horizon * (0.99 - 0.05 * near) + scene.unit * 0.02
        tall = scene.unit * (0.14 + 0.20 * near)
        fade = 0.65 * (1.0 - near)
        _heap(
            scene,
            canvas,
            rng,
            foot=foot,
            tall=tall,
            light=mixed(light, scene.light.haze, fade),
            shade=mixed(shade, scene.light.haze, fade * 0.8 + 0.15),
        )


def _heap(
    scene: Scene,
    canvas: Field,
    rng: np.random.Generator,
    *,
    foot: float,
    tall: float,
    light: Field,
    shade: Field,
) -> None:
    top, bottom = max(int(foot - tall * 1.7), 0), min(int(foot), scene.height)
    height = bottom - top
    if height < 2:
        return
    outline = profile(rng, scene.width, cell=tall * 2.6, octaves=3) ** 1.7 * tall * 1.7
    puffs = 1.0 - np.abs(fractal(rng, scene.width, height, cell=tall * 0.42, octaves=1))
    puffs += 0.5 * (1.0 - np.abs(fractal(rng, scene.width, height, cell=tall * 0.2, octaves=4)))
    up = (foot - top - np.arange(height, dtype=np.float32))[:, None]
    inside = (outline[None, :] - up) / tall + (puffs - 1.0) * 0.16
    mask = smoothstep(0.0, 0.035, inside) * smoothstep(0.0, 0.55, up / tall)
    toward = 1 if scene.sun[0] > scene.width / 2 else -1
    relief = puffs - np.roll(puffs, (-max(1, int(tall * 0.05)), toward * int(tall * 0.05)), (0, 1))
    bright = np.clip(0.9 - 1.1 * inside + 0.75 * relief, 0.0, 1.15) * np.clip(
        0.35 + up / tall, 0.0, 1.0
    )
    cover(canvas, mask, spread(shade) + spread(light - shade) * bright, top=top)
