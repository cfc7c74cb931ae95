"""Names come from a template and are checked before any cost."""

from __future__ import annotations

import pytest
from hypothesis import given

import holodeck_gen as hg
from holodeck_gen._model.names import NameTemplate, alternative, numbered
from holodeck_gen.errors import ConfigError, InvalidTaskError, StorageError
from strategies import tasks

ARTIFACT = hg.Artifact(path="x", media_type="image/png", sha256="ab" * 32, size_bytes=1, seed=7)


def name(template: str | None, task: hg.Task) -> str:
    key = task.id or "k-1"
    return NameTemplate(template).render(task, ARTIFACT, key=key, index=3, provider="fake")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (None, "one"),
        ("{id}", "one"),
        ("{index:04d}", "0003"),
        ("{prompt:.5}", "a-cat"),
        ("{seed}", "7"),
        ("{sha256:.6}", "ababab"),
        ("{provider}/{size}-{style}", "fake/64x32-ink"),
        ("{scene}/{id}", "night_day/one"),
        ("{model}x", "x"),
    ],
)
def test_fields(template: str | None, expected: str) -> None:
    task = hg.Task(
        "a cat / dog", id="one", size="64x32", style="ink", metadata={"scene": "night/day"}
    )
    assert name(template, task) == expected


def test_without_an_id_the_prompt_and_the_key_name_a_file() -> None:
    assert name(None, hg.Task("a cat " * 20)) == "a-cat-a-cat-a-cat-a-cat-a-cat-a-cat-a-ca-k-1"


def test_an_output_of_its_own_comes_first() -> None:
    assert name("{id}", hg.Task("a cat", id="one", output="sub/{x}.png")) == "sub/{x}.png"


@pytest.mark.parametrize(
    "template", ["../{id}", "/x/{id}", "{id", "{id.real}", "{0}", "{id!r}", ""]
)
def test_templates_that_cannot_be_are_refused_at_once(template: str) -> None:
    with pytest.raises((ConfigError, StorageError)):
        NameTemplate(template)


def test_an_unknown_field_names_the_nearest() -> None:
    with pytest.raises(InvalidTaskError, match=r"asks for 'promt'.*did you mean 'prompt'"):
        NameTemplate("{promt}").check(hg.Task("a cat"))


@pytest.mark.parametrize(
    ("template", "task"),
    [
        ("{prompt:d}", hg.Task("a cat")),
        ("{sha256:d}", hg.Task("a cat")),
        ("{id}", hg.Task("a cat", output="../x")),
        ("{id}", hg.Task("a cat", output="/etc/x")),
    ],
)
def test_what_cannot_be_named_is_found_before_any_cost(template: str, task: hg.Task) -> None:
    with pytest.raises(InvalidTaskError):
        NameTemplate(template).check(task)


@given(tasks)
def test_a_task_that_passes_the_check_can_be_named(task: hg.Task) -> None:
    template = NameTemplate("{id}-{prompt}-{seed}-{size}-{model}-{style}")
    template.check(task)
    assert template.render(task, ARTIFACT, key="k", index=0, provider="fake")


def test_several_files_and_taken_names() -> None:
    assert [numbered("a", i, 2) for i in (1, 2)] == ["a-1", "a-2"]
    assert numbered("a", 1, 1) == "a"
    assert [alternative("a", ".png", i) for i in (1, 2, 3)] == ["a.png", "a~2.png", "a~3.png"]
