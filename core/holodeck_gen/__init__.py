"""Generate media in bulk through quota-limited, paid, asynchronous job APIs.

Every name is imported when it is first used, so that ``import holodeck_gen`` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holodeck_gen._artifact import Artifact, Cost
    from holodeck_gen._attach import Attached, attach
    from holodeck_gen._config import Config
    from holodeck_gen._generate import agenerate, generate, provider
    from holodeck_gen._handle import AsyncHandle
    from holodeck_gen._info import StudioInfo
    from holodeck_gen._money import Spending
    from holodeck_gen._nearest import did_you_mean
    from holodeck_gen._outcome import Failure, Outcome, Result
    from holodeck_gen._provider import (
        Billing,
        Bytes,
        Context,
        DirectProvider,
        JobRef,
        JobStatus,
        Limits,
        PartError,
        Prepared,
        Provider,
        Url,
    )
    from holodeck_gen._registry import Configured, Register, Registry
    from holodeck_gen._sidecar import Sidecar
    from holodeck_gen._stages import Expander, Processor, Rewriter, Store
    from holodeck_gen._studio import AsyncStudio
    from holodeck_gen._sync import Handle, Studio
    from holodeck_gen._task import Task
    from holodeck_gen._values import JsonObject
    from holodeck_gen.hookspecs import hookimpl

__all__ = [
    "Artifact",
    "AsyncHandle",
    "AsyncStudio",
    "Attached",
    "Billing",
    "Bytes",
    "Config",
    "Configured",
    "Context",
    "Cost",
    "DirectProvider",
    "Expander",
    "Failure",
    "Handle",
    "JobRef",
    "JobStatus",
    "JsonObject",
    "Limits",
    "Outcome",
    "PartError",
    "Prepared",
    "Processor",
    "Provider",
    "Register",
    "Registry",
    "Result",
    "Rewriter",
    "Sidecar",
    "Spending",
    "Store",
    "Studio",
    "StudioInfo",
    "Task",
    "Url",
    "agenerate",
    "attach",
    "did_you_mean",
    "generate",
    "hookimpl",
    "provider",
]

_MODULES = {
    "_artifact": ("Artifact", "Cost"),
    "_attach": ("Attached", "attach"),
    "_config": ("Config",),
    "_generate": ("agenerate", "generate", "provider"),
    "_handle": ("AsyncHandle",),
    "_info": ("StudioInfo",),
    "_money": ("Spending",),
    "_nearest": ("did_you_mean",),
    "_outcome": ("Failure", "Outcome", "Result"),
    "_provider": (
        "Billing",
        "Bytes",
        "Context",
        "DirectProvider",
        "JobRef",
        "JobStatus",
        "Limits",
        "PartError",
        "Prepared",
        "Provider",
        "Url",
    ),
    "_registry": ("Configured", "Register", "Registry"),
    "_sidecar": ("Sidecar",),
    "_stages": ("Expander", "Processor", "Rewriter", "Store"),
    "_studio": ("AsyncStudio",),
    "_sync": ("Handle", "Studio"),
    "_task": ("Task",),
    "_values": ("JsonObject",),
    "hookspecs": ("hookimpl",),
}
_PUBLIC_MODULES = ("errors", "events", "files", "hookspecs", "testing")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("holodeck-gen")
    if name in _PUBLIC_MODULES:
        return import_module(f"{__name__}.{name}")
    for module, names in _MODULES.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_PUBLIC_MODULES, "__version__"])
