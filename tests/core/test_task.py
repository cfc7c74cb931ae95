from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import holodeck_gen as hg
from holodeck_gen._model.identity import digest
from holodeck_gen._model.size import format_size, parse_size
from holodeck_gen.errors import InvalidTaskError
from strategies import sizes, tasks


class TestSize:
    @given(sizes, st.sampled_from("xX×*"))
    def test_what_is_written_is_read(self, size: tuple[int, int], between: str) -> None:
        assert parse_size(f"{size[0]}{between}{size[1]}") == size
        assert parse_size(format_size(size)) == parse_size(list(size)) == size

    def test_a_colon_between_pixels(self) -> None:
        assert parse_size("1024:768") == (1024, 768)

    @pytest.mark.parametrize("text", ["16:9", "1:1", "9:16", "21:9", "4:3"])
    def test_an_aspect_ratio_is_answered_with_sizes(self, text: str) -> None:
        with pytest.raises(InvalidTaskError, match=r"such as \d+x\d+ or \d+x\d+") as caught:
            parse_size(text)
        wide, high = (int(part) for part in text.split(":"))
        for suggested in str(caught.value).split("such as ")[1].split(" or "):
            parsed = parse_size(suggested)
            assert parsed is not None
            assert parsed[0] * high == parsed[1] * wide

    @pytest.mark.parametrize(
        "value",
        [
            "0x0", "-5x5", "5x-5", "100000x100000", "65536x1", "65535x65535", "x", "1024", "",
            "axb",
            "1024x768x3", (1,), (1, 2, 3), (1.5, 2), (True, True), 1024, "1e3x1e3", b"1x1",
        ],
    )  # fmt: skip
    def test_what_is_no_size(self, value: Any) -> None:
        with pytest.raises(InvalidTaskError, match="size"):
            hg.Task("a", size=value)

    def test_one_pixel(self) -> None:
        assert hg.Task("a", size="1x1").size == (1, 1)


class TestValidation:
    @pytest.mark.parametrize(
        "fields",
        [
            {"prompt": ""}, {"prompt": " \n"}, {"prompt": "a\0b"}, {"prompt": "\ud800"},
            {"prompt": "a" * 100_001}, {"prompt": 5}, {"prompt": None},
            {"id": ""}, {"id": "a\nb"}, {"id": "x" * 501}, {"id": 5}, {"id": "a\x1b[2J"},
            {"n": 0}, {"n": -1}, {"n": 10_001}, {"n": 1.0}, {"n": True}, {"n": None},
            {"seed": -1}, {"seed": 2**63}, {"seed": "7"}, {"seed": True},
            {"kind": None}, {"priority": None}, {"model": 5}, {"style": b"a"},
            {"inputs": "a.png"}, {"inputs": [""]}, {"inputs": [5]}, {"inputs": 5},
            {"metadata": {"a": float("nan")}}, {"metadata": {"a": float("inf")}},
            {"metadata": {1: 2}}, {"metadata": [1]}, {"metadata": {"a": object()}},
            {"provider_options": {"a": b"bytes"}},
        ],
    )  # fmt: skip
    def test_what_cannot_be(self, fields: dict[str, Any]) -> None:
        with pytest.raises(InvalidTaskError):
            hg.Task(**{"prompt": "a", **fields})

    def test_nesting_has_an_end(self) -> None:
        deep: Any = 1
        for _ in range(100_000):
            deep = [deep]
        with pytest.raises(InvalidTaskError, match="nested"):
            hg.Task("a", metadata={"deep": deep})

    @pytest.mark.parametrize("prompt", ["a", "a" * 8193, "👩‍👩‍👧‍👦 e\u0301", "一只猫"])
    def test_prompts_that_are_fine(self, prompt: str) -> None:
        assert hg.Task(prompt).prompt == prompt

    def test_inputs_may_stand_without_a_prompt(self) -> None:
        assert hg.Task(inputs=[Path("a.png"), "https://x/y.png"]).inputs == (
            "a.png",
            "https://x/y.png",
        )


class TestImmutability:
    def test_what_was_handed_in_may_change(self) -> None:
        metadata = {"list": [1], "inner": {"a": 1}}
        inputs = ["a.png"]
        task = hg.Task("a", metadata=metadata, inputs=inputs)
        metadata["list"].append(2)  # type: ignore[attr-defined]
        metadata["inner"]["b"] = 2  # type: ignore[index]
        inputs.append("b.png")
        assert task == hg.Task("a", metadata={"list": [1], "inner": {"a": 1}}, inputs=["a.png"])

    def test_it_cannot_be_changed(self) -> None:
        task = hg.Task("a", metadata={"inner": {"a": 1}})
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            task.prompt = "b"  # type: ignore[misc]
        with pytest.raises(TypeError):
            task.metadata["inner"]["a"] = 2

    @given(tasks)
    def test_it_hashes(self, task: hg.Task) -> None:
        assert hash(task) == hash(attrs.evolve(task))


class TestDigest:
    @given(tasks)
    def test_how_a_task_is_handled_does_not_count(self, task: hg.Task) -> None:
        handled = attrs.evolve(
            task, id="other", output="x", metadata={"a": 1}, priority=7, affinity="b"
        )
        assert digest(task) == digest(handled)

    @given(tasks)
    def test_what_is_asked_for_counts(self, task: hg.Task) -> None:
        others = [
            attrs.evolve(task, prompt=task.prompt + "x"),
            attrs.evolve(task, n=task.n % 10_000 + 1),
            attrs.evolve(task, seed=1 if task.seed is None else None),
            attrs.evolve(task, model=(task.model or "") + "x"),
            attrs.evolve(task, provider_options={**task.provider_options, "zz": 1, "zy": 2}),
        ]
        assert digest(task) not in {digest(other) for other in others}

    def test_it_does_not_depend_on_the_order_of_options(self) -> None:
        one = hg.Task("a", provider_options={"a": 1, "b": 2})
        assert digest(one) == digest(hg.Task("a", provider_options={"b": 2, "a": 1}))

    def test_it_is_the_same_in_every_process(self) -> None:
        code = (
            "import holodeck_gen as hg; from holodeck_gen._model.identity import digest;"
            "print(digest(hg.Task('一只猫', seed=3, provider_options={'b': [1, {'c': None}]})))"
        )
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        task = hg.Task("一只猫", seed=3, provider_options={"b": [1, {"c": None}]})
        assert found == digest(task)
        assert len(found) == 32
