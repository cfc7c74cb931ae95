"""What is cut off and how large the rest becomes: arithmetic without pixels."""

from __future__ import annotations

import re

import attrs

_SIZE = re.compile(r"(\d{1,5})\s*[x×X*]\s*(\d{1,5})")
_ASPECT = re.compile(r"(\d{1,5})\s*[:x/]\s*(\d{1,5})")


@attrs.frozen(kw_only=True)
class Shape:
    """Where to cut, and the size after that.

    Attributes:
        box: Left, top, right and bottom of what stays, in pixels.
        size: Width and height that it is scaled to.
    """

    box: tuple[int, int, int, int]
    size: tuple[int, int]

    @classmethod
    def of(
        cls,
        size: tuple[int, int],
        *,
        aspect: tuple[int, int] | None = None,
        exact: tuple[int, int] | None = None,
        max_side: int | None = None,
    ) -> Shape:
        """The shape of a picture of `size` pixels.

        Args:
            size: Width and height before.
            aspect: Cut the middle out so that its sides are to each other like these.
            exact: Cut likewise, then scale to these pixels, also up.
            max_side: Scale down, never up, until no side is longer.
        """
        width, height = size
        wanted = exact or aspect
        if wanted is not None:
            width, height = _cut(size, wanted)
        left, top = (size[0] - width) // 2, (size[1] - height) // 2
        new = exact or (width, height)
        if max_side is not None and max(new) > max_side:
            new = (_scaled(new[0], new, max_side), _scaled(new[1], new, max_side))
        return cls(box=(left, top, left + width, top + height), size=new)

    def changes(self, size: tuple[int, int]) -> bool:
        """Whether a picture of `size` becomes another one."""
        return self.box != (0, 0, *size) or self.size != size


def parse_size(text: str) -> tuple[int, int]:
    """``"640x480"`` as numbers.

    Raises:
        ValueError: It is something else.
    """
    return _pair(_SIZE, text, "a size such as 640x480")


def parse_aspect(text: str) -> tuple[int, int]:
    """``"16:9"`` as numbers.

    Raises:
        ValueError: It is something else.
    """
    return _pair(_ASPECT, text, "an aspect such as 16:9")


def _pair(pattern: re.Pattern[str], text: str, what: str) -> tuple[int, int]:
    found = pattern.fullmatch(text.strip())
    pair = (int(found[1]), int(found[2])) if found else (0, 0)
    if min(pair) < 1:
        raise ValueError(f"{text!r} is not {what}")
    return pair


def _cut(size: tuple[int, int], aspect: tuple[int, int]) -> tuple[int, int]:
    """The largest part of `size` with sides like `aspect`, to the nearest pixel."""
    width, height = size
    across, down = aspect
    wide, high = round(height * across / down), round(width * down / across)
    if wide == width or high == height:
        # As near as pixels allow; what was cut once is not cut again.
        return size
    if wide < width:
        return max(1, wide), height
    return width, max(1, high)


def _scaled(side: int, size: tuple[int, int], max_side: int) -> int:
    return max(1, round(side * max_side / max(size)))
