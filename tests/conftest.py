"""What every test shares: no network, no settings of the developer's, Hypothesis profiles."""

from __future__ import annotations

import gc
import ipaddress
import os
import signal
import socket
import tempfile
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Sandboxes and shared runners stall at will, so no example has a deadline.
_QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("dev", deadline=None, max_examples=60, suppress_health_check=_QUIET)
settings.register_profile(
    "ci", settings.get_profile("dev"), derandomize=True, max_examples=100, print_blob=True
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


class NetworkRefusedError(RuntimeError):
    """A test tried to leave this machine."""


def _check(address: Any) -> None:
    # Unix sockets are paths.
    if not isinstance(address, tuple):
        return
    host = str(address[0])
    if host in ("", "localhost"):
        return
    try:
        inside = ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = False
    if not inside:
        raise NetworkRefusedError(f"a test tried to reach {host}")


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Refuse whatever is not this machine."""
    with pytest.MonkeyPatch.context() as patch:
        connect, connect_ex = socket.socket.connect, socket.socket.connect_ex
        getaddrinfo = socket.getaddrinfo

        def checked_connect(self: socket.socket, address: Any) -> None:
            _check(address)
            connect(self, address)

        def checked_connect_ex(self: socket.socket, address: Any) -> int:
            _check(address)
            return connect_ex(self, address)

        def checked_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
            if host is not None:
                _check((host.decode() if isinstance(host, bytes) else host,))
            return getaddrinfo(host, *args, **kwargs)

        patch.setattr(socket.socket, "connect", checked_connect)
        patch.setattr(socket.socket, "connect_ex", checked_connect_ex)
        patch.setattr(socket, "getaddrinfo", checked_getaddrinfo)
        yield


@pytest.fixture(autouse=True, scope="session")
def heard_interrupts() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so would all that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One that pytest removes, also for the processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.mktemp("temporary"))
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Home, settings and working directory of this test's own; returns the latter."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith(("HOLODECK_GEN_", "HUNYUAN_", "TENCENTCLOUD_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    for name in ("CONFIG", "DATA", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    work = home / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """What a test makes of structlog ends with it."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True, scope="module")
def frozen() -> None:
    """Leave what is there before a module out of the search for garbage.

    Tests on virtual time collect it to find lost exceptions, once for each example.
    """
    gc.collect()
    gc.freeze()
