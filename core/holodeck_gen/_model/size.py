"""Picture sizes as people write them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from holodeck_gen.errors import InvalidTaskError

#: Pixels; 2**28 is more than any provider makes and less than what exhausts memory.
MAX_AREA = 2**28
MAX_SIDE = 65_535

_WRITTEN = re.compile(r"\s*(-?\d{1,9})\s*([xX×:*])\s*(-?\d{1,9})\s*")
#: ``W:H`` with both below this is taken for an aspect ratio, never for a size in pixels.
_ASPECT_BELOW = 64


def parse_size(value: str | Sequence[int] | None) -> tuple[int, int] | None:
    """Return (width, height) in pixels.

    Args:
        value: ``(w, h)``, ``"WxH"`` or ``"W:H"``; None stays None.

    Raises:
        InvalidTaskError: It is not a size, or an aspect ratio such as ``16:9``.
    """
    if value is None:
        return None
    width, height = _read(value)
    if width < 1 or height < 1:
        raise InvalidTaskError(f"size {width}x{height}: both sides must be at least 1 pixel")
    if max(width, height) > MAX_SIDE or width * height > MAX_AREA:
        raise InvalidTaskError(
            f"size {width}x{height} is too large: at most {MAX_SIDE} a side"
            f" and {MAX_AREA} pixels in all"
        )
    return width, height


def format_size(size: tuple[int, int]) -> str:
    """``(1024, 768)`` → ``"1024x768"``."""
    return f"{size[0]}x{size[1]}"


def _read(value: object) -> tuple[int, int]:
    if isinstance(value, str):
        return _read_text(value)
    if isinstance(value, Sequence) and len(value) == 2:
        width, height = value
        if all(isinstance(n, int) and not isinstance(n, bool) for n in value):
            return width, height
    raise InvalidTaskError(f"size must be (width, height) or text like 1024x768, not {value!r}")


def _read_text(text: str) -> tuple[int, int]:
    found = _WRITTEN.fullmatch(text)
    if not found:
        raise InvalidTaskError(f"size must look like 1024x768 or 1024:768, not {text[:40]!r}")
    width, height = int(found[1]), int(found[3])
    if found[2] == ":" and 0 < width < _ASPECT_BELOW and 0 < height < _ASPECT_BELOW:
        sizes = " or ".join(_sizes_of_aspect(width, height))
        raise InvalidTaskError(f"size {text} is an aspect ratio; write a size, such as {sizes}")
    return width, height


def _sizes_of_aspect(width: int, height: int) -> list[str]:
    """Exact sizes of this aspect of about one and about two megapixels, in steps of 8."""
    divisor = math.gcd(width, height)
    width, height = width // divisor, height // divisor
    sizes: list[str] = []
    for area in (1024 * 1024, 2 * 1024 * 1024):
        factor = max(8, int(math.sqrt(area / (width * height))) // 8 * 8)
        sizes.append(format_size((width * factor, height * factor)))
    return sizes
