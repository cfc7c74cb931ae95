"""From outputs to the spool: retries, order, pace, and a disk that is full."""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import os
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import httpx
import pytest
from structlog.testing import capture_logs

import holodeck_gen as hg
from helpers import collect, opened, result_of
from holodeck_gen._accounts.accounts import Account
from holodeck_gen._calls import DeadlineError
from holodeck_gen._health.retry import RetryPolicy
from holodeck_gen._http.clients import Clients
from holodeck_gen._journal import spool
from holodeck_gen._journal.spool import RawFile
from holodeck_gen._model.concurrency import Concurrency
from holodeck_gen._results import fetch
from holodeck_gen._results.fetch import Fetcher
from holodeck_gen._stages.threads import StageThreads
from holodeck_gen.errors import DownloadError, PausedError, StorageError, TransientError
from holodeck_gen.testing import PNG, Script, ScriptedProvider, run_virtual
from servers import always, reply, served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from servers import Handler

URL = "https://cos.example/a.png?sign=secret"


@attrs.define(kw_only=True)
class Emulated(ScriptedProvider):
    """One whose service runs on this machine."""

    endpoint: str = "http://127.0.0.1:1"


@attrs.define(kw_only=True)
class Fetching(ScriptedProvider):
    """One that fetches by itself."""

    answers: list[Any] = attrs.field(factory=list)

    async def fetch(self, url: hg.Url) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Spool:
    """A fetcher with its folder; `fulls` counts how often the disk was full."""

    #: Those of the test that runs.
    checks: ClassVar[list[StageThreads]] = []

    def __init__(
        self,
        folder: Path,
        answer: Callable[[httpx.Request], Any] | None = None,
        *,
        downloads: int = 8,
        backoff_s: float = 1.0,
    ) -> None:
        self.folder = folder / "spool"
        self.fulls = 0
        self.account = Account(key="", concurrency=Concurrency())
        self.clients = Clients(httpx.MockTransport(answer) if answer else None)
        self.checks.append(StageThreads(places=1))
        self.fetcher = Fetcher(
            folder=self.folder,
            clients=self.clients,
            downloads=downloads,
            policy=RetryPolicy(attempts=3, backoff_s=backoff_s),
            on_full=self.full,
            checks=self.checks[-1],
        )

    def full(self) -> None:
        self.fulls += 1

    async def fetch(
        self,
        output: hg.Url | hg.Bytes | None = None,
        provider: ScriptedProvider | None = None,
        *,
        name: str = "a",
        kind: str = "image",
    ) -> RawFile:
        return await self.fetcher.fetch(
            output or hg.Url(url=URL),
            provider or ScriptedProvider(),
            name=name,
            kind=kind,
            account=self.account,
        )

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*"))


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    while Spool.checks:
        Spool.checks.pop().close()


def answers(*given: httpx.Response | Exception) -> Callable[[httpx.Request], httpx.Response]:
    left = list(given)

    def answer(_request: httpx.Request) -> httpx.Response:
        now = left.pop(0)
        if isinstance(now, Exception):
            raise now
        return now

    return answer


def ok(content: bytes = PNG) -> httpx.Response:
    return httpx.Response(200, content=content)


def test_no_more_pictures_are_decoded_at_once_than_there_are_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the event loop gets a processor when it wants one."""
    inside, together = threading.Semaphore(1), []

    def damage(_path: Path) -> None:
        alone = inside.acquire(timeout=0.02)
        together.append(not alone)
        if alone:
            threading.Event().wait(0.05)
            inside.release()

    monkeypatch.setattr(fetch, "damage", damage)
    spool = Spool(tmp_path, answers(ok(), ok(), ok()))

    async def main() -> None:
        await asyncio.gather(*(spool.fetch(name=name) for name in "abc"))

    run_virtual(main())
    assert together == [False, False, False]


def test_a_picture_that_nobody_can_check_in_time_is_none_that_was_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(_threads: StageThreads, *_args: Any, **_: Any) -> None:
        raise DeadlineError("the check took longer than 60 s")

    monkeypatch.setattr(StageThreads, "run", late)
    spool = Spool(tmp_path, answers(ok(), ok(), ok()))

    async def main() -> RawFile | None:
        with pytest.raises(DownloadError, match="longer than 60 s"):
            await spool.fetch()
        return await spool.fetcher.kept(hg.Url(url=URL), name="a", kind="image")

    assert run_virtual(main()) is None
    assert spool.files == ["a.raw"]


class TestRetries:
    def took(self, spool: Spool, provider: ScriptedProvider | None = None) -> float:
        async def main() -> float:
            raw = await spool.fetch(provider=provider)
            assert raw.path.read_bytes() == PNG
            return asyncio.get_running_loop().time()

        return run_virtual(main())

    @pytest.mark.parametrize(
        "trouble",
        [
            httpx.Response(503),
            httpx.Response(429),
            httpx.Response(200, content=b""),
            httpx.Response(200, content=PNG[:40]),
            httpx.Response(200, content=b"<html>", headers={"Content-Type": "text/html"}),
            httpx.ConnectError("no"),
            httpx.ReadTimeout("no"),
        ],
        ids=str,
    )
    def test_what_may_pass_is_tried_again_after_a_while(
        self, trouble: httpx.Response | Exception, tmp_path: Path
    ) -> None:
        spool = Spool(tmp_path, answers(trouble, ok()))
        assert 1 <= self.took(spool) < 2
        assert spool.files == ["a.raw"]

    def test_the_service_says_how_long(self, tmp_path: Path) -> None:
        busy = httpx.Response(503, headers={"Retry-After": "60"})
        assert 60 <= self.took(Spool(tmp_path, answers(busy, ok()))) < 61

    def test_who_asks_for_a_pause_gets_it_from_every_download(self, tmp_path: Path) -> None:
        times = []
        busy = httpx.Response(429, headers={"Retry-After": "60"})

        async def answer(request: httpx.Request) -> httpx.Response:
            times.append(asyncio.get_running_loop().time())
            return busy if len(times) == 1 else ok()

        async def main() -> None:
            spool = Spool(tmp_path, answer)
            first = asyncio.ensure_future(spool.fetch(name="a"))
            await asyncio.sleep(10)
            await spool.fetch(name="b")
            await first

        run_virtual(main())
        # And from then on they go slower.
        assert [round(time) for time in times] == [0, 60, 61]

    def test_not_for_ever(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path, answers(*[httpx.Response(500)] * 3))
        with pytest.raises(DownloadError, match="HTTP 500") as caught:
            run_virtual(spool.fetch())
        assert "secret" not in str(caught.value)
        assert spool.files == []

    @pytest.mark.parametrize("status", [403, 404, 410])
    def test_an_expired_address_is_not_tried_again(self, status: int, tmp_path: Path) -> None:
        spool = Spool(tmp_path, answers(httpx.Response(status)))
        with pytest.raises(DownloadError, match=str(status)):
            run_virtual(spool.fetch())

    @pytest.mark.parametrize(("expires_at", "told"), [(1.0, True), (9e9, False), (None, False)])
    def test_an_address_that_was_to_expire_by_now_is_told_so(
        self, expires_at: float | None, told: bool, tmp_path: Path
    ) -> None:
        spool = Spool(tmp_path, answers(httpx.Response(403)))
        output = hg.Url(url="https://example.com/a.png?sign=secret", expires_at=expires_at)
        with pytest.raises(DownloadError) as caught:
            run_virtual(spool.fetch(output))
        assert ("the address has expired" in str(caught.value)) == told

    def test_files_that_are_no_pictures_keep_no_other_waiting(self, tmp_path: Path) -> None:
        bad = b"\x89PNG\r\n\x1a\n" + bytes(80)

        def answer(request: httpx.Request) -> httpx.Response:
            return ok(bad if request.url.path == "/bad.png" else PNG)

        async def main() -> float:
            spool = Spool(tmp_path, answer, backoff_s=1.0)
            for number in range(3):
                with pytest.raises(DownloadError, match="no picture"):
                    await spool.fetch(hg.Url(url="https://cos.example/bad.png"), name=f"{number}")
            before = asyncio.get_running_loop().time()
            await spool.fetch()
            return asyncio.get_running_loop().time() - before

        # Nine tries in vain: the account's downloads are well for all that.
        assert run_virtual(main()) < 0.1

    def test_nor_do_pages_in_place_of_pictures(self, tmp_path: Path) -> None:
        page = httpx.Response(200, content=b"<html>", headers={"Content-Type": "text/html"})

        def answer(request: httpx.Request) -> httpx.Response:
            return page if request.url.path == "/bad.png" else ok()

        async def main() -> float:
            spool = Spool(tmp_path, answer)
            for number in range(3):
                with pytest.raises(DownloadError, match="not the file"):
                    await spool.fetch(hg.Url(url="https://cos.example/bad.png"), name=f"{number}")
            before = asyncio.get_running_loop().time()
            await spool.fetch()
            return asyncio.get_running_loop().time() - before

        assert run_virtual(main()) < 0.1

    def test_too_many_at_a_time_cost_no_picture(self, tmp_path: Path) -> None:
        """The host takes two a second; whoever is refused is not to blame."""
        sent: list[float] = []

        def answer(_request: httpx.Request) -> httpx.Response:
            now = asyncio.get_running_loop().time()
            if len([at for at in sent if at > now - 1.0]) >= 2:
                return httpx.Response(429)
            sent.append(now)
            return ok()

        async def main() -> float:
            spool = Spool(tmp_path, answer)
            await asyncio.gather(*(spool.fetch(name=str(number)) for number in range(40)))
            return asyncio.get_running_loop().time()

        with capture_logs() as logs:
            assert run_virtual(main()) < 60.0
        assert "service.unwell" not in {line["event"] for line in logs}

    def test_one_that_is_always_too_many_is_left_to_a_later_run(self, tmp_path: Path) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            return httpx.Response(429) if request.url.path == "/bad.png" else ok()

        async def main() -> float:
            spool = Spool(tmp_path, answer)
            bad = asyncio.ensure_future(spool.fetch(hg.Url(url="https://cos.example/bad.png")))
            while not bad.done():
                await spool.fetch(name="b")
                await asyncio.sleep(60.0)
            with pytest.raises(DownloadError, match="429"):
                await bad
            return asyncio.get_running_loop().time()

        assert run_virtual(main()) < 2000.0

    def test_a_download_that_never_ends_is_one_try(self, tmp_path: Path) -> None:
        tries = 0

        async def answer(_request: httpx.Request) -> httpx.Response:
            nonlocal tries
            tries += 1
            if tries == 1:
                await asyncio.Event().wait()
            return ok()

        provider = ScriptedProvider(limits=hg.Limits(download_timeout_s=50.0))
        assert 51 <= self.took(Spool(tmp_path, answer), provider) < 53


class TestProviderFetch:
    def test_it_is_used(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path)
        provider = Fetching(answers=[TransientError("later"), PNG])
        raw = run_virtual(spool.fetch(provider=provider))
        assert raw.path.read_bytes() == PNG

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            ("text", "fetch returned str"),
            (None, "fetch returned NoneType"),
            (OSError("socket"), "socket"),
            (ValueError("sick"), "sick"),
        ],
    )
    def test_whatever_it_does_is_a_failed_download(
        self, answer: Any, words: str, tmp_path: Path
    ) -> None:
        spool = Spool(tmp_path)
        with pytest.raises(DownloadError, match=words):
            run_virtual(spool.fetch(provider=Fetching(answers=[answer])))
        assert spool.files == []
        assert spool.fulls == 0


class TestAddresses:
    def fetched(self, provider: ScriptedProvider, tmp_path: Path, handler: Handler) -> bytes:
        async def main() -> bytes:
            async with served(handler) as server:
                spool = Spool(tmp_path)
                try:
                    raw = await spool.fetch(hg.Url(url=f"{server.url}/a.png?s=1"), provider)
                    return raw.path.read_bytes()
                finally:
                    await spool.clients.aclose()

        return asyncio.run(main())

    def test_this_machine_where_the_service_is_on_it(self, tmp_path: Path) -> None:
        assert self.fetched(Emulated(), tmp_path, always(reply(PNG))) == PNG

    def test_else_not(self, tmp_path: Path) -> None:
        with pytest.raises(DownloadError, match="public address"):
            self.fetched(ScriptedProvider(), tmp_path, always(reply(PNG)))

    def test_no_signature_is_logged_at_any_level(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        target = "/b.png?sign=canary2"
        busy = reply(status="503 Busy")
        moved = reply(status="302 Found", Location=target)

        async def main() -> None:
            async with served(always(busy, moved, reply(PNG))) as server:
                spool = Spool(tmp_path, backoff_s=0.0)
                await spool.fetch(hg.Url(url=f"{server.url}/a.png?sign=canary1"), Emulated())
                await spool.clients.aclose()
                assert target.encode() in server.requests[-1]

        asyncio.run(main())
        assert "download.retried" in caplog.text
        assert "canary" not in caplog.text

    def test_nor_from_a_service_elsewhere(self, tmp_path: Path) -> None:
        provider = Emulated(endpoint="https://api.example")
        with pytest.raises(DownloadError, match="public address"):
            self.fetched(provider, tmp_path, always(reply(PNG)))


class TestOrder:
    def test_the_nearest_to_expire_goes_first(self, tmp_path: Path) -> None:
        order = []

        async def answer(request: httpx.Request) -> httpx.Response:
            order.append(request.url.path)
            await asyncio.sleep(5)
            return ok()

        async def main() -> None:
            spool = Spool(tmp_path, answer, downloads=1)
            ends = {"first": 9e9, "late": 3e9, "soon": 1e9, "never": None, "later": 2e9}
            await asyncio.gather(
                *(
                    spool.fetch(
                        hg.Url(url=f"https://cos.example/{name}", expires_at=end), name=name
                    )
                    for name, end in ends.items()
                )
            )

        run_virtual(main())
        assert order == ["/first", "/soon", "/later", "/late", "/never"]

    def test_so_many_at_once_and_no_more(self, tmp_path: Path) -> None:
        now = most = 0

        async def answer(_request: httpx.Request) -> httpx.Response:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(5)
            now -= 1
            return ok()

        async def main() -> None:
            spool = Spool(tmp_path, answer, downloads=3)
            await asyncio.gather(*(spool.fetch(name=str(i)) for i in range(10)))

        run_virtual(main())
        assert most == 3

    def test_a_failing_one_keeps_no_place_while_it_waits(self, tmp_path: Path) -> None:
        times: dict[str, list[float]] = {"/bad": [], "/good": []}

        async def answer(request: httpx.Request) -> httpx.Response:
            times[request.url.path].append(asyncio.get_running_loop().time())
            return httpx.Response(503) if request.url.path == "/bad" else ok()

        async def main() -> None:
            spool = Spool(tmp_path, answer, downloads=1)
            bad, good = (hg.Url(url=f"https://cos.example/{each}") for each in ("bad", "good"))
            done = await asyncio.gather(
                spool.fetch(bad), spool.fetch(good, name="b"), return_exceptions=True
            )
            assert isinstance(done[0], DownloadError)
            assert isinstance(done[1], RawFile)

        run_virtual(main())
        assert len(times["/bad"]) == 3
        assert times["/good"][0] < 1

    def test_the_accounts_download_rate_is_kept(self) -> None:
        times = []

        async def answer(_request: httpx.Request) -> httpx.Response:
            times.append(asyncio.get_running_loop().time())
            return ok()

        provider = ScriptedProvider(
            limits=hg.Limits(max_jobs=5, download_rate=0.1),
            default=Script(outputs=[hg.Url(url="https://cos.example/a.png")]),
        )

        async def main() -> None:
            async with opened(provider, transport=httpx.MockTransport(answer)) as studio:
                tasks = [hg.Task(str(i)) for i in range(5)]
                for outcome in await collect(studio.map(tasks)):
                    result_of(outcome)

        run_virtual(main())
        gaps = [after - before for before, after in itertools.pairwise(times)]
        assert len(gaps) == 4
        assert min(gaps) >= 10


class TestSpool:
    def test_a_large_file_is_never_in_memory(self, tmp_path: Path) -> None:
        size = 2**26

        async def large(_request: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
            piece = bytes(2**16)
            for _ in range(size // len(piece)):
                writer.write(piece)
                await writer.drain()

        async def main() -> Path:
            async with served(large) as server:
                spool = Spool(tmp_path)
                # What is imported and pooled at first use is not part of it.
                provider = Emulated()
                await spool.fetch(hg.Url(url=server.url), provider, kind="model3d", name="warm")
                tracemalloc.start()
                raw = await spool.fetch(hg.Url(url=server.url), provider, kind="model3d")
                await spool.clients.aclose()
                return raw.path

        try:
            path = asyncio.run(main())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert path.stat().st_size == size
        assert peak < 2**23

    def test_all_of_it_is_on_the_disk_before_it_has_its_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[int] = []
        monkeypatch.setattr(
            os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size)
        )
        run_virtual(Spool(tmp_path).fetch(hg.Bytes(data=PNG)))
        assert synced[0] == len(PNG)

    def test_a_full_disk_gets_a_second_try(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        disk = Disk(monkeypatch, fails=1)
        spool = Spool(tmp_path)
        raw = run_virtual(spool.fetch(hg.Bytes(data=PNG)))
        assert raw.path.read_bytes() == PNG
        assert (disk.tries, spool.fulls, spool.files) == (2, 1, ["a.raw"])

    def test_a_disk_that_stays_full_pauses_the_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Disk(monkeypatch, fails=2)
        spool = Spool(tmp_path, answers(ok(), ok()))
        with pytest.raises(PausedError, match="full"):
            run_virtual(spool.fetch())
        assert (spool.fulls, spool.files) == (1, [])

    def test_any_other_trouble_of_the_disk_is_told_at_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Disk(monkeypatch, fails=1, code=errno.EIO)
        spool = Spool(tmp_path, answers(ok()))
        with pytest.raises(StorageError, match="spool"):
            run_virtual(spool.fetch())
        assert (spool.fulls, spool.files) == (0, [])

    def test_what_costs_nothing_need_not_be_durable(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        disk = Disk(monkeypatch, fails=0)
        spool = Spool(tmp_path)
        run_virtual(spool.fetch(hg.Bytes(data=PNG), ScriptedProvider(billing="free")))
        assert (disk.tries, spool.files) == (0, ["a.raw"])

    def test_cancelled_half_way_leaves_nothing(self, tmp_path: Path) -> None:
        async def stalls(_request: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(reply(bytes(2**22), Content_Length=str(2**23)))

        async def main() -> None:
            async with served(stalls) as server:
                spool = Spool(tmp_path)
                download = asyncio.ensure_future(spool.fetch(hg.Url(url=server.url), Emulated()))
                while spool.files != ["a.part"]:  # noqa: ASYNC110 -- made by a thread
                    await asyncio.sleep(0.01)
                download.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await download
                assert spool.files == []
                await spool.clients.aclose()

        asyncio.run(main())


class Disk:
    """Lets the first few fsyncs fail."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, fails: int, code: int = errno.ENOSPC
    ) -> None:
        self.tries = 0

        def fsync(_descriptor: int) -> None:
            self.tries += 1
            if self.tries <= fails:
                raise OSError(code, "the disk")

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(spool, "sync_folder", lambda _folder: None)
