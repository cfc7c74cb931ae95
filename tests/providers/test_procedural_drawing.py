"""The drawing engine: what a caller may rely on, without looking at single pixels."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holodeck_gen_providers.procedural import _draw
from holodeck_gen_providers.procedural._draw import draw, render
from holodeck_gen_providers.procedural._keywords import KEYWORDS, match, spellings

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

SIZE = 64
SCENES = (
    "mountains lake dawn pine",
    "city night rain",
    "cyberpunk",
    "nebula planet",
    "水墨 山 船",
    "underwater fish",
    "desert sunset",
    "nothing known at all",
)
# A keyword is tried on these stages, as none has room for all; entropy varies the free hour.
STAGES: tuple[tuple[frozenset[str], int], ...] = (
    (frozenset({"sea"}), 9),
    (frozenset({"lake"}), 7),
    (frozenset({"meadow"}), 5),
)


def pixels(image: Image.Image) -> NDArray[np.float64]:
    return np.asarray(image, dtype=np.float64)


def drawn(prompt: str, *, seed: int = 1, size: int = SIZE) -> NDArray[np.float64]:
    return pixels(draw(prompt, width=size, height=size, seed=seed).image)


def difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    return float(np.abs(first - second).mean())


class TestMatch:
    def test_there_are_many_keywords(self) -> None:
        assert len(KEYWORDS) >= 40

    @pytest.mark.parametrize("keyword", KEYWORDS)
    def test_every_spelling_is_found(self, keyword: str) -> None:
        english, chinese = spellings(keyword)
        for word in (*english, *chinese):
            assert match(f"a, {word}!") == (keyword,)
        for word in english:
            assert match(word.upper()) == (keyword,)

    def test_plurals_are_found(self) -> None:
        assert match("two boats and three lighthouses") == ("boat", "lighthouse")

    def test_order_is_that_of_the_prompt_without_repeats(self) -> None:
        assert match("snow, mountains, SNOW, 山, moon") == ("snow", "mountains", "moon")

    def test_english_needs_whole_words(self) -> None:
        assert match("seaside-free starboard training inkling") == ()

    def test_chinese_needs_no_spaces(self) -> None:
        assert match("月光下的竹林与小船") == ("moon", "bamboo", "boat")

    def test_longer_words_win(self) -> None:
        assert match("星空") == ("stars",)
        assert match("灯塔") == ("lighthouse",)
        assert match("火山") == ("volcano",)
        assert match("cherry blossom") == ("blossom",)

    def test_scripts_may_touch(self) -> None:
        assert match("山mountain湖lake") == ("mountains", "lake")


class TestDraw:
    @pytest.mark.parametrize("prompt", SCENES)
    def test_equal_arguments_give_equal_pictures_and_the_seed_others(self, prompt: str) -> None:
        first = drawn(prompt, seed=1)
        assert difference(first, drawn(prompt, seed=1)) == 0.0
        assert difference(first, drawn(prompt, seed=2)) > 2.0

    def test_prompts_with_the_same_keywords_differ(self) -> None:
        assert difference(drawn("a calm lake"), drawn("the wild lake")) > 2.0

    @pytest.mark.parametrize("prompt", SCENES)
    def test_pictures_have_contrast_and_many_colors(self, prompt: str) -> None:
        picture = drawn(prompt)
        assert picture.std() > 12.0
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 300

    @pytest.mark.parametrize(
        ("prompt", "width", "height"),
        [(prompt, *((131, 67) if i % 2 else (37, 203))) for i, prompt in enumerate(SCENES)],
    )
    def test_the_size_is_exact(self, prompt: str, width: int, height: int) -> None:
        image = draw(prompt, width=width, height=height, seed=3).image
        assert image.size == (width, height)
        assert image.mode == "RGB"

    def test_large_pictures_have_their_size(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """They are drawn smaller and enlarged; a low bound stands in for a large picture."""
        monkeypatch.setattr(_draw, "_MAX_PIXELS", 64 * 64)
        image = draw("sea", width=301, height=170, seed=3).image
        assert image.size == (301, 170)

    def test_matched_words_are_told(self) -> None:
        assert draw("a boat at sea", width=64, height=64, seed=1).matched == ("boat", "sea")

    def test_nothing_matched_is_told_and_still_drawn(self) -> None:
        drawing = draw("quarterly figures", width=64, height=64, seed=1)
        assert drawing.matched == ()

    def test_avoided_words_are_left_out(self) -> None:
        drawing = draw("boat at sea", width=64, height=64, seed=1, avoid="ships, 雾")
        assert drawing.matched == ("sea",)

    def test_style_changes_the_picture_but_is_no_part_of_the_match(self) -> None:
        plain = draw("lake", width=64, height=64, seed=1)
        styled = draw("lake", width=64, height=64, seed=1, style="monochrome")
        assert plain.matched == styled.matched == ("lake",)
        gray = pixels(styled.image)
        assert np.ptp(gray, axis=2).mean() < 12.0 < np.ptp(pixels(plain.image), axis=2).mean()

    def test_threads_do_not_disturb_each_other(self) -> None:
        alone = [drawn(prompt, size=64) for prompt in SCENES[:4]]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda prompt: drawn(prompt, size=64), SCENES[:4]))
        assert all(difference(a, b) == 0.0 for a, b in zip(alone, together, strict=True))

    @settings(max_examples=20, deadline=None)
    @given(
        prompt=st.text(max_size=40) | st.lists(st.sampled_from(KEYWORDS), max_size=6).map(" ".join),
        seed=st.integers(-(2**70), 2**70),
    )
    def test_any_prompt_is_drawn(self, prompt: str, seed: int) -> None:
        assert draw(prompt, width=64, height=64, seed=seed).image.size == (64, 64)


class TestKeywords:
    @pytest.mark.parametrize("keyword", KEYWORDS)
    def test_every_keyword_changes_the_picture(self, keyword: str) -> None:
        """All random choices are held fixed, so an ignored keyword would change nothing at all."""
        seen = (
            difference(
                *(
                    pixels(render(words, width=64, height=64, entropy=entropy))
                    for words in (stage - {keyword}, stage | {keyword})
                )
            )
            for stage, entropy in STAGES
        )
        assert any(amount > 0.1 for amount in seen)
