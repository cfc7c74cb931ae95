"""Exit codes, and how errors are told."""

from __future__ import annotations

import contextlib
import re
import sys

import click

DONE = 0
#: Bad input or configuration; nothing was spent.
BAD_INPUT = 1
USAGE = 2
SOME_FAILED = 3
#: Something is held, left or paused.
RESUMABLE = 4
INTERRUPTED = 130

#: Where the verbosity is kept in a click context's ``meta``.
VERBOSITY = "holodeck_gen.verbosity"

_CONTROL = re.compile(r" *[\x00-\x1f\x7f-\x9f\u2028\u2029]+ *")
_LONGEST = 600


def code_of(error: BaseException) -> int:
    """The exit code of a command that ended with `error` before it began its work."""
    from holodeck_gen.errors import PausedError

    return RESUMABLE if isinstance(error, PausedError) else BAD_INPUT


def tell(error: BaseException) -> None:
    """Write one line about `error`, and with ``-vv`` its traceback."""
    from holodeck_gen.errors import GenerationError, PausedError

    if isinstance(error, PausedError):
        text = str(error)
        again = f"; try again after {error.resume_after:.0f} s" if error.resume_after else ""
        say(f"{text if text.startswith('paused') else f'paused: {text}'}{again}")
    elif isinstance(error, GenerationError):
        say(f"error: {error}")
    elif isinstance(error, OSError):
        say(f"error: {error.filename or ''}: {error.strerror or error}".replace(" :", ""))
    else:
        say(f"error: unexpected {type(error).__name__}: {error} (-vv shows where)")
    for note in getattr(error, "__notes__", ()):
        say(f"  {note}")
    if _verbosity() >= 2:
        import traceback

        sys.stderr.write("".join(traceback.format_exception(error)))


def say(text: str) -> None:
    """Write one line to stderr, whatever characters a message brings with it."""
    # Looked up now: a progress bar may stand in for it.
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{one_line(text)}\n")
        sys.stderr.flush()


def one_line(text: str) -> str:
    """`text` without line ends and terminal controls, shortened."""
    text = _CONTROL.sub(" ", text).rstrip()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _verbosity() -> int:
    context = click.get_current_context(silent=True)
    return int(context.meta.get(VERBOSITY, 0)) if context else 0
