"""The old documentation's examples, as their readers have copied them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from holodeck_core.image_generation import (
    GenerationTask,
    HunyuanImageClient,
    HunyuanImageClientOptimized,
    create_optimized_client_from_env,
    generate_batch_images,
)
from legacy_service import KEPT, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holodeck_gen_providers.hunyuan.emulator import HunyuanEmulator

pytestmark = pytest.mark.filterwarnings(KEPT)
PNG = b"\x89PNG"


@pytest.fixture
def emulator() -> Iterator[HunyuanEmulator]:
    with serving() as running:
        yield running


@pytest.fixture
def keys(emulator: HunyuanEmulator) -> tuple[str, str]:
    account = emulator.settings.accounts[0]
    return account.secret_id, account.secret_key


def test_single_picture(keys: tuple[str, str], own_home: Path) -> None:
    client = HunyuanImageClient(keys[0], keys[1])

    result = client.generate_image(
        prompt="雨中, 竹林, 小路",
        resolution="1024:1024",
        model="hunyuan-pro",
        output_path="output/bamboo.png",
    )

    assert result["status"] == "success"
    assert result["local_path"] == "output/bamboo.png"
    assert (own_home / "output" / "bamboo.png").read_bytes().startswith(PNG)
    assert result["image_url"].startswith("http://127.0.0.1")
    assert result["job_id"]
    assert result["error"] is None
    assert result["metadata"] == {
        "prompt": "雨中, 竹林, 小路",
        "resolution": "1024:1024",
        "model": "hunyuan-pro",
        "style": None,
        "generation_time_sec": round(result["generation_time"], 2),
        "task_id": result["metadata"]["task_id"],
    }


def test_batch(emulator: HunyuanEmulator, keys: tuple[str, str], tmp_path: Path) -> None:
    client = HunyuanImageClientOptimized(
        secret_id=keys[0], secret_key=keys[1], max_concurrent_jobs=2
    )
    prompts = ["a cat", "a dog", "a bird", "a fish", "a cat"]
    tasks = [
        GenerationTask(prompt=prompt, output_path=str(tmp_path / f"{i}.png"))
        for i, prompt in enumerate(prompts)
    ]

    results = client.generate_batch_sync(tasks)

    for prompt, task, result in zip(prompts, tasks, results, strict=True):
        assert result.success, (prompt, result.error_message)
        assert result.task_id == task.task_id
        assert result.local_path == task.output_path
        assert result.generation_time > 0
    stats = emulator.stats()
    # Two tasks with one prompt are two jobs.
    assert stats["prompts"] == {"a cat": 2, "a dog": 1, "a bird": 1, "a fish": 1}
    assert stats["max_jobs_at_once"] == 2
    assert stats["refusals"] == {}
    wall_time = client.stats.pop("wall_time")
    assert client.stats == {"total": 5, "succeeded": 5, "failed": 0, "retries": 0}
    assert wall_time > 0


def test_async_batch(emulator: HunyuanEmulator, keys: tuple[str, str]) -> None:
    client = HunyuanImageClientOptimized(*keys)

    async def main() -> None:
        results = await client.generate_batch_async(
            [GenerationTask(f"scene {i}", style="riman") for i in range(4)]
        )
        assert [each.success for each in results] == [True] * 4
        assert all(each.image_url and each.local_path is None for each in results)

    asyncio.run(main())
    assert emulator.stats()["max_jobs_at_once"] == 2


def test_custom_retry(keys: tuple[str, str], emulator: HunyuanEmulator) -> None:
    from holodeck_gen_providers.hunyuan.emulator import parse_faults

    client = HunyuanImageClientOptimized(*keys, max_retries=5, retry_delay=0.01)
    emulator.change(faults=parse_faults("throttle-submit@1-4"))
    results = client.generate_batch_sync([GenerationTask("a cat")])
    assert results[0].success
    assert client.stats["retries"] == 4
    assert emulator.stats()["jobs_created"] == 1


def test_client_from_the_environment(emulator: HunyuanEmulator) -> None:
    client = create_optimized_client_from_env()
    assert client.max_concurrent_jobs == 2
    assert client.test_connection()
    assert client.generate_single(GenerationTask("a cat")).success
    assert emulator.stats()["jobs_created"] == 1


def test_convenience_batch(emulator: HunyuanEmulator, tmp_path: Path) -> None:
    results = generate_batch_images(
        ["a cat", "forbidden things", "a bird"],
        output_dir=str(tmp_path / "new" / "folder"),
        resolution="1024:768",
        model="hunyuan-pro",
    )
    assert [set(each) for each in results] == [
        {"task_id", "success", "image_url", "local_path", "error", "generation_time"}
    ] * 3
    assert [each["success"] for each in results] == [True, False, True]
    made = sorted(each.name for each in (tmp_path / "new" / "folder").iterdir())
    assert made == ["image_1.png", "image_3.png"]
    assert results[2]["local_path"] == str(tmp_path / "new" / "folder" / "image_3.png")
    assert results[1]["error"]


def test_error_handling(keys: tuple[str, str]) -> None:
    client = HunyuanImageClientOptimized(*keys)

    result = client.generate_single(GenerationTask("a cat", resolution="7:5"))

    assert not result.success
    message = result.error_message or ""
    if "RequestLimitExceeded" in message:
        pytest.fail("not what it is")
    elif "InvalidParameter" in message:
        assert "check the parameter's form" in message
    else:
        pytest.fail(message)
