"""Generate media in bulk through quota-limited, paid, asynchronous job APIs.

Every name is imported when it is first used, so that ``import holodeck_gen`` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holodeck_gen._attach import Attached, attach
    from holodeck_gen._config.config import Config
    from holodeck_gen._engine.handle import AsyncHandle
    from holodeck_gen._engine.info import StudioInfo
    from holodeck_gen._generate import agenerate, generate, provider
    from holodeck_gen._model.artifact import Artifact, Cost
    from holodeck_gen._model.money import Spending
    from holodeck_gen._model.nearest import did_you_mean
    from holodeck_gen._model.outcome import Failure, Outcome, Result
    from holodeck_gen._model.provider import (
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
    from holodeck_gen._model.task import Task
    from holodeck_gen._model.values import JsonObject
    from holodeck_gen._plugins.registry import Configured, Register, Registry
    from holodeck_gen._results.sidecar import Sidecar
    from holodeck_gen._stages.stages import Expander, Processor, Rewriter, Store
    from holodeck_gen._studio import AsyncStudio
    from holodeck_gen._sync import Handle, Studio
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
    "_model.artifact": ("Artifact", "Cost"),
    "_attach": ("Attached", "attach"),
    "_config.config": ("Config",),
    "_generate": ("agenerate", "generate", "provider"),
    "_engine.handle": ("AsyncHandle",),
    "_engine.info": ("StudioInfo",),
    "_model.money": ("Spending",),
    "_model.nearest": ("did_you_mean",),
    "_model.outcome": ("Failure", "Outcome", "Result"),
    "_model.provider": (
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
    "_plugins.registry": ("Configured", "Register", "Registry"),
    "_results.sidecar": ("Sidecar",),
    "_stages.stages": ("Expander", "Processor", "Rewriter", "Store"),
    "_studio": ("AsyncStudio",),
    "_sync": ("Handle", "Studio"),
    "_model.task": ("Task",),
    "_model.values": ("JsonObject",),
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
