"""Prompts put together from templates."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import holodeck_gen as hg
from holodeck_gen.errors import ConfigError, PluginLoadError, RewriteError
from holodeck_gen.testing import run_virtual
from holodeck_gen_plugins.rewriters.template import TemplateOptions, make_template
from pictures import context


def rewritten(task: hg.Task | str, **options: Any) -> hg.Task:
    rewriter = make_template(TemplateOptions(**options), context())
    return run_virtual(rewriter.rewrite(hg.Task(task) if isinstance(task, str) else task))


def refused(task: hg.Task | str, **options: Any) -> str:
    with pytest.raises(RewriteError) as error:
        rewritten(task, **options)
    assert error.value.stage == "template"
    return str(error.value)


@given(st.text(min_size=1).filter(lambda text: text.strip() and "\x00" not in text))
def test_a_prompt_is_never_a_template_itself(prompt: str) -> None:
    assert rewritten(prompt).prompt == prompt
    assert rewritten(prompt, prefix="[", suffix="]").prompt == f"[{prompt}]"


def test_braces_in_a_prompt_are_words() -> None:
    assert rewritten("{{ 1 + 1 }} {% x %}").prompt == "{{ 1 + 1 }} {% x %}"


def test_fields_and_metadata_are_used() -> None:
    task = hg.Task("a door", id="d", seed=7, size="64x32", metadata={"place": "山", "tags": ["a"]})
    made = rewritten(
        task, template="{{ prompt }} in {{ place }}, {{ tags | join }} {{ seed }} {{ width }}"
    )
    assert made.prompt == "a door in 山, a 7 64"
    assert (made.id, made.seed, made.metadata) == (task.id, task.seed, task.metadata)


def test_a_field_wins_over_metadata_of_its_name() -> None:
    task = hg.Task("a door", metadata={"prompt": "another", "kind": "x"})
    assert rewritten(task, suffix=" {{ kind }}").prompt == "a door image"


def test_snippets_are_found_by_name_and_by_field() -> None:
    styles = {"ink": "ink wash, {{ prompt }}", "oil": "oil on canvas", "bad": "{{ nothing }}"}
    assert rewritten("a door", suffix=", {{ styles.oil }}", styles=styles).prompt.endswith("canvas")
    task = hg.Task("a door", style="ink")
    assert rewritten(task, template="{{ styles[style] }}", styles=styles).prompt == (
        "ink wash, a door"
    )


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ place }}", "'place' is undefined"),
        ("{{ style }}", "'style' is undefined"),
        ("{{ styles.none }}", "none"),
        ("{{ 1 / 0 }}", "zero"),
        ("{{ '' }}", "the prompt is empty"),
    ],
)
def test_what_is_missing_is_that_tasks_error(template: str, said: str) -> None:
    assert said in refused("a door", template=template)


def test_what_may_be_missing_can_have_a_default() -> None:
    assert rewritten("a door", suffix="{{ place | default('!') }}").prompt == "a door!"


@pytest.mark.parametrize(
    "template",
    [
        "{{ prompt.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''.format.__globals__ }}",
        "{{ '{0.__class__}'.format(prompt) }}",
        "{{ tags.append(1) }}",
        "{{ range(9) }}",
        "{{ lipsum() }}",
        "{{ self._TemplateReference__context }}",
        "{% include 'pyproject.toml' %}",
    ],
)
def test_nothing_else_is_within_reach(template: str) -> None:
    refused(hg.Task("a door", metadata={"tags": ["a"]}), template=template)


def test_a_negative_prompt_is_made_likewise_or_left_alone() -> None:
    task = hg.Task("a door", negative_prompt="fog")
    assert rewritten(task).negative_prompt == "fog"
    assert rewritten(task, negative_prompt="{{ negative_prompt }}, mist").negative_prompt == (
        "fog, mist"
    )


@pytest.mark.parametrize(
    "options",
    [
        {"template": "{{ prompt"},
        {"suffix": "{% if %}"},
        {"negative_prompt": "{{ }}"},
        {"styles": {"a": "{% endif %}"}},
        {"template": "{{ prompt | no_such_filter }}"},
    ],
    ids=str,
)
def test_what_is_no_template_is_found_out_before_the_first_task(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"template: (prefix|negative_prompt|styles\.a)"):
        make_template(TemplateOptions(**options), context())


def test_without_its_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(PluginLoadError, match=r"pip install 'holodeck-gen\[template\]'"):
        make_template(None, context())
