"""The studio's one pooled HTTP client, made when something first asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import httpx

#: Seconds; reads may be long, connects may not.
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0


@attrs.define(eq=False)
class LazyClient:
    """Calling it returns the client; importing httpx costs a quarter of a second, so not before.

    Args:
        transport: Replaces the network, for tests and embedders.
    """

    transport: httpx.AsyncBaseTransport | None = None
    _client: httpx.AsyncClient | None = attrs.field(default=None, init=False)

    def __call__(self) -> httpx.AsyncClient:
        """The client, the same at every call."""
        if self._client is None:
            self._client = self._make()
        return self._client

    async def aclose(self) -> None:
        """Close the client, if it was ever made."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _make(self) -> httpx.AsyncClient:
        import httpx

        transport = self.transport
        if transport is None:
            # Stock httpx spends most of its time in its pool; see the performance notes.
            from httpx_aiohttp import AiohttpTransport

            transport = AiohttpTransport()
        return httpx.AsyncClient(
            transport=transport,
            timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        )
