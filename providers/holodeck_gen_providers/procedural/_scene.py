"""What is to be drawn: keywords turned into light, place and measure."""

from __future__ import annotations

import zlib
from typing import Final

import attrs
import numpy as np

from ._palette import Light, light

WATER: Final = frozenset({"sea", "lake", "river", "beach", "island", "waterfall", "lighthouse"})
# fmt: off
GROUND: Final = frozenset({
    "mountains", "volcano", "canyon", "desert", "meadow", "forest", "island", "beach", "waterfall",
    "river", "lake", "sea", "village", "flowers", "pine", "palm", "bamboo", "blossom", "pagoda",
    "bridge", "lighthouse", "boat", "balloon", "lantern",
})
# fmt: on
COSMOS: Final = frozenset({"space", "galaxy", "nebula", "planet"})
_IMPLIED: Final = {"boat": "lake", "bridge": "river"}
_HOURS: Final = ("night", "dawn", "sunset", "dusk", "noon", "storm")
_NIGHT_SIGNS: Final = ("aurora", "stars", "moon", "fireworks", "lantern", "meteor", "galaxy")


@attrs.frozen(kw_only=True, eq=False)
class Scene:
    """One picture to draw.

    Attributes:
        width: pixels.
        height: pixels.
        keywords: canonical keywords that apply.
        entropy: the number all random choices come from.
        light: colors of the hour.
        horizon: row of the horizon, pixels from the top.
        sun: column and row of the sun or moon, pixels.
    """

    width: int
    height: int
    keywords: frozenset[str]
    entropy: int
    light: Light
    horizon: float
    sun: tuple[float, float]

    @property
    def unit(self) -> float:
        """The length details are measured in, pixels: the side of a square picture.

        In other formats that of the square of equal area, but never much above the height.
        """
        return min(float((self.width * self.height) ** 0.5), 1.4 * self.height)

    def has(self, *keywords: str) -> bool:
        """Whether any of the keywords applies."""
        return not self.keywords.isdisjoint(keywords)

    def rng(self, part: str) -> np.random.Generator:
        """The generator of one part of the picture; independent of those of other parts."""
        return generator(self.entropy, part)


def generator(entropy: int, part: str) -> np.random.Generator:
    """A generator that depends on nothing but its arguments."""
    return np.random.Generator(np.random.PCG64([entropy, zlib.crc32(part.encode())]))


def plan(keywords: frozenset[str], *, width: int, height: int, entropy: int) -> Scene:
    """Decide the hour, the palette, the horizon and the place of the sun."""
    keywords |= {
        water for word, water in _IMPLIED.items() if word in keywords and not keywords & WATER
    }
    rng = generator(entropy, "plan")
    chosen = _light(keywords, entropy)
    low, high = (0.56, 0.68) if keywords & {"mountains", "forest", "city"} else (0.48, 0.62)
    horizon = height * float(rng.uniform(low, high))
    side = float(rng.choice([0.3, 0.36, 0.5, 0.64, 0.7])) + float(rng.normal(0.0, 0.03))
    sun = (width * side, horizon * (1.0 - min(chosen.elevation, 0.72)))
    return Scene(
        width=width,
        height=height,
        keywords=keywords,
        entropy=entropy,
        light=chosen,
        horizon=horizon,
        sun=sun,
    )


def _light(keywords: frozenset[str], entropy: int) -> Light:
    rng = generator(entropy, "light")
    found = light(_hour(keywords, entropy), rng)
    if "golden" in keywords:
        found = found.changed(hue=0.1)
    if keywords & {"snow", "winter"} and "sunset" not in keywords:
        found = found.changed(chroma=0.72, lift=0.02)
    if "sun" in keywords and found.darkness < 0.5:
        found = attrs.evolve(found, elevation=max(found.elevation, 0.3))
    if keywords & {"rain", "fog"}:
        found = found.changed(chroma=0.6)
    return found


def _hour(keywords: frozenset[str], entropy: int) -> str:
    if keywords & {"neon", "cyberpunk"}:
        return "neon"
    for hour in _HOURS:
        if hour in keywords:
            return hour
    if keywords & {*_NIGHT_SIGNS, *COSMOS}:
        return "night"
    if "lightning" in keywords:
        return "storm"
    if keywords & {"rainbow", "sun"}:
        return "noon"
    free = generator(entropy, "hour")
    return str(free.choice(["dawn", "noon", "sunset", "sunset", "dusk"]))
