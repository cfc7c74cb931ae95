"""What is not installed unless it is asked for."""

from __future__ import annotations

from holodeck_gen.errors import PluginLoadError


def missing(extra: str, package: str) -> PluginLoadError:
    """The error of a stage whose package is not there; each stage is named as its extra."""
    return PluginLoadError(
        f"{extra!r} needs {package}: pip install 'holodeck-gen[{extra}]'", plugin=extra
    )
