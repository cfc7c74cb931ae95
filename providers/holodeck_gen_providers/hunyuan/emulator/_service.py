"""The emulated service without a server: a request in, a reply out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import orjson

from holodeck_gen_providers.hunyuan.emulator._files import PREFIX, answer_file
from holodeck_gen_providers.hunyuan.emulator._settings import Settings
from holodeck_gen_providers.hunyuan.emulator._state import State
from holodeck_gen_providers.hunyuan.emulator._tc3_face import answer_tc3
from holodeck_gen_providers.hunyuan.emulator._tokenhub_face import answer_tokenhub, is_served
from holodeck_gen_providers.hunyuan.emulator._wire import Reply, Request

STATS, JOBS, RESET = "/_emulator/stats", "/_emulator/jobs", "/_emulator/reset"


@attrs.define(kw_only=True, eq=False)
class Service:
    """Every dialect at one address. Not for several threads at once.

    Attributes:
        settings: How it behaves.
        clock: Seconds since the epoch; jobs go on as it does.
        base_url: Where the server is; result addresses begin with it.
    """

    settings: Settings = attrs.field(factory=Settings)
    clock: Callable[[], float] = time.time
    base_url: str = "http://127.0.0.1"
    _state: State = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget every job and counter; chances and counts of faults begin again."""
        self._state = State(self.settings, self.clock, self.base_url)

    def stats(self) -> Mapping[str, Any]:
        """The counters, as ``GET /_emulator/stats`` tells them."""
        return self._state.stats()

    def jobs(self) -> Sequence[Mapping[str, Any]]:
        """Times and queries of every job, as ``GET /_emulator/jobs`` tells them."""
        return self._state.jobs.told()

    def change(self, **changes: Any) -> None:
        """Behave otherwise from now on, also after a reset; jobs that run are not touched.

        Args:
            changes: Fields of `Settings`, such as a lower ``max_jobs``.
        """
        self._state.change(**changes)
        self.settings = self._state.settings

    def listen_at(self, base_url: str) -> None:
        """Tell where the server is, once it is known."""
        self.base_url = self._state.base_url = base_url

    def answer(self, request: Request) -> Reply:
        """Answer one request; never raises for anything that a client can send."""
        path = request.path
        if path == "/":
            return answer_tc3(self._state, request)
        if is_served(path):
            return answer_tokenhub(self._state, request)
        if path.startswith(PREFIX):
            return answer_file(self._state, request)
        if path == STATS and request.method == "GET":
            return Reply(body=orjson.dumps(self.stats()))
        if path == JOBS and request.method == "GET":
            return Reply(body=orjson.dumps(self.jobs()))
        if path == RESET and request.method == "POST":
            self.reset()
            return Reply(body=b"{}")
        return Reply(status=404, body=b'{"error":{"message":"there is nothing here"}}')
