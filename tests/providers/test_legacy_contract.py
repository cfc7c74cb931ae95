"""Names, signatures, defaults and files of the legacy client."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import inspect
import logging
import os
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from holodeck_core.image_generation import (
    GenerationResult,
    GenerationTask,
    HunyuanImageClient,
    HunyuanImageClientOptimized,
    create_optimized_client_from_env,
    generate_batch_images,
)
from legacy_service import DIALECTS, KEPT, client, journals, serving
from servers import always, reply, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holodeck_gen_providers.hunyuan.emulator import HunyuanEmulator

pytestmark = pytest.mark.filterwarnings(KEPT)
BOTH = {"GenerationResult", "GenerationTask", "HunyuanImageClientOptimized"}
MAKERS = {"create_optimized_client_from_env", "generate_batch_images"}
LOGGER = "holodeck_core.image_generation"


@pytest.fixture
def emulator() -> Iterator[HunyuanEmulator]:
    with serving() as running:
        yield running


class TestInterface:
    @pytest.mark.parametrize(
        ("path", "names"),
        [
            ("", BOTH | MAKERS | {"HunyuanImageClient"}),
            (".hunyuan_image_client", {"HunyuanImageClient"}),
            (".hunyuan_image_client_optimized", BOTH | MAKERS),
        ],
    )
    def test_every_import_path_resolves(self, path: str, names: set[str]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            module = importlib.import_module(f"holodeck_core.image_generation{path}")
        assert set(module.__all__) == names
        assert all(hasattr(module, name) for name in names)

    def test_optimized_client_takes_and_keeps_its_arguments(self) -> None:
        defaults = {
            name: each.default
            for name, each in inspect.signature(HunyuanImageClientOptimized).parameters.items()
        }
        empty = inspect.Parameter.empty
        assert defaults == {
            "secret_id": empty,
            "secret_key": empty,
            "region": "ap-beijing",
            "timeout": 120,
            "max_concurrent_jobs": 2,
            "max_retries": 3,
            "retry_delay": 2.0,
        }
        given = ("AKID", "key", "ap-shanghai", 60, 5, 1, 0.5)
        made = HunyuanImageClientOptimized(*given)
        assert [getattr(made, name) for name in defaults] == list(given)

    def test_plain_client_makes_one_at_a_time(self, emulator: HunyuanEmulator) -> None:
        assert list(inspect.signature(HunyuanImageClient).parameters) == [
            "secret_id", "secret_key", "region", "timeout"
        ]  # fmt: skip
        account = emulator.settings.accounts[0]
        made = HunyuanImageClient(account.secret_id, account.secret_key)
        assert (made.region, made.timeout, made.max_concurrent_jobs) == ("ap-beijing", 120, 1)
        results = made.generate_batch_sync([GenerationTask(f"{i}") for i in range(3)])
        assert all(each.success for each in results)
        assert emulator.stats()["max_jobs_at_once"] == 1

    def test_task_has_the_old_defaults(self) -> None:
        task = GenerationTask("a cat")
        assert dataclasses.astuple(task)[:-1] == ("a cat", "1024:1024", None, "hunyuan-pro", None)
        assert GenerationTask("a cat", task_id="mine").task_id == "mine"

    def test_tasks_of_one_millisecond_have_their_own_ids(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("time.time_ns", lambda: 1_795_608_000_000_000_000)
        assert len({GenerationTask("a cat").task_id for _ in range(1000)}) == 1000

    def test_result_has_the_old_defaults(self) -> None:
        assert dataclasses.astuple(GenerationResult("t", True)) == (
            "t", True, None, None, None, 0.0, None
        )  # fmt: skip

    def test_result_does_not_show_its_address_in_logs(self) -> None:
        assert "sign" not in repr(GenerationResult("t", True, "http://a/b.png?sign=x"))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"timeout": 0}, {"max_concurrent_jobs": 0}, {"max_retries": -1}, {"retry_delay": -1.0},
        ],
    )  # fmt: skip
    def test_what_cannot_be_is_refused_at_once(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            HunyuanImageClientOptimized("AKID", "key", **wrong)

    def test_empty_batch_is_empty(self, own_home: Path) -> None:
        assert HunyuanImageClientOptimized("AKID", "key").generate_batch_sync([]) == []
        assert journals(own_home) == []


class TestDeprecation:
    @pytest.mark.filterwarnings("default")
    @pytest.mark.parametrize(
        "make",
        [
            lambda: HunyuanImageClient("AKID", "key"),
            lambda: HunyuanImageClientOptimized("AKID", "key"),
            create_optimized_client_from_env,
            lambda: generate_batch_images([], "nothing"),
        ],
    )
    @pytest.mark.usefixtures("own_home")
    def test_is_told_once_where_the_client_is_made(
        self, make: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HUNYUAN_API_KEY", "sk-1")

        def call() -> None:
            make()

        with pytest.warns(DeprecationWarning, match=r"holodeck_gen\.Studio") as told:
            call()
        assert len(told) == 1
        assert told[0].filename == __file__


class TestFiles:
    def test_relative_path_is_below_the_folder_of_the_call(
        self, emulator: HunyuanEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = client(emulator)
        monkeypatch.chdir(tmp_path)
        assert made.generate_image("a cat", output_path="a/b/cat.png")["local_path"] == (
            "a/b/cat.png"
        )
        assert (tmp_path / "a" / "b" / "cat.png").read_bytes().startswith(b"\x89PNG")

    def test_file_that_is_there_is_replaced(
        self, emulator: HunyuanEmulator, tmp_path: Path
    ) -> None:
        (tmp_path / "cat.png").write_text("old")
        assert (
            client(emulator)
            .generate_single(GenerationTask("a cat", output_path=tmp_path / "cat.png"))
            .success
        )
        assert (tmp_path / "cat.png").read_bytes().startswith(b"\x89PNG")
        assert [each.name for each in tmp_path.iterdir()] == ["cat.png"]

    def test_two_folders_may_hold_one_name(self, emulator: HunyuanEmulator, tmp_path: Path) -> None:
        paths = [tmp_path / name / "image_1.png" for name in ("a", "b")]
        results = client(emulator).generate_batch_sync(
            [GenerationTask("a cat", output_path=path) for path in paths]
        )
        assert [each.local_path for each in results] == [str(path) for path in paths]
        assert all(path.is_file() for path in paths)

    def test_without_a_path_nothing_is_kept(
        self, emulator: HunyuanEmulator, own_home: Path
    ) -> None:
        result = client(emulator).generate_single(GenerationTask("a cat"))
        assert (result.success, result.local_path) == (True, None)
        assert result.image_url is not None
        assert "q-signature" in result.image_url
        assert list(own_home.iterdir()) == []

    @pytest.mark.skipif(os.name != "posix", reason="needs /dev/null")
    def test_path_that_cannot_be_written_costs_nothing(
        self, emulator: HunyuanEmulator, tmp_path: Path
    ) -> None:
        (tmp_path / "folder.png").mkdir()
        results = client(emulator).generate_batch_sync(
            [
                GenerationTask("a cat", output_path="/dev/null/cat.png"),
                GenerationTask("a dog", output_path=tmp_path / "folder.png"),
                GenerationTask("a cow", output_path=tmp_path / "cow.png"),
            ]
        )
        assert [each.success for each in results] == [False, False, True]
        assert "cannot write into /dev/null" in str(results[0].error_message)
        assert "is a folder" in str(results[1].error_message)
        assert emulator.stats()["prompts"] == {"a cow": 1}

    def test_nothing_is_left_behind(
        self, emulator: HunyuanEmulator, own_home: Path, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        made = client(emulator)
        made.generate_batch_sync([GenerationTask("a cat"), GenerationTask("forbidden")])
        assert journals(own_home) == []
        assert list(tmp_path.iterdir()) == []


class TestOrder:
    def test_results_stand_in_the_order_of_the_tasks(self) -> None:
        with serving(faults="slow-job:5~slow") as emulator:
            tasks = [GenerationTask("slow"), *(GenerationTask(f"{i}") for i in range(4))]
            tasks.insert(2, GenerationTask("forbidden"))
            tasks.insert(3, GenerationTask(""))
            results = client(emulator).generate_batch_sync(tasks)
        assert [each.task_id for each in results] == [each.task_id for each in tasks]
        assert [each.success for each in results] == [
            True, True, False, False, True, True, True
        ]  # fmt: skip

    def test_tasks_may_share_an_id(self, emulator: HunyuanEmulator, tmp_path: Path) -> None:
        paths = [tmp_path / f"{i}.png" for i in range(3)]
        tasks = [GenerationTask("a cat", output_path=each, task_id="../a.b") for each in paths]
        results = client(emulator).generate_batch_sync(tasks)
        assert [(each.task_id, each.success) for each in results] == [("../a.b", True)] * 3
        assert sorted(tmp_path.iterdir()) == paths
        assert emulator.stats()["jobs_created"] == 3


class TestAccount:
    """Which credentials are used; nobody is billed on another account silently."""

    @pytest.mark.parametrize("dialect", DIALECTS)
    def test_every_dialect_makes_pictures_at_the_endpoint(
        self, emulator: HunyuanEmulator, dialect: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HUNYUAN_DIALECT", dialect)
        made = create_optimized_client_from_env()
        assert made.test_connection()
        assert made.generate_image("a cat", style="shuimo")["status"] == "success"
        (quota,) = emulator.stats()["max_jobs_at_once_by_quota"]
        assert quota.split("/")[1] == dialect

    def test_explicit_keys_are_used_as_given(
        self, emulator: HunyuanEmulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, LOGGER):
            assert client(emulator).generate_image("a cat")["status"] == "success"
        (quota,) = emulator.stats()["max_jobs_at_once_by_quota"]
        assert quota.split("/")[1] == "aiart"
        # There is an API key, too: who pays is said where everybody sees it.
        (line,) = [each.getMessage() for each in caplog.records if each.name == LOGGER]
        assert "account AKI…001 of dialect aiart" in line
        assert "pays" in line

    def test_explicit_keys_yield_where_the_dialect_says_so(
        self, emulator: HunyuanEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HUNYUAN_DIALECT", "tokenhub")
        assert client(emulator).generate_image("a cat")["status"] == "success"
        (quota,) = emulator.stats()["max_jobs_at_once_by_quota"]
        assert "/tokenhub/" in quota

    @pytest.mark.parametrize("unset", [[], ["HUNYUAN_SECRET_ID", "HUNYUAN_SECRET_KEY"]])
    def test_api_key_wins_over_keys_of_the_environment(
        self, emulator: HunyuanEmulator, unset: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in unset:
            monkeypatch.delenv(name)
        assert create_optimized_client_from_env().generate_image("a cat")["status"] == "success"
        assert HunyuanImageClient("", "").generate_image("a cat")["status"] == "success"
        (quota,) = emulator.stats()["max_jobs_at_once_by_quota"]
        assert "/tokenhub/" in quota

    def test_key_pair_alone_suffices(
        self, emulator: HunyuanEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("HUNYUAN_API_KEY")
        made = create_optimized_client_from_env()
        account = emulator.settings.accounts[0]
        assert (made.secret_id, made.secret_key) == (account.secret_id, account.secret_key)
        assert made.generate_image("a cat")["status"] == "success"

    def test_missing_credentials_are_told_by_name(self) -> None:
        with pytest.raises(ValueError, match="HUNYUAN_SECRET_ID") as told:
            create_optimized_client_from_env()
        assert "HUNYUAN_SECRET_KEY" in str(told.value)
        assert "HUNYUAN_API_KEY" in str(told.value)

    @pytest.mark.parametrize("levels", [0, 3])
    def test_env_file_is_found_up_to_three_folders_above(
        self, levels: int, own_home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (own_home / ".env").write_text("HUNYUAN_API_KEY=sk-1\nHUNYUAN_MAX_CONCURRENT=5\n")
        deep = own_home.joinpath(*"abcd"[:levels])
        deep.mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(deep)
        assert create_optimized_client_from_env().max_concurrent_jobs == 5
        monkeypatch.setenv("HUNYUAN_MAX_CONCURRENT", "3")
        assert create_optimized_client_from_env().max_concurrent_jobs == 3

    def test_env_file_four_folders_above_is_not_ours(
        self, own_home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (own_home / ".env").write_text("HUNYUAN_API_KEY=sk-1\n")
        deep = own_home.joinpath(*"abcd")
        deep.mkdir(parents=True)
        monkeypatch.chdir(deep)
        with pytest.raises(ValueError, match="no credentials"):
            create_optimized_client_from_env()

    @pytest.mark.parametrize("text", ["0", "many", "-1", "2.5"])
    def test_max_concurrent_must_be_a_number(
        self, text: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HUNYUAN_API_KEY", "sk-1")
        monkeypatch.setenv("HUNYUAN_MAX_CONCURRENT", text)
        with pytest.raises(ValueError, match="HUNYUAN_MAX_CONCURRENT"):
            create_optimized_client_from_env()

    @pytest.mark.parametrize(("region", "lines"), [("ap-beijing", 1), ("ap-guangzhou", 0)])
    def test_region_that_is_not_served_is_replaced_and_told(
        self,
        emulator: HunyuanEmulator,
        region: str,
        lines: int,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("HUNYUAN_DIALECT", "hunyuan")
        with caplog.at_level(logging.INFO, LOGGER):
            made = client(emulator, region=region)
        assert made.region == region
        told = [each for each in caplog.records if "ap-guangzhou is sent" in each.getMessage()]
        assert len(told) == lines
        assert made.generate_image("a cat")["status"] == "success"

    @pytest.mark.parametrize("dialect", ["aiart", "hunyuan"])
    def test_region_that_is_sent_is_the_one_that_is_served(
        self, dialect: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        body = b'{"Response": {"RequestId": "1", "Error": {"Code": "AuthFailure", "Message": ""}}}'

        async def main() -> list[bytes]:
            refusal = always(reply(body, Content_Type="application/json"))
            async with served(refusal) as server:
                monkeypatch.setenv("HUNYUAN_ENDPOINT", server.url)
                monkeypatch.setenv("HUNYUAN_DIALECT", dialect)
                made = HunyuanImageClientOptimized("AKID", "key")
                assert made.region == "ap-beijing"
                assert not (await made.generate_batch_async([GenerationTask("a cat")]))[0].success
                return server.requests

        (request,) = asyncio.run(main())
        head = request.partition(b"\r\n\r\n")[0].lower().splitlines()
        assert [line for line in head if line.startswith(b"x-tc-region")] == [
            b"x-tc-region: ap-guangzhou"
        ]


class TestConnection:
    @pytest.mark.parametrize("dialect", DIALECTS)
    def test_cannot_spend_money(
        self, emulator: HunyuanEmulator, dialect: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HUNYUAN_DIALECT", dialect)
        assert client(emulator).test_connection() is True
        stats = emulator.stats()
        assert (stats["submits"], stats["jobs_created"], stats["queries"]) == (0, 0, 1)

    @pytest.mark.parametrize("dialect", DIALECTS)
    def test_finds_wrong_credentials(
        self, emulator: HunyuanEmulator, dialect: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HUNYUAN_DIALECT", dialect)
        monkeypatch.setenv("HUNYUAN_API_KEY", "sk-wrong")
        made = HunyuanImageClientOptimized(emulator.settings.accounts[0].secret_id, "wrong")
        assert made.test_connection() is False

    def test_finds_that_nobody_is_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HUNYUAN_ENDPOINT", "http://127.0.0.1:9")
        assert HunyuanImageClientOptimized("AKID", "key").test_connection() is False

    def test_finds_a_retired_interface(self) -> None:
        with serving(offline="aiart") as emulator:
            assert client(emulator).test_connection() is False
