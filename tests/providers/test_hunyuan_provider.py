"""The provider as the engine uses it: quotas, requests, and whole tasks against a fake service."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image
from structlog.testing import capture_logs

import holodeck_gen as hg
from helpers import collect, drain, failure_of, opened, result_of
from holodeck_gen.errors import (
    BillingError,
    ContentRejectedError,
    PartialResultError,
    PausedError,
    ProviderError,
    SubmitUncertainError,
)
from holodeck_gen.testing import PNG, run_virtual
from holodeck_gen_providers.hunyuan import (
    Hunyuan3DOptions,
    HunyuanOptions,
    make_hunyuan,
    make_hunyuan3d,
)
from hunyuan_fake import (
    API_KEY,
    SECRET_ID,
    SECRET_KEY,
    URL,
    FakeService,
    JobService,
    plain,
    tc3,
    tc3_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    Answer = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


def made(dialect: str, service: FakeService | None = None, **options: Any) -> Any:
    async def main() -> Any:
        return (service or FakeService()).provider(dialect, **options)

    return run_virtual(main())


class TestQuota:
    @pytest.mark.parametrize(
        ("dialect", "model", "action", "jobs", "submits", "polls"),
        [
            ("hunyuan", None, "SubmitHunyuanImageJob", 1, 20.0, 20.0),
            ("hunyuan", "lite", "TextToImageLite", 3, None, None),
            ("aiart", None, "SubmitTextToImageJob", 1, 20.0, 20.0),
            ("aiart", "lite", "TextToImageLite", 1, None, None),
            ("aiart", "rapid", "TextToImageRapid", 1, None, None),
            ("ai3d", "pro", "SubmitHunyuanTo3DProJob", 3, 20.0, 20.0),
            ("ai3d", "pro-3.1", "SubmitHunyuanTo3DProJob", 3, 20.0, 20.0),
            ("ai3d", "rapid", "SubmitHunyuanTo3DRapidJob", 1, 20.0, 20.0),
            ("tokenhub", None, "/v1/api/image/submit", None, None, None),
            (
                "tokenhub",
                "hy-image-v3",
                "/v1/wand/hunyuan-image/v3-generation",
                None,
                None,
                None,
            ),
        ],
    )
    def test_slots_are_counted_for_each_action(
        self,
        dialect: str,
        model: str | None,
        action: str,
        jobs: int | None,
        submits: float | None,
        polls: float | None,
    ) -> None:
        provider = made(dialect)
        task = hg.Task("a", model=model)
        limits = provider.limits_for(task)
        assert provider.quota_key(task) == action
        assert (limits.max_jobs, limits.submit_rate, limits.poll_rate) == (jobs, submits, polls)

    @pytest.mark.parametrize("dialect", ["tokenhub", "aiart", "hunyuan"])
    def test_jobs_alike_are_told_from_those_that_take_longer(self, dialect: str) -> None:
        provider = made(dialect)

        def key(prompt: str, **fields: Any) -> str:
            request = provider.prepare(hg.Task(prompt, **fields)).request
            return str(provider.duration_key(request))

        assert key("a cat") == key("a dog")
        keys = {
            key("a cat"),
            key("a cat", size="1280x768"),
            key("a cat", provider_options={"revise": False}),
        }
        assert len(keys) == 3
        # A seed turns the rewrite off.
        assert key("a cat", seed=7) == key("a cat", provider_options={"revise": False})
        assert key("a cat", provider_options={"revise": True}) == key("a cat")

    def test_the_engine_waits_longer_than_a_direct_call(self) -> None:
        assert made("tokenhub").limits.request_timeout_s == 300.0
        assert made("ai3d").limits.request_timeout_s == 60.0

    def test_a_studio_gives_each_action_its_own_slots(self) -> None:
        at_once: dict[str, int] = {}
        most: dict[str, int] = {}

        async def answer(request: httpx.Request) -> httpx.Response:
            if request.method == "GET":
                return httpx.Response(200, content=PNG)
            action = request.headers["x-tc-action"]
            if at_once.get(action, 0) == 3:
                return tc3_error("RequestLimitExceeded.JobNumExceed")
            at_once[action] = at_once.get(action, 0) + 1
            most[action] = max(most.get(action, 0), at_once[action])
            await asyncio.sleep(5.0)
            at_once[action] -= 1
            return tc3(ResultImage=URL)

        tasks = [hg.Task(f"{i}", model="lite") for i in range(9)]
        outcomes = run_virtual(_mapped(_hunyuan("hunyuan"), answer, tasks))
        assert [outcome.ok for outcome in outcomes] == [True] * 9
        assert most == {"TextToImageLite": 3}


class TestReferences:
    @pytest.mark.parametrize(
        ("dialect", "model", "field", "form"),
        [
            ("aiart", None, "Images", "texts"),
            ("aiart", "rapid", "Image", "Base64"),
            ("hunyuan", None, "ContentImage", "ImageBase64"),
            ("tokenhub", None, "images", "data"),
            ("tokenhub", "hy-image-v3", "images", "data"),
        ],
    )
    def test_a_file_is_read_when_it_is_submitted(
        self, tmp_path: Path, dialect: str, model: str | None, field: str, form: str
    ) -> None:
        path = _picture(tmp_path / "cat.png")
        service = self.submitted(dialect, hg.Task("a", model=model, inputs=[path]))
        sent = service.bodies[0][field]
        text = base64.b64encode(path.read_bytes()).decode()
        wanted: dict[str, Any] = {
            "texts": [text],
            "data": [f"data:image/png;base64,{text}"],
        }
        assert sent == wanted.get(form, {form: text})

    def test_a_chat_gets_pictures_as_parts_of_its_message(self) -> None:
        task = hg.Task("a", model="hy-image-v3.5-preview", inputs=["https://e.example.com/1"])
        [message] = self.submitted("tokenhub", task).bodies[0]["messages"]
        assert message["content"] == [
            {"type": "text", "text": "a"},
            {"type": "image_url", "image_url": {"url": "https://e.example.com/1"}},
        ]

    def test_an_artifact_becomes_a_3d_model(self, tmp_path: Path) -> None:
        path = _picture(tmp_path / "cat.png")
        artifact = hg.Artifact(path=path, media_type="image/png", sha256="0" * 64, size_bytes=1)
        task = hg.Task(inputs=[artifact], kind="model3d")
        body = self.submitted("ai3d", task).bodies[0]
        assert body == {
            "Model": "3.0",
            "ImageBase64": base64.b64encode(path.read_bytes()).decode(),
        }

    @pytest.mark.parametrize("gone", [True, False])
    def test_a_file_that_is_no_longer_what_was_prepared_is_not_sent(
        self, tmp_path: Path, gone: bool
    ) -> None:
        path = _picture(tmp_path / "cat.png")
        service = FakeService([tc3(JobId="j")])

        async def main() -> None:
            provider = service.provider("aiart")
            request = provider.prepare(hg.Task("a", inputs=[path])).request
            path.unlink()
            if not gone:
                _picture(path, color="red")
            await provider.submit(request, key="k#0")

        with pytest.raises(ProviderError, match="reference picture") as caught:
            run_virtual(main())
        assert caught.value.not_created
        assert not service.requests

    @staticmethod
    def submitted(dialect: str, task: hg.Task) -> FakeService:
        answer = plain(
            {
                "id": "j",
                "data": [{"url": URL}],
                "choices": [{"delta": {"image": {"url": URL}}}],
                "Response": {"JobId": "j", "ResultImage": URL},
            }
        )
        service = FakeService([answer])

        async def main() -> None:
            provider = service.provider(dialect)
            await provider.submit(provider.prepare(task).request, key="k#0")

        run_virtual(main())
        return service


class TestQuery:
    @pytest.mark.parametrize(
        ("dialect", "body"),
        [
            ("aiart", {"JobId": "j"}),
            ("hunyuan", {"JobId": "j"}),
            ("tokenhub", {"model": "hy-image-v3.0", "id": "j"}),
        ],
    )
    def test_it_names_the_job(self, dialect: str, body: dict[str, str]) -> None:
        service = FakeService([plain({"status": "queued", "Response": {"JobStatusCode": "1"}})])

        async def main() -> None:
            provider = service.provider(dialect)
            model = provider.default.name
            await provider.poll(hg.JobRef(job_id="j", state={"model": model}))

        run_virtual(main())
        assert service.bodies == [body]


class TestTasks:
    """Whole tasks through a studio, on a virtual clock."""

    @pytest.mark.parametrize("dialect", ["tokenhub", "aiart", "hunyuan"])
    def test_a_picture_of_each_dialect(self, dialect: str) -> None:
        jobs = JobService()
        [outcome] = run_virtual(
            _mapped(_hunyuan(dialect), _with_files(jobs.answer), [hg.Task("a", seed=7)])
        )
        result = result_of(outcome)
        assert result.job_ids == ("job-0",)
        assert result.revised_prompt == "told otherwise"
        assert result.artifact.seed == 7
        assert "revise is off" in result.warnings[0]

    def test_six_pictures_are_two_jobs_in_the_old_dialect(self) -> None:
        jobs = JobService()
        [outcome] = run_virtual(
            _mapped(_hunyuan("hunyuan"), _with_files(jobs.answer), [hg.Task("a", n=6)])
        )
        assert len(result_of(outcome).artifacts) == 6
        assert sorted(jobs.made.values()) == [2, 4]

    def test_a_3d_model(self) -> None:
        def factory(_: object, ctx: hg.Context) -> hg.Provider:
            keys = Hunyuan3DOptions(secret_id=SECRET_ID, secret_key=SECRET_KEY)
            return make_hunyuan3d(keys, ctx)

        glb = b"glTF\x02\x00\x00\x00\x0c\x00\x00\x00"
        answer = _with_files(JobService().answer, content=glb)
        [outcome] = run_virtual(_mapped(factory, answer, [hg.Task("a", kind="model3d")]))
        artifact = result_of(outcome).artifact
        assert artifact.media_type == "model/gltf-binary"
        # Signed addresses stay out of what is kept and reported.
        assert "https://" not in str(artifact.metadata)

    def test_some_pictures_of_a_job_may_be_missing(self) -> None:
        details = ["Success", "OperationDenied.ImageIllegalDetected"]
        done = tc3(JobStatusCode="5", ResultImage=[URL], ResultDetails=details)
        answer = _scripted([tc3(JobId="j"), done])
        [outcome] = run_virtual(_mapped(_hunyuan("hunyuan"), answer, [hg.Task("a", n=2)]))
        error = failure_of(outcome).error
        assert isinstance(error, PartialResultError)
        assert isinstance(error.__cause__, ContentRejectedError)
        assert len(error.artifacts) == 1

    @pytest.mark.parametrize("code", ["ActionOffline", "InvalidAction", "NoSuchVersion"])
    def test_a_retired_action_stops_the_batch_and_says_what_to_do(self, code: str) -> None:
        service = FakeService([tc3_error(code)])
        tasks = [hg.Task(f"{i}") for i in range(20)]
        outcomes: list[hg.Outcome] = []

        async def main() -> None:
            transport = httpx.MockTransport(service.answer)
            async with opened(_hunyuan("hunyuan"), transport=transport) as studio:
                await drain(studio.map(tasks), outcomes)

        with pytest.raises(PausedError, match="dialect=tokenhub with HUNYUAN_API_KEY"):
            run_virtual(main())
        assert len(service.requests) == 1
        errors = [failure_of(outcome).error for outcome in outcomes]
        assert [type(error) for error in errors].count(BillingError) == 1
        assert all("dialect=tokenhub with HUNYUAN_API_KEY" in str(error) for error in errors)

    def test_a_rejected_prompt_stops_its_task_only(self) -> None:
        jobs = JobService()

        async def answer(request: httpx.Request) -> httpx.Response:
            if b"forbidden" in request.content:
                return tc3_error("OperationDenied.TextIllegalDetected")
            return await _with_files(jobs.answer)(request)

        tasks = [hg.Task("forbidden"), hg.Task("a"), hg.Task("b")]
        outcomes = run_virtual(_mapped(_hunyuan("aiart"), answer, tasks))
        assert sorted(outcome.ok for outcome in outcomes) == [False, True, True]

    def test_a_full_quota_is_waited_for(self) -> None:
        jobs = JobService()
        refused = [tc3_error("RequestLimitExceeded.JobNumExceed")] * 6

        async def answer(request: httpx.Request) -> httpx.Response:
            if b"Prompt" in request.content and refused:
                return refused.pop()
            return await _with_files(jobs.answer)(request)

        [outcome] = run_virtual(_mapped(_hunyuan("aiart"), answer, [hg.Task("a")]))
        assert result_of(outcome).attempts == 7

    @pytest.mark.parametrize("model", [None, "hy-image-v3"])
    def test_a_lost_answer_is_held_and_never_sent_again(self, model: str | None) -> None:
        service = FakeService([httpx.ReadTimeout("slow")])
        tasks = [hg.Task("a", model=model)]
        [outcome] = run_virtual(_mapped(_hunyuan("tokenhub"), service.answer, tasks))
        failure = failure_of(outcome)
        assert (failure.state, len(service.requests)) == ("held", 1)
        assert isinstance(failure.error, SubmitUncertainError)
        assert ("no job from which" in str(failure.error)) is (model is not None)

    def test_a_service_that_cannot_be_reached_is_tried_again(self) -> None:
        jobs = JobService()
        down: list[Exception] = [httpx.ConnectError("refused")] * 2

        async def answer(request: httpx.Request) -> httpx.Response:
            if down:
                raise down.pop()
            return await _with_files(jobs.answer)(request)

        [outcome] = run_virtual(_mapped(_hunyuan("aiart"), answer, [hg.Task("a")]))
        assert result_of(outcome).attempts == 3
        assert len(jobs.made) == 1

    def test_results_are_fetched_without_credentials(self) -> None:
        seen: list[httpx.Request] = []
        jobs = JobService()

        async def answer(request: httpx.Request) -> httpx.Response:
            if request.method == "GET":
                seen.append(request)
            return await _with_files(jobs.answer)(request)

        run_virtual(_mapped(_hunyuan("tokenhub"), answer, [hg.Task("a")]))
        [request] = seen
        assert not {"authorization", "cookie", "x-tc-token"} & set(request.headers)

    def test_no_secret_and_no_signed_address_is_logged(self) -> None:
        with capture_logs() as logs:
            jobs = JobService()
            answer = _with_files(jobs.answer)
            run_virtual(_mapped(_hunyuan("aiart"), answer, [hg.Task("a"), hg.Task("b", n=2)]))
        told = repr(logs)
        assert "account.selected" in told
        for secret in (SECRET_KEY, API_KEY, SECRET_ID, "q-sign-time"):
            assert secret not in told


def _picture(path: Path, *, color: str = "white") -> Path:
    Image.new("RGB", (150, 150), color).save(path)
    return path


def _hunyuan(dialect: str) -> Any:
    def factory(_: object, ctx: hg.Context) -> hg.Provider:
        keys: dict[str, str] = {"secret_id": SECRET_ID, "secret_key": SECRET_KEY}
        given = {"api_key": API_KEY} if dialect == "tokenhub" else keys
        return make_hunyuan(HunyuanOptions(dialect=dialect, **given), ctx)

    return factory


def _with_files(answer: Answer, *, content: bytes = PNG) -> Answer:
    async def with_files(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, content=content)
        return await answer(request)

    return with_files


def _scripted(answers: list[httpx.Response]) -> Answer:
    return _with_files(FakeService(answers).answer)


async def _mapped(provider: Any, answer: Answer, tasks: Sequence[hg.Task]) -> list[hg.Outcome]:
    """Outcomes in the order of the tasks."""
    transport = httpx.MockTransport(answer)
    async with opened(provider, transport=transport) as studio:
        return sorted(await collect(studio.map(tasks)), key=lambda outcome: outcome.index)
