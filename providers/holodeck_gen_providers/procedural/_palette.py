"""Color: gradients in OKLab, and the light of each hour of the day."""

from __future__ import annotations

from typing import Final

import attrs
import numpy as np

from ._noise import Field

# Björn Ottosson, "A perceptual color space for image processing", 2020.
_TO_LMS: Final = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB: Final = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def linear(code: str) -> Field:
    """A color "#rrggbb" as linear light, 3 values 0-1."""
    srgb = np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0
    light = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


def to_oklab(color: Field) -> Field:
    """Linear light, 3×N, to OKLab, 3×N."""
    return (_TO_LAB @ np.cbrt(_TO_LMS @ color)).astype(np.float32)


def from_oklab(lab: Field) -> Field:
    """OKLab, 3×N, to linear light, 3×N, clipped at 0."""
    cube = (np.linalg.inv(_TO_LAB) @ lab) ** 3
    return np.maximum(np.linalg.inv(_TO_LMS) @ cube, 0.0).astype(np.float32)


def mixed(first: Field, second: Field, amount: float) -> Field:
    """A color of 3 values between two, perceptually even."""
    pair = to_oklab(np.stack([first, second], axis=1))
    return from_oklab(pair[:, :1] * (1.0 - amount) + pair[:, 1:] * amount)[:, 0]


def ramp(colors: tuple[Field, ...], count: int, *, bend: float = 1.0) -> Field:
    """A gradient through colors evenly spaced, 3×count; `bend` above 1 favors the first."""
    lab = to_oklab(np.stack(colors, axis=1))
    place = np.linspace(0.0, 1.0, count) ** bend * (len(colors) - 1)
    stops = np.arange(len(colors))
    return from_oklab(np.stack([np.interp(place, stops, row) for row in lab]).astype(np.float32))


def turned(color: Field, *, hue: float = 0.0, chroma: float = 1.0, lift: float = 0.0) -> Field:
    """Colors 3×N with the hue turned (radians), the chroma scaled and the lightness raised."""
    lab = to_oklab(color)
    cos, sin = np.cos(hue) * chroma, np.sin(hue) * chroma
    lightness = np.clip(lab[0] + lift, 0.0, 1.0)
    a, b = lab[1] * cos - lab[2] * sin, lab[1] * sin + lab[2] * cos
    return from_oklab(np.stack([lightness, a, b]).astype(np.float32))


@attrs.frozen(kw_only=True, eq=False)
class Light:
    """The colors of an hour, all in linear light.

    Attributes:
        sky: 5 colors from the zenith to the horizon, each 3 values.
        sun: color of direct light.
        shade: color of what the sun does not reach.
        haze: color distance fades to.
        darkness: 0 at noon to 1 at night; brings out stars and windows.
        elevation: height of the sun or moon, as a share of the sky above the horizon.
    """

    sky: tuple[Field, ...]
    sun: Field
    shade: Field
    haze: Field
    darkness: float
    elevation: float

    def changed(self, *, hue: float = 0.0, chroma: float = 1.0, lift: float = 0.0) -> Light:
        """The same light with every color turned as by `turned`."""
        colors = np.stack([*self.sky, self.sun, self.shade, self.haze], axis=1)
        *sky, sun, shade, haze = turned(colors, hue=hue, chroma=chroma, lift=lift).T
        return attrs.evolve(self, sky=tuple(sky), sun=sun, shade=shade, haze=haze)


# hour: darkness, elevation, then variants "zenith .. horizon | sun shade haze".
_HOURS: Final[dict[str, tuple[float, float, tuple[str, ...]]]] = {
    "dawn": (
        0.25,
        0.16,
        (
            "#34497c #7482b8 #c7a3c0 #f6c3a8 #ffe6c0 | #ffd2a0 #5d6f9c #efc8be",
            "#2f5d86 #6fa0bd #b9c8c9 #f4d6b4 #fff0cf | #ffdcae #56799a #e8d5c4",
            "#3a3f73 #8a6fa3 #dd91a4 #f9b797 #ffe2b3 | #ffc596 #5f5a8c #f0b9ae",
        ),
    ),
    "noon": (
        0.0,
        0.62,
        (
            "#1c5aa3 #3b88c9 #7bb8e2 #b9dbee #e6f2f2 | #fff1d2 #5c80ad #c6dfec",
            "#14679b #3f9ec0 #85c6d3 #c4e4e0 #f0f4e4 | #fff3d8 #52889f #cfe8e6",
            "#2a64b4 #5a93d3 #9cc3e8 #cfe2f2 #f4f3ea | #ffeccb #6a83b5 #d4e3f0",
        ),
    ),
    "sunset": (
        0.35,
        0.10,
        (
            "#221f52 #5d2c72 #bf4570 #f4824e #ffcf78 | #ff9c55 #45305f #ee8f66",
            "#1d2f5c #4c4f86 #b0637f #f08a55 #ffd68a | #ffa45c #3d3c68 #eb9c74",
            "#3a1c46 #84304f #d2503f #f68b3c #ffd169 | #ff8f45 #4f2a4c #f09254",
        ),
    ),
    "dusk": (
        0.6,
        0.06,
        (
            "#0e1740 #27316f #5b4d92 #b36f96 #f0a893 | #f7a98e #2b2f63 #9b7199",
            "#0b2140 #1d4467 #4a6f8d #a08da0 #eab59a | #f4b494 #21385c #7f8ba0",
        ),
    ),
    "night": (
        1.0,
        0.55,
        (
            "#050a1c #0a1638 #12295a #22477f #47739f | #bcd0f0 #14254a #2d5383",
            "#04101c #082235 #0f3a50 #1d5a6d #45828a | #c4e4e2 #0d2f42 #2a6472",
            "#0a0820 #171040 #2a1f62 #443a86 #6f66a8 | #cfc8f2 #1d1747 #4b458c",
        ),
    ),
    "storm": (
        0.45,
        0.5,
        (
            "#12171f #252d38 #3f4b58 #687680 #a3aba6 | #c9cfc8 #333d4a #7b8890",
            "#171620 #2d2c3c #4a4c5c #747680 #b3a898 | #d6c6aa #3a3b4c #8a8a90",
        ),
    ),
    "neon": (
        0.85,
        0.2,
        (
            "#0a0524 #1f0b4f #551680 #b62a94 #ff5f8f | #ff6fb4 #2a1260 #a02c92",
            "#04091f #0a2350 #164f86 #4f5fc0 #e05ac0 | #5fe0ff #14245c #5a52b4",
            "#0b0420 #2b0a4a #6f1268 #d8305f #ffa05a | #ff7a6a #300f55 #c03a78",
        ),
    ),
}


def light(hour: str, rng: np.random.Generator) -> Light:
    """One of the variants of an hour, its hues shifted slightly at random."""
    darkness, elevation, variants = _HOURS[hour]
    sky, rest = variants[int(rng.integers(len(variants)))].split(" | ")
    sun, shade, haze = (linear(code) for code in rest.split())
    chosen = Light(
        sky=tuple(linear(code) for code in sky.split()),
        sun=sun,
        shade=shade,
        haze=haze,
        darkness=darkness,
        elevation=elevation * float(rng.uniform(0.8, 1.25)),
    )
    return chosen.changed(hue=float(rng.uniform(-0.14, 0.14)))
