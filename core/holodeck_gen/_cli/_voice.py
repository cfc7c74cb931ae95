"""What a command says: lines on stderr for people, on stdout for machines."""

from __future__ import annotations

import json
import sys
from typing import Any

import attrs
import click

from holodeck_gen._cli._exit import one_line, say
from holodeck_gen._cli._logging import LogFormat


@attrs.frozen(kw_only=True)
class Voice:
    """Lines on stderr.

    Attributes:
        quiet: Says nothing.
        log_format: With ``"json"`` each line is an object, as the logs are.
    """

    quiet: bool = False
    log_format: LogFormat = "console"

    def note(self, text: str) -> None:
        """Say one line, unless quiet."""
        if self.quiet:
            return
        if self.log_format == "json":
            line = {"level": "info", "event": "note", "text": one_line(text)}
            sys.stderr.write(json.dumps(line, ensure_ascii=False) + "\n")
            sys.stderr.flush()
        else:
            say(text)

    @property
    def animated(self) -> bool:
        """Whether a progress bar may be shown."""
        return not self.quiet and self.log_format == "console" and sys.stderr.isatty()


def emit_json(value: Any) -> None:
    """Write one line of JSON to stdout, in UTF-8 whatever the terminal's encoding is."""
    click.echo(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
