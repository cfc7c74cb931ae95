"""Laws of cutting and scaling."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holodeck_gen_plugins.processors._shape import Shape, parse_aspect, parse_size

sides = st.integers(1, 5000)
sizes = st.tuples(sides, sides)
aspects = st.tuples(st.integers(1, 40), st.integers(1, 40))


@given(sizes, st.none() | aspects, st.none() | sizes, st.none() | sides)
def test_what_is_cut_out_lies_within_and_in_the_middle(
    size: tuple[int, int],
    aspect: tuple[int, int] | None,
    exact: tuple[int, int] | None,
    max_side: int | None,
) -> None:
    shape = Shape.of(size, aspect=aspect, exact=exact, max_side=max_side)
    left, top, right, bottom = shape.box
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]
    assert abs(left - (size[0] - right)) <= 1
    assert abs(top - (size[1] - bottom)) <= 1
    assert min(shape.size) >= 1
    if max_side is not None:
        assert max(shape.size) <= max_side
    elif exact is not None:
        assert shape.size == exact


@given(sizes, aspects)
def test_an_aspect_keeps_one_side_whole_and_is_met_to_the_pixel(
    size: tuple[int, int], aspect: tuple[int, int]
) -> None:
    width, height = Shape.of(size, aspect=aspect).size
    assert width == size[0] or height == size[1]
    if min(width, height) > 1:
        ideal = height * aspect[0] / aspect[1] if height == size[1] else width
        assert abs(width - ideal) <= 0.5 or abs(height - width * aspect[1] / aspect[0]) <= 0.5


@given(sizes, sides)
def test_nothing_is_scaled_up_to_a_greatest_side(size: tuple[int, int], max_side: int) -> None:
    shape = Shape.of(size, max_side=max_side)
    assert shape.changes(size) == (max(size) > max_side)
    assert shape.size <= size


@given(sizes, st.none() | aspects, st.none() | sizes, st.none() | sides)
@example((6, 16), (1, 3), None, None)
def test_what_has_its_shape_is_left_alone(
    size: tuple[int, int],
    aspect: tuple[int, int] | None,
    exact: tuple[int, int] | None,
    max_side: int | None,
) -> None:
    once = Shape.of(size, aspect=aspect, exact=exact, max_side=max_side).size
    if exact is None and aspect is None:
        assert not Shape.of(once, max_side=max_side).changes(once)
    elif max_side is None:
        assert not Shape.of(once, aspect=aspect, exact=exact).changes(once)


def test_words_are_parsed() -> None:
    assert parse_size(" 640x480 ") == (640, 480)
    assert parse_aspect("16:9") == (16, 9)


@pytest.mark.parametrize("words", ["", "640", "0x5", "-1x5", "640x480x2", "a:b"])
def test_other_words_are_refused(words: str) -> None:
    with pytest.raises(ValueError, match="is not a size such as"):
        parse_size(words)
    with pytest.raises(ValueError, match="is not an aspect such as"):
        parse_aspect(words)
