"""The visible label: words in a corner of the picture."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

Corner: TypeAlias = Literal["top-left", "top-right", "bottom-left", "bottom-right"]

#: Of the shorter side: how high the words are at least (GB 45438-2025, explicit labels of
#: pictures).
MIN_SHARE = 0.05
#: No font has it, so it is drawn as every character that a font does not have.
_NO_CHARACTER = "\U0010ffff"


@attrs.frozen(kw_only=True)
class VisibleLabel:
    """Words to be drawn.

    Attributes:
        text: The words.
        share: Their height as a share of the picture's shorter side.
        corner: Where.
        font: A font file; None is Pillow's own, which has Latin letters only.
    """

    text: str
    share: float = MIN_SHARE
    corner: Corner = "bottom-right"
    font: str | None = None

    def check(self) -> None:
        """Find out whether the font can be read and has every character.

        Raises:
            ValueError: It cannot, or has not.
        """
        try:
            font = _font(self.font, 32)
        except OSError as error:
            raise ValueError(f"font {self.font}: {error}") from error
        nothing = _drawn(_NO_CHARACTER, font)
        lacking = [c for c in self.text if not c.isspace() and _drawn(c, font) == nothing]
        if lacking:
            whose = self.font or "Pillow's own font, which is Latin; name another as 'font'"
            raise ValueError(f"there is no {''.join(lacking)} in {whose}")

    def drawn_on(self, image: Image) -> Image:
        """A copy of `image` with the words.

        Raises:
            ValueError: They do not fit.
        """
        from PIL import Image as Images
        from PIL import ImageDraw

        least = math.ceil(self.share * min(image.size))
        font = self._font_of_height(least)
        left, top, right, bottom = font.getbbox(self.text)
        width, height = math.ceil(right - left), math.ceil(bottom - top)
        margin = max(1, least // 2)
        plate = (width + 2 * margin, height + 2 * margin)
        if plate[0] > image.width or plate[1] > image.height:
            raise ValueError(
                f"the visible label needs {plate[0]}x{plate[1]} pixels; the picture has"
                f" {image.width}x{image.height}"
            )
        at = (
            0 if self.corner.endswith("left") else image.width - plate[0],
            0 if self.corner.startswith("top") else image.height - plate[1],
        )
        # On a dark plate white words can be read whatever is below.
        layer = Images.new("RGBA", plate, (0, 0, 0, 160))
        ImageDraw.Draw(layer).text((margin - left, margin - top), self.text, "white", font)
        below = image.convert("RGBA")
        below.alpha_composite(layer, at)
        drawn = below if image.mode == "RGBA" else below.convert("RGB")
        drawn.info = dict(image.info)
        return drawn

    def _font_of_height(self, least: int) -> FreeTypeFont:
        """The font at the size at which the words are `least` pixels high or little more."""
        size = max(4, least)
        while True:
            font = _font(self.font, size)
            _, top, _, bottom = font.getbbox(self.text)
            if bottom - top >= least:
                return font
            size = max(size + 1, math.floor(size * least / max(1, bottom - top)))


def _drawn(character: str, font: FreeTypeFont) -> bytes:
    from PIL import Image as Images
    from PIL import ImageDraw

    image = Images.new("L", (64, 64))
    ImageDraw.Draw(image).text((8, 8), character, 255, font)
    return image.tobytes()


@lru_cache(maxsize=64)
def _font(path: str | None, size: int) -> FreeTypeFont:
    from PIL import ImageFont

    if path is not None:
        return ImageFont.truetype(path, size)
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise ValueError("this Pillow has no FreeType; words cannot be drawn")
    return font
