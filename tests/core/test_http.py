"""The clients: what they send at once, what they keep, and what they call what went wrong."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import pytest

from holodeck_gen._http.clients import Clients
from holodeck_gen._http.timeouts import POOL_TIMEOUT_S
from holodeck_gen._http.transport import LONG_AT_ONCE, SHORT_AT_ONCE, Translated
from holodeck_gen.testing import run_virtual
from servers import RawServer, always, reply, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from servers import Handler

LONG = {"timeout": httpx.Timeout(300.0, pool=POOL_TIMEOUT_S).as_dict()}


class Service:
    """Answers after a while, and counts."""

    def __init__(self) -> None:
        self.now: dict[str, int] = {}
        self.most: dict[str, int] = {}
        self.arrivals: dict[str, list[float]] = {}

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        host, seconds = request.url.host, float(request.url.path.strip("/"))
        self.arrivals.setdefault(host, []).append(asyncio.get_running_loop().time())
        self.now[host] = self.now.get(host, 0) + 1
        self.most[host] = max(self.most.get(host, 0), self.now[host])
        try:
            await asyncio.sleep(seconds)
        finally:
            self.now[host] -= 1
        if request.method == "DELETE":
            raise httpx.ReadError("lost")
        return httpx.Response(200, content=b"{}")


def run(use: Callable[[httpx.AsyncClient], Any]) -> Service:
    service = Service()

    async def main() -> None:
        clients = Clients(httpx.MockTransport(service))
        await use(clients.api())
        await clients.aclose()

    run_virtual(main())
    return service


class TestBound:
    def test_so_many_requests_at_once_and_no_more(self) -> None:
        async def use(client: httpx.AsyncClient) -> None:
            await asyncio.gather(*(client.post("https://api.example/1") for _ in range(50)))

        service = run(use)
        assert service.most == {"api.example": SHORT_AT_ONCE}
        assert len(service.arrivals["api.example"]) == 50

    def test_each_host_has_its_own(self) -> None:
        async def use(client: httpx.AsyncClient) -> None:
            slow = [
                asyncio.ensure_future(client.post("https://slow.example/50")) for _ in range(20)
            ]
            await asyncio.sleep(1)
            await client.post("https://other.example/1")
            assert asyncio.get_running_loop().time() < 3
            await asyncio.gather(*slow, return_exceptions=True)

        assert run(use).most["slow.example"] == SHORT_AT_ONCE

    def test_calls_that_wait_for_minutes_do_not_hold_up_polls(self) -> None:
        async def use(client: httpx.AsyncClient) -> None:
            direct = [
                asyncio.ensure_future(client.post("https://api.example/200", extensions=LONG))
                for _ in range(100)
            ]
            await asyncio.sleep(1)
            began = asyncio.get_running_loop().time()
            await asyncio.gather(*(client.post("https://api.example/0.2") for _ in range(8)))
            assert asyncio.get_running_loop().time() - began < 0.3
            await asyncio.gather(*direct)

        # All hundred of them, and the polls beside them.
        assert run(use).most["api.example"] == 108

    def test_calls_that_wait_for_minutes_are_bounded_too(self) -> None:
        async def use(client: httpx.AsyncClient) -> None:
            many = LONG_AT_ONCE + 10
            await asyncio.gather(
                *(client.post("https://api.example/10", extensions=LONG) for _ in range(many))
            )

        assert run(use).most["api.example"] == LONG_AT_ONCE

    def test_without_a_place_in_time_nothing_is_sent(self) -> None:
        async def use(client: httpx.AsyncClient) -> None:
            slow = [client.post("https://api.example/50") for _ in range(SHORT_AT_ONCE)]
            running = [asyncio.ensure_future(each) for each in slow]
            await asyncio.sleep(1)
            with pytest.raises(httpx.PoolTimeout):
                await client.post("https://api.example/1")
            assert asyncio.get_running_loop().time() == pytest.approx(1 + POOL_TIMEOUT_S, abs=0.1)
            await asyncio.gather(*running)

        assert len(run(use).arrivals["api.example"]) == SHORT_AT_ONCE

    def test_places_come_back_from_whatever_ends_a_request(self) -> None:
        async def use(client: httpx.AsyncClient) -> None:
            url = "https://api.example/1"
            for _ in range(SHORT_AT_ONCE * 2):
                with pytest.raises(httpx.ReadError):
                    await client.delete(url)
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await client.post(url)
                async with client.stream("POST", url):
                    pass
                await client.post(url)
            await asyncio.gather(*(client.post(url) for _ in range(SHORT_AT_ONCE)))

        assert run(use).most["api.example"] == SHORT_AT_ONCE

    def test_a_place_is_kept_until_the_answer_is_read(self) -> None:
        async def main() -> None:
            stop = asyncio.Event()

            async def slow(_request: bytes, writer: asyncio.StreamWriter) -> None:
                writer.write(reply(Content_Length="2"))
                await writer.drain()
                await stop.wait()
                writer.write(b"{}")

            async with served(slow) as server:
                clients = Clients()
                client = clients.api()
                posts = [asyncio.ensure_future(client.post(server.url)) for _ in range(20)]
                await asyncio.sleep(0.3)
                assert len(server.requests) == SHORT_AT_ONCE
                stop.set()
                assert {(await post).content for post in posts} == {b"{}"}
                await clients.aclose()
                assert server.connections == SHORT_AT_ONCE

        asyncio.run(main())


def error_of(handler: Handler | None, **extensions: Any) -> Exception:
    """What a POST to a server that behaves so raises; None is no server at all."""

    async def post(url: str) -> Exception:
        clients = Clients()
        with pytest.raises(Exception) as caught:  # noqa: PT011 -- which one is the question
            await clients.api().post(f"{url}/?key=secret", content=b"{}", extensions=extensions)
        await clients.aclose()
        return caught.value

    async def main() -> Exception:
        if handler is None:
            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                return await post(f"http://127.0.0.1:{unused.getsockname()[1]}")
        async with served(handler) as server:
            error = await post(server.url)
            assert len(server.requests) == 1, "a POST is sent once"
            return error

    return asyncio.run(main())


class TestErrors:
    """The name of an error decides whether a submit is repeated, so it must not say too much."""

    def test_refused_is_not_sent(self) -> None:
        assert type(error_of(None)) is httpx.ConnectError

    def test_dropped_after_it_was_sent(self) -> None:
        async def drop(_request: bytes, writer: asyncio.StreamWriter) -> None:
            writer.close()

        assert type(error_of(drop)) is httpx.RemoteProtocolError

    def test_reset_after_it_was_sent(self) -> None:
        async def reset(_request: bytes, writer: asyncio.StreamWriter) -> None:
            connection = writer.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

        assert type(error_of(reset)) is httpx.ReadError

    def test_dropped_within_the_answer(self) -> None:
        async def drop(_request: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(reply(b"{", Content_Length="2"))
            writer.close()

        assert type(error_of(drop)) is httpx.ReadError

    def test_reset_within_the_answer(self) -> None:
        async def reset(_request: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(reply(b"{", Content_Length="2"))
            await writer.drain()
            await asyncio.sleep(0.05)
            connection = writer.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

        assert type(error_of(reset)) is httpx.ReadError

    def test_closed_while_the_answer_is_read(self) -> None:
        class Closing(httpx.AsyncByteStream):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                yield b"{"
                # What httpx-aiohttp makes of it.
                error = aiohttp.ClientConnectionError("Connection closed")
                raise httpx.ConnectTimeout(str(error)) from error

        async def main() -> None:
            fake = httpx.MockTransport(lambda _: httpx.Response(200, stream=Closing()))
            response = await Translated(fake).handle_async_request(httpx.Request("GET", "http://h"))
            with pytest.raises(httpx.RemoteProtocolError):
                await response.aread()

        asyncio.run(main())

    def test_no_answer_in_time(self) -> None:
        async def stall(_request: bytes, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.5)

        timeout = {"connect": 5.0, "write": 5.0, "read": 0.05, "pool": 5.0}
        assert type(error_of(stall, timeout=timeout)) is httpx.ReadTimeout

    def test_an_answer_that_is_no_http_tells_neither_address_nor_headers(self) -> None:
        error = error_of(always(b"SSH-2.0\r\n\r\n"))
        assert type(error) is httpx.RemoteProtocolError
        told: BaseException | None = error
        while told is not None:
            assert "secret" not in f"{told} {told!r}"
            told = told.__cause__

    def test_a_peer_that_takes_a_request_too_slowly(self) -> None:
        async def main() -> None:
            async def stuck(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
                await stop.wait()
                _writer.close()

            stop = asyncio.Event()
            listening = await asyncio.start_server(stuck, "127.0.0.1", 0, limit=2**10)
            port = listening.sockets[0].getsockname()[1]
            clients = Clients()
            timeout = {"connect": 0.2, "write": 0.2, "read": 0.2, "pool": 5.0}
            with pytest.raises(httpx.ReadTimeout):
                await clients.api().post(
                    f"http://127.0.0.1:{port}/",
                    content=bytes(2**25),
                    extensions={"timeout": timeout},
                )
            stop.set()
            listening.close()
            await clients.aclose()

        asyncio.run(main())


class TestClients:
    def test_are_made_when_asked_for(self) -> None:
        async def main() -> None:
            clients = Clients()
            await clients.aclose()
            assert clients.api() is clients.api()
            assert clients.downloads(local=True) is clients.downloads(local=True)
            assert clients.downloads(local=True) is not clients.downloads(local=False)
            await clients.aclose()

        asyncio.run(main())

    def test_downloads_reach_this_machine_only_where_they_may(self) -> None:
        async def main() -> None:
            async with served(always(reply(b"{}"))) as server:
                clients = Clients()
                for host in ("127.0.0.1", "localhost"):
                    request = httpx.Request("GET", f"http://{host}:{server.port}/")
                    with pytest.raises(httpx.ConnectError):
                        await clients.downloads(local=False).handle_async_request(request)
                assert server.connections == 0
                response = await clients.downloads(local=True).handle_async_request(request)
                assert await response.aread() == b"{}"
                await clients.aclose()

        asyncio.run(main())

    def test_one_transport_may_stand_for_all(self) -> None:
        transport = httpx.MockTransport(lambda request: httpx.Response(200))
        clients = Clients(transport)
        assert clients.downloads(local=True) is clients.downloads(local=False) is transport

    def test_no_cookie_is_kept(self) -> None:
        async def main() -> RawServer:
            async with served(always(reply(b"{}", Set_Cookie="session=1"))) as server:
                clients = Clients()
                for _ in range(2):
                    await clients.api().post(server.named_url, content=b"{}")
                await clients.aclose()
                return server

        server = asyncio.run(main())
        assert server.connections == 1
        assert len(server.requests) == 2
        assert not any(b"cookie" in request.lower() for request in server.requests)

    def test_no_redirect_is_followed(self) -> None:
        async def main() -> RawServer:
            async with served(always(reply(status="307 Moved", Location="/again"))) as server:
                clients = Clients()
                response = await clients.api().post(server.url, content=b"{}")
                assert response.status_code == 307
                await clients.aclose()
                return server

        assert len(asyncio.run(main()).requests) == 1

    def test_what_is_sent_is_what_was_given(self) -> None:
        """Signatures are made over the bytes of the body and the header of the host."""

        async def main() -> RawServer:
            async with served(always(reply(b"{}"))) as server:
                clients = Clients()
                headers = {"Content-Type": "application/json", "Host": "aiart.example:80"}
                body = '{"Prompt":"雨中"}'.encode()
                await clients.api().post(f"{server.url}/", content=body, headers=headers)
                await clients.aclose()
                return server

        (request,) = asyncio.run(main()).requests
        assert request.startswith(b"POST / HTTP/1.1\r\n")
        head, _, body = request.partition(b"\r\n\r\n")
        assert body.decode() == '{"Prompt":"雨中"}'
        lines = head.lower().split(b"\r\n")
        assert lines.count(b"host: aiart.example:80") == 1
        assert lines.count(b"content-type: application/json") == 1

    def test_a_large_body_is_sent_whole_and_with_its_length(self) -> None:
        body = bytes(range(256)) * 2**14

        async def main() -> RawServer:
            async with served(always(reply(b"{}"))) as server:
                clients = Clients()
                await clients.api().post(f"{server.url}/", content=body)
                await clients.aclose()
                return server

        (request,) = asyncio.run(main()).requests
        head, _, sent = request.partition(b"\r\n\r\n")
        assert sent == body
        assert head.lower().count(b"\r\ncontent-length: 4194304") == 1
        assert b"transfer-encoding" not in head.lower()
