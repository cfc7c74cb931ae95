"""How many requests a second does the emulator answer on one core?

Run: ``python tests/benchmarks/bench_emulator.py [REQUESTS]``. The emulator runs in a process of
its own, on one core where the system can pin it; the load comes from this process over raw
sockets, signed before the measurement. CPU is the emulator's own.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from holodeck_gen_providers.hunyuan.emulator import Account
from hunyuan_signing import as_json, signed_headers

if TYPE_CHECKING:
    from typing import BinaryIO

ACCOUNT = Account()
VERSION = "2022-12-29"
CONNECTIONS = 8
#: Sent before the first answer is read, on each connection.
AHEAD = 16

SERVER = """
import os, sys
from holodeck_gen._cli import main
from holodeck_gen_providers.hunyuan.emulator._command import emulate_hunyuan
if hasattr(os, "sched_setaffinity") and os.cpu_count() > 1:
    os.sched_setaffinity(0, {0})
emulate_hunyuan(sys.argv[1:])
"""
OPTIONS = ["--port", "0", "--max-jobs", "1000000", "--job-seconds", "0", "--submit-rate", "0"]
OPTIONS += ["--poll-rate", "0", "--pictures", "cheap"]


def main() -> None:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, *OPTIONS], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        endpoint = server.stdout.readline().partition("=")[2].strip()
        address = endpoint.removeprefix("http://")
        lines = [f"{wanted} requests of each kind, {CONNECTIONS} connections, on {endpoint}"]
        load = Load(address, server.pid)
        try:
            lines += run(load, wanted)
            stats = load.fetch("/_emulator/stats")
        finally:
            server.terminate()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines.append(
        f"at the end: {stats['jobs_created']} jobs, {stats['queries']} queries,"
        f" {stats['downloads']} downloads, refusals {stats['refusals']},"
        f" {used.ru_maxrss / 1024:.0f} MiB"
    )
    sys.stdout.write("\n".join(lines) + "\n")


def run(load: Load, wanted: int) -> list[str]:
    """One line for each kind of request."""
    submits = [
        load.signed("SubmitTextToImageJob", {"Prompt": f"cat {number}", "Revise": 0})
        for number in range(wanted)
    ]
    lines, answers = load.measure("signed submits", submits)
    jobs = [answer["Response"]["JobId"] for answer in answers]
    queries = [load.signed("QueryTextToImageJob", {"JobId": job}) for job in jobs]
    more, answers = load.measure("signed queries", queries)
    lines += more
    urls = [answer["Response"]["ResultImage"][0] for answer in answers]
    lines += load.measure("downloads", [load.get(url) for url in urls], as_json=False)[0]
    return lines


class Load:
    """Sends what was prepared, as fast as it is answered."""

    def __init__(self, address: str, pid: int) -> None:
        self.address = address
        self.pid = pid

    def signed(self, action: str, parameters: dict[str, object]) -> bytes:
        body = as_json(parameters)
        headers = signed_headers(
            action,
            VERSION,
            body,
            service="aiart",
            secret_id=ACCOUNT.secret_id,
            secret_key=ACCOUNT.secret_key,
            timestamp=int(time.time()),
            host=self.address,
        )
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join(["POST / HTTP/1.1", *lines, f"content-length: {len(body)}", "", ""])
        return head.encode() + body

    def get(self, url: str) -> bytes:
        path = url.partition(self.address)[2]
        return f"GET {path} HTTP/1.1\r\nhost: {self.address}\r\n\r\n".encode()

    def fetch(self, path: str) -> dict[str, object]:
        (body,) = self._through([self.get(f"http://{self.address}{path}")])
        found: dict[str, object] = json.loads(body)
        return found

    def measure(
        self, what: str, requests: list[bytes], *, as_json: bool = True
    ) -> tuple[list[str], list[dict[str, dict[str, str]]]]:
        began, used = time.perf_counter(), self._cpu_s()
        answers = self._through(requests)
        wall, cpu = time.perf_counter() - began, self._cpu_s() - used
        count = len(requests)
        line = (
            f"{what:<16}{count / wall:8.0f}/s{count / cpu:8.0f}/s of its CPU"
            f"{1e6 * cpu / count:8.0f} µs each"
        )
        return [line], [json.loads(answer) for answer in answers] if as_json else []

    def _cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _through(self, requests: list[bytes]) -> list[bytes]:
        host, _, port = self.address.partition(":")
        answers: list[bytes] = [b""] * len(requests)
        connections = [
            socket.create_connection((host, int(port)))
            for _ in range(min(CONNECTIONS, len(requests)))
        ]
        files = [connection.makefile("rb") for connection in connections]
        place = 0
        while place < len(requests):
            sent = []
            for connection, file in zip(connections, files, strict=True):
                batch = requests[place : place + AHEAD]
                connection.sendall(b"".join(batch))
                sent.append((file, range(place, place + len(batch))))
                place += len(batch)
            for file, places in sent:
                for each in places:
                    answers[each] = _answer(file)
        for connection, file in zip(connections, files, strict=True):
            file.close()
            connection.close()
        return answers


def _answer(file: BinaryIO) -> bytes:
    status = file.readline()
    assert b" 200 " in status, status
    length = 0
    while (line := file.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return file.read(length)


if __name__ == "__main__":
    main()
