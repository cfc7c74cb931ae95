"""Each row of the old error table, and each fault of the old client that must not come back."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from holodeck_core.image_generation import GenerationResult, GenerationTask
from holodeck_gen import errors
from holodeck_gen_providers.hunyuan._codes import CODES, TOKENHUB_CODES
from holodeck_gen_providers.hunyuan._legacy_words import message_of
from legacy_service import DIALECTS, client, journals, serving

if TYPE_CHECKING:
    from pathlib import Path

    from holodeck_gen_providers.hunyuan.emulator import HunyuanEmulator


@pytest.fixture
def dialect(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HUNYUAN_DIALECT", request.param)
    return str(request.param)


every_dialect = pytest.mark.parametrize("dialect", DIALECTS, indirect=True)


def one(emulator: HunyuanEmulator, prompt: str = "a cat", **arguments: Any) -> GenerationResult:
    """The result of a single task."""
    path = arguments.pop("output_path", None)
    return client(emulator, **arguments).generate_single(GenerationTask(prompt, output_path=path))


@every_dialect
class TestTable:
    def test_rate_limit_is_retried_and_named(self, dialect: str) -> None:
        with serving(faults="throttle-submit") as emulator:
            result = one(emulator, max_retries=2)
        assert not result.success
        assert str(result.error_message).startswith("RequestLimitExceeded")
        assert "lower max_concurrent_jobs" in str(result.error_message)
        assert (emulator.stats()["submits"], emulator.stats()["jobs_created"]) == (3, 0)

    def test_rate_limit_that_passes_costs_one_job(self, dialect: str) -> None:
        with serving(faults="throttle-submit@1-2") as emulator:
            assert one(emulator, max_retries=2).success
        assert emulator.stats()["jobs_created"] == 1

    def test_invalid_parameter_fails_at_once(self, dialect: str) -> None:
        code = "400001" if dialect == "tokenhub" else "InvalidParameterValue.ParameterValueError"
        with serving(faults=f"refuse:{code}") as emulator:
            result = one(emulator)
        assert str(result.error_message).startswith("InvalidParameter")
        assert "check the parameter's form" in str(result.error_message)
        assert emulator.stats()["submits"] == 1

    def test_invalid_parameter_is_found_before_any_cost(self, dialect: str) -> None:
        with serving() as emulator:
            for task in (
                GenerationTask(""),
                GenerationTask("a cat", resolution="wide"),
                GenerationTask("a cat", resolution="1:1"),
                GenerationTask("a cat", model="no-such-model"),
            ):
                result = client(emulator).generate_single(task)
                assert str(result.error_message).startswith("InvalidParameter"), task
                assert "check the parameter's form" in str(result.error_message)
        assert emulator.stats()["submits"] == 0

    def test_timeout_tells_how_to_get_what_is_paid_for(self, dialect: str, own_home: Path) -> None:
        with serving(faults="never-ends") as emulator:
            result = one(emulator, timeout=0.3)
        assert str(result.error_message).startswith("TimeoutError")
        assert "raise timeout" in str(result.error_message)
        assert result.job_id is not None
        assert result.job_id in str(result.error_message)
        (journal,) = journals(own_home)
        assert f"holodeck-gen collect {journal.parent}" in str(result.error_message)
        assert emulator.stats()["jobs_created"] == 1

    def test_network_error_is_retried(self, dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with serving() as emulator:
            monkeypatch.setenv("HUNYUAN_ENDPOINT", "http://127.0.0.1:9")
            made = client(emulator, max_retries=5, retry_delay=0.001)
            (result,) = made.generate_batch_sync([GenerationTask("a cat")])
        assert str(result.error_message).startswith("NetworkError")
        assert "check the connection" in str(result.error_message)
        assert made.stats["retries"] == 5

    def test_error_of_a_poll_is_retried(self, dialect: str) -> None:
        with serving(faults="drop-query@1-2") as emulator:
            assert one(emulator).success
        assert emulator.stats()["jobs_created"] == 1

    def test_wrong_credentials_are_named_for_every_task(self, dialect: str) -> None:
        code = "401002" if dialect == "tokenhub" else "AuthFailure.SecretIdNotFound"
        with serving(faults=f"refuse:{code}") as emulator:
            made = client(emulator, max_concurrent_jobs=1)
            results = made.generate_batch_sync([GenerationTask(f"{i}") for i in range(3)])
            assert emulator.stats()["submits"] == 1
            # What is mended at the service is mended for the client.
            emulator.change(faults=())
            assert made.generate_single(GenerationTask("a cat")).success
        assert len(results) == 3
        for result in results:
            assert re.match("AuthFailure|401002", str(result.error_message)), result

    def test_refused_credentials_leave_no_journal(self, dialect: str, own_home: Path) -> None:
        code = "401002" if dialect == "tokenhub" else "AuthFailure.SecretIdNotFound"
        with serving(faults=f"refuse:{code}") as emulator:
            made = client(emulator, max_concurrent_jobs=1)
            made.generate_batch_sync([GenerationTask(f"{i}") for i in range(3)])
        assert journals(own_home) == []

    def test_failed_job_is_named(self, dialect: str) -> None:
        with serving(faults="job-failed:FailedOperation.ServerError") as emulator:
            result = one(emulator)
        assert str(result.error_message).startswith("FailedOperation")
        assert result.job_id is not None


class TestWaits:
    """Of the retries, as the engine is told them."""

    def test_double_and_a_rate_limit_waits_longer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        waits: dict[str, list[float]] = {}
        for name, fault in (("pace", "throttle-submit@1-3"), ("place", "slots-full@1-2")):
            with serving(faults=fault) as emulator, logs() as lines:
                assert one(emulator, retry_delay=0.02).success
            found = [re.search(r"wait_s=([0-9.]+)", each) for each in lines]
            waits[name] = [float(each[1]) for each in found if each]
        assert len(waits["pace"]) == 3
        # How long a place is waited for is the gate's to say, whatever the client's delay.
        assert len(waits["place"]) == 2
        assert 0.04 < waits["place"][0] < waits["place"][1]
        for i, wait in enumerate(waits["pace"]):
            assert wait == pytest.approx(0.04 * 2**i, abs=0.001)

    def test_full_slots_never_use_up_retries(self) -> None:
        with serving(faults="slots-full@1-2") as emulator:
            assert one(emulator, max_retries=0).success
        assert (emulator.stats()["submits"], emulator.stats()["jobs_created"]) == (3, 1)

    def test_no_retries_means_none(self) -> None:
        with serving(faults="throttle-submit") as emulator:
            assert not one(emulator, max_retries=0).success
        assert emulator.stats()["submits"] == 1


class TestFaultsOfOld:
    @every_dialect
    @pytest.mark.parametrize("fault", ["drop-after-accept", "truncate-submit", "no-job-id"])
    def test_lost_answer_is_not_paid_twice(self, dialect: str, fault: str, own_home: Path) -> None:
        with serving(faults=fault) as emulator:
            result = one(emulator)
            assert emulator.stats()["jobs_created"] == emulator.stats()["submits"] == 1
        assert str(result.error_message).startswith("NetworkError")
        (journal,) = journals(own_home)
        assert f"holodeck-gen audit {journal.parent}" in str(result.error_message)
        assert "check the connection" not in str(result.error_message)

    @every_dialect
    def test_running_is_not_taken_for_done(self, dialect: str) -> None:
        with serving(job_s=0.4, queue_share=0.0) as emulator:
            assert one(emulator).success
            assert emulator.stats()["queries"] > 3

    def test_retries_are_as_many_as_given(self) -> None:
        for retries in (1, 4):
            with serving(faults="throttle-submit") as emulator:
                one(emulator, max_retries=retries, retry_delay=0.0)
            assert emulator.stats()["submits"] == retries + 1

    def test_failed_download_is_a_failure_with_its_job(
        self, tmp_path: Path, own_home: Path
    ) -> None:
        with serving(faults="http-download") as emulator:
            result = one(emulator, output_path=tmp_path / "cat.png", max_retries=1)
        assert not result.success
        assert str(result.error_message).startswith("DownloadError")
        assert result.job_id is not None
        assert result.image_url is not None
        (journal,) = journals(own_home)
        assert f"holodeck-gen collect {journal.parent}" in str(result.error_message)
        # It would be another job: each call has a journal of its own.
        assert "again" not in str(result.error_message)
        assert list(tmp_path.iterdir()) == []

    def test_picture_that_cannot_be_written_is_kept(
        self, tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_file: object, target: object) -> None:
            raise PermissionError(13, "Permission denied", str(target))

        monkeypatch.setattr("holodeck_gen.files.overwrite", full)
        with serving() as emulator:
            result = one(emulator, output_path=tmp_path / "cat.png")
        assert str(result.error_message).startswith("StorageError")
        (journal,) = journals(own_home)
        assert f"holodeck-gen collect {journal.parent}" in str(result.error_message)
        assert list(journal.parent.rglob("*.raw"))

    def test_download_that_nobody_asked_for_fails_nobody(self) -> None:
        with serving(faults="http-download") as emulator:
            result = one(emulator, max_retries=0)
        assert result.success
        assert result.image_url is not None

    def test_half_a_picture_is_never_where_it_was_wanted(self, tmp_path: Path) -> None:
        (tmp_path / "cat.png").write_text("old")
        with serving(faults="truncate-download") as emulator:
            result = one(emulator, output_path=tmp_path / "cat.png", max_retries=0)
        assert not result.success
        assert (tmp_path / "cat.png").read_text() == "old"

    def test_download_holds_no_slot(self) -> None:
        """While one picture comes slowly, the only slot makes all the others."""
        with serving(faults="stall-download:1@1", max_jobs=1) as emulator:
            made = client(emulator, max_concurrent_jobs=1)
            results = made.generate_batch_sync([GenerationTask(f"{i}") for i in range(4)])
            assert all(each.success for each in results)
            assert emulator.stats()["max_jobs_at_once"] == 1
            # The first is the last to be here: it waited for its download, the rest did not wait.
            assert results[0].generation_time > 1.0 > results[3].generation_time

    def test_one_failure_touches_no_other(self) -> None:
        with serving(faults="job-failed~bad,drop-after-accept~lost") as emulator:
            results = client(emulator).generate_batch_sync(
                [GenerationTask(each) for each in ("good", "bad", "good", "lost", "good")]
            )
        assert [each.success for each in results] == [True, False, True, False, True]

    def test_addresses_stay_out_of_the_log(self) -> None:
        with serving(faults="drop-download@1") as emulator, logs() as lines:
            result = one(emulator)
        assert "q-signature" in str(result.image_url)
        assert lines
        assert [each for each in lines if "q-sign" in each] == []


class TestCollect:
    def test_picture_of_a_job_that_was_overdue_is_collected_to_where_it_was_wanted(
        self, own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The command has no keys but those of the environment, where there is an API key, too.
        monkeypatch.setenv("HUNYUAN_DIALECT", "aiart")
        with serving(job_s=1.0) as emulator:
            made = client(emulator, timeout=0.2)
            results = made.generate_batch_sync(
                [
                    GenerationTask("a dog", output_path=tmp_path / "a" / "dog.png"),
                    GenerationTask("a cat", output_path=tmp_path / "b" / "cat.png"),
                ]
            )
            assert not any(result.success for result in results)
            made.close()
            (journal,) = journals(own_home)
            done = subprocess.run(
                [sys.executable, "-c", "from holodeck_gen._cli import main; main()",
                 "collect", str(journal.parent)],
                capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert emulator.stats()["jobs_created"] == 2
        assert (tmp_path / "b" / "cat.png").read_bytes().startswith(b"\x89PNG")
        assert sorted(path.name for path in tmp_path.rglob("*.png")) == ["cat.png", "dog.png"]
        assert journals(own_home) == []


class TestWords:
    @pytest.mark.parametrize("code", [*CODES, *TOKENHUB_CODES])
    def test_every_code_begins_with_a_word_of_old(self, code: str) -> None:
        words = r"[A-Z][A-Za-z]+(\.[A-Za-z]+)*\b"
        said = message_of(errors.ProviderError(f"{code}: words of the service", code=code))
        assert re.match(words, said)
        assert code in said

    def test_engine_deadline_of_a_submit_is_a_timeout(self) -> None:
        error = errors.SubmitUncertainError("lost")
        error.__cause__ = errors.PluginError("took longer than 60 s")
        assert message_of(error) == "TimeoutError: lost"

    def test_who_comes_after_a_refusal_hears_the_same(self) -> None:
        reason = "AuthFailure.TokenFailure: no"
        pause = errors.PausedError(f"paused: {reason}", reason=reason)
        assert message_of(pause).startswith(reason)


class logs:
    """Every line of the standard library's logging, as text."""

    def __enter__(self) -> list[str]:
        self._lines: list[str] = []
        lines = self._lines

        class Handler(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                lines.append(record.getMessage())

        self._handler, root = Handler(), logging.getLogger()
        self._level = root.level
        root.addHandler(self._handler)
        root.setLevel(logging.DEBUG)
        return lines

    def __exit__(self, *_: object) -> None:
        root = logging.getLogger()
        root.removeHandler(self._handler)
        root.setLevel(self._level)
