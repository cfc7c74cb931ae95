"""What goes over the wire, and what each way of losing an answer proves."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from httpx_aiohttp import AiohttpTransport

import holodeck_gen as hg
from holodeck_gen.errors import AuthError, ProviderError, ThrottledError, TransientError
from holodeck_gen.testing import run_virtual
from holodeck_gen_providers.hunyuan import HunyuanOptions, make_hunyuan
from hunyuan_fake import (
    API_KEY,
    NOW,
    SECRET_ID,
    SECRET_KEY,
    SECRETS,
    TOKEN,
    Capture,
    FakeService,
    plain,
    tc3,
    tc3_error,
    verify,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TASK = hg.Task("雨中, 竹林 🎋", size="1024x1024")
STALE = "AuthFailure.SignatureExpire"


def submit(
    service: FakeService, dialect: str = "aiart", task: hg.Task = TASK, **options: str
) -> Any:
    """What a submit returns."""

    async def main() -> Any:
        provider = service.provider(dialect, **options)
        return await provider.submit(provider.prepare(task).request, key="k#0")

    return run_virtual(main())


def failure(service: FakeService, dialect: str = "aiart", task: hg.Task = TASK) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        submit(service, dialect, task)
    return caught.value


class TestSigned:
    @pytest.mark.parametrize(
        ("dialect", "action", "version", "kind"),
        [
            ("aiart", "SubmitTextToImageJob", "2022-12-29", "image"),
            ("hunyuan", "SubmitHunyuanImageJob", "2023-09-01", "image"),
            ("ai3d", "SubmitHunyuanTo3DProJob", "2025-05-13", "model3d"),
        ],
    )
    def test_an_independent_signer_accepts_it(
        self, dialect: str, action: str, version: str, kind: str
    ) -> None:
        service = FakeService([tc3(JobId="j")])
        submit(service, dialect, hg.Task("雨中 🎋", kind=kind))
        [request] = service.requests
        assert verify(request) == dialect
        headers = request.headers
        assert str(request.url) == f"https://{dialect}.tencentcloudapi.com/"
        assert headers["host"] == f"{dialect}.tencentcloudapi.com"
        assert (headers["x-tc-action"], headers["x-tc-version"]) == (action, version)
        assert headers["x-tc-region"] == "ap-guangzhou"
        assert headers["content-type"] == "application/json"
        assert headers["x-tc-timestamp"] == str(int(NOW))
        assert "x-tc-token" not in headers

    def test_the_port_of_an_endpoint_is_signed(self) -> None:
        service = FakeService([tc3(JobId="j")])
        submit(service, endpoint="http://127.0.0.1:8787")
        [request] = service.requests
        assert request.headers["host"] == "127.0.0.1:8787"
        assert verify(request) == "aiart"

    def test_a_token_and_an_empty_region(self) -> None:
        service = FakeService([tc3(JobId="j")])
        submit(service, token=TOKEN, region="")
        [request] = service.requests
        assert request.headers["x-tc-token"] == TOKEN
        assert "x-tc-region" not in request.headers

    def test_each_attempt_is_signed_anew(self) -> None:
        service = FakeService([tc3(JobId="j")])
        times = iter((NOW, NOW + 100.0))

        async def main() -> None:
            options = HunyuanOptions(secret_id=SECRET_ID, secret_key=SECRET_KEY)
            context = service.context(wall_clock=lambda: next(times, NOW + 100.0))
            provider = make_hunyuan(options, context)
            request = provider.prepare(TASK).request
            await provider.submit(request, key="k#0")
            await provider.submit(request, key="k#0")

        run_virtual(main())
        stamps = {request.headers["x-tc-timestamp"] for request in service.requests}
        assert len(stamps) == 2
        assert all(verify(request) == "aiart" for request in service.requests)

    def test_what_would_be_redirected_stays(self) -> None:
        moved = httpx.Response(302, headers={"Location": "https://elsewhere.example.com/"})
        service = FakeService([moved])
        assert failure(service).not_created
        assert len(service.requests) == 1


class TestBearer:
    def test_the_key_is_sent_and_nothing_is_signed(self) -> None:
        service = FakeService([plain({"id": "j", "status": "queued"})])
        submit(service, "tokenhub")
        [request] = service.requests
        assert str(request.url) == "https://tokenhub.tencentmaas.com/v1/api/image/submit"
        assert request.headers["authorization"] == f"Bearer {API_KEY}"
        assert not [name for name in request.headers if name.startswith("x-tc")]


class TestClock:
    def test_the_offset_is_learnt_once_and_kept(self) -> None:
        late = NOW + 5000.0
        service = FakeService([tc3_error(STALE, date=late), tc3(JobId="j"), tc3(JobId="j2")])

        async def main() -> None:
            provider = service.provider("aiart")
            request = provider.prepare(TASK).request
            assert await provider.submit(request, key="k#0") == hg.JobRef(
                job_id="j", state={**request["state"], "at": late}, request_id="req-1"
            )
            await provider.submit(request, key="k#1")

        run_virtual(main())
        stamps = [int(request.headers["x-tc-timestamp"]) for request in service.requests]
        assert stamps == [int(NOW), int(late), int(late)]
        assert [verify(request) for request in service.requests] == ["aiart"] * 3

    def test_a_second_refusal_is_final(self) -> None:
        service = FakeService([tc3_error(STALE, date=NOW + 5000.0)])
        error = failure(service)
        assert isinstance(error, AuthError)
        assert error.not_created
        assert len(service.requests) == 2

    def test_without_a_date_there_is_nothing_to_learn(self) -> None:
        service = FakeService([tc3_error(STALE)])
        assert isinstance(failure(service), AuthError)
        assert len(service.requests) == 1


class TestAnswers:
    @pytest.mark.parametrize(
        "answer",
        [
            httpx.Response(200, content=b"<html>"),
            httpx.Response(200, content=b""),
            httpx.Response(200, json=["JobId"]),
            httpx.Response(200, json={"Response": "JobId"}),
            httpx.Response(200, json={}),
            tc3(),
            tc3(JobId=""),
            tc3(JobId=None),
            httpx.Response(502, content=b"<html>"),
            httpx.Response(504),
            tc3_error("InternalError"),
        ],
        ids=str,
    )
    def test_an_answer_without_a_job_id_proves_nothing(self, answer: httpx.Response) -> None:
        error = failure(FakeService([answer]))
        assert isinstance(error, TransientError)
        assert not error.not_created

    @pytest.mark.parametrize("media_type", ["text/plain", "application/json; charset=utf-8", ""])
    def test_the_body_is_read_whatever_its_type_says(self, media_type: str) -> None:
        """The official SDK takes such an error for a success without fields."""
        answer = tc3_error("RequestLimitExceeded")
        answer.headers["content-type"] = media_type
        assert isinstance(failure(FakeService([answer])), ThrottledError)

    @pytest.mark.parametrize(
        ("dialect", "answer"),
        [
            ("tokenhub", plain({"id": "j", "status": "queued", "error": {"message": ""}})),
            ("tokenhub", plain({"id": "j", "status": "failed", "error": {"code": "451001"}})),
            ("aiart", tc3(JobId="j", Error={"Code": "InternalError", "Message": ""})),
        ],
    )
    def test_an_id_that_came_is_never_thrown_away(
        self, dialect: str, answer: httpx.Response
    ) -> None:
        assert submit(FakeService([answer]), dialect).job_id == "j"

    def test_a_number_is_a_job_id_too(self) -> None:
        assert submit(FakeService([tc3(JobId=1344213737283272704)])).job_id == "1344213737283272704"


class TestSecrets:
    def test_a_service_that_quotes_them_does_not_get_them_into_errors(self) -> None:
        def quoting(request: httpx.Request) -> httpx.Response:
            quoted = f"{request.headers['authorization']} {SECRET_ID} {SECRET_KEY} {TOKEN}"
            if "x-tc-action" in request.headers:
                return tc3_error("AuthFailure.SignatureFailure", quoted)
            return plain({"error": {"code": 401002, "message": quoted}}, status=401)

        for dialect in ("aiart", "tokenhub"):
            service = FakeService([quoting])
            with pytest.raises(AuthError) as caught:
                submit(service, dialect, token=TOKEN)
            own = (API_KEY,) if dialect == "tokenhub" else (SECRET_ID, SECRET_KEY, TOKEN)
            told = f"{caught.value} {caught.value!r} {vars(caught.value)} {service.log.events}"
            assert not any(secret in told for secret in own)
            chain = caught.value.__cause__, caught.value.__context__
            assert not any(secret in repr(each) for secret in own for each in chain)

    def test_the_network_s_words_are_not_repeated(self) -> None:
        service = FakeService([httpx.ReadError(f"at https://x/?key={API_KEY}")])
        assert not any(secret in str(failure(service, "tokenhub")) for secret in SECRETS)


class TestLosses:
    @pytest.mark.parametrize(
        ("error", "proven"),
        [
            (httpx.ConnectError("refused"), True),
            (httpx.ConnectTimeout("slow"), True),
            (httpx.PoolTimeout("full"), True),
            (httpx.ReadTimeout("slow"), False),
            (httpx.ReadError("reset"), False),
            (httpx.WriteError("reset"), False),
            (httpx.WriteTimeout("slow"), False),
            (httpx.RemoteProtocolError("disconnected"), False),
            (httpx.ProxyError("no"), False),
            (httpx.DecodingError("gzip"), False),
            (OSError("odd"), False),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_only_what_was_never_sent_is_proven(self, error: Exception, proven: bool) -> None:
        found = failure(FakeService([error]))
        assert isinstance(found, TransientError)
        assert found.not_created is proven

    @pytest.mark.parametrize("error", [httpx.ReadTimeout("slow"), httpx.Response(502)])
    def test_a_direct_call_says_that_nothing_can_be_collected(self, error: Any) -> None:
        task = hg.Task("a", model="hy-image-v3")
        assert "no job from which" in str(failure(FakeService([error]), "tokenhub", task))
        assert "no job from which" not in str(failure(FakeService([error]), "tokenhub"))

    @pytest.mark.parametrize(
        ("task", "read_s"), [(hg.Task("a"), 60.0), (hg.Task("a", model="hy-image-v3"), 280.0)]
    )
    def test_a_direct_call_may_take_longer(self, task: hg.Task, read_s: float) -> None:
        service = FakeService([plain({"id": "j", "data": [{"url": "https://r.example.com/1"}]})])
        submit(service, "tokenhub", task)
        deadlines = service.requests[0].extensions["timeout"]
        assert (deadlines["read"], deadlines["connect"]) == (read_s, 10.0)


class TestRealConnections:
    """On the transport that the library uses, whose own names for errors cannot be trusted."""

    @pytest.mark.parametrize(
        ("end", "proven"),
        [("unread", False), ("read", False), ("headers", False), ("truncated", False)],
    )
    def test_a_connection_that_breaks_proves_nothing(self, end: str, proven: bool) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if end != "unread":
                await reader.readuntil(b"\r\n\r\n")
            if end == "headers":
                writer.write(b"HTTP/1.1 200 OK\r\n")
            if end == "truncated":
                writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"Response":')
            if end != "unread":
                await writer.drain()
            writer.close()

        error = asyncio.run(_submit_to(serve))
        assert isinstance(error, TransientError)
        assert error.not_created is proven

    def test_a_server_that_speaks_something_else_proves_nothing(self) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
            writer.close()

        error = asyncio.run(_submit_to(serve))
        assert isinstance(error, TransientError)
        assert not error.not_created

    def test_a_refused_connection_proves_that_no_job_was_made(self) -> None:
        error = asyncio.run(_submit_to(None))
        assert isinstance(error, TransientError)
        assert error.not_created

    def test_what_is_sent_is_what_was_signed(self) -> None:
        """As the bytes of the socket show it, with the header names of the wire."""
        received: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            received.append(head + await reader.readexactly(length))
            answer = b'{"Response":{"JobId":"j","RequestId":"r"}}'
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
            await writer.drain()
            writer.close()

        assert asyncio.run(_submit_to(serve)) is None
        head, _, content = received[0].partition(b"\r\n\r\n")
        request_line, *lines = head.decode().split("\r\n")
        assert request_line == "POST / HTTP/1.1"
        headers = [tuple(line.split(": ", 1)) for line in lines]
        names = [name.lower() for name, _ in headers]
        assert len(names) == len(set(names))
        request = httpx.Request("POST", "http://x/", headers=headers, content=content)  # type: ignore[arg-type]
        assert verify(request) == "aiart"


async def _submit_to(serve: Any) -> ProviderError | None:
    """The error of a submit to a server on this machine, or None where it has a job."""
    async with _serving(serve) as port, httpx.AsyncClient(transport=AiohttpTransport()) as client:
        context = hg.Context(
            http=lambda: client,
            wall_clock=lambda: NOW,
            environ={},
            log=Capture(),  # type: ignore[arg-type]
        )
        options = HunyuanOptions(
            secret_id=SECRET_ID, secret_key=SECRET_KEY, endpoint=f"http://127.0.0.1:{port}"
        )
        provider = make_hunyuan(options, context)
        try:
            await provider.submit(provider.prepare(TASK).request, key="k#0")
        except ProviderError as error:
            return error
        return None


@asynccontextmanager
async def _serving(serve: Any) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve or (lambda *_: None), "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    if serve is None:
        server.close()
        await server.wait_closed()
    try:
        yield port
    finally:
        server.close()
