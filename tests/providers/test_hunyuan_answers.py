"""What a query's answer becomes: phases, pictures, missing pictures, 3D files, lifetimes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import holodeck_gen as hg
from holodeck_gen.errors import (
    AuthError,
    ContentRejectedError,
    JobFailedError,
    ProviderError,
    TransientError,
)
from holodeck_gen.testing import run_virtual
from hunyuan_fake import NOW, FakeService, plain, tc3, tc3_error

A, B, C = (f"https://r.example.com/{name}.png" for name in "abc")
STATE = {
    "aiart": {"model": "hy-image-v3.0"},
    "hunyuan": {"model": "hunyuan-image"},
    "tokenhub": {"model": "hy-image-v3.0"},
    "ai3d": {"model": "hunyuan-3d-pro"},
}


def poll(dialect: str, answer: Any, **state: Any) -> hg.JobStatus:
    async def main() -> hg.JobStatus:
        provider = FakeService([answer]).provider(dialect)
        job = hg.JobRef(job_id="j", state={**STATE[dialect], **state})
        status: hg.JobStatus = await provider.poll(job)
        return status

    return run_virtual(main())


def job(code: str, **fields: Any) -> Any:
    return tc3(JobStatusCode=code, **fields)


def urls(status: hg.JobStatus) -> list[str]:
    return [output.url for output in status.outputs if isinstance(output, hg.Url)]


def missing(status: hg.JobStatus) -> list[Exception]:
    return [output.error for output in status.outputs if isinstance(output, hg.PartError)]


class TestPhases:
    @pytest.mark.parametrize(
        ("dialect", "answer", "phase"),
        [
            ("aiart", job("1"), "queued"),
            ("aiart", job("2"), "running"),
            ("hunyuan", job("2", ResultImage=None, ResultDetails=None), "running"),
            ("hunyuan", job("5", ResultImage=[A]), "done"),
            ("aiart", job("4"), "failed"),
            ("ai3d", tc3(Status="WAIT"), "queued"),
            ("ai3d", tc3(Status="RUN"), "running"),
            ("ai3d", tc3(Status="FAIL"), "failed"),
            ("ai3d", tc3(Status="DONE", ResultFile3Ds=[{"Type": "GLB", "Url": A}]), "done"),
            ("tokenhub", plain({"status": "queued"}), "queued"),
            ("tokenhub", plain({"status": "running"}), "running"),
            ("tokenhub", plain({"status": "in_progress"}), "running"),
            ("tokenhub", plain({"status": "completed", "data": [{"url": A}]}), "done"),
        ],
    )
    def test_every_word_of_every_dialect(self, dialect: str, answer: Any, phase: str) -> None:
        assert poll(dialect, answer).phase == phase

    @pytest.mark.parametrize(
        ("dialect", "answer"),
        [
            ("aiart", job("3")),
            ("aiart", tc3()),
            ("ai3d", tc3(Status="5")),
            ("tokenhub", plain({"status": "polishing"})),
        ],
    )
    def test_an_unknown_word_is_asked_again_not_taken_for_an_end(
        self, dialect: str, answer: Any
    ) -> None:
        with pytest.raises(TransientError):
            poll(dialect, answer)

    @pytest.mark.parametrize(
        ("dialect", "answer"),
        [
            ("aiart", job("4", JobErrorCode="ServerError", JobErrorMsg="words")),
            ("ai3d", tc3(Status="FAIL", ErrorCode="ServerError", ErrorMessage="words")),
            (
                "tokenhub",
                plain({"status": "failed", "error": {"code": "ServerError", "message": "words"}}),
            ),
        ],
    )
    def test_a_failed_job_tells_why(self, dialect: str, answer: Any) -> None:
        status = poll(dialect, answer)
        assert isinstance(status.error, JobFailedError)
        assert (status.error.code, status.error.job_id) == ("ServerError", "j")
        assert "words" in str(status.error)

    def test_a_rejected_picture_is_no_failure_of_the_service(self) -> None:
        status = poll("aiart", job("4", JobErrorCode="OperationDenied.ImageIllegalDetected"))
        assert isinstance(status.error, ContentRejectedError)


class TestPictures:
    def test_each_has_its_revised_prompt_and_its_seed(self) -> None:
        answer = job(
            "5", ResultImage=[A, B], ResultDetails=["Success"] * 2, RevisedPrompt=["x", "y"]
        )
        status = poll("hunyuan", answer, seed=7)
        assert urls(status) == [A, B]
        revised = [each.revised_prompt for each in status.outputs if isinstance(each, hg.Url)]
        assert revised == ["x", "y"]
        assert isinstance(status.outputs[0], hg.Url)
        assert status.outputs[0].seed == 7

    @pytest.mark.parametrize(
        ("images", "details", "found"),
        [
            ([A, B], ["Success", "Success"], [A, B]),
            # A gap is left for what was not made, or only what was made is listed.
            ([A, "", C], ["Success", "ServerError", "Success"], [A, C]),
            ([A, C], ["Success", "ServerError", "Success"], [A, C]),
            ([A, None, C], ["Success", "ServerError", "Success"], [A, C]),
            ([A], None, [A]),
            (A, None, [A]),
            # A picture that was made is never lost for want of a detail.
            ([A, B], ["Success"], [A, B]),
        ],
    )
    def test_some_may_be_missing(
        self, images: Any, details: list[str] | None, found: list[str]
    ) -> None:
        status = poll("hunyuan", job("5", ResultImage=images, ResultDetails=details))
        assert status.phase == "done"
        assert urls(status) == found
        assert len(missing(status)) == (details or []).count("ServerError")

    def test_a_missing_one_tells_why(self) -> None:
        details = ["Success", "OperationDenied.ImageIllegalDetected"]
        [error] = missing(poll("hunyuan", job("5", ResultImage=[A], ResultDetails=details)))
        assert isinstance(error, ContentRejectedError)

    @pytest.mark.parametrize(
        ("dialect", "answer"),
        [
            ("aiart", job("5")),
            ("aiart", job("5", ResultImage=[])),
            ("aiart", job("5", ResultImage=[""])),
            ("hunyuan", job("5", ResultImage=[], ResultDetails=["ServerError"])),
            ("tokenhub", plain({"status": "completed", "data": []})),
            ("tokenhub", plain({"status": "completed", "data": [{"url": ""}]})),
            ("ai3d", tc3(Status="DONE", ResultFile3Ds=[])),
        ],
    )
    def test_a_finished_job_without_any_has_failed(self, dialect: str, answer: Any) -> None:
        status = poll(dialect, answer)
        assert status.phase == "failed"
        assert isinstance(status.error, JobFailedError)


class TestLifetime:
    @pytest.mark.parametrize(
        ("dialect", "answer", "seconds"),
        [
            ("aiart", job("5", ResultImage=[A], date=NOW + 500.0), 3600.0),
            ("tokenhub", plain({"status": "completed", "data": [{"url": A}]}), 3600.0 - 500.0),
            (
                "ai3d",
                tc3(Status="DONE", ResultFile3Ds=[{"Type": "OBJ", "Url": A}], date=NOW + 500.0),
                86_400.0,
            ),
        ],
    )
    def test_it_is_counted_on_the_services_clock(
        self, dialect: str, answer: Any, seconds: float
    ) -> None:
        [output] = poll(dialect, answer).outputs
        assert isinstance(output, hg.Url)
        assert output.expires_at == NOW + 500.0 + seconds

    def test_it_is_no_longer_than_from_the_submit(self) -> None:
        """A job that is asked for long after its end does not tell when that was."""
        [output] = poll("aiart", job("5", ResultImage=[A]), at=NOW - 3000.0).outputs
        assert isinstance(output, hg.Url)
        assert output.expires_at == NOW + 600.0

    @pytest.mark.parametrize("separator", [";", "%3B", "%3b"])
    def test_a_presigned_address_tells_its_own_end(self, separator: str) -> None:
        url = f"{A}?q-ak=x&q-sign-time=100{separator}1234&q-key-time=1;2"
        [output] = poll("aiart", job("5", ResultImage=[url])).outputs
        assert isinstance(output, hg.Url)
        assert output.expires_at == 1234.0


class TestFiles:
    FILES = (
        {"Type": "OBJ", "Url": A, "PreviewImageUrl": B},
        {"Type": "GLB", "Url": C, "PreviewImageUrl": B},
    )

    def one(self, **state: Any) -> hg.Url:
        answer = tc3(Status="DONE", ResultFile3Ds=list(self.FILES), ResultCreditConsumed=20.5)
        [output] = poll("ai3d", answer, **state).outputs
        assert isinstance(output, hg.Url)
        return output

    def test_a_model_is_one_file_glb_where_there_is_one(self) -> None:
        output = self.one()
        assert (output.url, output.media_type) == (C, "model/gltf-binary")
        assert dict(output.metadata) == {
            "format": "GLB",
            "formats": ("OBJ", "GLB"),
            "credits": 20.5,
        }

    def test_the_format_that_was_asked_for_wins(self) -> None:
        assert self.one(format="obj").url == A

    def test_another_format_is_better_than_none(self) -> None:
        assert self.one(format="STL").url == A


class TestDirect:
    @pytest.mark.parametrize(
        ("dialect", "model", "answer"),
        [
            ("tokenhub", "hy-image-v3", {"data": [{"url": A, "revised_prompt": "x"}]}),
            ("tokenhub", "hy-image-lite", {"data": [{"url": A}]}),
            (
                "tokenhub",
                "hy-image-v3.5-preview",
                {"choices": [{"delta": {"image": {"url": A}}, "finish_reason": "stop"}]},
            ),
            ("aiart", "lite", {"Response": {"ResultImage": A, "Seed": 5}}),
            ("hunyuan", "lite", {"Response": {"ResultImage": A}}),
        ],
    )
    def test_the_answer_is_the_end(self, dialect: str, model: str, answer: Any) -> None:
        status = self.submit(dialect, model, plain(answer))
        assert (status.phase, urls(status)) == ("done", [A])

    def test_the_seed_that_the_service_drew_is_kept(self) -> None:
        [output] = self.submit("aiart", "lite", tc3(ResultImage=A, Seed=5)).outputs
        assert isinstance(output, hg.Url)
        assert output.seed == 5

    @pytest.mark.parametrize(
        ("dialect", "model", "answer"),
        [
            ("tokenhub", "hy-image-v3", plain({"error": {"code": "x"}}, status=422)),
            ("tokenhub", "hy-image-v3", plain({"error": {"code": "451001"}}, status=451)),
            (
                "tokenhub",
                "hy-image-v3.5-preview",
                plain({"error": {"type": "x", "code": "content_filter", "message": "words"}}),
            ),
            ("aiart", "lite", tc3_error("FailedOperation.GenerateImageFailed")),
        ],
    )
    def test_a_picture_that_was_rejected_is_an_end_not_a_doubt(
        self, dialect: str, model: str, answer: Any
    ) -> None:
        """It may have cost something, but there is nothing to wait for and nothing to repeat."""
        status = self.submit(dialect, model, answer)
        assert status.phase == "failed"
        assert isinstance(status.error, ContentRejectedError)

    @pytest.mark.parametrize(
        "answer",
        [
            {"data": []},
            {"choices": [{"delta": {}, "finish_reason": "error"}]},
            {"choices": [{"delta": None}]},
        ],
    )
    def test_an_answer_without_a_picture_is_a_failure(self, answer: Any) -> None:
        model = "hy-image-v3" if "data" in answer else "hy-image-v3.5-preview"
        assert self.submit("tokenhub", model, plain(answer)).phase == "failed"

    @staticmethod
    def submit(dialect: str, model: str, answer: Any) -> hg.JobStatus:
        async def main() -> hg.JobStatus:
            provider = FakeService([answer]).provider(dialect)
            request = provider.prepare(hg.Task("a", model=model)).request
            status: hg.JobStatus = await provider.submit(request, key="k#0")
            return status

        return run_virtual(main())


class TestUnknownJob:
    CODE = "FailedOperation.JobNotExist"

    def test_it_may_be_unknown_right_after_its_submit(self) -> None:
        answers = [tc3_error(self.CODE), tc3_error(self.CODE), job("2")]
        assert self.polls(answers) == ["again", "again", "running"]

    def test_it_is_lost_if_it_stays_unknown(self) -> None:
        """It is paid for, so it is not given up before most of a minute has passed."""
        answers = [tc3_error(self.CODE)] * 5
        assert self.polls(answers, every_s=12.0) == ["again", "again", "again", "again", "lost"]

    def test_an_answer_in_between_begins_the_count_anew(self) -> None:
        unknown = tc3_error("ResourceNotFound")
        answers = [unknown, unknown, job("2"), unknown, unknown, job("2")]
        assert self.polls(answers) == ["again", "again", "running", "again", "again", "running"]

    def test_other_errors_are_told_as_they_are(self) -> None:
        with pytest.raises(AuthError):
            poll("aiart", tc3_error("AuthFailure.SignatureFailure"))
        with pytest.raises(TransientError):
            poll("aiart", tc3_error("InternalError"))

    def test_a_job_of_another_dialect_cannot_be_asked_after(self) -> None:
        with pytest.raises(ProviderError, match="'hunyuan-image'"):
            poll("aiart", job("2"), model="hunyuan-image")

    @staticmethod
    def polls(answers: list[Any], *, every_s: float = 2.0) -> list[str]:
        async def main() -> list[str]:
            provider = FakeService([*answers]).provider("aiart")
            seen: list[str] = []
            for _ in answers:
                try:
                    status = await provider.poll(hg.JobRef(job_id="j", state=STATE["aiart"]))
                    seen.append(status.phase)
                except TransientError:
                    seen.append("again")
                except JobFailedError:
                    seen.append("lost")
                await asyncio.sleep(every_s)
            return seen

        return run_virtual(main())
