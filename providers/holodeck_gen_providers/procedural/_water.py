"""Water: what stands above it mirrored, broken by waves, with the glitter of the sun."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._canvas import cover, spread
from ._noise import Field, fractal, sample, smoothstep
from ._palette import mixed

if TYPE_CHECKING:
    from ._scene import Scene

_MAP = 512  # side of the wave pattern


def paint_water(
    scene: Scene,
    canvas: Field,
    *,
    shore: float,
    rough: float,
    mask: Field | None = None,
    depth_color: Field | None = None,
) -> None:
    """Turn what lies below a row into water.

    Args:
        scene: the scene.
        canvas: 3×H×W, changed in place; must already hold what is mirrored.
        shore: row the mirror image starts at.
        rough: 0 for a mirror to 1 for a windy sea.
        mask: H-by-W opacity of the water from the row `shore` down; everything by default.
        depth_color: color of the deep, seen where the water is looked into steeply.
    """
    top = int(np.clip(shore, 1, scene.height - 1))
    rows = scene.height - top
    wave, far = _waves(scene, rows, rough)
    down = np.arange(rows, dtype=np.float32)[:, None] + 0.5
    lift = wave * down * (0.05 + 0.38 * rough)
    source = np.clip(top - 0.5 - down * (1.0 - 0.1 * rough) + lift, 0, top - 1)
    row = source.astype(np.int32)
    flat = row * scene.width + np.arange(scene.width, dtype=np.int32)
    steep = np.clip(down / (scene.unit * 0.75), 0.0, 1.0)
    keep = (0.86 - 0.45 * steep - 0.16 * rough * wave).astype(np.float32)
    keep = np.clip(keep, 0.12, 0.94)
    deep = _deep(scene) if depth_color is None else depth_color
    mirrored = np.empty((3, rows, scene.width), dtype=np.float32)
    for plane, target, share in zip(canvas, mirrored, deep, strict=True):
        above = plane[:top].ravel()[flat]
        np.multiply(above - share, keep, out=target)
        target += share
    _glitter(scene, mirrored, top, wave, far, rough)
    cover(
        canvas,
        np.ones((rows, scene.width), np.float32) if mask is None else mask,
        mirrored,
        top=top,
    )


def _deep(scene: Scene) -> Field:
    dark = mixed(scene.light.sky[1], scene.light.shade, 0.5)
    return dark * (0.45 if scene.light.darkness < 0.5 else 0.7)


def _waves(scene: Scene, rows: int, rough: float) -> tuple[Field, Field]:
    """Wave slope, rows×W, about -2 to 2, and the distance of each row, rows×1."""
    rng = scene.rng("waves")
    plane = fractal(rng, _MAP, _MAP, cell=_MAP / 40, octaves=4, gain=0.6, stretch=2.5)
    down = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) / scene.unit
    far = 1.0 / (down + 0.012)
    x = (np.arange(scene.width, dtype=np.float32)[None, :] - scene.width / 2) / scene.unit
    column = x * far * 120.0 + 256.0
    row = far * 150.0 + np.zeros_like(x)
    # The pattern shrinks below a pixel near the horizon; fading it there avoids a shimmer.
    calm = np.clip(down * 9.0, 0.0, 1.0) * (0.5 + 0.5 * rough)
    return sample(plane, column, row) * calm, far


def _glitter(scene: Scene, water: Field, top: int, wave: Field, far: Field, rough: float) -> None:
    """Sparks below the sun in a path that widens towards the eye."""
    if scene.has("storm", "fog", "rain"):
        return
    rows, columns = wave.shape
    x = (np.arange(columns, dtype=np.float32)[None, :] - scene.sun[0]) / scene.unit
    down = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) / scene.unit
    path = np.exp(-((x / (0.035 + 0.22 * down * (0.4 + rough))) ** 2), dtype=np.float32)
    sparks = smoothstep(0.15, 0.9, wave * (0.6 + 0.2 * rough) + 0.55 * path) * path
    strength = 0.55 if scene.light.darkness > 0.8 else 0.95
    water += spread(scene.light.sun) * (sparks * strength * np.minimum(1.0, 0.3 + far * 0.08))
