"""What the pages about Hunyuan say is what the tables say.

A table of ``docs/reference/hunyuan-errors.md`` stands between ``<!-- NAME -->`` and
``<!-- end -->``. Where one is out of date, the failing test shows what belongs there.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from holodeck_gen_providers.hunyuan import _codes
from holodeck_gen_providers.hunyuan._services import DIALECTS, STYLES
from holodeck_gen_providers.hunyuan._services3d import AI3D

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holodeck_gen_providers.hunyuan._codes import Verdict
    from holodeck_gen_providers.hunyuan._tables import Dialect, Model

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "hunyuan-errors.md"
GUIDES = [ROOT / "docs" / "how-to" / name for name in ("hunyuan.md", "hunyuan.zh-CN.md")]
LINES = (Path(__file__).parent / "hunyuan_data" / "codes.txt").read_text("utf-8").splitlines()
DOCUMENTED = [line.split()[0] for line in LINES if not line.startswith("#")]

#: What happens to a submit that is answered so, by what the answer means.
HAPPENS = {
    "throttled": "sent again after a pause",
    "slots": "waits for a free slot, and is sent again",
    "again": "sent again after a pause, as often as `attempts` says",
    "failing": "**held**: there may be a job",
    "refused": "the task fails; correct it",
    "auth": "the run pauses",
    "retired": "the run pauses",
    "billing": "the run pauses",
    "moderation": "the task fails",
    "unknown_job": "not an answer to a submit; see below",
}

MODELS = [(dialect, model) for dialect in (*DIALECTS.values(), AI3D) for model in dialect.models]


def happens(verdict: Verdict) -> str:
    """What happens to a submit that is answered so."""
    one_model = "the model's tasks are held; others go on"
    return one_model if verdict.quota_only else HAPPENS[verdict.meaning]


def table(head: str, rows: Iterable[tuple[str, Verdict]]) -> list[str]:
    """The lines of a table: code, class, whether there may be a job, what happens, advice."""
    made = {True: "no", False: "perhaps"}
    return [
        f"| {head} | Class | Job made? | What happens | The message adds |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| `{code}` | `{verdict.error.__name__}` | {made[verdict.not_created]}"
            f" | {happens(verdict)} | {verdict.advice or '-'} |"
            for code, verdict in rows
        ),
    ]


TABLES = {
    "codes": table("Code", _codes.CODES.items()),
    "tokenhub": table("Code or type", _codes.TOKENHUB_CODES.items()),
    "prefixes": table("A code that begins with", _codes.PREFIXES.items()),
    "statuses": table("HTTP", ((str(status), row) for status, row in _codes.STATUSES.items())),
}


def shown(name: str) -> list[str]:
    """The lines of the table called `name` on the page."""
    text = PAGE.read_text("utf-8")
    found = re.search(rf"<!-- {name} -->\n+(.*?)\n+<!-- end -->", text, re.DOTALL)
    assert found is not None, f"the page has no table called {name}"
    return found[1].splitlines()


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_the_page_is_that_of_the_provider(name: str) -> None:
    assert shown(name) == TABLES[name], "\n".join(TABLES[name])


@pytest.mark.parametrize("code", DOCUMENTED)
def test_a_documented_code_is_on_the_page(code: str) -> None:
    assert [line for line in shown("codes") if line.startswith(f"| `{code}` |")] != []


def row_of(guide: Path, dialect: Dialect, model: Model) -> list[str]:
    """The cells of the guide's row for `model`; the dialect is named in the first of its rows."""
    named = ""
    for line in guide.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or len(cells) != 6:
            continue
        named = cells[0] or named
        provider = "hunyuan3d" if dialect is AI3D else dialect.name
        if (named, cells[1]) == (f"`{provider}`", f"`{model.name}`"):
            return cells
    raise AssertionError(f"{guide.name} has no row for {model.name} of {dialect.name}")


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
@pytest.mark.parametrize(("dialect", "model"), MODELS, ids=lambda each: str(each.name))
def test_a_guide_lists_each_model_as_it_is(guide: Path, dialect: Dialect, model: Model) -> None:
    _, _, names, comes, prompt, hours = row_of(guide, dialect, model)
    assert tuple(re.findall(r"`(.*?)`", names)) == model.aliases
    assert (comes in ("at once", "直接返回")) is model.direct
    assert re.findall(r"\d+", prompt) == (
        [] if model.max_prompt is None else [f"{model.max_prompt}"]
    )
    assert [float(number) * 3600 for number in re.findall(r"\d+", hours)] == [model.url_ttl_s]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_a_guide_names_every_option_and_dialect(guide: Path) -> None:
    text = guide.read_text("utf-8")
    options = {option for _, model in MODELS for option in model.options}
    assert {option for option in options if not re.search(rf"\b{option}\b", text)} == set()
    assert {name for name in DIALECTS if f"`{name}`" not in text} == set()


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_the_style_of_a_guide_is_one(guide: Path) -> None:
    assert "`shuimo`" in guide.read_text("utf-8")
    assert STYLES["shuimo"] in guide.read_text("utf-8")


def test_the_chinese_guide_runs_the_blocks_of_the_english_one_and_more() -> None:
    """Or else what one of them says is untried; the old client's guide was a Chinese one."""
    english, chinese = (
        Counter(re.findall(r"^```(\w+)$", guide.read_text("utf-8"), re.MULTILINE))
        for guide in GUIDES
    )
    assert english < chinese
