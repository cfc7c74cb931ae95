"""The page that Prometheus reads: one for each address, however many studios report to it."""

from __future__ import annotations

from threading import Lock, Thread
from wsgiref.simple_server import WSGIServer

import attrs
from prometheus_client import CollectorRegistry, start_http_server

_pages: dict[tuple[str, int], Page] = {}
_lock = Lock()


@attrs.define(eq=False)
class Page:
    """A registry that is served over HTTP until the last of its users has left."""

    registry: CollectorRegistry
    server: WSGIServer
    thread: Thread
    users: int = 0

    @classmethod
    def join(cls, host: str, port: int) -> Page:
        """The page at an address, which is opened if it is not; port 0 takes a free one.

        Raises:
            OSError: Something else is there.
        """
        with _lock:
            page = _pages.get((host, port))
            if page is None:
                registry = CollectorRegistry()
                page = cls(registry, *start_http_server(port, host, registry))
                _pages[host, page.port] = page
            page.users += 1
            return page

    @property
    def port(self) -> int:
        """Where it is."""
        return self.server.server_port

    @property
    def url(self) -> str:
        """Where to read it."""
        host = str(self.server.server_address[0])
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/metrics"

    def leave(self) -> None:
        """Close it after the last user."""
        with _lock:
            self.users -= 1
            if self.users:
                return
            for address in [each for each, page in _pages.items() if page is self]:
                del _pages[address]
            self.server.shutdown()
            self.server.server_close()
            self.thread.join()
