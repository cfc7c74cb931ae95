"""Every rule of the parameters, per dialect and model, before any cost."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import holodeck_gen as hg
from holodeck_gen._journal.shares import split
from holodeck_gen._model.values import thaw
from holodeck_gen.errors import InvalidTaskError
from holodeck_gen.testing import run_virtual
from holodeck_gen_providers.hunyuan._services import DIALECTS
from holodeck_gen_providers.hunyuan._services3d import AI3D
from holodeck_gen_providers.hunyuan._wire import encode
from hunyuan_fake import FakeService, body, prepared, refusal
from strategies import json_values, prompts, words

WEB = "https://example.com/cat.png"


class TestWords:
    @pytest.mark.parametrize(
        ("dialect", "fields", "sent"),
        [
            ("tokenhub", {}, {"model": "hy-image-v3.0", "prompt": "a"}),
            (
                "tokenhub",
                {"size": "1024x768", "provider_options": {"revise": False, "logo_add": True}},
                {
                    "model": "hy-image-v3.0",
                    "prompt": "a",
                    "resolution": "1024:768",
                    "revise": 0,
                    "logo_add": 1,
                },
            ),
            (
                "tokenhub",
                {"model": "hy-image-v3", "size": "1024:768", "provider_options": {"revise": True}},
                {"model": "hy-image-v3", "prompt": "a", "size": "1024x768", "revise": True},
            ),
            (
                "tokenhub",
                {"model": "lite", "negative_prompt": "b"},
                {
                    "model": "hy-image-lite",
                    "rsp_img_type": "url",
                    "prompt": "a",
                    "negative_prompt": "b",
                },
            ),
            (
                "tokenhub",
                {"model": "hy-image-v3.5-preview", "seed": 5, "size": "4096x4096"},
                {
                    "model": "hy-image-v3.5-preview",
                    "messages": ({"role": "user", "content": ({"type": "text", "text": "a"},)},),
                    "seed": 5,
                    "size": "4096x4096",
                },
            ),
            ("aiart", {"size": (1280, 768)}, {"Prompt": "a", "Resolution": "1280:768"}),
            (
                "aiart",
                {
                    "provider_options": {
                        "logo_param": {
                            "logo_url": WEB,
                            "logo_rect": {"x": 1, "y": 2, "width": 3, "height": 4},
                        }
                    }
                },
                {
                    "Prompt": "a",
                    "LogoParam": {
                        "LogoUrl": WEB,
                        "LogoRect": {"X": 1, "Y": 2, "Width": 3, "Height": 4},
                    },
                },
            ),
            ("aiart", {"model": "rapid", "style": "7"}, {"RspImgType": "url", "Style": "7"}),
            (
                "hunyuan",
                {
                    "n": 3,
                    "style": "shuimo",
                    "negative_prompt": "b",
                    "provider_options": {"clarity": "X2"},
                },
                {
                    "Prompt": "a",
                    "Num": 3,
                    "Style": "shuimo",
                    "NegativePrompt": "b",
                    "Clarity": "x2",
                },
            ),
            (
                "ai3d",
                {
                    "kind": "model3d",
                    "model": "pro-3.1",
                    "provider_options": {"enable_pbr": True, "face_count": 3000},
                },
                {"Model": "3.1", "Prompt": "a", "EnablePBR": True, "FaceCount": 3000},
            ),
            (
                "ai3d",
                {"kind": "model3d", "model": "rapid", "provider_options": {"result_format": "glb"}},
                {"Prompt": "a", "ResultFormat": "GLB"},
            ),
        ],
    )
    def test_fields_are_named_as_the_dialect_wants(
        self, dialect: str, fields: dict[str, Any], sent: dict[str, Any]
    ) -> None:
        made = body(dialect, **fields)
        assert {name: made[name] for name in sent} == sent
        assert set(made) - set(sent) <= {"Prompt"}

    @pytest.mark.parametrize("dialect", DIALECTS)
    def test_the_old_name_of_the_model_goes_everywhere(self, dialect: str) -> None:
        task = hg.Task("a", model="hunyuan-pro")
        assert prepared(dialect, task).model == DIALECTS[dialect].models[0].name

    @pytest.mark.parametrize("dialect", [*DIALECTS.values(), AI3D], ids=lambda each: each.name)
    def test_no_name_means_two_models(self, dialect: Any) -> None:
        names = [name.casefold() for name in dialect.names]
        assert len(names) == len(set(names))

    def test_a_model_of_another_dialect_is_said_to_be_there(self) -> None:
        assert "dialect tokenhub" in refusal("aiart", model="hy-image-v3.5-preview")

    def test_the_default_model_can_be_set(self) -> None:
        async def main() -> Any:
            return FakeService().provider("tokenhub", model="HY-IMAGE-V3").prepare(hg.Task("a"))

        assert run_virtual(main()).model == "hy-image-v3"


class TestPrompt:
    @pytest.mark.parametrize(
        ("dialect", "model", "most"),
        [
            ("tokenhub", "hy-image-v3.0", 8192),
            ("tokenhub", "hy-image-v3", 8192),
            ("tokenhub", "lite", 1024),
            ("aiart", None, 8192),
            ("aiart", "lite", 1024),
            ("aiart", "rapid", 256),
            ("hunyuan", None, 1024),
            ("hunyuan", "lite", 256),
            ("ai3d", "pro", 1024),
            ("ai3d", "rapid", 200),
        ],
    )
    def test_its_length_is_counted_in_characters(
        self, dialect: str, model: str | None, most: int
    ) -> None:
        kind = "model3d" if dialect == "ai3d" else "image"
        prepared(dialect, hg.Task("龙" * most, model=model, kind=kind))
        words = refusal(dialect, "龙" * (most + 1), model=model, kind=kind)
        assert f"{most + 1} characters" in words

    @pytest.mark.parametrize("dialect", DIALECTS)
    def test_a_picture_does_not_replace_it(self, dialect: str) -> None:
        assert "needs a prompt" in refusal(dialect, "", inputs=[WEB])

    @pytest.mark.parametrize(("dialect", "most"), [("hunyuan", 1024), ("aiart", 1024)])
    def test_the_negative_one_has_a_length_too(self, dialect: str, most: int) -> None:
        model = "lite" if dialect == "aiart" else None
        assert "negative" in refusal(dialect, model=model, negative_prompt="b" * (most + 1))

    @pytest.mark.parametrize(
        ("dialect", "fields", "words"),
        [
            ("tokenhub", {"negative_prompt": "b"}, "takes no negative prompt"),
            ("tokenhub", {"model": "hy-image-v3", "negative_prompt": "b"}, "negative prompt"),
            ("aiart", {"negative_prompt": "b"}, "negative prompt"),
            ("ai3d", {"kind": "model3d", "negative_prompt": "b"}, "negative prompt"),
            ("ai3d", {"kind": "model3d", "seed": 1}, "takes no seed"),
            ("ai3d", {"kind": "model3d", "size": "1024x1024"}, "takes no size"),
            ("hunyuan", {"model": "lite", "seed": 1}, "takes no seed"),
            ("hunyuan", {"model": "lite", "inputs": [WEB]}, "takes no reference pictures"),
            ("hunyuan", {"kind": "model3d"}, "makes image"),
            ("ai3d", {}, "makes model3d"),
        ],
    )
    def test_what_a_model_cannot_do_is_never_ignored(
        self, dialect: str, fields: dict[str, Any], words: str
    ) -> None:
        assert words in refusal(dialect, **fields)


class TestStyles:
    def test_an_unknown_code_names_the_nearest(self) -> None:
        assert "'saibopengke'" in refusal("hunyuan", style="saibopunk")

    def test_a_code_may_be_written_as_its_meaning(self) -> None:
        assert body("hunyuan", style="水墨画")["Style"] == "shuimo"

    def test_a_model_without_styles_says_what_to_write_instead(self) -> None:
        assert "油画" in refusal("tokenhub", style="youhua")

    @pytest.mark.parametrize("style", ["0", "31", "shuimo"])
    def test_the_rapid_one_counts_its_styles(self, style: str) -> None:
        assert "no style" in refusal("aiart", model="rapid", style=style)


class TestSizes:
    @pytest.mark.parametrize(
        ("dialect", "model", "size", "good"),
        [
            ("aiart", None, "1024x1024", True),
            ("aiart", None, "2048x512", True),
            ("aiart", None, "2049x512", False),
            ("aiart", None, "511x1024", False),
            ("aiart", None, "1920x1080", False),
            ("tokenhub", None, "1280x768", True),
            ("tokenhub", None, "1920x1080", False),
            ("tokenhub", "hy-image-v3", "1025x1024", False),
            ("tokenhub", "hy-image-v3.5-preview", "256x8192", True),
            ("tokenhub", "hy-image-v3.5-preview", "255x1024", False),
            ("tokenhub", "hy-image-v3.5-preview", "4097x4096", False),
            ("hunyuan", None, "768x1280", True),
            ("hunyuan", None, "1080x1920", False),
            ("hunyuan", "lite", "1080x1920", True),
            ("aiart", "lite", "2560x1440", True),
            ("aiart", "lite", "768x1024", True),
            ("aiart", "lite", "1000x1000", False),
            ("aiart", "rapid", "4096x4096", True),
        ],
    )
    def test_the_bounds_of_each_model(
        self, dialect: str, model: str | None, size: str, good: bool
    ) -> None:
        if good:
            prepared(dialect, hg.Task("a", model=model, size=size))
        else:
            assert f"makes no {size}" in refusal(dialect, model=model, size=size)

    @pytest.mark.parametrize(
        ("dialect", "size", "nearest"),
        [
            ("hunyuan", "1920x1080", "nearest: 1280x720"),
            ("hunyuan", "700x1000", "768x1024"),
            ("aiart", "1920x1080", "nearest: 1280x720"),
        ],
    )
    def test_the_nearest_are_named(self, dialect: str, size: str, nearest: str) -> None:
        assert nearest in refusal(dialect, size=size)

    def test_beside_a_picture_the_old_one_makes_fewer(self) -> None:
        assert body("hunyuan", size="768x1024", inputs=[WEB])["Resolution"] == "768:1024"
        assert "beside a reference picture" in refusal("hunyuan", size="720x1280", inputs=[WEB])

    def test_beside_a_picture_the_new_one_takes_a_size_as_a_hint(self) -> None:
        made = prepared("aiart", hg.Task("a", size="1024x768", inputs=[WEB]))
        assert any("hint" in warning for warning in made.warnings)


class TestSeed:
    @pytest.mark.parametrize("dialect", ["aiart", "tokenhub", "hunyuan"])
    def test_a_seed_turns_the_rewrite_off_and_says_so(self, dialect: str) -> None:
        made = prepared(dialect, hg.Task("a", seed=7))
        revise = made.request["body"].get("Revise", made.request["body"].get("revise"))
        assert revise == 0
        assert made.seed_effective
        assert "revise is off" in made.warnings[0]

    def test_it_is_turned_off_in_the_type_that_the_model_wants(self) -> None:
        assert body("tokenhub", seed=7, model="hy-image-v3")["revise"] is False
        assert body("tokenhub", seed=7)["revise"] is not False

    @pytest.mark.parametrize("model", ["hy-image-v3.0", "hy-image-v3"])
    def test_a_rewrite_that_is_asked_for_makes_the_seed_void_and_says_so(self, model: str) -> None:
        task = hg.Task("a", seed=7, model=model, provider_options={"revise": True})
        made = prepared("tokenhub", task)
        assert made.request["body"]["revise"] == 1
        assert not made.seed_effective
        assert made.warnings == ("the seed has no effect, because the prompt is rewritten",)

    def test_without_a_seed_the_services_default_is_left_alone(self) -> None:
        made = prepared("aiart", hg.Task("a"))
        assert "Revise" not in made.request["body"]
        assert (made.seed_effective, made.warnings) == (False, ())

    def test_a_model_that_never_rewrites_needs_no_warning(self) -> None:
        made = prepared("aiart", hg.Task("a", seed=7, model="lite"))
        assert (made.seed_effective, made.warnings) == (True, ())

    def test_beside_a_picture_the_old_one_always_rewrites(self) -> None:
        made = prepared("hunyuan", hg.Task("a", seed=7, inputs=[WEB]))
        assert not made.seed_effective
        options = {"revise": False}
        words = refusal("hunyuan", inputs=[WEB], provider_options=options)
        assert "always rewrites" in words

    @pytest.mark.parametrize(("seed", "n"), [(0, 1), (2**32, 1), (2**32 - 1, 2)])
    def test_its_range_holds_for_the_last_picture_too(self, seed: int, n: int) -> None:
        assert "from 1 to 4294967295" in refusal("aiart", seed=seed, n=n)
        assert body("aiart", seed=2**32 - 1)["Seed"] == 2**32 - 1


class TestCount:
    @pytest.mark.parametrize(
        ("dialect", "fields", "per_job"),
        [
            ("hunyuan", {"n": 10}, 4),
            ("hunyuan", {"n": 10, "seed": 7}, 1),
            ("hunyuan", {"n": 10, "seed": 7, "provider_options": {"revise": True}}, 4),
            ("aiart", {"n": 10}, 1),
            ("tokenhub", {"n": 10}, 1),
            ("hunyuan", {"n": 2, "model": "lite"}, 1),
        ],
    )
    def test_pictures_of_one_job(self, dialect: str, fields: dict[str, Any], per_job: int) -> None:
        assert prepared(dialect, hg.Task("a", **fields)).per_job == per_job

    def test_one_picture_needs_no_number(self) -> None:
        assert "Num" not in body("hunyuan")


class TestOptions:
    @pytest.mark.parametrize(
        ("dialect", "fields", "words"),
        [
            ("aiart", {"provider_options": {"logoadd": 1}}, "did you mean 'logo_add'"),
            ("aiart", {"provider_options": {"revise": 2}}, "true or false"),
            ("aiart", {"provider_options": {"revise": "yes"}}, "true or false"),
            ("aiart", {"provider_options": {"clarity": "x2"}}, "no option 'clarity'"),
            ("hunyuan", {"provider_options": {"clarity": "x3"}}, "there are: x2, x4"),
            ("aiart", {"provider_options": {"logo_param": {"logo_uri": WEB}}}, "'logo_url'"),
            ("aiart", {"provider_options": {"logo_param": {"logo_rect": {"x": "l", "q": 1}}}}, "q"),
            ("aiart", {"provider_options": {"logo_param": WEB}}, "must be an object"),
            (
                "tokenhub",
                {"model": "hy-image-v3", "provider_options": {"footnote": "龙" * 17}},
                "17 characters",
            ),
            (
                "ai3d",
                {"kind": "model3d", "provider_options": {"face_count": 2999}},
                "3000 to 1500000",
            ),
            ("ai3d", {"kind": "model3d", "provider_options": {"face_count": True}}, "whole number"),
            ("ai3d", {"kind": "model3d", "provider_options": {"result_format": "GLB"}}, "STL"),
            (
                "ai3d",
                {"kind": "model3d", "provider_options": {"multi_view_images": WEB}},
                "list of objects",
            ),
        ],
    )
    def test_what_is_wrong_is_named(self, dialect: str, fields: dict[str, Any], words: str) -> None:
        assert words in refusal(dialect, **fields)

    def test_null_is_nothing_said(self) -> None:
        assert body("aiart", provider_options={"revise": None}) == {"Prompt": "a"}

    def test_a_number_can_be_a_text(self) -> None:
        """The command line reads ``footnote=2026`` as a number."""
        options = {"footnote": 2026}
        made = body("tokenhub", model="hy-image-v3", provider_options=options)
        assert made["footnote"] == "2026"

    def test_members_of_lists_are_renamed_too(self) -> None:
        views = [{"view_type": "left", "view_image_url": WEB}]
        made = body("ai3d", kind="model3d", provider_options={"multi_view_images": views})
        assert made["MultiViewImages"] == ({"ViewType": "left", "ViewImageUrl": WEB},)


class TestEstimate:
    def test_it_is_given_only_where_the_price_is_firm(self) -> None:
        for model, price in (("hy-image-v3.0", "0.2"), ("rapid", "0.5"), ("lite", "0.099")):
            made = prepared("aiart", hg.Task("a", model=model))
            assert made.estimate == hg.Cost(amount=Decimal(price), currency="CNY")
        assert prepared("tokenhub", hg.Task("a")).estimate is None
        assert prepared("hunyuan", hg.Task("a")).estimate is None


OPTIONS = sorted(
    {name for table in (*DIALECTS.values(), AI3D) for row in table.models for name in row.options}
)
#: Tasks of which many can be done.
tasks = st.builds(
    hg.Task,
    prompts,
    size=st.none() | st.sampled_from([(1024, 1024), (768, 1024), (1920, 1080), (1, 1)]),
    seed=st.none() | st.integers(0, 2**33),
    n=st.integers(1, 9),
    negative_prompt=st.none() | st.none() | words,
    style=st.none() | st.none() | words | st.sampled_from(["shuimo", "1"]),
    inputs=st.lists(st.sampled_from([WEB, WEB, "missing.png"]), max_size=2),
    provider_options=st.dictionaries(
        st.sampled_from(OPTIONS),
        st.sampled_from([True, 0, 5000, "x2", "GLB"]) | json_values,
        max_size=2,
    ),
)


class TestAnyTask:
    @pytest.mark.parametrize("dialect", [*DIALECTS, "ai3d"])
    @given(task=tasks, model=st.integers(0, 3), kind=st.booleans())
    def test_it_is_prepared_or_refused_and_nothing_else(
        self, dialect: str, task: hg.Task, model: int, kind: bool
    ) -> None:
        table = AI3D if dialect == "ai3d" else DIALECTS[dialect]
        name = table.models[model % len(table.models)].name
        asked = attrs.evolve(task, model=name, kind=table.kind if kind else "model3d")

        async def main() -> None:
            provider = FakeService().provider(dialect)
            try:
                made = provider.prepare(asked)
            except InvalidTaskError:
                return
            for share in split(asked, made.per_job):
                request = provider.prepare(share).request
                assert json.loads(encode(request)) == json.loads(json.dumps(thaw(request)))

        run_virtual(main())
