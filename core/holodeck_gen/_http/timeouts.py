"""How long a request may take."""

from __future__ import annotations

#: Seconds; reads may be long, connects may not. A request that needs more says so itself:
#: ``extensions={"timeout": httpx.Timeout(…).as_dict()}``, or ``timeout=`` of the client's methods.
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
WRITE_TIMEOUT_S = 60.0
#: Seconds to wait for a place before `httpx.PoolTimeout`, which proves that nothing was sent.
#: Less than a provider's usual deadline for a request, which proves nothing.
POOL_TIMEOUT_S = 30.0


def timeouts() -> dict[str, float]:
    """The deadlines of a request, in seconds, as httpx takes them."""
    return {
        "connect": CONNECT_TIMEOUT_S,
        "read": READ_TIMEOUT_S,
        "write": WRITE_TIMEOUT_S,
        "pool": POOL_TIMEOUT_S,
    }
