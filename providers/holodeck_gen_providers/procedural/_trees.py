"""Outlines of trees."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from ._canvas import Polygon, ellipse, stroke

Tree = Callable[[np.random.Generator, float, float, float], list[Polygon]]
"""Outlines of a tree: generator, column and row of its foot, height in pixels."""


def pine(rng: np.random.Generator, x: float, y: float, tall: float) -> list[Polygon]:
    """A conifer of ragged whorls."""
    tiers = 11
    up = np.linspace(0.1, 1.0, tiers)
    reach = tall * 0.21 * (1.03 - up) ** 0.85
    right, left = (reach * rng.uniform(0.75, 1.15, tiers) for _ in range(2))
    points = [(x, y - tall)]
    for i in reversed(range(tiers)):
        points += [
            (x + right[i], y - tall * (up[i] - 0.035)),
            (x + right[i] * 0.45, y - tall * up[i] * 0.97),
        ]
    points += [
        (x + tall * 0.012, y - tall * 0.08),
        (x + tall * 0.012, y + 1),
        (x - tall * 0.012, y + 1),
    ]
    for i in range(tiers):
        points += [
            (x - left[i] * 0.45, y - tall * up[i] * 0.97),
            (x - left[i], y - tall * (up[i] - 0.035)),
        ]
    return [np.array(points)]


def broadleaf(rng: np.random.Generator, x: float, y: float, tall: float) -> list[Polygon]:
    """A round tree of leaf clusters on a short trunk."""
    trunk = np.array([[x, y + 2], [x + rng.normal(0, 0.02) * tall, y - tall * 0.5]])
    crown = [stroke(trunk, tall * 0.05)]
    for _ in range(34):
        angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1) ** 0.5
        cx = x + np.cos(angle) * away * tall * 0.29
        cy = y - tall * 0.62 + np.sin(angle) * away * tall * 0.27
        size = tall * rng.uniform(0.065, 0.125)
        crown.append(ellipse(cx, cy, size, size * 0.8, 16))
    return crown


def palm(rng: np.random.Generator, x: float, y: float, tall: float) -> list[Polygon]:
    """A leaning palm with drooping fronds."""
    t = np.linspace(0, 1, 9)
    lean = rng.uniform(-0.35, 0.35) * tall
    trunk = np.stack([x + lean * t**1.8, y + 2 - tall * t], axis=1)
    parts = [stroke(trunk, tall * (0.045 - 0.022 * t))]
    for angle in np.linspace(-0.5, np.pi + 0.5, 9) + rng.normal(0, 0.12, 9):
        length = tall * rng.uniform(0.36, 0.48)
        frond = np.stack(
            [
                trunk[-1, 0] + np.cos(angle) * length * t,
                trunk[-1, 1] - np.sin(angle) * length * t * 0.7 + length * 0.75 * t**2.2,
            ],
            axis=1,
        )
        parts.append(stroke(frond, tall * 0.075 * np.sin(np.pi * (0.06 + 0.94 * t)) + 0.3))
    return parts


def bamboo(rng: np.random.Generator, x: float, y: float, tall: float) -> list[Polygon]:
    """A jointed, bending stalk with sprays of narrow leaves."""
    t = np.linspace(0, 1, 14)
    bend = rng.normal(0, 0.1) * tall
    stalk = np.stack([x + bend * t**2, y + 2 - tall * t], axis=1)
    parts = []
    for lower, upper in itertools.pairwise(stalk):
        gap = (upper - lower) * 0.04
        parts.append(
            stroke(
                np.array([lower + gap, (lower + upper) / 2, upper - gap]),
                tall * 0.016 * np.array([1.12, 0.92, 1.12]),
            )
        )
    for _ in range(18):
        joint = stalk[int(rng.integers(4, 14))]
        side = rng.choice([-1.0, 1.0])
        start = joint + np.array([side * rng.uniform(0.0, 0.1), rng.normal(0, 0.015)]) * tall
        angle = rng.uniform(0.15, 1.15)
        parts.append(
            _leaf(start, side * np.cos(angle), np.sin(angle), tall * rng.uniform(0.07, 0.13))
        )
    return parts


def _leaf(start: Polygon, dx: float, dy: float, length: float) -> Polygon:
    t = np.linspace(0, 1, 5)
    spine = start + np.stack([dx * t, dy * t], axis=1) * length
    return stroke(spine, length * 0.15 * np.sin(np.pi * (0.08 + 0.9 * t)))
