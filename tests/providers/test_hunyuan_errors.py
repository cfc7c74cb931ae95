"""Every documented code becomes the right error, and says truly whether a job was made."""

from __future__ import annotations

from pathlib import Path

import pytest

from holodeck_gen.errors import (
    AuthError,
    BillingError,
    ContentRejectedError,
    JobFailedError,
    ProviderError,
    RetryableError,
    SlotRefusedError,
    ThrottledError,
    TransientError,
)
from holodeck_gen_providers.hunyuan._codes import CODES, verdict_of, verdict_of_status
from holodeck_gen_providers.hunyuan._errors import Fault, fault_in, job_error, retry_after
from hunyuan_fake import NOW

CLASSES: dict[str, type[ProviderError]] = {
    "R": TransientError,
    "L": ThrottledError,
    "S": SlotRefusedError,
    "F": ProviderError,
    "A": AuthError,
    "B": BillingError,
    "X": BillingError,
    "M": ContentRejectedError,
    "J": ProviderError,
}
LINES = (Path(__file__).parent / "hunyuan_data" / "codes.txt").read_text("utf-8").splitlines()
DOCUMENTED = [tuple(line.split()) for line in LINES if not line.startswith("#")]


def fault(body: object, status: int = 200, **headers: str) -> Fault | None:
    given = body if isinstance(body, dict) else None
    return fault_in(given, status=status, headers=headers, now=NOW, redact=str)


def error_of(body: object, status: int = 200, **headers: str) -> ProviderError:
    found = fault(body, status, **headers)
    assert found is not None
    return found.error(provider="hunyuan")


def told(code: str) -> dict[str, object]:
    return {"Response": {"Error": {"Code": code, "Message": "words"}, "RequestId": "r-1"}}


class TestTable:
    @pytest.mark.parametrize(("code", "letter", "created"), DOCUMENTED)
    def test_a_documented_code(self, code: str, letter: str, created: str) -> None:
        error = error_of(told(code))
        assert type(error) is CLASSES[letter]
        assert error.not_created is (created == "N")
        assert (error.code, error.request_id) == (code, "r-1")
        assert f"{code}: words" in str(error)

    def test_no_code_is_unmapped_and_none_is_invented(self) -> None:
        assert {code for code, *_ in DOCUMENTED} == set(CODES)

    @pytest.mark.parametrize(
        ("code", "letter", "created"), [row for row in DOCUMENTED if row[1] == "X"]
    )
    def test_a_retired_action_says_what_to_use(self, code: str, letter: str, created: str) -> None:
        assert "use dialect=tokenhub with HUNYUAN_API_KEY" in str(error_of(told(code)))

    @pytest.mark.parametrize(
        ("code", "cls", "created"),
        [
            ("InvalidParameterValue.Fresh", ProviderError, "N"),
            ("UnsupportedFresh", ProviderError, "N"),
            ("MissingFresh", ProviderError, "N"),
            ("AuthFailure.Fresh", AuthError, "N"),
            ("UnauthorizedFresh", AuthError, "N"),
            ("RequestLimitExceeded.Fresh", ThrottledError, "N"),
            ("LimitExceeded.Fresh", TransientError, "N"),
            ("ResourceUnavailable.Fresh", BillingError, "N"),
            ("ResourcesSoldOut.Fresh", BillingError, "N"),
            ("OperationDenied.Fresh", ContentRejectedError, "?"),
            ("InternalError.Fresh", TransientError, "?"),
            ("FailedOperation.Fresh", TransientError, "?"),
        ],
    )
    def test_an_unknown_code_goes_by_its_prefix(
        self, code: str, cls: type[ProviderError], created: str
    ) -> None:
        error = error_of(told(code))
        assert type(error) is cls
        assert error.not_created is (created == "N")

    def test_a_code_of_which_nothing_is_known_proves_nothing(self) -> None:
        error = error_of(told("Utterly.New"))
        assert isinstance(error, TransientError | ProviderError)
        assert not error.not_created

    def test_an_end_that_is_known_of_another_family_proves_nothing(self) -> None:
        """``ResourceUnavailable.NotExist`` is a refusal; that says nothing of this one."""
        assert not error_of(told("FailedOperation.NotExist")).not_created

    @pytest.mark.parametrize("code", ["ServerError", "DownloadError", "ImageIllegalDetected"])
    def test_a_code_may_lack_its_prefix(self, code: str) -> None:
        full = next(known for known in CODES if known.endswith(f".{code}"))
        assert verdict_of(code) is CODES[full]


class TestTokenHub:
    @pytest.mark.parametrize(
        ("status", "type_", "code", "cls", "created"),
        [
            (400, "invalid_request_error", "400001", ProviderError, "N"),
            (400, "invalid_request_error", "400002", ProviderError, "N"),
            (400, "invalid_request_error", "400004", ProviderError, "N"),
            (401, "authentication_error", "401002", AuthError, "N"),
            (402, "permission_error", "401007", BillingError, "N"),
            (402, "permission_error", "401008", BillingError, "N"),
            (402, "permission_error", "403004", BillingError, "N"),
            (403, "permission_error", "403001", AuthError, "N"),
            (403, "permission_error", "403002", AuthError, "N"),
            (403, "permission_error", "403005", AuthError, "N"),
            (429, "rate_limit_error", "429001", ThrottledError, "N"),
            (451, "content_filter_error", "451001", ContentRejectedError, "?"),
            (502, "upstream_error", "502001", TransientError, "?"),
            (402, "permission_error", "FREE_QUOTA_EXHAUSTED", BillingError, "N"),
            # Codes that are not documented go by type, and those without a type by status.
            (400, "invalid_request_error", "400999", ProviderError, "N"),
            (402, "", "402999", BillingError, "N"),
            (422, "", "422001", ContentRejectedError, "?"),
            (503, "", "503001", TransientError, "?"),
            # An error may come with status 200.
            (200, "content_filter", "content_filter", ContentRejectedError, "?"),
            (200, "rate_limit_error", "", ThrottledError, "N"),
            (200, "", "", TransientError, "?"),
        ],
    )
    def test_an_error_object(
        self, status: int, type_: str, code: str, cls: type[ProviderError], created: str
    ) -> None:
        error = error_of({"error": {"type": type_, "code": code, "message": "words"}}, status)
        assert type(error) is cls
        assert error.not_created is (created == "N")
        assert "words" in str(error)

    def test_a_number_is_a_code_too(self) -> None:
        assert isinstance(error_of({"error": {"code": 401002}}, 401), AuthError)

    def test_the_code_behind_the_gateway_is_the_better_one(self) -> None:
        error = error_of(
            {
                "error": {
                    "code": "502001",
                    "type": "upstream_error",
                    "upstream_code": "RequestLimitExceeded.JobNumExceed",
                    "request_id": "r-2",
                }
            },
            502,
        )
        assert isinstance(error, SlotRefusedError)
        assert error.request_id == "r-2"

    def test_an_error_may_be_a_text(self) -> None:
        assert "no model" in str(error_of({"error": "no model"}, 400))


class TestStatus:
    @pytest.mark.parametrize(
        ("status", "cls", "created"),
        [
            (302, ProviderError, "N"),
            (404, ProviderError, "N"),
            (408, TransientError, "?"),
            (413, ProviderError, "N"),
            (429, ThrottledError, "N"),
            (499, TransientError, "?"),
            (500, TransientError, "?"),
            (502, TransientError, "?"),
            (504, TransientError, "?"),
        ],
    )
    def test_a_status_without_a_body_that_tells(
        self, status: int, cls: type[ProviderError], created: str
    ) -> None:
        error = error_of("<html>", status)
        assert type(error) is cls
        assert error.not_created is (created == "N")
        assert error.code == f"HTTP {status}"

    def test_the_body_counts_more_than_the_status(self) -> None:
        assert isinstance(error_of(told("AuthFailure.SignatureFailure"), 500), AuthError)

    def test_success_is_no_fault(self) -> None:
        assert fault({"Response": {"JobId": "1"}}) is None
        assert fault({"id": "1", "status": "queued", "error": None}) is None

    def test_no_server_error_proves_that_no_job_was_made(self) -> None:
        assert not any(verdict_of_status(status).not_created for status in range(500, 600))


class TestWaiting:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("7", 7.0),
            ("0.5", 0.5),
            ("-1", None),
            ("nan", None),
            ("inf", None),
            ("soon", None),
            (None, None),
            ("Tue, 25 Nov 2025 10:00:30 GMT", 30.0),
            ("Tue, 25 Nov 2025 09:00:00 GMT", 0.0),
        ],
    )
    def test_retry_after_is_seconds_or_a_date(
        self, value: str | None, seconds: float | None
    ) -> None:
        assert retry_after(value, now=1764064800.0) == seconds

    def test_the_service_is_taken_at_its_word(self) -> None:
        error = error_of({"error": {"code": "429001"}}, 429, **{"retry-after": "9"})
        assert isinstance(error, RetryableError)
        assert error.retry_after == 9.0

    def test_an_account_that_is_throttled_waits_longer_than_an_action(self) -> None:
        waits = []
        for code in ("RequestLimitExceeded", "RequestLimitExceeded.UinLimitExceeded"):
            error = error_of(told(code))
            assert isinstance(error, RetryableError)
            waits.append(error.retry_after or 0.0)
        assert waits[0] < waits[1]


class TestJobs:
    @pytest.mark.parametrize(
        ("code", "cls"),
        [
            ("ServerError", JobFailedError),
            ("FailedOperation.DownloadError", JobFailedError),
            ("RequestLimitExceeded.JobNumExceed", JobFailedError),
            ("ResourceUnavailable.InArrears", JobFailedError),
            ("", JobFailedError),
            ("OperationDenied.TextIllegalDetected", ContentRejectedError),
            ("ImageIllegalDetected", ContentRejectedError),
            ("FailedOperation.GenerateImageFailed", ContentRejectedError),
        ],
    )
    def test_a_failed_job_is_over_whatever_its_code(
        self, code: str, cls: type[ProviderError]
    ) -> None:
        error = job_error(code, "words", provider="hunyuan", job_id="j-1")
        assert type(error) is cls
        assert not error.not_created
        assert error.job_id == "j-1"

    def test_without_a_word_it_says_so(self) -> None:
        assert str(job_error("", "", provider="hunyuan", job_id=None)) == "no reason given"
