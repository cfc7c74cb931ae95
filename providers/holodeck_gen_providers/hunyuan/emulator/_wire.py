"""What passes between the service and the HTTP server: requests, replies, refusals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Literal, TypeAlias

import attrs
from immutabledict import immutabledict

#: How a reply leaves: whole; not at all, with the connection closed; half of what its length
#: announces; twice of it; without an end.
Delivery: TypeAlias = Literal["whole", "dropped", "truncated", "oversized", "endless"]

_HTML = (
    b"<html>\r\n<head><title>%(title)b</title></head>\r\n<body>\r\n"
    b"<center><h1>%(title)b</h1></center>\r\n<hr><center>stgw</center>\r\n</body>\r\n</html>"
)


@attrs.frozen(kw_only=True)
class Request:
    """One HTTP request.

    Attributes:
        method: In capitals.
        path: Without the query.
        query: What follows the question mark; may be empty.
        headers: By lower-case name.
        body: The exact bytes.
    """

    method: str = "POST"
    path: str = "/"
    query: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    body: bytes = b""


@attrs.frozen(kw_only=True)
class Reply:
    """One HTTP reply, and how it is delivered.

    Attributes:
        status: The HTTP status.
        body: The bytes, or a coroutine function that makes them where that takes long.
        media_type: The exact ``Content-Type``.
        headers: Others.
        wait_s: Seconds until it leaves.
        delivery: How it leaves.
    """

    status: int = 200
    body: bytes | Callable[[], Awaitable[bytes]] = b""
    media_type: str = "application/json"
    headers: Mapping[str, str] = immutabledict()
    wait_s: float = 0.0
    delivery: Delivery = "whole"


class RefusedError(Exception):
    """The service answers with an error and makes nothing.

    Attributes:
        code: In the words of API 3.0, or one of TokenHub's numbers.
        message: For people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


def html_page(status: int) -> Reply:
    """What a gateway in front of the service answers."""
    title = f"{status} {HTTPStatus(status).phrase}".encode()
    return Reply(status=status, body=_HTML % {b"title": title}, media_type="text/html")
