"""Kill the process at every step, resume, and count what the provider was asked for."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import attrs
import pytest

import holodeck_gen as hg
from e2e import crashing
from e2e.crashing import DIRECT, LABELS, PER_JOB, REFUSALS, SPOILED, TASKS, TWIN, picture

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: Trials of one round in the normal suite, and processes that run them.
SAMPLE = 100
CORES = 2
#: Seconds after which everything that was paid for is done.
LATE_S = 200.0
#: Of steps, in their names.
KINDS = (
    "journal", "commit", "file", "submit", "poll", "fetch", "rewrite", "slot", "token", "pace",
    "backoff", "outcome",
)  # fmt: skip
#: Steps of a part of which no submit is on its way.
IDLE = ("slot", "token", "backoff")
#: States of a part in which it must not be submitted, polled and fetched again.
HAS_JOB = ("submitted", "finished", "fetched", "stored")
HAS_END = ("finished", "fetched", "stored")
HAS_FILES = ("fetched", "stored")


def files_of_parts() -> dict[str, dict[str, bytes]]:
    """The files that each part is to end with; names without a key."""
    files: dict[str, dict[str, bytes]] = {}
    for label, task in zip(LABELS, TASKS, strict=True):
        per_job = PER_JOB.get(label, 1)
        for n in range(task.n):
            part, number = divmod(n, per_job)
            name = f"{label}-{n + 1}.png" if task.n > 1 else f"{label}.png"
            files.setdefault(f"{label}#{part}", {})[name] = picture(label, part, number)
    files[f"{TWIN}#0"][f"{TWIN}-small.png"] = picture(TWIN, 0, 1)
    return files


FILES = files_of_parts()


@attrs.frozen
class Finding:
    """A promise that was broken."""

    promise: str
    what: str


@attrs.frozen
class Verdict:
    """What a trial shows.

    Args:
        facts: As `crashing.Trial.run` tells them.
    """

    facts: dict[str, Any]

    @property
    def hit(self) -> bool:
        """Whether every kill came."""
        return all(run["status"] == -9 for run in self.facts["runs"][:-1])

    @property
    def killed_at(self) -> list[str]:
        """The steps at which it was killed."""
        return [line["at"] for line in self._lines("killed")]

    @property
    def held(self) -> set[str]:
        """Parts of which nobody knows whether there is a job."""
        return {part for part, state in self._last["parts"].items() if state == "uncertain"}

    @property
    def on_their_way(self) -> set[str]:
        """Parts whose submit had no durable answer when the process was killed."""
        return {
            part
            for run in self.facts["runs"][:-1]
            for part, state in run["journal"]["parts"].items()
            if state == "submitting"
        }

    def findings(self) -> Iterator[Finding]:
        """Every promise that was broken."""
        last = self.facts["runs"][-1]
        if last["status"] != 0 or self.facts["faults"]:
            yield Finding("runs", f"status {last['status']}: {self.facts['faults']}")
            return
        for line in self._lines("too early"):
            yield Finding("too early", str(line))
        yield from self._outcomes()
        yield from self._jobs()
        yield from self._repeats()
        yield from self._files()

    def _outcomes(self) -> Iterator[Finding]:
        """Every task has one outcome, and the right one."""
        run = len(self.facts["runs"]) - 1
        outcomes = [line for line in self._lines("outcome") if line["run"] == run]
        if Counter(line["label"] for line in outcomes) != Counter(LABELS):
            yield Finding("lost", f"outcomes of {sorted(line['label'] for line in outcomes)}")
        held = {part.partition("#")[0] for part in self.held}
        for line in outcomes:
            label = line["label"]
            expected = "held" if label in held else "failed" if label == SPOILED else "done"
            if line["state"] != expected:
                yield Finding("lost", f"{label} is {line['state']} ({line['error']})")
            if expected == "failed" and line["error"] != "ProcessingError":
                yield Finding("lost", f"{label} failed with {line['error']}")
            known = {"held": "open"}.get(expected, expected)
            if self._last["tasks"].get(label) != known:
                yield Finding("lost", f"{label} is {self._last['tasks'].get(label)}, not {known}")
            early = any(
                before["journal"]["tasks"].get(label) == "done"
                for before in self.facts["runs"][:-1]
            )
            if line["resumed"] != early:
                yield Finding("resumed", f"{label} says resumed={line['resumed']}")

    def _jobs(self) -> Iterator[Finding]:
        """As many jobs as parts, but for those whose answer may be lost."""
        made = Counter(f"{line['label']}#{line['part']}" for line in self._lines("created"))
        for part in FILES:
            if made[part] > 1:
                yield Finding("paid twice", f"{part} has {made[part]} jobs")
            if made[part] < 1 and part not in self.held:
                yield Finding("lost", f"{part} has no job")
        if wrong := self.held - self.on_their_way:
            yield Finding("held", f"{sorted(wrong)}: no submit was on its way")
        for at, run in zip(self.killed_at, self.facts["runs"], strict=False):
            kind, who, _, _ = at.split(" | ")
            part = _named(who)
            if kind in IDLE and run["journal"]["parts"].get(part) == "submitting":
                yield Finding("held", f"{part}, killed at {at}")

    def _repeats(self) -> Iterator[Finding]:
        """What was durable is not done again."""
        for number, run in enumerate(self.facts["runs"][:-1]):
            known = run["journal"]
            for line in self.facts["server"]:
                if line["run"] <= number or "label" not in line:
                    continue
                label, what = line["label"], line["what"]
                part = known["parts"].get(f"{label}#{line.get('part')}")
                again = (
                    (what == "rewrite" and label in known["rewritten"])
                    or (what == "arrived" and part in HAS_JOB)
                    or (what == "poll" and part in HAS_END)
                    or (what == "fetch" and part in HAS_FILES)
                    or (
                        what in ("arrived", "poll", "fetch", "rewrite")
                        and known["tasks"].get(label) in ("done", "failed")
                    )
                )
                if again:
                    yield Finding("repeated", f"{what} of {label}, where it was {part}")

    def _files(self) -> Iterator[Finding]:
        """The right files, and nothing else."""
        found: dict[str, str] = {}
        for name, sha256 in self.facts["files"].items():
            found[".spool/raw" if _is_raw(name) else _without_key(name)] = sha256
        expected = {
            name: hashlib.sha256(data).hexdigest()
            for part, files in FILES.items()
            if part not in self.held
            for name, data in files.items()
        }
        sidecars = {
            _without_key(name): hg.Sidecar.loads(text)
            for name, text in self.facts["sidecars"].items()
        }
        if f"{SPOILED}#0" not in self.held:
            expected[".spool/raw"] = expected.pop(f"{SPOILED}.png")
        # One beside each picture, and no second one of a run that would tell something else.
        for name in [name for name in expected if name.endswith(".png") and "small" not in name]:
            beside = f"{name.removesuffix('.png')}.json"
            if sidecar := sidecars.get(beside):
                expected[beside] = found[beside]
                yield from self._sidecar(sidecar, expected[name])
            else:
                yield Finding("lost", f"there is no {beside}")
        for name in sorted(expected.keys() - found.keys()):
            yield Finding("lost", f"there is no {name}")
        for name in sorted(found.keys() - expected.keys()):
            yield Finding("left behind", name)
        raws = sum(map(_is_raw, self.facts["files"]))
        if raws > (f"{SPOILED}#0" not in self.held):
            yield Finding("left behind", f"{raws} raw files")
        for name in sorted(expected.keys() & found.keys()):
            if expected[name] != found[name]:
                yield Finding("damaged", name)

    def _sidecar(self, sidecar: hg.Sidecar, sha256: str) -> Iterator[Finding]:
        """What is told of a picture is true."""
        label = sidecar.prompt.split()[0]
        made = {line["job"] for line in self._lines("created") if line["label"] == label}
        told = {
            "file": sidecar.files[0].sha256 == sidecar.raw.sha256 == sha256,
            "rewriter": sidecar.stages.rewrite == ("Rewriter",),
            "job": sidecar.job.id is None if label in DIRECT else sidecar.job.id in made,
        }
        for fact, right in told.items():
            if not right:
                yield Finding("damaged", f"the {fact} in the sidecar of {label} {sidecar.number}")

    @property
    def _last(self) -> dict[str, Any]:
        known: dict[str, Any] = self.facts["runs"][-1]["journal"]
        return known

    def _lines(self, what: str) -> list[dict[str, Any]]:
        return [line for line in self.facts["server"] if line["what"] == what]


def _is_raw(name: str) -> bool:
    return name.startswith(".spool/") and name.endswith(".raw")


def _named(who: str) -> str:
    """A part by its label; the task without an id is known by its digest."""
    label, _, part = who.partition("#")
    return f"{label if label in LABELS else TWIN}#{part}"


def _without_key(name: str) -> str:
    """The name of a file; that of the task without an id ends with its digest."""
    if not name.startswith(TWIN) or "~" in name:
        return name
    ending = "-small.png" if name.endswith("-small.png") else name[name.rindex(".") :]
    return f"{TWIN}{ending}"


@attrs.define(eq=False)
class Zygote:
    """A process that runs trials, one after the other."""

    _process: subprocess.Popen[str]

    @classmethod
    def start(cls, folder: Path) -> Self:
        """Start one that keeps its files in `folder`."""
        return cls(
            subprocess.Popen(
                [sys.executable, crashing.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "TMPDIR": str(folder)},
            )
        )

    def run(
        self, kills: Iterable[str | int], *, tell: bool = False, late_s: float = 0.0
    ) -> Verdict:
        """Run one trial."""
        asked, answers = self._pipes()
        asked.write(json.dumps({"kills": list(kills), "tell": tell, "late_s": late_s}) + "\n")
        asked.flush()
        return Verdict(json.loads(answers.readline()))

    def close(self) -> None:
        """End it."""
        asked, answers = self._pipes()
        asked.close()
        answers.close()
        self._process.wait()

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout


@pytest.fixture(scope="module")
def zygotes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Zygote]]:
    """One for each core."""
    memory = Path("/dev/shm")
    # Nothing here depends on the disk, and many small fsyncs are slow.
    folder = memory if os.access(memory, os.W_OK) else tmp_path_factory.mktemp("crashes")
    started = [Zygote.start(folder) for _ in range(CORES)]
    yield started
    for each in started:
        each.close()


@pytest.fixture(scope="module")
def steps(zygotes: list[Zygote]) -> list[str]:
    """The names of all steps, from a run that nobody kills."""
    dry = zygotes[0].run([], tell=True)
    assert list(dry.findings()) == []
    return list(dry.facts["steps"])


def run_all(
    zygotes: list[Zygote], trials: Sequence[Sequence[str | int]], *, late_s: float = 0.0
) -> list[Verdict]:
    """Run trials on all cores."""

    def share(i: int) -> list[Verdict]:
        return [zygotes[i].run(kills, late_s=late_s) for kills in trials[i :: len(zygotes)]]

    with ThreadPoolExecutor(len(zygotes)) as pool:
        shares = pool.map(share, range(len(zygotes)))
        return [verdict for share in shares for verdict in share]


def evenly(items: Sequence[str], number: int) -> list[str]:
    """So many of `items`, evenly spread."""
    return [items[i * len(items) // number] for i in range(min(number, len(items)))]


def twice(steps: Sequence[str], number: int) -> list[tuple[str, int]]:
    """Steps, each with the number of a later one in the run after it."""
    chance = random.Random(20_25)
    return [
        (step, chance.randint(1, max(40, (len(steps) - steps.index(step)) * 9 // 10)))
        for step in evenly(steps, number)
    ]


def check(verdicts: Sequence[Verdict]) -> None:
    """Print a table of what was found; nothing bad may be in it, and few kills may not come."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    bad: list[str] = []
    for verdict in verdicts:
        kind = verdict.facts["kills"][0].split(" | ")[0]
        findings = list(verdict.findings())
        rows[kind]["points"] += 1
        rows[kind]["missed"] += not verdict.hit
        rows[kind]["on their way"] += len(verdict.on_their_way)
        rows[kind]["rightly held"] += len(verdict.held & verdict.on_their_way)
        rows[kind].update({finding.promise for finding in findings})
        bad += [
            f"{' -> '.join(verdict.killed_at)}: {finding.promise}: {finding.what}"
            for finding in findings
        ]
    assert sum(len(verdict.held) for verdict in verdicts) <= sum(
        len(verdict.on_their_way) for verdict in verdicts
    )
    rows["all"] = sum(rows.values(), Counter())
    table = _table({kind: rows[kind] for kind in (*KINDS, "all") if kind in rows})
    print(f"\n{table}")  # noqa: T201 -- the proof's summary, shown by pytest -s
    # Two threads may take turns in another order than in the run that named the steps.
    assert rows["all"]["missed"] <= 1 + len(verdicts) // 100
    assert not bad, f"{len(bad)} findings:\n" + "\n".join(bad) + f"\n{table}"


def _table(rows: dict[str, Counter[str]]) -> str:
    columns = [
        "points", "missed", "on their way", "rightly held", "lost", "paid twice", "repeated",
        "held", "resumed", "damaged", "left behind", "too early",
        "runs",
    ]  # fmt: skip
    lines = ["".join(f"{name:>{len(name) + 2}}" for name in columns)]
    lines += ["".join(f"{row[name]:>{len(name) + 2}}" for name in columns) for row in rows.values()]
    return "\n".join(f"{kind:<8}{line}" for kind, line in zip(["", *rows], lines, strict=True))


def test_every_kind_of_step_is_there(steps: list[str]) -> None:
    assert {step.split(" | ")[0] for step in steps} == set(KINDS)
    assert len(steps) == len(set(steps))
    for refused, answers in REFUSALS.items():
        assert len([s for s in steps if s.startswith(f"backoff | {refused}#0 | asleep")]) == len(
            answers
        )


def test_killed_once(zygotes: list[Zygote], steps: list[str]) -> None:
    check(run_all(zygotes, [[step] for step in evenly(steps, SAMPLE)]))


def test_killed_once_and_resumed_before_the_tasks_come(
    zygotes: list[Zygote], steps: list[str]
) -> None:
    trials = [[step] for step in evenly(steps, SAMPLE // 2)]
    check(run_all(zygotes, trials, late_s=LATE_S))


def test_killed_again_while_resuming(zygotes: list[Zygote], steps: list[str]) -> None:
    check(run_all(zygotes, twice(steps, SAMPLE // 3)))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_killed_at_every_step(zygotes: list[Zygote], steps: list[str]) -> None:
    check(run_all(zygotes, [[step] for step in steps]))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_killed_at_every_fourth_step_and_again(zygotes: list[Zygote], steps: list[str]) -> None:
    check(run_all(zygotes, twice(steps, len(steps) // 4)))
