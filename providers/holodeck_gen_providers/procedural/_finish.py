"""The last steps: the style's treatment, grain, and 8-bit color."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from ._canvas import spread
from ._noise import Field, blurred, clamped, fractal, resized, sample, smoothstep
from ._palette import linear, ramp

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ._scene import Scene

_STEPS: Final = 4096
_LUMA: Final = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)


def finish(scene: Scene, canvas: Field) -> Image.Image:
    """An RGB image of a canvas 3×H×W of linear light; the canvas is used up."""
    for keyword, treat in _TREATMENTS.items():
        if scene.has(keyword):
            treat(scene, canvas)
    if not scene.has("ink", "minimal", "watercolor"):
        _vignette(canvas, 0.5 if scene.has("vintage") else 0.16)
    rng = scene.rng("grain")
    _grain(rng, canvas, 0.05 if scene.has("vintage") else 0.012)
    return _encoded(rng, canvas)


def _toned(canvas: Field, codes: tuple[str, ...], amount: float) -> None:
    """Replace light by a ramp of colors from black to white, in part."""
    luma = np.tensordot(_LUMA, canvas, axes=1)
    index = (np.sqrt(np.clip(luma, 0.0, 1.0)) * np.float32(255.0)).astype(np.int32)
    colors = ramp(tuple(linear(code) for code in codes), 256)
    for plane, tone in zip(canvas, colors, strict=True):
        plane *= 1.0 - amount
        plane += tone[index] * np.float32(amount)


def _monochrome(_: Scene, canvas: Field) -> None:
    _toned(canvas, ("#060607", "#3c3d40", "#8f9092", "#d4d4d2", "#faf9f5"), 1.0)


def _vintage(_: Scene, canvas: Field) -> None:
    _toned(canvas, ("#2a1b16", "#6b4a35", "#b08a60", "#e2c99a", "#f7ead0"), 0.68)


def _golden(_: Scene, canvas: Field) -> None:
    _toned(canvas, ("#140a04", "#5a3210", "#b8741f", "#f0b94a", "#fff0c0"), 0.62)


def _pastel(scene: Scene, canvas: Field) -> None:
    np.sqrt(np.clip(canvas, 0.0, 1.0), out=canvas)
    luma = np.tensordot(_LUMA, canvas, axes=1)
    # Raising the chroma first keeps the hues alive under the veil of white.
    canvas += (canvas - luma) * np.float32(0.55)
    canvas *= 0.52
    canvas += spread(np.sqrt(linear("#faeef0"))) * np.float32(0.46)
    np.maximum(canvas, 0.0, out=canvas)
    np.square(canvas, out=canvas)


def _watercolor(scene: Scene, canvas: Field) -> None:
    """Wandering edges, pigment that gathers at them, granulation, and a ragged white border."""
    rng = scene.rng("watercolor")
    _, height, width = canvas.shape
    unit = scene.unit
    # Paint is soft: half the resolution carries it, and only the paper's grain needs the rest.
    step = 2 if unit > 400 else 1
    wide, tall = -(-width // step), -(-height // step)
    wander, other = (
        fractal(rng, wide, tall, cell=unit * 0.03 / step, octaves=4, gain=0.6) for _ in range(2)
    )
    reach = np.float32(unit * 0.0042 / step)
    x = np.arange(wide, dtype=np.float32)[None, :] + wander * reach
    y = np.arange(tall, dtype=np.float32)[:, None] + other * reach
    bleeds = fractal(rng, width, height, cell=unit * 0.20, octaves=6, gain=0.55)
    grain = fractal(rng, width, height, cell=max(unit * 0.005, 2.5), octaves=2)
    paper = _border(scene, bleeds, grain) * (1.0 + 0.10 * bleeds + 0.028 * grain)
    for plane, white in zip(canvas, linear("#fbf7ee"), strict=True):
        soft = blurred(resized(clamped(plane, 0.02), wide, tall), unit * 0.006 / step)
        wash = clamped(sample(soft, x, y), 0.02)
        edge = np.abs(wash - blurred(wash, unit * 0.012 / step)) * 0.9
        density = -0.66 * np.log(wash) + edge
        plane[:] = white * np.exp(-resized(density, width, height) * paper)


def _border(scene: Scene, bleeds: Field, grain: Field) -> Field:
    """Where paint is: 1 inside, 0 at the rim of the sheet."""
    x = np.abs(np.linspace(-1.0, 1.0, scene.width, dtype=np.float32))[None, :]
    y = np.abs(np.linspace(-1.0, 1.0, scene.height, dtype=np.float32))[:, None]
    across = (1.0 - x) * np.float32(scene.width / 2 / scene.unit)
    down = (1.0 - y) * np.float32(scene.height / 2 / scene.unit)
    rim = np.minimum(across, down) + 0.012 * bleeds + 0.002 * grain
    return smoothstep(0.022, 0.034, rim)


_TREATMENTS: Final[dict[str, Callable[[Scene, Field], None]]] = {
    "golden": _golden,
    "pastel": _pastel,
    "monochrome": _monochrome,
    "vintage": _vintage,
    "watercolor": _watercolor,
}


def _vignette(canvas: Field, strength: float) -> None:
    _, height, width = canvas.shape
    x = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :] ** 2
    y = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None] ** 2
    canvas *= 1.0 - strength * (x + y) * 0.5 * (x + y) / 2.0


def _grain(rng: np.random.Generator, canvas: Field, strength: float) -> None:
    grain = rng.standard_normal(canvas.shape[1:], dtype=np.float32)
    canvas *= 1.0 + np.float32(strength) * grain


@functools.lru_cache(maxsize=1)
def _curve() -> NDArray[np.float32]:
    """sRGB 0-255 of linear light 0-4 with a soft shoulder; the index is the root of the light."""
    light = np.linspace(0.0, 1.0, _STEPS + 1) ** 2 * 4.0
    knee = 0.72
    over = np.maximum(light - knee, 0.0)
    soft = np.minimum(light, knee) + (1.0 - knee) * (1.0 - np.exp(-over / (1.0 - knee)))
    srgb = np.where(soft <= 0.0031308, soft * 12.92, 1.055 * soft ** (1 / 2.4) - 0.055)
    curve = (srgb * 255.0).astype(np.float32)
    curve.setflags(write=False)
    return curve


def _encoded(rng: np.random.Generator, canvas: Field) -> Image.Image:
    _, height, width = canvas.shape
    # Rounding at a random threshold hides the banding of slow gradients.
    dither = rng.random((height, width), dtype=np.float32)
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    for channel, plane in enumerate(canvas):
        np.clip(plane, 0.0, 4.0, out=plane)
        index = (np.sqrt(plane) * np.float32(_STEPS / 2)).astype(np.int32)
        pixels[:, :, channel] = np.minimum(_curve()[index] + dither, 255.0)
    return Image.fromarray(pixels)
