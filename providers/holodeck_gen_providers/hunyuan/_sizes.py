"""Sizes that the service documents, in pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from holodeck_gen_providers.hunyuan._tables import Size, Sizes

if TYPE_CHECKING:
    from collections.abc import Iterable


def _read(text: str) -> tuple[Size, ...]:
    pairs = (pair.split(":") for pair in text.split())
    return tuple((int(width), int(height)) for width, height in pairs)


def _with_transposes(sizes: tuple[Size, ...]) -> tuple[Size, ...]:
    return tuple(dict.fromkeys((*sizes, *((height, width) for width, height in sizes))))


#: SubmitHunyuanImageJob: https://cloud.tencent.com/document/api/1729/105969
EIGHT = _read("768:768 768:1024 1024:768 1024:1024 720:1280 1280:720 768:1280 1280:768")

#: Image 3.0 scales to the nearest of these where reference pictures are given:
#: https://cloud.tencent.com/document/product/1668/124632
BUCKETS = _with_transposes(
    _read(
        "1024:1024 2048:512 1984:512 1920:512 1856:512 1792:512 1728:512 1664:512 1600:512"
        " 1536:512 1472:576 1408:640 1344:704 1280:768 1216:832 1152:896 1088:960 1024:768"
        " 1280:720"
    )
)

#: Image 3.0: the same bounds for the signed API and for bearer keys, other separators.
V3 = Sizes(suggested=BUCKETS, min_side=512, max_side=2048, max_area=1024 * 1024)
V3_X = Sizes(separator="x", suggested=BUCKETS, min_side=512, max_side=2048, max_area=1024 * 1024)

#: https://tokenhub.tencentmaas.com, v35-generation.
V35 = Sizes(
    separator="x",
    suggested=_read("1024:1024 1536:1024 1024:1536 2048:2048 2560:1440 1440:2560 4096:4096"),
    min_side=256,
    max_side=8192,
    max_area=4096 * 4096,
)

_LONG_SIDES = (
    160, 200, 225, 258, 512, 520, 608, 768, 1024, 1080, 1280, 1600, 1620, 1920, 2048, 2400,
    2560, 2592, 3440, 3840, 4096,
)  # fmt: skip
#: TextToImageLite and TextToImageRapid of aiart document aspects and long sides, not pairs.
BY_LONG_SIDE = _with_transposes(
    tuple(
        (long, round(long * numerator / denominator))
        for long in _LONG_SIDES
        for numerator, denominator in ((1, 1), (3, 4), (9, 16))
    )
)


def nearest_sizes(size: Size, known: Iterable[Size]) -> list[str]:
    """Up to three of `known` that come nearest to `size`, as people write them."""
    width, height = size

    def distance(other: Size) -> float:
        # A wrong shape is worse than a wrong number of pixels.
        shape = abs(math.log(other[0] / other[1]) - math.log(width / height))
        area = abs(math.log(other[0] * other[1]) - math.log(width * height))
        return 2 * shape + area / 2

    return [f"{w}x{h}" for w, h in sorted(known, key=distance)[:3]]
