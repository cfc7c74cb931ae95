"""The last steps: exposure, the style's grading, grain, and 8-bit color."""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ._noise import Field
from ._scene import Scene

_STEPS: Final = 4096


def finish(scene: Scene, canvas: Field) -> Image.Image:
    """An RGB image of a canvas 3×H×W of linear light; the canvas is used up."""
    _vignette(canvas, 0.0 if scene.has("ink", "minimal", "watercolor") else 0.16)
    rng = scene.rng("grain")
    _grain(rng, canvas)
    return _encoded(rng, canvas)


def _vignette(canvas: Field, strength: float) -> None:
    _, height, width = canvas.shape
    x = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :] ** 2
    y = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None] ** 2
    canvas *= 1.0 - strength * (x + y) * 0.5 * (x + y)


def _grain(rng: np.random.Generator, canvas: Field) -> None:
    grain = rng.standard_normal(canvas.shape[1:], dtype=np.float32)
    canvas *= 1.0 + 0.012 * grain


@functools.lru_cache(maxsize=1)
def _curve() -> NDArray[np.float32]:
    """sRGB 0-255 of linear light 0-4, with a soft shoulder; indexed by sqrt(light / 4)."""
    light = np.linspace(0.0, 1.0, _STEPS + 1) ** 2 * 4.0
    knee = 0.72
    over = np.maximum(light - knee, 0.0)
    soft = np.minimum(light, knee) + (1.0 - knee) * (1.0 - np.exp(-over / (1.0 - knee)))
    srgb = np.where(soft <= 0.0031308, soft * 12.92, 1.055 * soft ** (1 / 2.4) - 0.055)
    curve = (srgb * 255.0).astype(np.float32)
    curve.setflags(write=False)
    return curve


def _encoded(rng: np.random.Generator, canvas: Field) -> Image.Image:
    # Triangular noise of one step hides the banding of slow gradients.
    _, height, width = canvas.shape
    dither = rng.random((height, width), dtype=np.float32)
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    for channel, plane in enumerate(canvas):
        np.clip(plane, 0.0, 4.0, out=plane)
        index = (np.sqrt(plane) * np.float32(_STEPS / 2)).astype(np.int32)
        value = _curve()[index] + dither
        pixels[:, :, channel] = np.minimum(value, 255.0)
    return Image.fromarray(pixels)
