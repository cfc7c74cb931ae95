"""What the errors of the network prove."""

from __future__ import annotations

import sys


def network_errors() -> tuple[type[Exception], ...]:
    """The classes by which a request can end without an answer."""
    import httpx

    # aiohttp's transport lets some of its own through; where it is not in use, it is not imported.
    aiohttp = sys.modules.get("aiohttp")
    return (httpx.HTTPError, OSError, *((aiohttp.ClientError,) if aiohttp else ()))


def nothing_sent(error: Exception) -> bool:
    """Whether an error proves that the service never got the request.

    The class alone does not: httpx-aiohttp turns every lost connection, also one that broke
    after the request was sent, into `httpx.ConnectTimeout`. What was raised first tells.
    """
    import httpx

    first = error.__cause__ or error
    aiohttp = sys.modules.get("aiohttp")
    if aiohttp and isinstance(first, aiohttp.ClientError):
        return isinstance(first, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
