"""One result from its URL, piece by piece; nothing of it is trusted but its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holodeck_gen._http.addresses import check_url, without_query
from holodeck_gen._http.timeouts import timeouts
from holodeck_gen.errors import DownloadError, ThrottledError, TransientError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx

#: Bytes of one decoded file, by the task's kind. 4096×4096 pixels, the most that a known provider
#: draws, are 64 MiB without any compression; a 3D model with textures is larger.
MAX_IMAGE = 128 * 2**20
MAX_OTHER = 512 * 2**20

MAX_REDIRECTS = 5
#: Seconds; whatever a host asks for, a result's URL lives only so long.
MAX_RETRY_AFTER_S = 300.0

#: Pictures and models are compressed by themselves. Two encodings are decoded all the same, one at
#: a time: a piece of gzip grows a thousandfold at most, others and nested ones without bound.
_DECODED = ("gzip", "deflate")
_PLAIN = ("", "identity")

_REDIRECTS = (301, 302, 303, 307, 308)
#: How an address that is gone is answered; the services of signed ones say 403.
_GONE = (403, 404, 410)
#: Bytes of such an answer that are read; what it says comes first.
_REASON = 4096
_NO_FILE = (
    "text/html", "text/xml", "application/xhtml+xml", "application/xml", "application/json",
    "application/problem+json",
)  # fmt: skip


def size_limit(kind: str) -> int:
    """Bytes that one file of this kind may have."""
    return MAX_IMAGE if kind == "image" else MAX_OTHER


async def download(
    transport: httpx.AsyncBaseTransport,
    url: str,
    *,
    kind: str,
    local: bool,
    write: Callable[[bytes], Awaitable[None]],
    expired: bool = False,
) -> None:
    """Send one GET and hand each piece of the file to `write`.

    Args:
        transport: What carries the request.
        url: May carry a signature, which no error tells.
        kind: The task's kind; decides on size and media type.
        local: Whether the URL may lead to this machine.
        write: Awaited for each piece, in order.
        expired: Whether the URL is known to have expired; only for what an error says.

    Raises:
        TransientError, ThrottledError: Another try may succeed.
        DownloadError: It will not.
    """
    import httpx

    where = without_query(url)
    response: httpx.Response | None = None
    try:
        response = await _open(transport, check_url(url, local=local), local=local)
        if response.status_code in _GONE and (expired or await _says_expired(response)):
            raise DownloadError(
                f"HTTP {response.status_code} for {where}: the address has expired",
                stage="download",
            )
        _check_head(response, kind=kind, where=where)
        received = 0
        async for piece in response.aiter_bytes():
            received += len(piece)
            if received > size_limit(kind):
                raise _too_large(where, kind)
            await write(piece)
        _check_length(response, received, where)
    except (httpx.TransportError, httpx.DecodingError) as error:
        if _is_refused(error):
            raise DownloadError(
                f"{where} is not fetched: it does not lead to a public address", stage="download"
            ) from error
        raise TransientError(
            f"{type(error).__name__} for {where}",
            # An answer that breaks off is one all the same.
            code=None if response is None else "cut off",
        ) from error
    finally:
        if response is not None:
            await response.aclose()


async def _open(
    transport: httpx.AsyncBaseTransport, url: httpx.URL, *, local: bool
) -> httpx.Response:
    """The first response that is no redirect; each hop is checked like the first."""
    import httpx

    headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "holodeck-gen"}
    for _ in range(MAX_REDIRECTS + 1):
        response = await transport.handle_async_request(
            httpx.Request("GET", url, headers=headers, extensions={"timeout": timeouts()})
        )
        target = response.headers.get("Location")
        if response.status_code not in _REDIRECTS or not target:
            return response
        await response.aclose()
        url = check_url(_join(url, target), local=local)
    raise DownloadError(
        f"{without_query(url)}: more than {MAX_REDIRECTS} redirects", stage="download"
    )


async def _says_expired(response: httpx.Response) -> bool:
    """Whether an error page speaks of expiry, as those of S3 and Tencent's COS do."""
    read = b""
    async for piece in response.aiter_bytes():
        read += piece
        if len(read) >= _REASON:
            break
    return b"expired" in read[:_REASON].lower()


def _join(url: httpx.URL, target: str) -> httpx.URL:
    import httpx

    try:
        return url.join(target)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise DownloadError(
            f"{without_query(url)} redirects to what is not a web address", stage="download"
        ) from error


def _check_head(response: httpx.Response, *, kind: str, where: str) -> None:
    """Refuse what can be refused before any of its body is read."""
    status = response.status_code
    if status in (408, 425, 429) or status >= 500:
        # Too many requests are no sign that it is unwell.
        raise (ThrottledError if status == 429 else TransientError)(
            f"HTTP {status} for {where}",
            code=f"HTTP {status}",
            retry_after=retry_after(response),
        )
    if status != 200:
        raise DownloadError(f"HTTP {status} for {where}", stage="download")
    if (encoding := _encoding(response)) not in (*_PLAIN, *_DECODED):
        raise DownloadError(f"{where} is encoded as {encoding[:40]!r}", stage="download")
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    # Models in OBJ format are text. What says so falsely is found out by its bytes.
    if media_type in _NO_FILE or (kind == "image" and media_type.startswith("text/")):
        # Rather a gateway's page about some trouble than what the service has stored.
        raise TransientError(f"{where} is {media_type} and not the file", code="no file")
    if (_announced(response) or 0) > size_limit(kind):
        raise _too_large(where, kind)


def _check_length(response: httpx.Response, received: int, where: str) -> None:
    announced = _announced(response)
    # Announced are encoded bytes; where it is encoded, the transport alone can count them.
    if _encoding(response) in _PLAIN and announced not in (None, received):
        raise TransientError(
            f"{where}: {received} bytes instead of {announced}", code="not all of it"
        )
    if not received:
        raise TransientError(f"{where} is empty", code="empty")


def _encoding(response: httpx.Response) -> str:
    return str(response.headers.get("Content-Encoding", "")).strip().lower()


def _announced(response: httpx.Response) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() and "Transfer-Encoding" not in response.headers else None


def _too_large(where: str, kind: str) -> DownloadError:
    return DownloadError(
        f"{where} is larger than the {size_limit(kind)} bytes that are taken for"
        f" {'an image' if kind == 'image' else 'one file'}",
        stage="download",
    )


def retry_after(response: httpx.Response) -> float | None:
    """Seconds that a response's ``Retry-After`` asks for, if it does (RFC 9110, section 10.2.3).

    A date is read against the response's own ``Date``, so that no clock has to be right.
    """
    from email.utils import parsedate_to_datetime

    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return min(float(text), MAX_RETRY_AFTER_S)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(response.headers["Date"])
    except (ValueError, TypeError, KeyError):
        return None
    return min(max(wait.total_seconds(), 0.0), MAX_RETRY_AFTER_S)


def _is_refused(error: BaseException) -> bool:
    from holodeck_gen._http.transport import RefusedAddressError

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, RefusedAddressError):
        cause = cause.__cause__
    return cause is not None
