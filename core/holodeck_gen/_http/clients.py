"""The studio's HTTP client and what fetches results, made when something first asks for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._http.timeouts import timeouts

if TYPE_CHECKING:
    import httpx


@attrs.define(eq=False)
class LazyClient:
    """Calling it returns the client; importing httpx costs a quarter of a second, so not before.

    Args:
        make: Makes the client, inside the running loop.
    """

    make: Callable[[], httpx.AsyncClient]
    _client: httpx.AsyncClient | None = attrs.field(default=None, init=False)

    def __call__(self) -> httpx.AsyncClient:
        """The client, the same at every call."""
        if self._client is None:
            self._client = self.make()
        return self._client

    async def aclose(self) -> None:
        """Close the client, if it was ever made."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


@attrs.define(eq=False)
class Clients:
    """One studio's connections: those to APIs, and those to wherever results are.

    Args:
        transport: Replaces the network for all of them, for tests and embedders.

    Attributes:
        api: The client that providers get. What it sends at once is bounded, however many jobs
            there are.
    """

    transport: httpx.AsyncBaseTransport | None = None
    api: LazyClient = attrs.field(init=False)
    _downloads: dict[bool, httpx.AsyncBaseTransport] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.api = LazyClient(self._make_api)

    def downloads(self, *, local: bool) -> httpx.AsyncBaseTransport:
        """What fetches results: it connects to public addresses, and, if `local`, to this machine.

        A bare transport, because a client would add what must not be there: cookies, credentials,
        redirects that nobody has checked, and log lines that tell signed URLs. One for each
        choice, so that a connection that was right for one provider is never used for another.
        """
        if self.transport is not None:
            return self.transport
        if local not in self._downloads:
            from holodeck_gen._http.transport import guarded, network

            self._downloads[local] = network(guarded(local=local))
        return self._downloads[local]

    async def aclose(self) -> None:
        """Close what was made."""
        await self.api.aclose()
        while self._downloads:
            await self._downloads.popitem()[1].aclose()

    def _make_api(self) -> httpx.AsyncClient:
        from http.cookiejar import CookieJar, DefaultCookiePolicy

        import httpx

        from holodeck_gen._http.transport import Bounded, network

        return httpx.AsyncClient(
            transport=Bounded(self.transport or network()),
            timeout=httpx.Timeout(**timeouts()),
            # No API here needs cookies, and a redirected submit could be a second one.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            follow_redirects=False,
        )
