"""The client of ``holodeck_core.image_generation``, kept for code that uses it.

.. deprecated:: 0.1.0
    Use `holodeck_gen.Studio` with the provider ``hunyuan``; see
    ``docs/how-to/migrate-from-holodeck-core.md``. Making a client warns of it; importing does not.

Everything is done by a `Studio`: here are only names, defaults and results of old.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from holodeck_gen_providers.hunyuan import _legacy_account as account
from holodeck_gen_providers.hunyuan._legacy_account import OLD_REGION, log
from holodeck_gen_providers.hunyuan._legacy_values import (
    DEFAULT_MODEL,
    DEFAULT_RESOLUTION,
    GenerationResult,
    GenerationTask,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from holodeck_gen_providers.hunyuan._legacy_run import Run
    from holodeck_gen_providers.hunyuan._legacy_work import Rules

__all__ = [
    "GenerationResult",
    "GenerationTask",
    "HunyuanImageClient",
    "HunyuanImageClientOptimized",
    "create_optimized_client_from_env",
    "generate_batch_images",
]

STATISTICS = ("total", "succeeded", "failed", "retries", "wall_time")
#: Seconds; no answer to a test takes longer.
_TEST_S = 90.0
_numbers = itertools.count(1)


class HunyuanImageClientOptimized:
    """Makes pictures, several at once; may be shared by threads.

    It holds no thread, socket or loop between calls. ``close()`` and ``with`` are there for
    who wants to say that it is done with.

    Args:
        secret_id: Of Tencent Cloud. Empty: the environment decides.
        secret_key: Goes with it.
        region: Kept to be read; the service takes one region only.
        timeout: Seconds for one job.
        max_concurrent_jobs: Jobs between submit and end, over all threads.
        max_retries: Repetitions of a request that was refused for its pace or did not arrive.
        retry_delay: Seconds before the first of them; doubled for each further one.

    Attributes:
        stats: Of the batch that ended last: ``total``, ``succeeded``, ``failed``, ``retries``
            and ``wall_time`` (seconds).

    Raises:
        ValueError: An argument cannot be what it is, or there are no credentials.
    """

    def __init__(
        self,
        secret_id: str,
        secret_key: str,
        region: str = OLD_REGION,
        timeout: float = 120,
        max_concurrent_jobs: int = 2,
        max_retries: int = 3,
        retry_delay: float = 2.0,
    ) -> None:
        _warn(type(self).__name__, stacklevel=3)
        self._set_up(
            secret_id,
            secret_key,
            region=region,
            timeout=timeout,
            max_concurrent_jobs=max_concurrent_jobs,
            max_retries=max_retries,
            retry_delay=retry_delay,
        )

    def _set_up(
        self,
        secret_id: str,
        secret_key: str,
        *,
        environ: Mapping[str, str] | None = None,
        region: str = OLD_REGION,
        timeout: float = 120,
        max_concurrent_jobs: int = 2,
        max_retries: int = 3,
        retry_delay: float = 2.0,
    ) -> None:
        from holodeck_gen_providers.hunyuan._legacy_work import Desk, close_with

        self.secret_id = secret_id
        self.secret_key = secret_key
        self.region = region
        self.timeout = timeout
        self.max_concurrent_jobs = max_concurrent_jobs
        self.max_retries = max_retries
        self.retry_delay = retry_delay
        self.stats: dict[str, float] = dict.fromkeys(STATISTICS, 0)
        known = account.environment() if environ is None else environ
        # What came from the environment is the environment's to decide about.
        given = ("", "") if environ is not None else (secret_id, secret_key)
        self._environ = known
        self._options = account.chosen(*given, region, known)
        self._desk = Desk()
        self._rules()
        close_with(self, self._desk)

    def generate_image(
        self,
        prompt: str,
        *,
        resolution: str = DEFAULT_RESOLUTION,
        style: str | None = None,
        model: str = DEFAULT_MODEL,
        output_path: str | os.PathLike[str] | None = None,
        task_id: str = "",
    ) -> dict[str, Any]:
        """Make one picture; a failure is told in the answer."""
        task = GenerationTask(prompt, resolution, style, model, output_path, task_id)
        result = self.generate_single(task)
        return {
            "status": "success" if result.success else "failed",
            "image_url": result.image_url,
            "job_id": result.job_id,
            "generation_time": result.generation_time,
            "local_path": result.local_path,
            "error": result.error_message,
            "metadata": {
                "prompt": prompt,
                "resolution": resolution,
                "model": model,
                "style": style,
                "generation_time_sec": round(result.generation_time, 2),
                "task_id": task.task_id,
            },
        }

    def generate_single(self, task: GenerationTask) -> GenerationResult:
        """Make one picture; a failure is told in the result."""
        return self._run([task], threading.Event()).results()[0]

    def generate_batch_sync(self, tasks: Iterable[GenerationTask]) -> list[GenerationResult]:
        """Make many pictures; results stand in the order of the tasks."""
        return self._batch(list(tasks), threading.Event())

    async def generate_batch_async(self, tasks: Iterable[GenerationTask]) -> list[GenerationResult]:
        """`generate_batch_sync` for code in an event loop, which goes on meanwhile.

        Cancelled, it begins nothing more; a job that runs is kept in mind by the journal.
        """
        stop = threading.Event()
        try:
            return await asyncio.to_thread(self._batch, list(tasks), stop)
        finally:
            stop.set()

    def test_connection(self) -> bool:
        """Whether the service can be reached and takes the credentials; costs nothing."""
        try:
            with self._desk.work(self._rules()) as work:
                asked = asyncio.run_coroutine_threadsafe(work.face.answers(), work.face.loop)
                return asked.result(_TEST_S)
        except RuntimeError:
            raise
        except Exception as error:
            log.warning("the connection test failed: %s", error)
            return False

    def close(self) -> None:
        """Wait for calls of other threads, and take no new one."""
        self._desk.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _batch(self, tasks: list[GenerationTask], stop: threading.Event) -> list[GenerationResult]:
        began = time.monotonic()
        run = self._run(tasks, stop)
        self.stats = stats = run.statistics(time.monotonic() - began)
        log.info(
            "batch ended: %(total)d tasks, %(succeeded)d succeeded, %(failed)d failed,"
            " %(retries)d retries, %(wall_time).1f s",
            stats,
        )
        return run.results()

    def _run(self, tasks: list[GenerationTask], stop: threading.Event) -> Run:
        from holodeck_gen.errors import GenerationError
        from holodeck_gen_providers.hunyuan._legacy_run import Run

        run = Run.of(tasks, next_number=lambda: next(_numbers))
        if run.wishes:
            try:
                with self._desk.work(self._rules(), run.folder) as work:
                    run.go(work, stop)
            except GenerationError as error:
                # The studio could not be opened or went down; what has an answer keeps it.
                run.fail_rest(error)
        return run

    def _rules(self) -> Rules:
        from holodeck_gen_providers.hunyuan._legacy_work import Rules

        return Rules(
            options=self._options,
            environ=self._environ,
            timeout=self.timeout,
            max_concurrent_jobs=self.max_concurrent_jobs,
            max_retries=self.max_retries,
            retry_delay=self.retry_delay,
        )


class HunyuanImageClient(HunyuanImageClientOptimized):
    """Makes pictures, one at a time. As `HunyuanImageClientOptimized`."""

    def __init__(
        self, secret_id: str, secret_key: str, region: str = OLD_REGION, timeout: float = 120
    ) -> None:
        _warn(type(self).__name__, stacklevel=3)
        self._set_up(secret_id, secret_key, region=region, timeout=timeout, max_concurrent_jobs=1)


def create_optimized_client_from_env() -> HunyuanImageClientOptimized:
    """A client with the credentials and ``HUNYUAN_MAX_CONCURRENT`` of the environment.

    Raises:
        ValueError: There are no credentials; names the variables.
    """
    _warn("create_optimized_client_from_env", stacklevel=3)
    return _from_env()


def generate_batch_images(
    prompts: Iterable[str], output_dir: str | os.PathLike[str], **task_fields: Any
) -> list[dict[str, Any]]:
    """Make ``image_1.png``, ``image_2.png``, … in `output_dir` with a client of the environment.

    Args:
        prompts: One for each picture.
        output_dir: Made if it is missing.
        **task_fields: Of `GenerationTask`, for every picture.
    """
    _warn("generate_batch_images", stacklevel=3)
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [
        GenerationTask(prompt, **{"output_path": str(folder / f"image_{i}.png"), **task_fields})
        for i, prompt in enumerate(prompts, start=1)
    ]
    with _from_env() as client:
        results = client.generate_batch_sync(tasks)
    return [
        {
            "task_id": result.task_id,
            "success": result.success,
            "image_url": result.image_url,
            "local_path": result.local_path,
            "error": result.error_message,
            "generation_time": result.generation_time,
        }
        for result in results
    ]


def _from_env() -> HunyuanImageClientOptimized:
    environ = account.environment()
    account.check_credentials(environ)
    client = HunyuanImageClientOptimized.__new__(HunyuanImageClientOptimized)
    client._set_up(
        environ.get("HUNYUAN_SECRET_ID", ""),
        environ.get("HUNYUAN_SECRET_KEY", ""),
        environ=environ,
        max_concurrent_jobs=account.max_concurrent(environ, 2),
    )
    return client


def _warn(name: str, *, stacklevel: int) -> None:
    warnings.warn(
        f"{name} of holodeck_core is kept for old code only; use"
        " holodeck_gen.Studio('hunyuan', output=…) and its map() or generate_all()",
        DeprecationWarning,
        stacklevel=stacklevel,
    )
