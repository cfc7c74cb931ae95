"""Random fields: the raw material of clouds, ridges, waves and paper."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field: TypeAlias = NDArray[np.floating[Any]]
"""A plane H×W or a stack of planes C×H×W.

Always float32 at run time; the stubs of numpy lose that in `float32 array * float`.
"""


def resized(field: Field, width: int, height: int) -> Field:
    """A plane H×W resampled to height×width by a bicubic filter (averaging when it shrinks)."""
    image = Image.fromarray(np.ascontiguousarray(field))
    return np.array(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)


def blurred(field: Field, radius: float) -> Field:
    """A plane H×W smoothed over about `radius` pixels."""
    height, width = field.shape
    if radius < 1.0:
        return field
    small = resized(field, max(2, round(width / radius)), max(2, round(height / radius)))
    return resized(small, width, height)


def smoothstep(low: float | Field, high: float | Field, field: Field) -> Field:
    """0 below `low`, 1 above `high`, a smooth cubic between; same shape as `field`."""
    unit = clamped((field - low) / (high - low))
    return np.asarray(unit * unit * (3.0 - 2.0 * unit), dtype=np.float32)


def clamped(field: Field, low: float = 0.0, high: float = 1.0) -> Field:
    """The field with its values kept between two bounds."""
    return np.asarray(np.clip(field, low, high), dtype=np.float32)


def fractal(
    rng: np.random.Generator,
    width: int,
    height: int,
    *,
    cell: float,
    octaves: int = 6,
    gain: float = 0.5,
    stretch: float = 1.0,
) -> Field:
    """Fractal noise, H×W, mean 0 and standard deviation about 1.

    Each octave is added to a lattice that then doubles, so the cost is that of the last octave.

    Args:
        rng: source of the lattice.
        width: columns of the result.
        height: rows of the result.
        cell: size in pixels of the largest features, vertically.
        octaves: number of doublings; those finer than a pixel are left out.
        gain: amplitude of an octave relative to the one before.
        stretch: horizontal elongation of the features.
    """
    across, down = width / max(cell * stretch, 1.0), height / max(cell, 1.0)
    field = rng.standard_normal((int(down) + 4, int(across) + 4), dtype=np.float32)
    scale, variance = 1, 1.0
    for octave in range(1, octaves):
        if cell / scale < 2.0:
            break
        scale *= 2
        rows, columns = field.shape
        field = resized(field, columns * 2, rows * 2)
        field += gain**octave * rng.standard_normal(field.shape, dtype=np.float32)
        variance += gain ** (2 * octave)
    box = (1.5 * scale, 1.5 * scale, (1.5 + across) * scale, (1.5 + down) * scale)
    image = Image.fromarray(field).resize((width, height), Image.Resampling.BICUBIC, box=box)
    return np.array(image, dtype=np.float32) / np.float32(variance**0.5 * 0.8)


def ridged(
    rng: np.random.Generator,
    width: int,
    height: int,
    *,
    cell: float,
    octaves: int = 6,
    gain: float = 0.5,
) -> Field:
    """Ridged multifractal noise, H×W, about 0-1: sharp crests, smooth valleys."""
    total = np.zeros((height, width), dtype=np.float32)
    weight: Field = np.ones((height, width), dtype=np.float32)
    amplitude, norm = 1.0, 0.0
    for octave in range(octaves):
        size = cell / 2**octave
        if octave and size < 2.0:
            break
        wave = fractal(rng, width, height, cell=size, octaves=1)
        # A hyperbola instead of |x|: a crest with no width at all would flicker when sampled.
        crest = 1.1 - np.minimum(np.sqrt(wave * wave + np.float32(0.0100)), 1.1)
        crest *= crest * weight
        total += amplitude * crest
        weight = np.minimum(crest * 1.8, 1.0)
        norm += amplitude
        amplitude *= gain
    return total / np.float32(norm)


def profile(
    rng: np.random.Generator,
    width: int,
    *,
    cell: float,
    octaves: int = 6,
    gain: float = 0.5,
    sharp: bool = False,
) -> Field:
    """A ridge line: W values, about 0-1; `sharp` gives peaks instead of hills."""
    if sharp:
        return ridged(rng, width, 1, cell=cell, octaves=octaves, gain=gain).ravel()
    line = fractal(rng, width, 1, cell=cell, octaves=octaves, gain=gain).ravel()
    return clamped(0.5 + 0.25 * line, 0.0, 1.2)


def sample(plane: Field, x: Field, y: Field) -> Field:
    """The plane at fractional positions (columns `x`, rows `y`), mirrored beyond its edges."""
    rows, columns = plane.shape
    x0, fx = _mirrored(x, columns)
    y0, fy = _mirrored(y, rows)
    flat = plane.ravel()
    corner = y0 * np.int32(columns) + x0
    upper = flat[corner] * (1.0 - fx) + flat[corner + 1] * fx
    corner += np.int32(columns)
    lower = flat[corner] * (1.0 - fx) + flat[corner + 1] * fx
    return np.asarray(upper + (lower - upper) * fy, dtype=np.float32)


def _mirrored(position: Field, count: int) -> tuple[NDArray[np.int32], Field]:
    span = np.float32(count - 1.001)
    inside = span - np.abs(np.mod(position, 2.0 * span) - span)
    whole = inside.astype(np.int32)
    return whole, np.asarray(inside - whole, dtype=np.float32)
