"""A local service that behaves like Tencent's Hunyuan, for trials, tests and benchmarks.

    with HunyuanEmulator(Settings(max_jobs=2, job_s=0.5)) as emulator:
        os.environ |= emulator.environ
        ...
        emulator.stats()["jobs_created"]

From a shell: ``holodeck-gen emulate hunyuan``. In pytest:
``pytest_plugins = ["holodeck_gen_providers.hunyuan.emulator.fixtures"]``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holodeck_gen_providers.hunyuan.emulator._faults import KINDS, Fault, parse_faults
    from holodeck_gen_providers.hunyuan.emulator._running import (
        AsyncHunyuanEmulator,
        HunyuanEmulator,
    )
    from holodeck_gen_providers.hunyuan.emulator._service import Service
    from holodeck_gen_providers.hunyuan.emulator._settings import Account, Settings
    from holodeck_gen_providers.hunyuan.emulator._wire import Reply, Request

__all__ = [
    "KINDS",
    "Account",
    "AsyncHunyuanEmulator",
    "Fault",
    "HunyuanEmulator",
    "Reply",
    "Request",
    "Service",
    "Settings",
    "parse_faults",
]

_MODULES = {
    "_faults": ("KINDS", "Fault", "parse_faults"),
    "_running": ("AsyncHunyuanEmulator", "HunyuanEmulator"),
    "_service": ("Service",),
    "_settings": ("Account", "Settings"),
    "_wire": ("Reply", "Request"),
}


def __getattr__(name: str) -> Any:
    # The command imports this package to be listed; it must not import a server for that.
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
