from __future__ import annotations

import asyncio
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from holodeck_gen_providers.hunyuan.emulator import (
    AsyncHunyuanEmulator,
    HunyuanEmulator,
    Settings,
)
from hunyuan_service import ACCOUNT, NOON, Bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytest_plugins = ["holodeck_gen_providers.hunyuan.emulator.fixtures"]

QUERY = "QueryTextToImageJob"
_COMMAND = "from holodeck_gen._cli import main; main()"


class Line:
    """One connection to the emulator."""

    def __init__(self, emulator: HunyuanEmulator) -> None:
        address = urlsplit(emulator.endpoint)
        self.host = address.netloc
        self.connection = http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=20
        )

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        self.connection.request(method, path, body, headers or {})
        response = self.connection.getresponse()
        return response, response.read()

    def sign(self, action: str, parameters: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
        request = Bench().signed("aiart", action, parameters, host=self.host)
        return request.body, dict(request.headers)

    def signed(
        self, action: str, parameters: dict[str, Any], *, path: str = "/"
    ) -> tuple[http.client.HTTPResponse, dict[str, Any]]:
        body, headers = self.sign(action, parameters)
        response, answer = self.ask("POST", path, body, headers)
        found: dict[str, Any] = json.loads(answer)["Response"]
        return response, found

    def stats(self) -> Any:
        return json.loads(self.ask("GET", "/_emulator/stats")[1])

    def close(self) -> None:
        self.connection.close()


@pytest.fixture
def line() -> Iterator[Callable[..., Line]]:
    """Opens a connection to an emulator with these settings, whose clock stands at noon."""
    opened: list[tuple[HunyuanEmulator, Line]] = []

    def make(**settings: Any) -> Line:
        emulator = HunyuanEmulator(
            Settings(**{"job_s": 0.0, "pictures": "cheap", **settings}), clock=lambda: NOON
        )
        emulator.__enter__()
        opened.append((emulator, Line(emulator)))
        return opened[-1][1]

    yield make
    for emulator, each in opened:
        each.close()
        emulator.__exit__(None, None, None)


def result_path(line: Line) -> str:
    _, answer = line.signed("SubmitTextToImageJob", {"Prompt": "a cat"})
    _, answer = line.signed(QUERY, {"JobId": answer["JobId"]})
    url = urlsplit(answer["ResultImage"][0])
    assert url.netloc == line.host
    return f"{url.path}?{url.query}"


class TestServer:
    def test_a_picture_comes_over_one_connection(self, line: Callable[..., Line]) -> None:
        one = line()
        response, answer = one.signed("SubmitTextToImageJob", {"Prompt": "a cat"})
        used = one.connection.sock
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Date"] == "Wed, 25 Nov 2026 12:00:00 GMT"
        _, answer = one.signed(QUERY, {"JobId": answer["JobId"]}, path="/?")
        url = urlsplit(answer["ResultImage"][0])
        response, body = one.ask("GET", f"{url.path}?{url.query}")
        assert (response.status, response.headers["Content-Type"]) == (200, "image/png")
        assert body.startswith(b"\x89PNG")
        assert one.connection.sock is used

    def test_counters_are_told_and_reset(self, line: Callable[..., Line]) -> None:
        one = line()
        result_path(one)
        stats = one.stats()
        assert stats["busy_slot_seconds"] == 0.0
        assert stats["prompts"] == {"a cat": 1}
        assert [stats[name] for name in ("submits", "jobs_created", "queries", "downloads")] == [
            1,
            1,
            1,
            0,
        ]
        assert one.ask("POST", "/_emulator/reset")[0].status == 200
        assert one.stats()["submits"] == 0
        assert one.ask("GET", "/_emulator/reset")[0].status == 404

    def test_bytes_that_are_no_text_are_answered_too(self, line: Callable[..., Line]) -> None:
        one = line()
        for name in ("Authorization", "Content-Type", "X-TC-Action", "X-TC-Timestamp"):
            body, headers = one.sign(QUERY, {"JobId": "x"})
            sent = {key.title(): value.encode() for key, value in headers.items()}
            sent[name.title()] = b"\xff\xc3\xa4" + sent[name.title()]
            for path in ("/", "/v1/api/image/query", "/_files/x", "/%FF?%FF"):
                lines = [b"POST %b HTTP/1.1" % path.encode()]
                lines += [key.encode() + b": " + value for key, value in sent.items()]
                lines += [b"Content-Length: %d" % len(body), b"Connection: close", b"", body]
                with closing(socket.create_connection(_address(one), timeout=20)) as raw:
                    raw.sendall(b"\r\n".join(lines))
                    answer = b"".join(iter(lambda: raw.recv(65536), b""))
                assert answer.startswith(b"HTTP/1.1 ")
                assert not answer.startswith(b"HTTP/1.1 500")

    def test_a_body_that_is_too_large_is_refused(self, line: Callable[..., Line]) -> None:
        one = line()
        with closing(socket.create_connection(_address(one), timeout=20)) as raw:
            head = f"POST / HTTP/1.1\r\nHost: {one.host}\r\nContent-Length: {65 * 2**20}\r\n\r\n"
            raw.sendall(head.encode())
            # It is refused before all of it was sent, so the rest may meet a closed connection.
            try:
                for _ in range(65):
                    raw.sendall(bytes(2**20))
            except ConnectionError:
                return
            assert b" 413 " in raw.recv(100)


class TestDelivery:
    @pytest.mark.parametrize("fault", ["drop-before-accept", "drop-after-accept"])
    def test_a_dropped_connection_has_no_answer(
        self, line: Callable[..., Line], fault: str
    ) -> None:
        one = line(faults=f"{fault}@1")
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            one.signed("SubmitTextToImageJob", {"Prompt": "a"})
        one.close()
        assert one.stats()["jobs_created"] == (1 if fault == "drop-after-accept" else 0)

    def test_a_stall_ends_in_a_drop(self, line: Callable[..., Line]) -> None:
        one = line(faults="stall-query:0.05@1")
        began = time.monotonic()
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            one.signed(QUERY, {"JobId": "x"})
        assert time.monotonic() - began >= 0.05

    def test_a_stall_does_not_outlive_the_emulator(self) -> None:
        emulator = HunyuanEmulator(Settings(faults="stall-query"), clock=lambda: NOON)
        with emulator:
            one = Line(emulator)
            body, headers = one.sign(QUERY, {"JobId": "x"})
            one.connection.request("POST", "/", body, headers)
            while emulator.stats()["queries"] == 0:
                time.sleep(0.001)
            began = time.monotonic()
        assert time.monotonic() - began < 5
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            one.connection.getresponse()
        one.close()

    def test_a_truncated_answer_announces_more_than_comes(self, line: Callable[..., Line]) -> None:
        one = line(faults="truncate-download@1,truncate-submit@2")
        path = result_path(one)
        with pytest.raises(http.client.IncompleteRead) as caught:
            one.ask("GET", path)
        one.close()
        announced = len(caught.value.partial) + int(caught.value.expected or 0)
        _, whole = one.ask("GET", path)
        assert announced == len(whole)
        assert whole.startswith(caught.value.partial)
        with pytest.raises(http.client.IncompleteRead):
            one.signed("SubmitTextToImageJob", {"Prompt": "a"})

    def test_an_oversized_answer_goes_on_past_its_length(self, line: Callable[..., Line]) -> None:
        one = line(faults="oversized@1")
        path = result_path(one)
        with closing(socket.create_connection(_address(one), timeout=20)) as raw:
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: {one.host}\r\n\r\n".encode())
            received = b"".join(iter(lambda: raw.recv(65536), b""))
        head, _, body = received.partition(b"\r\n\r\n")
        announced = int(re.findall(rb"Content-Length: (\d+)", head)[0])
        assert len(body) == 2 * announced
        assert one.ask("GET", path)[1] == body[:announced]

    def test_an_endless_answer_never_ends(self, line: Callable[..., Line]) -> None:
        one = line(faults="endless@1")
        path = result_path(one)
        one.connection.request("GET", path)
        response = one.connection.getresponse()
        assert response.headers["Content-Length"] is None
        assert len(response.read(4 * 2**20)) == 4 * 2**20
        one.close()
        assert one.ask("GET", path)[0].status == 200

    def test_a_redirect_and_a_gateways_page(self, line: Callable[..., Line]) -> None:
        one = line(faults="redirect@1,http-download@1")
        path = result_path(one)
        response, _ = one.ask("GET", path)
        assert response.status == 302
        assert response.headers["Location"].startswith("http://169.254.")
        one = line(faults="http-query:502")
        body, headers = one.sign(QUERY, {"JobId": "x"})
        response, page = one.ask("POST", "/", body, headers)
        assert (response.status, response.headers["Content-Type"]) == (502, "text/html")
        assert b"502 Bad Gateway" in page

    def test_a_direct_call_takes_as_long_as_its_job(self, line: Callable[..., Line]) -> None:
        one = line(job_s=0.2)
        began = time.monotonic()
        _, answer = one.signed("TextToImageLite", {"Prompt": "a", "RspImgType": "url"})
        assert time.monotonic() - began >= 0.2
        assert answer["ResultImage"].startswith(f"http://{one.host}/_files/")


class TestEmbedding:
    def test_its_environment_points_at_it(self) -> None:
        with HunyuanEmulator() as emulator:
            assert emulator.environ == {
                "HUNYUAN_ENDPOINT": emulator.endpoint,
                "HUNYUAN_SECRET_ID": ACCOUNT.secret_id,
                "HUNYUAN_SECRET_KEY": ACCOUNT.secret_key,
                "HUNYUAN_TOKEN": "",
                "HUNYUAN_API_KEY": ACCOUNT.api_key,
                "NO_PROXY": "127.0.0.1",
            }
            assert urlsplit(emulator.endpoint).hostname == "127.0.0.1"
            emulator.reset()
            assert emulator.stats()["submits"] == 0

    def test_bound_everywhere_it_is_reached_here(self) -> None:
        with HunyuanEmulator(host="0.0.0.0") as emulator:
            assert urlsplit(emulator.endpoint).hostname == "127.0.0.1"
            one = Line(emulator)
            assert one.stats()["submits"] == 0
            one.close()

    def test_it_can_be_entered_again(self) -> None:
        emulator = HunyuanEmulator()
        for _ in range(2):
            with emulator:
                one = Line(emulator)
                assert one.stats()["submits"] == 0
                one.close()

    def test_it_can_be_changed_under_way(self) -> None:
        with HunyuanEmulator(Settings(max_jobs=5), clock=lambda: NOON) as emulator:
            one = Line(emulator)
            one.signed("SubmitTextToImageJob", {"Prompt": "a"})
            emulator.change(max_jobs=1)
            _, answer = one.signed("SubmitTextToImageJob", {"Prompt": "a"})
            assert answer["Error"]["Code"] == "RequestLimitExceeded.JobNumExceed"
            one.close()

    def test_counters_can_be_read_when_it_has_ended(self) -> None:
        before = threading.active_count()
        with HunyuanEmulator(Settings(job_s=0.0), clock=lambda: NOON) as emulator:
            one = Line(emulator)
            one.signed("SubmitTextToImageJob", {"Prompt": "a"})
            one.close()
        assert emulator.stats()["jobs_created"] == 1
        assert threading.active_count() == before

    def test_a_port_that_is_taken_is_an_error(self) -> None:
        with HunyuanEmulator() as emulator:
            port = urlsplit(emulator.endpoint).port or 0
            with pytest.raises(OSError, match="in use"), HunyuanEmulator(port=port):
                pass

    def test_beside_a_running_loop(self) -> None:
        async def main() -> None:
            async with AsyncHunyuanEmulator(Settings(job_s=0.0)) as emulator:
                address = urlsplit(emulator.endpoint)
                reader, writer = await asyncio.open_connection(address.hostname, address.port)
                writer.write(b"GET /_emulator/stats HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
                writer.close()
                await writer.wait_closed()
                assert emulator.stats()["submits"] == 0

        asyncio.run(main())

    def test_the_fixture_runs_one(
        self, hunyuan_emulator: HunyuanEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import os

        assert os.environ["HUNYUAN_ENDPOINT"] == hunyuan_emulator.endpoint
        one = Line(hunyuan_emulator)
        assert one.stats()["submits"] == 0
        one.close()


class TestCommand:
    def run(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", _COMMAND, "emulate", "hunyuan", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_it_prints_its_environment_and_serves_until_stopped(
        self, number: signal.Signals
    ) -> None:
        with self.run(
            *("--port", "0", "--max-jobs", "2", "--job-seconds", "40,0.25"),
            *("--api-key", "sk-it's mine", "--faults", "drop-query=0.1"),
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline().strip() for _ in range(7)]
            shell = "\n".join([*lines, 'echo "$HUNYUAN_ENDPOINT $HUNYUAN_API_KEY $NO_PROXY"'])
            found = subprocess.run(
                ["sh", "-c", shell],
                capture_output=True,
                text=True,
                check=True,
                env={"NO_PROXY": "internal", "PATH": "/usr/bin:/bin"},
            ).stdout.strip()
            endpoint, _, rest = found.partition(" ")
            assert rest == "sk-it's mine 127.0.0.1,internal"
            with closing(
                http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=20)
            ) as connection:
                connection.request("GET", "/_emulator/stats")
                assert json.loads(connection.getresponse().read())["submits"] == 0
            process.send_signal(number)
            assert process.wait(timeout=20) == 0

    def test_a_mistake_is_a_usage_error(self) -> None:
        with self.run("--faults", "drop-everything") as process:
            _, errors = process.communicate(timeout=20)
        assert process.returncode == 2
        assert "there is no fault 'drop-everything'" in errors

    def test_a_port_that_is_taken_is_told(self) -> None:
        with HunyuanEmulator() as emulator:
            port = str(urlsplit(emulator.endpoint).port)
            with self.run("--port", port) as process:
                _, errors = process.communicate(timeout=20)
        assert process.returncode == 1
        assert f"127.0.0.1:{port} cannot be bound" in errors

    def test_the_faults_are_listed(self) -> None:
        with self.run("--list-faults") as process:
            text, _ = process.communicate(timeout=20)
        assert process.returncode == 0
        assert "[DIALECT/]NAME[:VALUE]" in text
        assert "drop-after-accept" in text

    def test_help_imports_no_server(self) -> None:
        code = (
            "import sys, click\n"
            "from holodeck_gen_providers.hunyuan.emulator._command import add_to\n"
            "add_to(click.Group('cli'))\n"
            "assert not {'aiohttp', 'PIL', 'numpy', 'httpx', 'orjson'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


def _address(line: Line) -> tuple[str, int]:
    host, _, port = line.host.partition(":")
    return host, int(port)
