from __future__ import annotations

import httpx
import pytest

import holodeck_gen as hg
from holodeck_gen.testing import ProviderContract
from holodeck_gen_providers.hunyuan import (
    Hunyuan3DOptions,
    HunyuanOptions,
    make_hunyuan,
    make_hunyuan3d,
)
from hunyuan_fake import API_KEY, NOW, SECRET_ID, SECRET_KEY, SECRETS, Capture, JobService


def context() -> hg.Context:
    client = httpx.AsyncClient(transport=httpx.MockTransport(JobService().answer))
    return hg.Context(
        http=lambda: client,
        wall_clock=lambda: NOW,
        environ={},
        log=Capture(),  # type: ignore[arg-type]
    )


class TestAiart(ProviderContract):
    secrets = SECRETS
    dialect = "aiart"

    def make_provider(self) -> hg.Provider:
        options = HunyuanOptions(secret_id=SECRET_ID, secret_key=SECRET_KEY, dialect=self.dialect)
        return make_hunyuan(options, context())

    def good_tasks(self) -> list[hg.Task]:
        return [
            hg.Task("a red cat", size="1024x768", seed=7),
            hg.Task("dawn", n=2, provider_options={"logo_add": False}),
            hg.Task("dusk", model="lite"),
        ]

    def bad_tasks(self) -> list[hg.Task]:
        return [
            hg.Task("a", provider_options={"no-such-option": 1}),
            hg.Task("a", kind="model3d"),
            hg.Task("a", size="64x64"),
            hg.Task("a", model="no-such-model"),
            hg.Task("a", style="youhua", model="lite"),
            hg.Task("a" * 8193),
        ]


class TestHunyuan(TestAiart):
    dialect = "hunyuan"

    def good_tasks(self) -> list[hg.Task]:
        return [
            hg.Task("a red cat", size="1024x768", style="shuimo", negative_prompt="dogs"),
            hg.Task("dawn", n=3),
            hg.Task("noon", n=6, seed=7),
            hg.Task("dusk", model="lite"),
        ]

    def bad_tasks(self) -> list[hg.Task]:
        return [hg.Task("a" * 1025), hg.Task("a", size="1000x1000"), hg.Task("a", style="oil")]


class TestTokenHub(ProviderContract):
    secrets = SECRETS

    def make_provider(self) -> hg.Provider:
        return make_hunyuan(HunyuanOptions(api_key=API_KEY), context())

    def good_tasks(self) -> list[hg.Task]:
        return [
            hg.Task("a red cat", size="1024x768", seed=7),
            hg.Task("dawn", n=2, model="hy-image-v3"),
            hg.Task("dusk", model="hy-image-lite"),
            hg.Task("noon", model="hy-image-v3.5-preview", size="2048x2048"),
        ]

    def bad_tasks(self) -> list[hg.Task]:
        return [
            hg.Task("a", style="youhua"),
            hg.Task("a", negative_prompt="b"),
            hg.Task("a", model="hy-image-v3", provider_options={"logo_add": True}),
        ]


class TestHunyuan3D(ProviderContract):
    secrets = SECRETS

    def make_provider(self) -> hg.Provider:
        options = Hunyuan3DOptions(secret_id=SECRET_ID, secret_key=SECRET_KEY)
        return make_hunyuan3d(options, context())

    def good_tasks(self) -> list[hg.Task]:
        return [
            hg.Task("a red cat", kind="model3d"),
            hg.Task(inputs=["https://example.com/cat.png"], kind="model3d", model="rapid"),
        ]

    def bad_tasks(self) -> list[hg.Task]:
        return [
            hg.Task("a"),
            hg.Task("a", kind="model3d", size="1024x1024"),
            hg.Task("a", kind="model3d", seed=3),
            hg.Task("a", kind="model3d", inputs=["https://example.com/cat.png"]),
        ]


@pytest.mark.parametrize("suite", [TestAiart, TestHunyuan, TestTokenHub, TestHunyuan3D])
def test_every_model_is_among_the_good_tasks(suite: type[ProviderContract]) -> None:
    """A model without a task here would go unseen."""
    provider = suite().make_provider()
    tried = {provider.prepare(task).model for task in suite().good_tasks()}
    left = {model.name for model in provider.dialect.models} - tried  # type: ignore[attr-defined]
    assert left <= {"hunyuan-rapid", "hunyuan-3d-pro-3.1"}
