"""Words drawn on pictures."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from holodeck_gen_plugins.processors._visible import MIN_SHARE, VisibleLabel

CORNERS = ("top-left", "top-right", "bottom-left", "bottom-right")


def inked(image: Image.Image) -> tuple[int, int, int, int]:
    """The box of what is white."""
    box = image.convert("L").point([0] * 201 + [255] * 55).getbbox()
    assert box is not None
    return box


@settings(max_examples=20)
@given(
    st.integers(120, 900), st.integers(120, 900), st.floats(MIN_SHARE, 0.2, allow_subnormal=False)
)
def test_words_are_as_high_as_they_have_to_be(width: int, height: int, share: float) -> None:
    label = VisibleLabel(text="AI", share=share)
    _, top, _, bottom = inked(label.drawn_on(Image.new("RGB", (width, height))))
    least = share * min(width, height)
    # The faint edge of a letter is not white enough to be counted.
    assert least - 2 <= bottom - top <= least * 1.5 + 3


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("color", ["white", "teal"])
def test_words_are_in_their_corner_and_nowhere_else(corner: str, color: str) -> None:
    image = Image.new("RGB", (300, 200), color)
    drawn = VisibleLabel(text="AI-generated", corner=corner).drawn_on(image)  # type: ignore[arg-type]
    box = ImageChops.difference(image, drawn).getbbox()
    assert box is not None
    left, top, right, bottom = box
    assert (left == 0) == corner.endswith("left")
    assert (right == 300) == corner.endswith("right")
    assert (top == 0) == corner.startswith("top")
    assert (bottom == 200) == corner.startswith("bottom")
    assert right - left < 200
    assert bottom - top < 40
    extrema = drawn.crop(box).convert("L").getextrema()
    assert extrema[1] - extrema[0] > 120  # type: ignore[operator]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK"])
def test_transparency_stays(mode: str) -> None:
    drawn = VisibleLabel(text="AI").drawn_on(Image.new(mode, (200, 200)))
    assert drawn.mode == ("RGBA" if mode == "RGBA" else "RGB")


def test_words_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="needs"):
        VisibleLabel(text="AI-generated " * 9).drawn_on(Image.new("RGB", (200, 200)))


def test_a_font_without_the_characters_is_refused() -> None:
    VisibleLabel(text="AI-generated").check()
    with pytest.raises(ValueError, match="there is no 生成 in Pillow's own font"):
        VisibleLabel(text="AI 生成").check()


def test_a_font_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"font none\.ttf"):
        VisibleLabel(text="AI", font="none.ttf").check()
