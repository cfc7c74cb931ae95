"""What is known of a gate outlives the run, and is never needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

import holodeck_gen as hg
from helpers import opened
from holodeck_gen._gate.levels import Known
from holodeck_gen._gate.proven import OLD_S, Memory, gates_folder
from holodeck_gen.testing import ScriptedProvider, run_virtual

KNOWN = Known(proven=5, refused=6, lag_s=12.5, wait_s=270.0)


@given(
    st.builds(
        Known,
        proven=st.integers(1, 1000),
        refused=st.none() | st.integers(1, 1001),
        lag_s=st.floats(0, 35),
        wait_s=st.floats(1, 3600),
    )
)
def test_it_comes_back_as_it_was(tmp_path: Path, known: Known) -> None:
    Memory(tmp_path / "gate.json").save(known)
    assert Memory(tmp_path / "gate.json").load() == known


def test_each_gate_has_its_own() -> None:
    Memory.of("account", "draw").save(KNOWN)
    assert Memory.of("account", "draw").load() == KNOWN
    assert Memory.of("account", "paint").load() is None
    assert Memory.of("accountdraw", "").load() is None


def test_what_is_old_counts_no_more() -> None:
    now = 1e9
    Memory(Path("gate.json"), wall_clock=lambda: now).save(KNOWN)
    assert Memory(Path("gate.json"), wall_clock=lambda: now + OLD_S - 1).load() == KNOWN
    assert Memory(Path("gate.json"), wall_clock=lambda: now + OLD_S + 1).load() is None


def test_what_has_not_changed_is_not_written_again() -> None:
    memory = Memory(Path("gate.json"))
    memory.save(KNOWN)
    memory.path.unlink()
    memory.save(KNOWN)
    assert not memory.path.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"proven": 0, "refused": null, "lag_s": 0, "wait_s": 1, "at": 1}',
        "\x00",
    ],
)
def test_what_cannot_be_read_counts_as_absent(text: str) -> None:
    Path("gate.json").write_text(text)
    memory = Memory(Path("gate.json"))
    with capture_logs() as logs:
        assert memory.load() is None
        assert memory.load() is None
    assert [log["event"] for log in logs] == ["proven.unreadable"]


def test_what_cannot_be_written_is_told_once() -> None:
    Path("folder").write_text("in the way")
    memory = Memory(Path("folder/gate.json"))
    with capture_logs() as logs:
        memory.save(KNOWN)
        memory.save(Known(proven=6))
    assert [log["event"] for log in logs] == ["proven.unwritable"]


async def work(provider: ScriptedProvider) -> int:
    async with opened(provider) as studio:
        start = studio.describe().jobs_at_once
        assert all(outcome.ok for outcome in await studio.generate_all(["a"] * 30))
        return start


def test_a_studio_tells_with_how_many_it_will_begin() -> None:
    limits = hg.Limits(max_jobs=2, max_jobs_enforced=True)
    starts = [run_virtual(work(ScriptedProvider(limits=limits, quota=5))) for _ in range(2)]
    assert starts == [2, 5]
    [file] = gates_folder().iterdir()
    assert json.loads(file.read_text())["refused"] == 6


def test_nothing_is_kept_of_what_costs_nothing() -> None:
    run_virtual(work(ScriptedProvider(billing="free", quota=5)))
    assert not gates_folder().exists()
