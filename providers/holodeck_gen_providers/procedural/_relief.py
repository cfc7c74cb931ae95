"""Noise laid over the land, and the rivers that cut it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._noise import Field, fractal, sample, smoothstep

if TYPE_CHECKING:
    from ._scene import Scene
    from ._terrain import View

MAP = 512  # side of the noise a land is sampled from


def at(plane: Field, seen: View, scale: float) -> Field:
    """A plane MAP×MAP laid over the land: D×W; `scale` in its pixels per unit of distance."""
    return sample(
        plane,
        seen.across * np.float32(scale) + np.float32(MAP / 2),
        np.broadcast_to(seen.depth * np.float32(scale), seen.across.shape),
    )


def rolling(scene: Scene, seen: View, *, cell: float, part: str) -> Field:
    """Gentle relief, mean 0 and deviation about 1; `cell` in units of distance."""
    plane = fractal(scene.rng(part), MAP, MAP, cell=cell * 12, octaves=6, gain=0.42)
    return at(plane, seen, 12.0)


def from_axis(scene: Scene, seen: View) -> Field:
    """How far a sample is from the open axis of the picture, 0-1."""
    rng = scene.rng("valley")
    axis = float(rng.uniform(-0.16, 0.16))
    angle = seen.across / seen.depth - axis
    return smoothstep(0.02, 0.55, np.abs(angle) + 0.0 * seen.depth)


def cut_river(scene: Scene, seen: View, height: Field) -> Field:
    """The land cut by a river that winds into the distance."""
    ragged = 0.2 * rolling(scene, seen, cell=1.5, part="shore") / np.sqrt(seen.depth)
    bank = smoothstep(1.0, 2.4, from_river(scene, seen.across, seen.depth) + ragged)
    return np.asarray(np.maximum(height, 0.07) * bank - 0.2 * (1.0 - bank), dtype=np.float32)


def from_river(scene: Scene, across: Field, depth: Field) -> Field:
    """How far places are from the middle of the river; 1 is about its shore."""
    rng = scene.rng("river")
    plane = fractal(rng, 64, 4, cell=12, octaves=2)
    bend = sample(plane, depth * 2.1, np.full_like(depth, 2.0))
    middle = depth * (0.10 * bend + np.float32(rng.uniform(-0.12, 0.12)))
    return np.asarray(np.abs(across - middle) / (0.34 + 0.055 * depth), dtype=np.float32)
