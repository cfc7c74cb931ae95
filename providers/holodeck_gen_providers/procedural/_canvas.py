"""Painting on a canvas: planes 3×H×W, float32, linear light, 1 being paper white."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ._noise import Field, blurred, clamped, resized

if TYPE_CHECKING:
    from collections.abc import Sequence

Polygon = NDArray[np.float64]
"""The corners of a shape: N×2, column and row in pixels."""


def spread(color: Field) -> Field:
    """A color of 3 values, or colors 3×H, shaped to combine with a canvas 3×H×W."""
    return color.reshape(3, -1, 1)


def cover(canvas: Field, mask: Field, color: Field, *, top: int = 0, left: int = 0) -> None:
    """Lay a color, or planes of the size of the mask, over a part of the canvas.

    Args:
        canvas: 3×H×W, changed in place.
        mask: h×w, opacity 0-1.
        color: 3 values, or 3×h×1, or 3×h×w.
        top: row of the canvas the mask starts at; the mask must lie inside.
        left: column of the canvas the mask starts at.
    """
    height, width = mask.shape
    part = canvas[:, top : top + height, left : left + width]
    part += ((color if color.ndim == 3 else spread(color)) - part) * mask


_HALO = 8.0  # radii at which a halo has faded out


def glow(canvas: Field, x: float, y: float, radius: float, color: Field, strength: float) -> None:
    """Add a halo that falls to a third within `radius` pixels and to nothing within 8."""
    _, height, width = canvas.shape
    left, right = _span(x, radius * _HALO, width)
    top, bottom = _span(y, radius * _HALO, height)
    if left >= right or top >= bottom:
        return
    step = max(1, round(radius / 12))
    small_w, small_h = -(-(right - left) // step), -(-(bottom - top) // step)
    dx = (np.arange(small_w, dtype=np.float32) + 0.5) * step + (left - x)
    dy = (np.arange(small_h, dtype=np.float32) + 0.5) * step + (top - y)
    distance = np.hypot(dx[None, :], dy[:, None]) / radius
    halo = np.exp(-distance) * clamped(1.0 - distance / _HALO) ** 2 * strength
    full = halo if step == 1 else resized(halo, small_w * step, small_h * step)
    full = full[: bottom - top, : right - left]
    for plane, share in zip(canvas[:, top:bottom, left:right], color, strict=True):
        plane += full * share


def _span(middle: float, reach: float, size: int) -> tuple[int, int]:
    """The pixels within reach of a place, cut to the canvas."""
    return max(int(middle - reach), 0), min(int(middle + reach) + 1, size)


def disc(canvas: Field, x: float, y: float, radius: float, color: Field) -> None:
    """Cover a disc with an anti-aliased edge."""
    _, height, width = canvas.shape
    left, right = _span(x, radius + 1.0, width)
    top, bottom = _span(y, radius + 1.0, height)
    if left >= right or top >= bottom:
        return
    dx = np.arange(left, right, dtype=np.float32) + 0.5 - x
    dy = np.arange(top, bottom, dtype=np.float32) + 0.5 - y
    mask = clamped(radius - np.hypot(dx[None, :], dy[:, None]) + 0.5)
    cover(canvas, mask, color, top=top, left=left)


def shapes(
    canvas: Field,
    polygons: Sequence[Polygon],
    color: Field,
    *,
    opacity: float = 1.0,
    emits: bool = False,
) -> None:
    """Cover (or, if it `emits`, add) filled polygons of one color, anti-aliased."""
    found = coverage(canvas.shape[2], canvas.shape[1], polygons)
    if found is None:
        return
    mask, left, top = found
    if not emits:
        cover(canvas, mask * opacity, color, top=top, left=left)
        return
    height, width = mask.shape
    canvas[:, top : top + height, left : left + width] += spread(color) * mask * opacity


def stroke(points: Polygon, width: float | NDArray[np.float64]) -> Polygon:
    """A line through points as a polygon; `width` in pixels, one value or one a point."""
    along = np.gradient(points, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
    normal /= np.maximum(np.hypot(normal[:, 0], normal[:, 1]), 1e-9)[:, None]
    half = normal * np.broadcast_to(np.asarray(width) / 2.0, len(points))[:, None]
    return np.concatenate([points + half, (points - half)[::-1]])


def ellipse(x: float, y: float, wide: float, tall: float, corners: int = 14) -> Polygon:
    """An ellipse around a point by its two radii, pixels."""
    angle = np.linspace(0.0, 2.0 * np.pi, corners, endpoint=False)
    return np.stack([x + wide * np.cos(angle), y + tall * np.sin(angle)], axis=1)


def placed(outline: Sequence[tuple[float, float]], x: float, y: float, size: float) -> Polygon:
    """An outline in its own units (up positive) put at a point and scaled."""
    return np.asarray(outline, dtype=np.float64) * (size, -size) + (x, y)


def coverage(width: int, height: int, polygons: Sequence[Polygon]) -> tuple[Field, int, int] | None:
    """The share of each pixel polygons cover: h×w 0-1, then its left column and top row."""
    if not polygons:
        return None
    corners = np.concatenate(polygons)
    limit = np.array([width, height])
    first = np.clip(np.floor(corners.min(axis=0)), 0, limit).astype(int)
    last = np.clip(np.ceil(corners.max(axis=0)), 0, limit).astype(int)
    left, top, right, bottom = int(first[0]), int(first[1]), int(last[0]), int(last[1])
    if left >= right or top >= bottom:
        return None
    fine = 3 if (right - left) * (bottom - top) < 600_000 else 2
    sheet = Image.new("L", ((right - left) * fine, (bottom - top) * fine))
    pen = ImageDraw.Draw(sheet)
    for polygon in polygons:
        pen.polygon(((polygon - (left, top)) * fine).ravel().tolist(), fill=255)
    mask = np.asarray(sheet.reduce(fine), dtype=np.float32) / np.float32(255.0)
    return mask, left, top


def dots(
    canvas: Field, x: Field, y: Field, radius: Field, color: Field, *, opacity: Field | float
) -> None:
    """Add many soft dots of light at once: N columns, rows, radii in pixels."""
    _, height, width = canvas.shape
    layer = np.zeros((height, width), dtype=np.float32)
    reach = int(np.ceil(float(radius.max(initial=0.5)))) + 1
    strength = np.broadcast_to(np.asarray(opacity, dtype=np.float32), x.shape)
    column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    for oy in range(-reach, reach + 1):
        for ox in range(-reach, reach + 1):
            at_x, at_y = column + ox, row + oy
            distance = np.hypot(at_x + 0.5 - x, at_y + 0.5 - y)
            amount = np.clip(radius + 0.5 - distance, 0.0, 1.0) * strength
            inside = (amount > 0) & (at_x >= 0) & (at_x < width) & (at_y >= 0) & (at_y < height)
            np.maximum.at(layer, (at_y[inside], at_x[inside]), amount[inside])
    canvas += spread(color) * layer


def bloom(canvas: Field, radius: float, *, above: float, strength: float) -> None:
    """Let what is brighter than `above` shine over its surroundings."""
    for plane in canvas:
        plane += blurred(np.maximum(plane - above, 0.0), radius) * strength
