"""Requests a second of an account to which two processes send, by the system's clock."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from e2e.sending import RATE, TASKS


def test_two_processes_send_no_more_than_one_may(tmp_path: Path) -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "e2e.sending", str(tmp_path / name)],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "other")
    ]
    for run in runs:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("\n")
        run.stdin.flush()
    times = [json.loads(run.communicate()[0]) for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    for action in ("submit", "poll"):
        one, other = (each[action] for each in times)
        assert len(one) >= TASKS
        # Else nothing was shown.
        assert one[0] < other[-1]
        assert other[0] < one[-1]
        sent = sorted(one + other)
        most = max(sum(1 for at in sent[i:] if at < first + 1) for i, first in enumerate(sent))
        assert most <= RATE, action
