"""A program that forks while it has a studio open.

Run with ``-m e2e.forking FOLDER``: it says ``ended`` when a forked child has come to its end, then
another one, which outlives it, says its id.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import holodeck_gen as hg
from holodeck_gen.testing import Script, ScriptedProvider


def _say(words: object) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def main(folder: Path) -> None:
    """Open a studio, and fork."""
    provider = ScriptedProvider(
        limits=hg.Limits(max_jobs=2, poll_interval_s=0.05), default=Script(job_s=0.05)
    )
    studio = hg.Studio(
        provider, output=folder, config=hg.Config.of({}, environ={}), registry=hg.Registry()
    )
    studio.__enter__()
    studio.generate("a picture")
    child = os.fork()
    if child == 0:
        # As a program ends: what it holds is collected, and what was registered is called.
        sys.exit(0)
    os.waitpid(child, 0)
    _say("ended")
    if os.fork() == 0:
        _say(os.getpid())
    time.sleep(60)
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
