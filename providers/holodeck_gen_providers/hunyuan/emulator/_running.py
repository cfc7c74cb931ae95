"""The emulator inside another program: beside a running loop, or in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from holodeck_gen_providers.hunyuan.emulator._server import serving
from holodeck_gen_providers.hunyuan.emulator._service import Service
from holodeck_gen_providers.hunyuan.emulator._settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

LOCALHOST = "127.0.0.1"


def environ_of(endpoint: str, settings: Settings) -> dict[str, str]:
    """The variables that point holodeck-gen at the emulator, as its first account."""
    account = settings.accounts[0]
    return {
        "HUNYUAN_ENDPOINT": endpoint,
        "HUNYUAN_SECRET_ID": account.secret_id,
        "HUNYUAN_SECRET_KEY": account.secret_key,
        # Empty where there is none, because an older one may be set.
        "HUNYUAN_TOKEN": account.token or "",
        "HUNYUAN_API_KEY": account.api_key,
        # Else a proxy of the user's would be asked to reach this machine.
        "NO_PROXY": urlsplit(endpoint).hostname or LOCALHOST,
    }


class AsyncHunyuanEmulator:
    """An asynchronous context manager that serves from the running loop.

    Args:
        settings: How the service behaves.
        host: Address to bind.
        port: 0 takes a free one.
        clock: Seconds since the epoch.

    Attributes:
        service: The service itself.
        endpoint: Where it listens; empty until entered.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        host: str = LOCALHOST,
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.service = Service(settings=settings or Settings(), clock=clock)
        self.endpoint = ""
        self._host = host
        self._port = port
        self._stack = contextlib.AsyncExitStack()

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables that point holodeck-gen at it."""
        return environ_of(self.endpoint, self.service.settings)

    def stats(self) -> Mapping[str, Any]:
        """The service's counters."""
        return self.service.stats()

    def reset(self) -> None:
        """Forget every job and counter."""
        self.service.reset()

    def change(self, **changes: Any) -> None:
        """Behave otherwise from now on. See `Service.change`."""
        self.service.change(**changes)

    async def __aenter__(self) -> Self:
        server = serving(self.service, host=self._host, port=self._port)
        self.endpoint = await self._stack.enter_async_context(server)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()


class HunyuanEmulator:
    """A context manager that serves from a thread of its own. Arguments as its sibling's.

    Methods may be called from any thread while it is entered.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        host: str = LOCALHOST,
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._served = AsyncHunyuanEmulator(settings, host=host, port=port, clock=clock)
        self._started = threading.Event()
        self._failure: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def endpoint(self) -> str:
        """Where it listens, such as ``http://127.0.0.1:40123``."""
        return self._served.endpoint

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables that point holodeck-gen at it."""
        return self._served.environ

    @property
    def settings(self) -> Settings:
        """How the service behaves."""
        return self._served.service.settings

    def stats(self) -> Mapping[str, Any]:
        """The service's counters."""
        found: Mapping[str, Any] = self._in_loop(self._served.stats)
        return found

    def reset(self) -> None:
        """Forget every job and counter."""
        self._in_loop(self._served.reset)

    def change(self, **changes: Any) -> None:
        """Behave otherwise from now on. See `Service.change`."""
        self._in_loop(lambda: self._served.change(**changes))

    def __enter__(self) -> Self:
        self._started.clear()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main()), name="hunyuan-emulator", daemon=True
        )
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._loop is not None
        assert self._stop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with self._served:
                self._started.set()
                await self._stop.wait()
        except Exception as error:
            self._failure = error
        finally:
            self._started.set()

    def _in_loop(self, call: Callable[[], Any]) -> Any:
        # The service is not locked: only its own thread may touch it.
        if self._loop is None or self._loop.is_closed():
            return call()

        async def main() -> Any:
            return call()

        return asyncio.run_coroutine_threadsafe(main(), self._loop).result()
