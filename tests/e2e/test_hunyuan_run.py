"""``holodeck-gen emulate hunyuan`` in one shell, ``holodeck-gen run`` in another."""

from __future__ import annotations

import hashlib
import json
import signal
import struct
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import holodeck_gen as hg
from e2e.emulating import (
    DIALECTS,
    DONE,
    INTERRUPTED,
    RESUMABLE,
    RUN,
    Emulator,
    Shell,
    emulated,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: The two signed dialects differ in their tables, and commands take their time to start.
EACH = (*DIALECTS[:2], pytest.param(DIALECTS[2], marks=pytest.mark.long))
FIFTY = 50
#: By the prompt's last word, what happens to the first submit that has it.
FAULTS = {
    "unanswered": "drop-after-accept",
    "unsent": "drop-before-accept",
    "unpaid": "refuse:ResourceUnavailable.InArrears",
}
#: TokenHub calls a resource pack that is used up by another name.
FREE_QUOTA = "tokenhub/refuse:FREE_QUOTA_EXHAUSTED~used-up@1"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name).resolve()


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Emulator]:
    faults = [f"{fault}~{word}@1" for word, fault in FAULTS.items()]
    options = ("--max-jobs", "2", "--job-seconds", "0.1", "--pictures", "cheap")
    with emulated(*options, "--faults", ",".join([*faults, FREE_QUOTA]), folder=folder) as emulator:
        yield emulator


@pytest.fixture
def emulator(service: Emulator) -> Emulator:
    """With no job and no count."""
    service.reset()
    return service


@pytest.fixture
def shell(emulator: Emulator, tmp_path: Path) -> Callable[[str], Shell]:
    """Makes one for a dialect."""

    def make(dialect: str) -> Shell:
        return Shell(tmp_path / dialect, {**emulator.environ, "HUNYUAN_DIALECT": dialect})

    return make


def fifty_in_each_dialect(emulator: Emulator, folder: Path, *, hurried: bool) -> None:
    """Run 50 tasks in every dialect, all three side by side, and check what came of it."""

    def work(dialect: str) -> tuple[Shell, Any]:
        environ = {**emulator.environ, "HUNYUAN_DIALECT": dialect}
        shell = Shell(folder / dialect, environ, hurried=hurried)
        shell.write_tasks([f"picture {i} by {dialect}" for i in range(FIFTY)])
        return shell, shell.run("--json", code=DONE)

    emulator.reset()
    with ThreadPoolExecutor(len(DIALECTS)) as pool:
        done = dict(zip(DIALECTS, pool.map(work, DIALECTS), strict=True))
    stats = emulator.stats
    # Slots are counted for each account and action, so each dialect has its own.
    most = {key.split("/")[1]: most for key, most in stats["max_jobs_at_once_by_quota"].items()}
    # Both slots were used and, since the service refuses a third job, none was asked for beyond
    # them: not one refusal of any kind, from the first submit to the last poll.
    assert most == dict.fromkeys(DIALECTS, 2)
    assert stats["refusals"] == {}
    assert stats["prompts"] == {
        f"picture {i} by {dialect}": 1 for dialect in DIALECTS for i in range(FIFTY)
    }
    assert stats["jobs_created"] == stats["submits"] == stats["billed"] == len(DIALECTS) * FIFTY
    # Nothing was fetched twice, and no download had a header with credentials.
    assert stats["downloads"] == len(DIALECTS) * FIFTY
    assert stats["leaked_credentials"] == 0
    ids = {f"task-{i}" for i in range(FIFTY)}
    for dialect, (shell, command) in done.items():
        assert shell.pictures() == ids
        assert shell.states() == dict.fromkeys(ids, "done")
        assert {json.loads(line)["id"] for line in command.stdout.splitlines()} == ids
        assert "WARNING" not in command.stderr.upper(), command.stderr
        assert f"({dialect}, account " in command.stderr
        assert shell.leaks() == []


def test_fifty_pictures_in_each_dialect(service: Emulator, tmp_path: Path) -> None:
    fifty_in_each_dialect(service, tmp_path, hurried=True)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_fifty_pictures_in_each_dialect_as_users_have_it(tmp_path: Path) -> None:
    """Without the plugin that hurries, and with pictures that are drawn."""
    options = ("--max-jobs", "2", "--job-seconds", "0.5,0.25")
    with emulated(*options, folder=tmp_path) as emulator:
        fifty_in_each_dialect(emulator, tmp_path / "work", hurried=False)


@pytest.mark.parametrize("dialect", EACH)
def test_who_names_no_number_meets_few_refusals(
    emulator: Emulator, shell: Callable[[str], Shell], dialect: str
) -> None:
    """The service has two slots, whatever is documented; who looks for them is refused once."""
    own = shell(dialect)
    own.write_tasks([f"picture {i}" for i in range(12)])
    own.call(*RUN, "--concurrency", "auto", code=DONE)
    stats = emulator.stats
    assert stats["prompts"] == {f"picture {i}": 1 for i in range(12)}
    assert stats["max_jobs_at_once"] == 2
    # A second time where a job's end, noticed late, made a third job look accepted.
    assert 1 <= sum(stats["refusals"].values()) <= 2


@pytest.fixture(scope="module")
def drawing(folder: Path) -> Iterator[Emulator]:
    """A service whose pictures are large enough to make models of."""
    own = folder / "drawing"
    own.mkdir()
    with emulated("--job-seconds", "0.1", folder=own) as emulator:
        yield emulator


class TestModel:
    """Words, a picture of them, and a model of the picture."""

    def test_two_tasks_of_one_studio(
        self, drawing: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drawing.reset()
        for name, value in drawing.environ.items():
            if name.startswith("HUNYUAN_") or name == "NO_PROXY":
                monkeypatch.setenv(name, value)
        with hg.Studio(["hunyuan", "hunyuan3d"], output=tmp_path / "out", sidecar=True) as studio:
            picture = studio.generate("a teapot", id="picture", provider="hunyuan")
            solid = studio.generate(
                hg.Task(inputs=[picture.artifact], id="solid", kind="model3d", provider="hunyuan3d")
            )
        assert solid.artifact.media_type == "model/gltf-binary"
        assert solid.path is not None
        assert_glb(solid.path)
        assert (tmp_path / "out" / "picture.png").read_bytes().startswith(b"\x89PNG")
        stats = drawing.stats
        assert (stats["jobs_created"], stats["refusals"]) == (2, {})
        assert stats["leaked_credentials"] == 0
        sidecar = hg.Sidecar.loads((tmp_path / "out" / "solid.json").read_bytes())
        (parent,) = sidecar.parents
        assert (parent.path, parent.sha256) == (str(picture.path), picture.artifact.sha256)
        assert picture.artifact.sidecar is not None
        before = hg.Sidecar.loads(picture.artifact.sidecar.read_bytes())
        assert before.files[0].sha256 == parent.sha256
        # Of the submit and of the query, from the service itself.
        assert [len(each.job.request_ids) for each in (before, sidecar)] == [2, 2]
        assert sidecar.job.id in solid.job_ids

    def test_two_commands(self, drawing: Emulator, tmp_path: Path) -> None:
        drawing.reset()
        own = Shell(tmp_path, {**drawing.environ, "HUNYUAN_DIALECT": "tokenhub"})
        own.write_tasks(["a teapot"])
        own.run(code=DONE)
        wish = {"id": "solid", "kind": "model3d", "inputs": ["out/task-0.png"], "model": "rapid"}
        (own.folder / "solids.jsonl").write_text(json.dumps(wish))
        own.call("run", "solids.jsonl", "-o", "solids", "-p", "hunyuan3d", "--sidecar", code=DONE)
        assert_glb(own.folder / "solids" / "solid.glb")
        picture = (own.folder / "out" / "task-0.png").read_bytes()
        sidecar = json.loads((own.folder / "solids" / "solid.json").read_bytes())
        assert sidecar["parents"] == [
            {
                "path": "out/task-0.png",
                "uri": None,
                "sha256": hashlib.sha256(picture).hexdigest(),
            }
        ]
        assert drawing.stats["jobs_created"] == 2


def assert_glb(path: Path) -> None:
    """Read it as https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html#binary-gltf-layout."""
    data = path.read_bytes()
    assert struct.unpack_from("<4sII", data) == (b"glTF", 2, len(data))
    chunks: list[tuple[bytes, bytes]] = []
    at = 12
    while at < len(data):
        length, kind = struct.unpack_from("<I4s", data, at)
        assert length % 4 == 0
        chunks.append((kind, data[at + 8 : at + 8 + length]))
        at += 8 + length
    assert [kind for kind, _ in chunks] == [b"JSON", b"BIN\0"]
    scene, binary = json.loads(chunks[0][1]), chunks[1][1]
    assert scene["asset"]["version"] == "2.0"
    (shape,) = scene["meshes"][0]["primitives"]
    points = _read(scene, binary, shape["attributes"]["POSITION"], "<3f")
    corners = _read(scene, binary, shape["indices"], "<H")
    assert len(set(points)) == len(points) >= 4
    # Each corner of a triangle is a point, and each point is a corner.
    assert len(corners) % 3 == 0
    assert {corner for (corner,) in corners} == set(range(len(points)))


def _read(
    scene: Mapping[str, Any], binary: bytes, number: int, form: str
) -> list[tuple[float, ...]]:
    accessor = scene["accessors"][number]
    view = scene["bufferViews"][accessor["bufferView"]]
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    size = struct.calcsize(form) * accessor["count"]
    assert size <= view["byteLength"]
    assert accessor["componentType"] == {"f": 5126, "H": 5123}[form[-1]]
    return list(struct.iter_unpack(form, binary[start : start + size]))


@pytest.mark.parametrize("dialect", EACH)
class TestLostAnswer:
    """From here nobody can tell whether the job was made, so that both losses are one."""

    # The doubtful ones last: a job that may be running keeps its slot until it must be over.
    PROMPTS = ("a cat", "a cow", "a dog unanswered", "a dog unsent")

    def test_is_held_and_submitted_again_only_when_asked(
        self, emulator: Emulator, shell: Callable[[str], Shell], dialect: str
    ) -> None:
        own = shell(dialect)
        own.write_tasks(self.PROMPTS)
        first = own.run(code=RESUMABLE)
        held = {"task-2": "held", "task-3": "held"}
        assert own.states() == {"task-0": "done", "task-1": "done", **held}
        assert "2 held because a submit had no answer" in first.stderr
        assert own.uncertain() == held.keys()
        # Once more, and by collecting what is there: the doubt stays, and nothing is paid for.
        own.run(code=RESUMABLE)
        own.call("collect", "out", code=RESUMABLE)
        assert emulator.jobs == {"a cat": 1, "a cow": 1, "a dog unanswered": 1}
        assert emulator.stats["submits"] == 4
        # Two slots are kept for the jobs that may be running.
        own.run("--concurrency", "4", "--retry-uncertain", "task-2", code=RESUMABLE)
        assert own.uncertain() == {"task-3"}
        own.run("--concurrency", "4", "--retry-uncertain", code=DONE)
        assert own.pictures() == {f"task-{i}" for i in range(4)}
        assert emulator.jobs == dict.fromkeys(self.PROMPTS, 1) | {"a dog unanswered": 2}
        assert own.leaks() == []

    def test_is_submitted_again_where_the_policy_is_so(
        self, emulator: Emulator, shell: Callable[[str], Shell], dialect: str
    ) -> None:
        own = shell(dialect)
        own.write_tasks(self.PROMPTS)
        # Until the lost jobs have surely ended, their slots are kept.
        own.run("--set", "job_timeout_s=1", "--on-uncertain", "resubmit", code=DONE)
        assert own.pictures() == {f"task-{i}" for i in range(4)}
        # The service has counted what the policy costs.
        assert emulator.jobs == dict.fromkeys(self.PROMPTS, 1) | {"a dog unanswered": 2}
        assert emulator.stats["faults"] == {"drop-after-accept": 1, "drop-before-accept": 1}


class TestPaused:
    """What concerns the account ends the batch, and costs no task."""

    @pytest.mark.parametrize(
        ("dialect", "word", "code"),
        [
            *((dialect, "unpaid", "ResourceUnavailable.InArrears") for dialect in DIALECTS[1:]),
            ("tokenhub", "unpaid", "401008"),
            ("tokenhub", "used-up", "FREE_QUOTA_EXHAUSTED"),
        ],
    )
    def test_out_of_credit(
        self,
        emulator: Emulator,
        shell: Callable[[str], Shell],
        dialect: str,
        word: str,
        code: str,
    ) -> None:
        own = shell(dialect)
        rest = [f"picture {i}" for i in range(6)]
        own.write_tasks(["a cat", f"a dog {word}", *rest])
        first = own.run(code=RESUMABLE)
        stats = emulator.stats
        # The job that ran already is finished; nothing else was sent after the refusal.
        assert (stats["prompts"], stats["submits"]) == ({"a cat": 1}, 2)
        assert own.pictures() == {"task-0"}
        assert sum(stats["refusals"].values()) == 1
        assert "paused: " in first.stderr
        assert code in first.stderr
        assert "check credit, resource packs" in first.stderr
        assert "go on with: holodeck-gen run tasks.jsonl" in first.stderr
        # The bill is paid, and the same command goes on.
        own.run(code=DONE)
        assert emulator.jobs == dict.fromkeys(["a cat", f"a dog {word}", *rest], 1)
        assert len(own.pictures()) == 8

    @pytest.mark.parametrize("dialect", EACH)
    def test_wrong_key(
        self, emulator: Emulator, shell: Callable[[str], Shell], dialect: str
    ) -> None:
        own = shell(dialect)
        prompts = [f"picture {i}" for i in range(6)]
        own.write_tasks(prompts)
        wrong = {"HUNYUAN_API_KEY": "sk-of-no-account", "HUNYUAN_SECRET_KEY": "of-no-account"}
        first = own.run(code=RESUMABLE, **wrong)
        stats = emulator.stats
        assert stats["jobs_created"] == 0
        # No more than were on their way at once.
        assert 1 <= sum(stats["refusals"].values()) <= 2
        assert "paused: the provider refuses the credentials" in first.stderr
        assert "check the credentials and their rights" in first.stderr
        assert not any(secret in first.stderr for secret in wrong.values())
        own.run(code=DONE)
        assert emulator.jobs == dict.fromkeys(prompts, 1)

    @pytest.mark.parametrize("dialect", DIALECTS[1:])
    def test_retired(self, retired: Emulator, tmp_path: Path, dialect: str) -> None:
        own = Shell(tmp_path, {**retired.environ, "HUNYUAN_DIALECT": dialect})
        own.write_tasks([f"picture {i}" for i in range(6)])
        first = own.run(code=RESUMABLE)
        assert retired.stats["jobs_created"] == 0
        assert "ActionOffline" in first.stderr
        assert "use dialect=tokenhub with HUNYUAN_API_KEY" in first.stderr
        assert own.pictures() == set()

    def test_retired_model_of_tokenhub(self, retired: Emulator, tmp_path: Path) -> None:
        """It is only said that it does not exist, which each task would hear alike."""
        own = Shell(tmp_path, {**retired.environ, "HUNYUAN_DIALECT": "tokenhub"})
        own.write_tasks(["a cat", "a dog"])
        first = own.run(code=RESUMABLE)
        assert retired.stats["jobs_created"] == 0
        assert "choose another one" in first.stderr
        assert "model 'hy-image-v3.0' does not exist" in first.stderr

    def test_what_is_said_to_use_now_works(
        self, emulator: Emulator, retired: Emulator, tmp_path: Path
    ) -> None:
        own = Shell(tmp_path, {**retired.environ, "HUNYUAN_DIALECT": "aiart"})
        own.write_tasks(["a cat", "a dog"])
        own.run(code=RESUMABLE)
        now = {"HUNYUAN_ENDPOINT": emulator.environ["HUNYUAN_ENDPOINT"]}
        own.run("--set", "providers.hunyuan.dialect=tokenhub", code=DONE, **now)
        assert emulator.jobs == {"a cat": 1, "a dog": 1}


@pytest.fixture(scope="module")
def retired(folder: Path) -> Iterator[Emulator]:
    """A service that has nothing to offer any more."""
    offline = [word for dialect in DIALECTS for word in ("--offline", dialect)]
    own = folder / "retired"
    own.mkdir()
    with emulated(*offline, folder=own) as emulator:
        yield emulator


@pytest.mark.parametrize("dialect", EACH)
def test_ctrl_c_is_looked_into_and_gone_on_from(
    emulator: Emulator, shell: Callable[[str], Shell], dialect: str
) -> None:
    own = shell(dialect)
    prompts = [f"picture {i}" for i in range(12)]
    own.write_tasks(prompts)
    first = own.start(*RUN)
    wait_until(lambda: emulator.stats["jobs_created"] >= 5, "jobs", alive=first.process)
    first.process.send_signal(signal.SIGINT)
    assert first.ended() == INTERRUPTED
    assert "Traceback" not in first.stderr
    jobs = emulator.jobs
    assert 5 <= jobs.total() < 12
    stands = json.loads(own.call("status", "out", "--json", code=DONE).stdout)
    assert stands["owner"] is None
    assert stands["tasks"]["failed"] == stands["tasks"]["held"] == 0
    working = stands["tasks"]["working"]
    assert stands["tasks"]["done"] + working == jobs.total()
    # Whatever is paid for and unfinished has an id: none is in doubt.
    found = own.findings(code=RESUMABLE if working else DONE)
    assert [each["kind"] for each in found] == ["job"] * working
    assert all(each["job_id"] for each in found)
    own.run(code=DONE)
    assert emulator.jobs == dict.fromkeys(prompts, 1)
    assert own.pictures() == {f"task-{i}" for i in range(12)}
    assert own.findings(code=DONE) == []
    assert own.leaks() == []
