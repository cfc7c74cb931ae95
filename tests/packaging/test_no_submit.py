"""Nothing that fetches or looks at what is paid for can begin a job."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import holodeck_gen as hg
from holodeck_gen._collect import Collector
from holodeck_gen._scripted import PNG, Script
from holodeck_gen.testing import ScriptedProvider, run_virtual
from runs import CAT, DOG, Runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holodeck_gen._model.values import JsonObject

CORE = Path(__file__).parents[2] / "core" / "holodeck_gen"
SUBMIT = "holodeck_gen._jobs.submit"
#: What may not even be known where nothing may be submitted: each makes the thing that submits.
FORBIDDEN = {SUBMIT, "holodeck_gen._studio", "holodeck_gen._generate", "holodeck_gen._sync"}
STARTS = ["holodeck_gen._collect", "holodeck_gen._journal.audit", "holodeck_gen._cli._journals"]


def file_of(module: str) -> Path | None:
    path = CORE.parent / Path(*module.split("."))
    candidates = path.with_suffix(".py"), path / "__init__.py"
    return next((each for each in candidates if each.is_file()), None)


def imported(module: str) -> Iterator[str]:
    """Our modules that `module` names in an import, wherever it stands, at run time."""
    file = file_of(module)
    assert file is not None
    for node in _executed(ast.parse(file.read_bytes())):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(base), level=0, names=names):
                yield base
                yield from (f"{base}.{alias.name}" for alias in names)
            case ast.ImportFrom():
                pytest.fail(f"{module} has a relative import; this proof does not follow them")


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            for other in child.orelse:
                yield other
                yield from _executed(other)
            continue
        yield child
        yield from _executed(child)


def reachable(*starts: str) -> set[str]:
    """Our modules that are imported from `starts`, over any number of others.

    The package itself only hands names on, and only when they are asked for: whoever asks it
    for one names that in an import, and is followed to the module that has it.
    """
    seen: set[str] = set()
    waiting = list(starts)
    while waiting:
        module = waiting.pop()
        if module in seen or module == "holodeck_gen" or file_of(module) is None:
            continue
        seen.add(module)
        waiting += [_home(name) for name in imported(module) if name.startswith("holodeck_gen.")]
    return seen


def _home(name: str) -> str:
    """The module that has the public name, where it is one."""
    package, _, public = name.rpartition(".")
    if package != "holodeck_gen" or public not in hg.__all__:
        return name
    module = getattr(hg, public).__module__
    assert isinstance(module, str)
    return module


def test_the_proof_follows_imports() -> None:
    """It finds what is there to be found, also where a function imports it."""
    assert SUBMIT in reachable("holodeck_gen._studio")
    assert SUBMIT in reachable("holodeck_gen._attach")
    assert "holodeck_gen._plugins.registry" in set(imported("holodeck_gen._cli._app"))
    assert "holodeck_gen._jobs.part" in reachable("holodeck_gen._collect")


@pytest.mark.parametrize("start", STARTS)
def test_what_submits_cannot_be_imported_from(start: str) -> None:
    assert reachable(start) & FORBIDDEN == set()


def test_nothing_reached_is_imported_by_a_name_that_is_made_up() -> None:
    """Else the graph would not show it. What the command line imports is the command typed."""
    dynamic = {
        module
        for module in reachable(*STARTS)
        for node in ast.walk(ast.parse(_source(module)))
        if isinstance(node, ast.Name | ast.Attribute)
        and ast.unparse(node).rpartition(".")[2] in ("import_module", "__import__", "exec", "eval")
    }
    assert dynamic == {"holodeck_gen._cli._app"}


def test_the_only_call_of_a_submit_is_of_what_is_not_there() -> None:
    """`Job.run` is handed the thing that submits; nothing else here knows such a method."""
    calls = {
        (module, ast.unparse(node))
        for module in reachable(*STARTS)
        for node in ast.walk(ast.parse(_source(module)))
        if isinstance(node, ast.Attribute) and node.attr == "submit"
    }
    assert calls == {("holodeck_gen._jobs.job", "submits.submit")}
    assert {
        ast.unparse(node)
        for module in reachable(*STARTS)
        for node in ast.walk(ast.parse(_source(module)))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("getattr", "methodcaller", "operator.methodcaller")
        and "submit" in ast.unparse(node)
    } == set()


def test_the_collector_names_no_submitter() -> None:
    tree = ast.parse(_source("holodeck_gen._collect"))
    given = [
        ast.unparse(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "submitter"
    ]
    assert given == ["None"]


def _source(module: str) -> bytes:
    file = file_of(module)
    assert file is not None
    return file.read_bytes()


class Refusing(ScriptedProvider):
    """A provider whose service would bill a submit."""

    armed = False

    async def submit(self, request: JsonObject, *, key: str) -> hg.JobRef | hg.JobStatus:
        if self.armed:
            raise AssertionError("collect has submitted")
        return await ScriptedProvider.submit(self, request, key=key)


#: Each leaves a task in another state.
SCRIPTS = {
    "a cat": Script(),
    "uncertain": Script(submits=["lose"]),
    "late": Script(submits=["late"]),
    "expired": Script(outputs=[hg.Url(url="ftp://example.com/gone.png")]),
    "failed": Script(error=hg.errors.JobFailedError("no luck")),
    "slow": Script(job_s=1e9),
}


@pytest.mark.parametrize("after_s", [0.0, 1.0, 5.0, 12.0, 40.0])
def test_collect_submits_nothing_whatever_state_the_tasks_are_in(
    tmp_path: Path, after_s: float
) -> None:
    provider = Refusing(scripts=SCRIPTS, limits=hg.Limits(max_jobs=4))
    runs = Runs(tmp_path / "out", provider)
    tasks = [hg.Task(prompt, id=prompt) for prompt in SCRIPTS] + [CAT, DOG]
    parts = hg.Task("many", id="many", n=3)
    runs.killed(*tasks, parts, after_s=after_s, request_timeout_s=30, job_timeout_s=100)
    provider.armed = True
    jobs, sent = Counter(provider.created), len(provider.submits)

    async def main() -> list[hg.Outcome]:
        collector = Collector(
            journal=runs.journal,
            provider=[provider],
            config=hg.Config.of({"job_timeout_s": 50.0}, environ={}),
        )
        return [outcome async for outcome in collector.outcomes()]

    errors = [getattr(each, "error", None) for each in run_virtual(main())]
    assert not any("has submitted" in str(error) for error in errors)
    assert (provider.created, len(provider.submits)) == (jobs, sent)


PROGRAM = """
import asyncio, json, sys
# Whoever asks for one of these from now on gets an ImportError.
for name in json.loads(sys.argv[1]):
    sys.modules[name] = None
import holodeck_gen as hg
from holodeck_gen._journal import audit
from holodeck_gen import _collect
from holodeck_gen._journal import steps
from holodeck_gen._cli import _journals
from holodeck_gen._journal.journal import Plan, Retry
from holodeck_gen._journal.sqlite import SqliteJournal
from pathlib import Path

class Service:
    name = "service"
    billing = "paid"
    limits = hg.Limits(max_jobs=1)
    def account_key(self): return "one"
    def quota_key(self, task): return "one"
    def prepare(self, task): return hg.Prepared(request={})
    async def submit(self, request, *, key): raise AssertionError("collect has submitted")
    async def poll(self, job):
        return hg.JobStatus(phase="done", outputs=[hg.Bytes(data=bytes.fromhex(sys.argv[2]))])

class Store:
    async def put(self, file, name): return f"memory:{name}"

path = Path(sys.argv[3]) / "journal.sqlite3"

async def main():
    journal = SqliteJournal.open(path)
    (entry,) = await journal.admit([(hg.Task("a cat", id="cat"), 0)], Retry())
    plan = Plan(provider="service", account="one", per_job=1, requests=({},))
    await journal.planned(entry, plan)
    await journal.record(entry.part(0), steps.Submitting(attempt=1))
    await journal.record(entry.part(0), steps.Submitted(job=hg.JobRef(job_id="j")))
    await journal.aclose()
    assert [each.kind for each in audit.audit(path, now=0.0)] == ["job"]
    collector = _collect.Collector(
        journal=path, provider=Service(), output=path.parent, config=hg.Config.of({}, environ={})
    )
    return [outcome.state async for outcome in collector.outcomes()]

print(json.dumps(asyncio.run(main())), *[m for m in json.loads(sys.argv[1]) if sys.modules[m]])
"""


def test_collect_works_where_what_submits_cannot_be_imported(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(sorted(FORBIDDEN)), PNG.hex(), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == '["done"]\n'
