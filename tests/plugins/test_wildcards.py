"""Variants of prompts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holodeck_gen as hg
from helpers import collect, failure_of, opened
from holodeck_gen.errors import ConfigError, PluginLoadError, RewriteError
from holodeck_gen.testing import ScriptedProvider, run_virtual
from holodeck_gen_plugins.expanders.wildcards import WildcardsOptions, make_wildcards
from pictures import context

if TYPE_CHECKING:
    from pathlib import Path


def variants(task: hg.Task | str, **options: Any) -> list[str]:
    expander = make_wildcards(WildcardsOptions(**options), context())
    task = hg.Task(task) if isinstance(task, str) else task
    return [each.prompt for each in expander.expand(task)]


@pytest.fixture
def words(tmp_path: Path) -> str:
    """A folder of words."""
    (tmp_path / "动物.txt").write_text("猫\n狗\n鸟\n", encoding="utf-8")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "color.txt").write_text("red\nblue\n", encoding="utf-8")
    (tmp_path / "circle.txt").write_text("a __circle__\n", encoding="utf-8")
    return str(tmp_path)


def test_all_variants_in_order(words: str) -> None:
    assert variants("a {big|small} __more/color__ door", variants=0, folder=words) == [
        "a big blue door", "a big red door", "a small blue door", "a small red door",
    ]  # fmt: skip


def test_chinese_works(words: str) -> None:
    found = variants("一只__动物__在{山|海}边", variants=0, folder=words)
    assert sorted(found) == sorted(f"一只{a}在{b}边" for a in "猫狗鸟" for b in "山海")


def test_as_many_different_ones_are_drawn_as_are_wanted_or_exist() -> None:
    found = variants("{1|2|3|4|5|6|7|8|9} {a|b}", variants=10)
    assert len(set(found)) == len(found) == 10
    assert sorted(variants("{a|b}", variants=5)) == ["a", "b"]


@settings(max_examples=20)
@given(st.integers(0, 2**63 - 1), st.integers(0, 99))
def test_the_same_task_has_the_same_variants(task_seed: int, seed: int) -> None:
    task = hg.Task("{1|2|3|4|5|6|7|8|9|10} doors", seed=task_seed)
    assert variants(task, variants=3, seed=seed) == variants(task, variants=3, seed=seed)


def test_other_tasks_and_other_seeds_have_others() -> None:
    pattern = "{1|2|3|4|5|6|7|8|9|10}{1|2|3|4|5|6|7|8|9|10}{1|2|3|4|5|6|7|8|9|10}"
    found = {
        *variants(hg.Task(pattern, id="a")),
        *variants(hg.Task(pattern, id="b")),
        *variants(hg.Task(pattern, id="a", seed=1)),
        *variants(hg.Task(pattern, id="a"), seed=1),
    }
    assert len(found) == 4


def test_more_variants_begin_with_the_fewer() -> None:
    pattern = "{1|2|3|4|5|6|7|8|9|10} {a|b|c|d|e|f|g|h}"
    assert variants(pattern, variants=9)[:1] == variants(pattern, variants=1)


@pytest.mark.parametrize(
    "prompt", ["a door", "a #1 door // cheap", "50 % (soft:1.2) [x] a|b", "_a_"]
)
def test_what_has_no_pattern_is_left_alone(prompt: str) -> None:
    task = hg.Task(prompt, id="a")
    expander = make_wildcards(None, context())
    assert list(expander.expand(task)) == [task]


def test_what_looks_like_a_comment_is_words() -> None:
    assert variants("a {#1|#1} door // see http://a/b /* c */") == [
        "a #1 door // see http://a/b /* c */"
    ]


@pytest.mark.parametrize(
    "prompt",
    ["a {b|c", "{a|b}}", "a}b", "$5 for {a|b}", "__none__", "__circle__", "a __b"],
)
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_bad_pattern_is_that_rows_error(prompt: str, number: int, words: str) -> None:
    with pytest.raises(RewriteError, match="pattern cannot be used") as error:
        variants(prompt, variants=number, folder=words)
    assert error.value.stage == "wildcards"


def test_too_many_variants_are_refused_quickly() -> None:
    with pytest.raises(RewriteError, match="more than 50 variants"):
        variants("{1|2|3|4|5|6|7|8|9|10}" * 12, variants=0, most=50)


def test_a_folder_that_is_not_there_is_found_out_before_the_first_task() -> None:
    with pytest.raises(ConfigError, match="is not a folder"):
        make_wildcards(WildcardsOptions(folder="none"), context())


def test_files_outside_the_folder_are_out_of_reach(words: str, tmp_path: Path) -> None:
    with pytest.raises(RewriteError):
        variants("__../动物__", folder=f"{words}/more")


def test_a_run_goes_on_after_a_bad_row() -> None:
    async def main() -> list[hg.Outcome]:
        expander = make_wildcards(WildcardsOptions(variants=2), context())
        async with opened(ScriptedProvider(), expand=[expander]) as studio:
            tasks = [hg.Task("{a|b", id="bad"), hg.Task("{a|b}", id="good")]
            return await collect(studio.map(tasks, ordered=True))

    bad, *good = run_virtual(main())
    assert isinstance(failure_of(bad).error, RewriteError)
    assert [each.task.id for each in good] == ["good~1", "good~2"]
    assert {each.task.prompt for each in good} == {"a", "b"}


def test_without_its_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dynamicprompts.wildcards", None)
    with pytest.raises(PluginLoadError, match=r"pip install 'holodeck-gen\[wildcards\]'"):
        make_wildcards(None, context())
