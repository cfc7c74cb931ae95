"""The command line; its only way in is `main`."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command ``holodeck-gen`` with the process's arguments and exit."""
    from holodeck_gen._cli._app import cli

    cli(prog_name="holodeck-gen")
    raise SystemExit(0)
