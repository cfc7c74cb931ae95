"""What commands say of money, and where a budget ends them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import holodeck_gen as hg
from helpers import opened
from holodeck_gen._cli._app import cli
from holodeck_gen._cli._estimate import KINDS, Estimate
from holodeck_gen._cli._exit import BAD_INPUT, RESUMABLE
from holodeck_gen._taskfile.taskfile import Line
from holodeck_gen.errors import ConfigError
from holodeck_gen.testing import ScriptedProvider, run_virtual

PRICE = ["--set", "prices.procedural.amount=0.5", "--set", "prices.procedural.currency=CNY"]
PROVIDER = ["-p", "procedural", "--size", "16x16", "--set", "providers.procedural.max_jobs=1"]


def invoke(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, [str(each) for each in arguments])
    assert result.exit_code == code, result.output
    return result


def run(*arguments: str, code: int = 0, price: list[str] = PRICE) -> list[str]:
    """What a run of `tasks.txt` says."""
    return invoke(
        "run", "tasks.txt", "-o", "out", *PROVIDER, *price, *arguments, code=code
    ).stderr.splitlines()


def status() -> Any:
    return json.loads(invoke("status", "out", "--json").stdout)


@pytest.fixture(autouse=True)
def tasks(own_home: Path) -> None:
    (own_home / "tasks.txt").write_text("".join(f"a lake {i}\n" for i in range(6)))


class TestRun:
    def test_it_tells_what_all_will_cost_and_what_it_has_cost(self) -> None:
        lines = run()
        assert lines[0] == "procedural · 6 to do · 1 job at once · about ¥3.00"
        assert "6 done · about ¥3.00 · " in lines[-1]

    def test_without_a_price_a_free_provider_is_free(self) -> None:
        lines = run(price=[])
        assert lines[0].endswith("· free")
        assert "¥" not in "\n".join(lines)

    def test_a_budget_ends_it_and_a_larger_one_goes_on(self) -> None:
        lines = run("--budget", "1CNY", code=RESUMABLE)
        assert lines[0].endswith("· about ¥3.00 · budget ¥1.00")
        assert any(line.startswith("paused: the budget of ¥1.00 is reached") for line in lines)
        # Once, not again for each task that was not begun.
        assert len([line for line in lines if "is reached" in line]) == 1
        assert lines[-1].startswith("2 done · 4 held · about ¥1.00 of ¥1.00 · ")
        again = run("--budget", "1", code=RESUMABLE)
        assert "2 done before · 4 to do" in again[0]
        assert again[0].endswith("about ¥2.00 · budget ¥1.00, ¥1.00 of it spent before")
        assert len(list(Path("out").glob("*.png"))) == 2
        lines = run("--budget", "10 CNY")
        assert "6 done (2 before) · about ¥3.00 of ¥10.00 · " in lines[-1]

    def test_what_is_left_is_told_with_its_price(self) -> None:
        lines = run("--limit", "2", code=RESUMABLE)
        assert lines[0].endswith("about ¥1.00")
        assert "4 left (about ¥2.00)" in lines[-1]

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (["--budget", "ten"], "budget must be an amount such as"),
            (["--budget", "0.1CNY"], "the budget of ¥0.10 is less than one task costs: ¥0.50"),
            (["--budget", "10USD"], "the budget is in USD"),
        ],
    )
    def test_a_budget_that_cannot_be_kept_ends_it_before_anything_is_spent(
        self, arguments: list[str], problem: str
    ) -> None:
        assert problem in "\n".join(run(*arguments, code=BAD_INPUT))
        assert list(Path("out").glob("*.png")) == []

    def test_nor_is_it_begun_with_a_price_that_is_unknown(self, own_home: Path) -> None:
        (own_home / "holodeck-gen.toml").write_text(
            '[providers.hunyuan]\napi_key = "sk-none"\ndialect = "tokenhub"\n'
        )
        lines = invoke(
            "run", "tasks.txt", "-p", "hunyuan", "-o", "out", "--budget", "10CNY", code=BAD_INPUT
        ).stderr
        assert 'add [prices."hunyuan:hy-image-v3.0"]' in lines

    def test_a_dry_run_adds_up_the_whole_file(self, own_home: Path) -> None:
        (own_home / "tasks.txt").unlink()
        (own_home / "tasks.jsonl").write_text(
            "".join(json.dumps({"prompt": f"a lake {n}", "n": n}) + "\n" for n in (1, 2, 3))
        )
        lines = invoke("run", "tasks.jsonl", "-o", "out", *PROVIDER, *PRICE, "--dry-run").stderr
        assert "3 to do · 1 job at once · about ¥3.00 · dry run" in lines


class TestEstimate:
    """What is told before the first submit, from the first task of each kind."""

    def price(self, *tasks: hg.Task, **arguments: Any) -> hg.Cost | None:
        rows = {"scripted:a": 1, "scripted:b": "2.5"}
        prices = {name: {"amount": each, "currency": "CNY"} for name, each in rows.items()}
        estimate = Estimate()
        lines = [Line(number=i, task=task) for i, task in enumerate(tasks, start=1)]
        assert list(estimate.watched(lines)) == lines

        async def main() -> hg.Cost | None:
            config = hg.Config.of({"prices": prices}, environ={})
            async with opened(ScriptedProvider(), config=config, **arguments) as studio:
                return estimate.price(studio)

        return run_virtual(main())

    def test_each_kind_has_its_price(self) -> None:
        a, b = hg.Task("x", model="a", n=2), hg.Task("x", model="b")
        assert self.price(a, b, a, b) == hg.Cost(amount=9, currency="CNY")

    def test_it_is_unknown_where_one_is(self) -> None:
        assert self.price(hg.Task("x", model="a"), hg.Task("x", model="c")) is None
        with pytest.raises(ConfigError, match="price of scripted:c is unknown"):
            self.price(hg.Task("x", model="a"), hg.Task("x", model="c"), budget=5)

    def test_of_nothing_nothing_is_known(self) -> None:
        assert self.price() is None

    def test_a_task_that_cannot_be_run_is_told_of_in_its_turn(self) -> None:
        wrong = hg.Task("x", model="a", provider_options={"no": "such"})
        assert self.price(wrong) is None
        assert self.price(wrong, budget=5) is None

    def test_a_file_of_many_kinds_takes_no_memory(self) -> None:
        many = [hg.Task("x", model=f"m{i}") for i in range(2 * KINDS)]
        assert self.price(hg.Task("x", model="a"), *many) is None


class TestStatus:
    def test_it_tells_what_was_spent_and_the_budget(self) -> None:
        run("--budget", "1CNY", code=RESUMABLE)
        text = invoke("status", "out").stdout
        assert (
            "2 done · 4 waiting · about ¥1.00 of ¥1.00 spent · about ¥2.00 for what waits" in text
        )
        found = status()
        assert found["spending"]["spent"] == [{"amount": "1.0", "currency": "CNY"}]
        assert found["spending"]["budget"] == {"amount": "1", "currency": "CNY"}
        assert found["spending"]["in_flight"] == []
        assert found["left"] == [{"amount": "2.0", "currency": "CNY"}]


class TestGenerate:
    def test_a_picture_that_is_too_dear_is_not_made(self) -> None:
        done = invoke(
            "generate",
            "a lake",
            "-o",
            "a.png",
            *PROVIDER,
            *PRICE,
            "--budget",
            "0.1",
            code=RESUMABLE,
        )
        assert "¥0.50, more than the whole budget of ¥0.10" in done.stderr
        assert not Path("a.png").exists()

    def test_a_price_in_another_currency_is_a_mistake(self) -> None:
        done = invoke(
            "generate", "a lake", "-o", "a.png", *PROVIDER, *PRICE, "--budget", "1USD",
            code=BAD_INPUT,
        )  # fmt: skip
        assert "the budget is in USD" in done.stderr
