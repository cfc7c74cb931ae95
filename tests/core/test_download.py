"""One download over a real connection to this machine, and what may go wrong with it."""

from __future__ import annotations

import asyncio
import gzip
import socket
import tracemalloc
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import aiohttp.abc
import httpx
import pytest

from holodeck_gen._http import download as downloads
from holodeck_gen._http.download import download, retry_after
from holodeck_gen._http.transport import guarded, network
from holodeck_gen.errors import DownloadError, ThrottledError, TransientError
from servers import RawServer, always, reply, served

if TYPE_CHECKING:
    from servers import Handler

PICTURE = bytes(range(256)) * 1000


async def get(
    url: str,
    *,
    kind: str = "image",
    local: bool = True,
    transport: httpx.AsyncBaseTransport | None = None,
    expired: bool = False,
) -> bytes:
    received = bytearray()

    async def write(piece: bytes) -> None:
        received.extend(piece)

    transport = transport or network(guarded(local=local))
    try:
        await download(transport, url, kind=kind, local=local, write=write, expired=expired)
    finally:
        await transport.aclose()
    return bytes(received)


def got(
    handler: Handler, *, kind: str = "image", path: str = "/a.png", expired: bool = False
) -> bytes:
    async def main() -> bytes:
        async with served(handler) as server:
            return await get(server.url + path, kind=kind, expired=expired)

    return asyncio.run(main())


def redirect(to: str, status: int = 302) -> bytes:
    return reply(status=f"{status} Found", Location=to)


class TestWhole:
    def test_the_bytes_arrive(self) -> None:
        assert got(always(reply(PICTURE))) == PICTURE

    def test_in_chunks_without_a_length(self) -> None:
        async def chunked(_request: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(3):
                writer.write(b"4\r\nabcd\r\n")
            writer.write(b"0\r\n\r\n")

        assert got(chunked) == b"abcd" * 3

    def test_compressed_although_nobody_asked(self) -> None:
        body = reply(gzip.compress(PICTURE), Content_Encoding="gzip")
        assert got(always(body)) == PICTURE

    def test_nothing_but_the_address_is_sent(self) -> None:
        async def main() -> RawServer:
            async with served(always(reply(PICTURE, Set_Cookie="a=b"))) as server:
                transport = network(guarded(local=True))
                for _ in range(2):
                    await download(
                        transport,
                        f"{server.named_url}/a%2Fb.png?sign=x%2By;1",
                        kind="image",
                        local=True,
                        write=ignore,
                    )
                await transport.aclose()
                return server

        server = asyncio.run(main())
        assert server.connections == 1
        for request in server.requests:
            line, *headers = request.decode().splitlines()
            assert line == "GET /a%2Fb.png?sign=x%2By;1 HTTP/1.1"
            names = {header.partition(":")[0].lower() for header in headers if header}
            assert names == {"host", "accept", "accept-encoding", "user-agent"}
            assert "accept-encoding: identity" in request.decode().lower()


class TestBroken:
    @pytest.mark.parametrize("status", ["500 Oops", "502 Bad Gateway", "503 Busy", "429 Slow"])
    def test_trouble_of_the_service_may_pass(self, status: str) -> None:
        kind = ThrottledError if status == "429 Slow" else TransientError
        with pytest.raises(kind, match=status[:3]) as caught:
            got(always(reply(status=status, Retry_After="7")))
        assert caught.value.retry_after == 7

    @pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "410 Gone", "206 Part"])
    def test_an_expired_address_does_not_come_back(self, status: str) -> None:
        with pytest.raises(DownloadError, match=status[:3]):
            got(always(reply(b"<Error/>", status=status, Content_Type="application/xml")))

    @pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "410 Gone"])
    def test_an_error_tells_of_an_expiry_that_is_known(self, status: str) -> None:
        with pytest.raises(DownloadError, match=f"{status[:3]} for .*: the address has expired"):
            got(always(reply(b"<Error/>", status=status)), expired=True)

    def test_an_error_tells_of_an_expiry_that_the_service_tells_of(self) -> None:
        page = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
        with pytest.raises(DownloadError, match=r"403 for .*: the address has expired"):
            got(always(reply(page, status="403 Forbidden", Content_Type="application/xml")))
        late = always(reply(b"x" * 10_000 + page, status="403 Forbidden"))
        with pytest.raises(DownloadError, match=r"^HTTP 403 for [^ ]*$"):
            got(late)

    def test_truncated(self) -> None:
        async def truncated(_request: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(reply(PICTURE)[:-1000])
            writer.close()

        with pytest.raises(TransientError):
            got(truncated)

    def test_larger_than_announced(self) -> None:
        with pytest.raises(TransientError):
            got(always(reply(b"abc", Content_Length="2")))

    def test_what_comes_late_after_the_announced_length_harms_no_other_download(self) -> None:
        async def main() -> tuple[list[bytes], int]:
            async def late(_request: bytes, writer: asyncio.StreamWriter) -> None:
                writer.write(reply(PICTURE))
                await writer.drain()
                writer.write(b"more of it")

            async with served(late) as server:
                transport = network(guarded(local=True))
                got = []
                for _ in range(3):
                    received = bytearray()

                    async def write(piece: bytes, into: bytearray = received) -> None:
                        into.extend(piece)

                    await download(transport, server.url, kind="image", local=True, write=write)
                    got.append(bytes(received))
                    await asyncio.sleep(0.05)
                await transport.aclose()
                return got, server.connections

        assert asyncio.run(main()) == ([PICTURE] * 3, 3)

    def test_another_length_than_announced_by_any_transport(self) -> None:
        def serve(_request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, content=b"abc", headers={"Content-Length": "2"})

        with pytest.raises(TransientError, match="3 bytes instead of 2"):
            asyncio.run(get("https://cos.example/a", transport=httpx.MockTransport(serve)))

    def test_empty(self) -> None:
        with pytest.raises(TransientError, match="empty"):
            got(always(reply(b"")))

    def test_dropped(self) -> None:
        async def drop(_request: bytes, writer: asyncio.StreamWriter) -> None:
            writer.close()

        with pytest.raises(TransientError):
            got(drop)

    def test_not_even_http(self) -> None:
        with pytest.raises(TransientError) as caught:
            got(always(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), path="/a?sign=secret")
        told: BaseException | None = caught.value
        while told is not None:
            assert "secret" not in f"{told} {told!r}"
            told = told.__cause__

    def test_nobody_listens(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        with pytest.raises(TransientError, match="ConnectError"):
            asyncio.run(get(f"http://127.0.0.1:{port}/"))

    def test_damaged_compression(self) -> None:
        body = reply(b"no gzip at all", Content_Encoding="gzip")
        with pytest.raises(TransientError, match="DecodingError"):
            got(always(body))


class TestType:
    @pytest.mark.parametrize(
        "media_type", ["text/html; charset=utf-8", "application/json", "Text/Plain", "text/xml"]
    )
    def test_a_page_instead_of_a_picture_is_not_read(self, media_type: str) -> None:
        read = []

        async def write(piece: bytes) -> None:
            read.append(piece)

        def serve(_request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, content=b"<html>", headers={"Content-Type": media_type})

        with pytest.raises(TransientError, match="not the file"):
            asyncio.run(
                download(
                    httpx.MockTransport(serve),
                    "https://cos.example/a",
                    kind="image",
                    local=False,
                    write=write,
                )
            )
        assert read == []

    def test_a_model_may_be_text(self) -> None:
        body = reply(b"v 0 0 0\n", Content_Type="text/plain")
        assert got(always(body), kind="model3d") == b"v 0 0 0\n"

    def test_a_page_is_no_model_either(self) -> None:
        with pytest.raises(TransientError, match="text/html"):
            got(always(reply(b"<html>", Content_Type="text/html")), kind="model3d")

    @pytest.mark.parametrize("media_type", ["image/png", "application/octet-stream", ""])
    def test_what_says_little_is_judged_by_its_bytes_later(self, media_type: str) -> None:
        assert got(always(reply(PICTURE, Content_Type=media_type))) == PICTURE


class TestSize:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(downloads, "MAX_IMAGE", 2**20)

    def test_too_large_by_its_announcement_is_not_read(self) -> None:
        with pytest.raises(DownloadError, match="larger"):
            got(always(reply(b"", Content_Length=str(2**40))))

    def test_too_large_without_an_announcement_stops_early(self) -> None:
        sent = 0

        async def endless(_request: bytes, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(bytes(2**16))
                sent += 2**16
                await writer.drain()

        with pytest.raises(DownloadError, match="larger"):
            got(endless)
        # What is on its way in the system's buffers comes on top of the limit.
        assert sent < 2**24

    def test_another_kind_has_another_limit(self) -> None:
        body = bytes(2**20 + 1)
        assert got(always(reply(body)), kind="model3d") == body

    def test_a_bomb_stops_early(self) -> None:
        bomb = gzip.compress(bytes(2**28))
        tracemalloc.start()
        try:
            with pytest.raises(DownloadError, match="larger"):
                got(always(reply(bomb, Content_Encoding="gzip")))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        # One piece of 16 KiB grows to 16 MiB, and is copied once or twice.
        assert peak < 2**26

    @pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd", "x"])
    def test_what_could_grow_without_bound_is_not_decoded(self, encoding: str) -> None:
        with pytest.raises(DownloadError, match="encoded"):
            got(always(reply(b"abc", Content_Encoding=encoding)))


class TestRedirects:
    def test_are_followed(self) -> None:
        assert got(always(redirect("/b.png"), redirect("c.png", 307), reply(PICTURE))) == PICTURE

    def test_five_and_no_more(self) -> None:
        five = [redirect(f"/{i}") for i in range(5)]
        assert got(always(*five, reply(PICTURE))) == PICTURE
        with pytest.raises(DownloadError, match="more than 5"):
            got(always(*five, redirect("/6"), reply(PICTURE)))

    @pytest.mark.parametrize(
        "target",
        [
            "http://169.254.169.254/latest/meta-data/?token=secret",
            "http://10.0.0.1/",
            "https://[fd00:ec2::254]/",
            "http://2130706433/",
            "file:///etc/passwd",
            "http://example.com/",
            "//user:secret@127.0.0.1/",
            "http://[",
        ],
    )
    def test_each_hop_is_checked(self, target: str) -> None:
        with pytest.raises(DownloadError) as caught:
            got(always(redirect("/b"), redirect(target), reply(PICTURE)))
        assert "secret" not in str(caught.value)

    def test_none_leads_from_outside_to_this_machine(self) -> None:
        def serve(request: httpx.Request) -> httpx.Response:
            assert request.url.host == "cos.example"
            return httpx.Response(302, headers={"Location": "http://127.0.0.1:8500/"})

        with pytest.raises(DownloadError, match="public"):
            asyncio.run(
                get("https://cos.example/a", local=False, transport=httpx.MockTransport(serve))
            )


class Names(aiohttp.abc.AbstractResolver):
    """Resolves every name to these addresses in turn: the last ones from then on."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
            for address in answer
        ]

    async def close(self) -> None:
        pass


class TestNames:
    """What a name leads to is checked for the very address that is connected to."""

    def through(self, names: Names, *, local: bool) -> tuple[RawServer, Any]:
        async def main() -> tuple[RawServer, Any]:
            async with served(always(reply(PICTURE))) as server:
                transport = network(guarded(local=local), resolver=names)
                url = f"http://localhost:{server.port}/a.png"
                request = httpx.Request("GET", url, extensions={"timeout": {"connect": 5.0}})
                try:
                    # Below the check of URLs, as if it had been passed.
                    response = await transport.handle_async_request(request)
                    outcome: Any = await response.aread()
                    await response.aclose()
                except httpx.TransportError as error:
                    outcome = error
                await transport.aclose()
                return server, outcome

        return asyncio.run(main())

    @pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
    def test_a_public_name_does_not_lead_to_this_machine(self, address: str) -> None:
        server, outcome = self.through(Names([address]), local=False)
        assert isinstance(outcome, httpx.ConnectError)
        assert server.connections == 0

    def test_a_download_says_so_and_is_not_tried_again(self) -> None:
        async def main() -> RawServer:
            async with served(always(reply(PICTURE))) as server:
                transport = network(
                    guarded(local=False), resolver=Names(["127.0.0.1", "10.0.0.1", "::1"])
                )
                with pytest.raises(DownloadError, match="public address"):
                    await get(
                        f"https://cos.example:{server.port}/a.png",
                        local=False,
                        transport=transport,
                    )
                return server

        assert asyncio.run(main()).connections == 0

    def test_addresses_that_are_allowed_are_used(self) -> None:
        names = Names(["10.0.0.1", "169.254.169.254", "127.0.0.1"])
        server, outcome = self.through(names, local=True)
        assert outcome == PICTURE
        assert server.connections == 1

    def test_a_name_that_changes_is_resolved_once_for_each_connection(self) -> None:
        names = Names(["127.0.0.1"], ["10.0.0.1"])
        server, outcome = self.through(names, local=True)
        assert outcome == PICTURE
        assert (names.asked, server.connections) == (1, 1)


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("0", 0), ("17", 17), ("100000", 300), ("-1", None), ("soon", None), ("", None)],
    )
    def test_seconds(self, text: str, seconds: float | None) -> None:
        assert retry_after(httpx.Response(503, headers={"Retry-After": text})) == seconds

    def test_a_date_by_the_services_own_clock(self) -> None:
        now = datetime(2031, 5, 1, tzinfo=UTC)
        later = now + timedelta(seconds=20)
        headers = {
            "Date": format_datetime(now, usegmt=True),
            "Retry-After": format_datetime(later, usegmt=True),
        }
        assert retry_after(httpx.Response(503, headers=headers)) == 20
        del headers["Date"]
        assert retry_after(httpx.Response(503, headers=headers)) is None


async def ignore(_piece: bytes) -> None:
    pass
