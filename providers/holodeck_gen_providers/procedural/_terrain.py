"""Land as a height field, seen in perspective.

The land is sampled in slices of growing distance, one height per slice and screen column. Going
from near to far, a slice shows where it rises above all before it; integrating the slices over
the height of a pixel gives exact vertical anti-aliasing without a loop over pixels.
"""

from __future__ import annotations

import attrs
import numpy as np

from ._noise import Field


@attrs.frozen(kw_only=True, eq=False)
class View:
    """A camera one unit above the zero of the land, looking level.

    Attributes:
        width: columns of the picture.
        height: rows of the picture.
        horizon: row of the horizon.
        focal: pixels per unit of width at distance 1.
        depth: D×1, distance of each slice, growing.
        across: D×W, position of each sample to the right of the middle.
    """

    width: int
    height: int
    horizon: float
    focal: float
    depth: Field
    across: Field


def view(
    width: int, height: int, horizon: float, *, unit: float, far: float, slices: int = 560
) -> View:
    """The camera of a picture, its slices dense near the eye and sparse towards `far`."""
    focal = unit * 0.95
    near = focal / max(height - horizon, 1.0) * 0.98
    # Between linear and geometric: far crests need slices closer than a geometric row has.
    power = 0.4
    depth = np.linspace(near**power, far**power, slices, dtype=np.float32)[:, None] ** (1 / power)
    columns = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / np.float32(focal)
    return View(
        width=width,
        height=height,
        horizon=horizon,
        focal=focal,
        depth=depth,
        across=columns[None, :] * depth,
    )


def slope(seen: View, height: Field) -> tuple[Field, Field]:
    """The rise of the land to the right and away from the eye, each D×W."""
    right = np.gradient(height, axis=1) * (seen.focal / seen.depth)
    away = np.gradient(height, axis=0) / np.gradient(seen.depth, axis=0)
    return right.astype(np.float32), away.astype(np.float32)


def lit(seen: View, height: Field, *, side: float, climb: float = 0.7) -> Field:
    """How much of the sun each sample gets, D×W, 0-1.

    Args:
        seen: the camera.
        height: D×W heights.
        side: where light comes from: -1 left to 1 right, always a little from behind the eye.
        climb: height of the light; lower gives longer shading.
    """
    right, away = slope(seen, height)
    facing = (-right * side + away * 0.45 + climb) / np.sqrt(right**2 + away**2 + 1.0)
    return np.clip(facing / np.float32((side**2 + 0.2 + climb**2) ** 0.5), 0.0, 1.0)


def shadow(seen: View, height: Field, *, side: float, climb: float, soft: float) -> Field:
    """Cast shadows of a light from the left (`side` < 0) or right, D×W, 1 in full light."""
    line = height - seen.across * np.float32(climb if side > 0 else -climb)
    ordered = line[:, ::-1] if side > 0 else line
    # A sample is dark where something towards the light stands above the ray to the sun.
    blocked = np.maximum.accumulate(ordered, axis=1) - ordered
    depth = blocked[:, ::-1] if side > 0 else blocked
    return 1.0 - np.clip(depth / np.float32(soft), 0.0, 1.0)


def project(seen: View, height: Field, planes: Field) -> tuple[Field, int]:
    """Draw the land.

    Args:
        seen: the camera.
        height: D×W heights.
        planes: C×D×W values to carry to the screen, such as color.

    Returns:
        (C+1)×h×W planes, the last being the opacity, the others multiplied by it, and the
        row of the picture they start at; they reach to the bottom.
    """
    row = seen.horizon + seen.focal * (1.0 - height) / seen.depth
    skyline = np.minimum(np.minimum.accumulate(row, axis=0), np.float32(seen.height))
    skyline = np.maximum(skyline, 0.0)
    top = int(skyline[-1].min())
    rows, columns = seen.height - top, seen.width
    index = _slice_at(skyline - top, rows)
    edges = np.arange(rows + 1, dtype=np.float32)[:, None]
    before = np.concatenate([np.full((1, columns), rows, dtype=np.float32), skyline - top])
    flat = index * columns + np.arange(columns, dtype=np.int32)
    part = before.ravel()[flat] - edges
    opacity = np.ones((1, *height.shape), dtype=np.float32)
    drawn = np.empty((len(planes) + 1, rows, columns), dtype=np.float32)
    for result, plane in zip(drawn, (*planes, *opacity), strict=True):
        area = np.zeros((len(height) + 1, columns), dtype=np.float32)
        np.cumsum(plane * -np.diff(before, axis=0), axis=0, out=area[1:])
        value = np.concatenate([plane, np.zeros((1, columns), dtype=np.float32)])
        total = area.ravel()[flat] + value.ravel()[flat] * part
        np.subtract(total[:-1], total[1:], out=result)
    return drawn, top


def _slice_at(skyline: Field, rows: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    """The slice seen at each pixel edge, (rows+1)×W: the number of slices that end below it."""
    columns = skyline.shape[1]
    last = np.ceil(skyline).astype(np.int32)  # edges 0..last-1 lie above the slice
    flat = last * columns + np.arange(columns, dtype=np.int32)
    counts = np.bincount(flat.ravel(), minlength=(rows + 1) * columns)
    counts = counts[: (rows + 1) * columns].reshape(rows + 1, columns)
    beyond = counts[::-1].cumsum(axis=0, dtype=np.int32)[::-1]
    return (beyond - counts).astype(np.int32)
