"""The lie of the land: heights and ground colors of mountains, dunes, mesas, islands, meadows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ._canvas import spread
from ._noise import Field, clamped, fractal, ridged, smoothstep
from ._palette import linear
from ._relief import MAP, at, cut_river, from_axis, rolling
from ._scene import WATER, Scene
from ._terrain import View, slope

if TYPE_CHECKING:
    from collections.abc import Callable

_FAR: Final = 46.0

Ground = tuple[Field, Field]
"""Heights D×W and albedo 3×D×W."""


def land(scene: Scene, seen: View) -> Ground:
    """The land a scene asks for, 0 being the level of water and of plains."""
    kind = next((kind for word, kind in _KINDS.items() if scene.has(word)), _plain)
    height, color = kind(scene, seen)
    return (cut_river(scene, seen, height) if scene.has("river") else height), color


def far_edge() -> float:
    """Distance at which the land ends."""
    return _FAR


def _peaks(scene: Scene, seen: View) -> Field:
    """A range of mountains that rises with distance and leaves a valley open."""
    rng = scene.rng("peaks")
    plane = ridged(rng, MAP, MAP, cell=120, octaves=6, gain=0.42)
    fine = ridged(rng, MAP, MAP, cell=40, octaves=4, gain=0.5)
    crest = at(plane, seen, 13.0)
    crag = at(fine, seen, 24.0)
    start = float(rng.uniform(7.0, 11.0))
    rise = smoothstep(start, start + 16.0, seen.depth)
    open_valley = 0.35 + 0.65 * from_axis(scene, seen)
    tall = float(rng.uniform(11.0, 15.0))
    height = (crest * 1.1 + 0.07 * crag * crest) * tall * rise * open_valley
    return np.asarray(height - 0.25 * (1.0 - rise), dtype=np.float32)


def _mountains(scene: Scene, seen: View) -> Ground:
    height = _peaks(scene, seen)
    floor = rolling(scene, seen, cell=3.5, part="floor") * 0.10
    wet = scene.has(*WATER - {"river"})
    height = np.maximum(height, floor - (0.35 if wet else 0.0))
    return height, _rock_and_snow(scene, seen, height)


def _rock_and_snow(scene: Scene, seen: View, height: Field) -> Field:
    rng = scene.rng("rock")
    right, away = slope(seen, height)
    steep = np.hypot(right, away)
    patches = rolling(scene, seen, cell=0.8, part="patches")
    cold = scene.has("snow", "winter")
    line = float(rng.uniform(3.2, 4.6)) + (2.5 if scene.has("summer", "autumn") else 0.0)
    rock = _rocks(scene, rng, patches)
    green = smoothstep(2.6, 0.6, height + 0.5 * patches) * smoothstep(2.2, 0.9, steep)
    color = rock + (spread(meadow_color(scene)) - rock) * green
    snow = smoothstep(line, line + 1.6, height + 0.7 * patches) * smoothstep(2.6, 1.4, steep)
    if cold:
        snow = np.maximum(snow, smoothstep(2.2, 1.1, steep + 0.2 * patches))
    return color + (spread(linear("#f6f8ff")) - color) * snow


def _rocks(scene: Scene, rng: np.random.Generator, patches: Field) -> Field:
    tones = (("#5a5f6e", "#8c8c92"), ("#6a5a55", "#a08a7a"), ("#4f5a60", "#84928f"))
    dark, pale = (linear(code) for code in tones[int(rng.integers(3))])
    return spread(dark) + spread(pale - dark) * clamped(0.5 + 0.3 * patches)


def meadow_color(scene: Scene) -> Field:
    """The color of grass in the season."""
    if scene.has("winter", "snow"):
        return linear("#e6ecf6")
    if scene.has("autumn"):
        return linear("#b0742c")
    if scene.has("spring"):
        return linear("#8cb653")
    if scene.has("summer"):
        return linear("#55923a")
    return linear("#6b8748")


def crater(scene: Scene) -> tuple[float, float]:
    """Where the middle of a volcano is: to the right of the middle, and away from the eye."""
    return float(scene.rng("crater").uniform(-5.0, 5.0)), 24.0


def _volcano(scene: Scene, seen: View) -> Ground:
    rng = scene.rng("volcano")
    x, z = crater(scene)
    rough = ridged(rng, MAP, MAP, cell=60, octaves=6, gain=0.55)
    distance = np.hypot(seen.across - x, seen.depth - z)
    gully = at(rough, seen, 20.0)
    cone = 11.5 * np.exp(-distance / 5.2) * (1.0 + 0.22 * (gully - 0.4))
    bowl = smoothstep(1.5, 0.5, distance + 0.35 * (gully - 0.4))
    height = np.minimum(cone, 8.6 + 0.8 * gully) - bowl * 1.2 - 0.45
    dip = 0.5 if scene.has(*WATER - {"river"}) else 0.1
    base = np.maximum(height, rolling(scene, seen, cell=3.0, part="floor") * 0.12 - dip)
    color = _rock_and_snow(scene, seen, base)
    basalt = spread(linear("#3c3638")) * (0.7 + 0.6 * gully)
    share = smoothstep(0.6, 2.2, base) * (0.55 if scene.has("snow", "winter") else 0.9)
    return base, color + (basalt - color) * share


def _canyon(scene: Scene, seen: View) -> Ground:
    rng = scene.rng("canyon")
    plane = fractal(rng, MAP, MAP, cell=80, octaves=6, gain=0.5)
    bulk = at(plane, seen, 13.0)
    gate = smoothstep(4.5, 9.0, seen.depth)
    raw = np.clip(bulk * 1.3 + 1.0 * from_axis(scene, seen) + 0.1, 0.0, 2.2) * gate
    # Steps with steep risers: the banks of harder rock a river leaves standing.
    steps = raw * 2.2
    whole = np.floor(steps)
    terrace = (whole + smoothstep(0.62, 0.98, steps - whole)) / 2.2
    height = terrace * 3.6 + 0.08 * bulk - 0.1
    band = 0.5 + 0.5 * np.sin(height * 7.5 + 0.6 * bulk)
    colors = [linear(code) for code in ("#8a3b22", "#d98a55", "#b5562f", "#e8b98a")]
    low, high = rng.permutation(4)[:2]
    color = spread(colors[low]) + spread(colors[high] - colors[low]) * band.astype(np.float32)
    if scene.has("snow", "winter"):
        right, away = slope(seen, height)
        color += (spread(linear("#f0f2fa")) - color) * smoothstep(0.9, 0.4, np.hypot(right, away))
    return height, color


def _desert(scene: Scene, seen: View) -> Ground:
    rng = scene.rng("desert")
    # Dunes: a saw-tooth across the wind, gentle to windward and falling sharply to lee.
    turn = float(rng.uniform(0.15, 0.5)) * float(rng.choice([-1.0, 1.0]))
    warp = fractal(rng, MAP, MAP, cell=120, octaves=2, gain=0.3)
    swell = at(warp, seen, 11.0)
    phase = (seen.across * np.cos(turn) + seen.depth * np.sin(turn)) / 5.0 + swell * 0.62
    phase = phase + np.float32(rng.uniform(0.0, 1.0))
    saw = (phase - np.floor(phase)).astype(np.float32)
    windward, lee = saw / 0.66, (1.0 - saw) / 0.34
    # A soft minimum: a crest without any width would flicker between slices.
    shape = -np.log(np.exp(-14.0 * windward) + np.exp(-14.0 * lee)) / np.float32(14.0)
    size = np.clip(0.8 + 0.4 * rolling(scene, seen, cell=8.0, part="size"), 0.15, 1.7)
    height = np.maximum(shape, 0.0) ** 1.25 * size * (0.42 + 0.042 * seen.depth) - 0.12
    uneven = rolling(scene, seen, cell=0.9, part="ripples")
    ripple = np.sin(phase * 210.0 + 1.3 * uneven) * (0.0015 + 0.0007 * uneven)
    ripple = ripple * smoothstep(6.0, 2.0, seen.depth)
    tones = (("#d9a066", "#f0cf9a"), ("#d6834c", "#f2b98a"), ("#cfa873", "#efdcb4"))
    low, high = (linear(code) for code in tones[int(rng.integers(3))])
    color = spread(low) + spread(high - low) * np.clip(0.5 + 0.25 * swell, 0.0, 1.0)
    if scene.has("snow", "winter"):
        color = color + (spread(linear("#eef2fa")) - color) * 0.8
    return (height + ripple).astype(np.float32), color


def _island(scene: Scene, seen: View) -> Ground:
    rng = scene.rng("island")
    height = np.full_like(seen.across, -0.4)
    rough = ridged(rng, MAP, MAP, cell=70, octaves=6, gain=0.5)
    relief = at(rough, seen, 16.0)
    for number in range(int(rng.integers(2, 5))):
        z = float(rng.uniform(9.0, 13.0) if number == 0 else rng.uniform(14.0, 34.0))
        x = float(rng.uniform(-0.34, 0.34)) * z
        wide, tall = z * float(rng.uniform(0.10, 0.17)), z * float(rng.uniform(0.14, 0.24))
        distance = np.hypot((seen.across - x) / wide, (seen.depth - z) / (wide * 0.7))
        height = np.maximum(height, (1.25 - distance) * tall * (0.35 + 1.1 * relief) - 0.15)
    color = _rock_and_snow(scene, seen, height)
    sand = smoothstep(0.28, 0.1, height)
    lush = smoothstep(0.1, 0.5, height) * 0.7
    color += (spread(meadow_color(scene)) * 0.7 - color) * lush
    return height, color + (spread(linear("#e6cfa0")) - color) * sand


def _beach(scene: Scene, seen: View) -> Ground:
    rng = scene.rng("beach")
    side = float(rng.choice([-1.0, 1.0]))
    bend = rolling(scene, seen, cell=4.0, part="bend")
    # The waterline crosses the foreground: sand on one side, sea on the other.
    line = seen.across * side / seen.depth * 5.0 - (seen.depth - 3.6) * 0.55 + 0.3 * bend
    height = np.clip(line * 0.10, -0.4, 0.35) + 0.012 * bend
    head = smoothstep(0.20, 0.55, seen.across * side / seen.depth) * smoothstep(
        11.0, 16.0, seen.depth
    )
    rough = at(ridged(rng, MAP, MAP, cell=70, octaves=6), seen, 16.0)
    height = np.maximum(height, head * (0.4 + 5.5 * rough) - 0.3)
    rock = _rock_and_snow(scene, seen, height)
    dry = spread(linear("#ecd3a4")) * (1.0 + 0.05 * bend)
    wet = smoothstep(0.06, 0.0, height)
    sand = dry + (spread(linear("#a98a62")) - dry) * wet
    return height, rock + (sand - rock) * smoothstep(0.75, 0.4, height)


def _meadow(scene: Scene, seen: View) -> Ground:
    hills = rolling(scene, seen, cell=7.0, part="hills")
    height = (0.25 + 0.5 * hills) * (0.3 + 0.085 * seen.depth) * smoothstep(2.0, 6.0, seen.depth)
    patches = rolling(scene, seen, cell=1.2, part="patches")
    base = spread(meadow_color(scene)) * np.clip(0.85 + 0.16 * patches, 0.4, 1.4)
    return height, base.astype(np.float32)


def _plain(scene: Scene, seen: View) -> Ground:
    """Open water, or low land when the scene has none."""
    height, color = _meadow(scene, seen)
    if scene.has("sea", "lake", "lighthouse"):
        shore = smoothstep(16.0, 26.0, seen.depth) * (0.0 if scene.has("sea") else 1.0)
        hills = rolling(scene, seen, cell=5.0, part="hills")
        height = np.asarray(shore * (1.2 + 0.55 * hills) - 0.4, dtype=np.float32)
    return height, color


_KINDS: Final[dict[str, Callable[[Scene, View], Ground]]] = {
    "volcano": _volcano,
    "canyon": _canyon,
    "desert": _desert,
    "island": _island,
    "mountains": _mountains,
    "waterfall": _mountains,
    "beach": _beach,
    "meadow": _meadow,
    "flowers": _meadow,
}
