"""Objects in memory and on a server that speaks S3, started here."""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
import os
import secrets
import socket
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import structlog
from click.testing import CliRunner
from PIL import Image

import holodeck_gen as hg
from helpers import result_of
from holodeck_gen._cli._app import cli
from holodeck_gen.errors import ConfigError, PluginLoadError, StorageError
from holodeck_gen.events import JobEnded, JobSubmitted, TaskAdmitted, TaskEnded
from holodeck_gen_plugins.stores._settings import ObjectOptions, settings_of
from holodeck_gen_plugins.stores.object import ObjectStore, make_object, media_type
from pictures import context, encoded
from servers import always, reply, served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from holodeck_gen.events import Event
    from servers import RawServer

KEYS = {"access_key_id": "an-id", "secret_access_key": "a-secret", "region": "eu-test-1"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 server with a bucket named ``pictures``."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    url = f"http://{host}:{port}"
    _bucket(f"{url}/pictures")
    yield url
    moto.stop()


def _bucket(url: str) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, method="PUT")) as answer:
        assert answer.status == 200


@pytest.fixture(params=["memory", "s3", "s3 without conditions"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    """An empty store of each kind."""
    if request.param == "memory":
        return make_object(ObjectOptions(url="memory://"), context())
    server = request.getfixturevalue("server")
    prefix = f"pictures/{secrets.token_hex(4)}"
    return s3(server, url=f"s3://{prefix}", conditional=request.param == "s3")


def s3(server: str, **options: Any) -> ObjectStore:
    return make_object(
        ObjectOptions(**{"url": "s3://pictures", "endpoint": server, **KEYS, **options}), context()
    )


def put(store: ObjectStore, folder: Path, name: str, data: bytes) -> str:
    file = folder / "file"
    file.write_bytes(data)
    return asyncio.run(store.put(file, name))


def get(store: ObjectStore, path: str) -> tuple[bytes, str | None]:
    """Bytes and content type."""
    import obstore

    found = obstore.get(store.objects, path)
    return bytes(found.bytes()), found.attributes.get("Content-Type")


def names(store: ObjectStore) -> list[str]:
    return sorted(each["path"] for batch in store.objects.list() for each in batch)


def test_a_file_becomes_an_object_with_its_type(store: ObjectStore, tmp_path: Path) -> None:
    where = put(store, tmp_path, "夜/a door~2.png", b"picture")
    assert where == f"{store.url}夜/a door~2.png"
    assert get(store, "夜/a door~2.png")[0] == b"picture"
    if store.url != "memory://":
        assert get(store, "夜/a door~2.png")[1] == "image/png"


def test_equal_bytes_again_are_success(store: ObjectStore, tmp_path: Path) -> None:
    assert put(store, tmp_path, "a.png", b"picture") == put(store, tmp_path, "a.png", b"picture")
    assert names(store) == ["a.png"]


@pytest.mark.parametrize("other", [b"another", b"PICTURE", b"", b"picture "])
def test_another_object_is_never_overwritten(
    store: ObjectStore, other: bytes, tmp_path: Path
) -> None:
    put(store, tmp_path, "a.png", b"picture")
    with pytest.raises(FileExistsError, match="another object"):
        put(store, tmp_path, "a.png", other)
    assert get(store, "a.png")[0] == b"picture"


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "a/../../b.png", "C:/a.png"])
def test_no_name_leads_out_of_the_prefix(store: ObjectStore, name: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        put(store, tmp_path, name, b"picture")
    assert names(store) == []


def test_a_large_file_is_sent_in_parts_and_not_overwritten(server: str, tmp_path: Path) -> None:
    store = s3(server, url="s3://pictures/parts", multipart_bytes=1 << 20)
    data = os.urandom(9 << 20)
    put(store, tmp_path, "big.glb", data)
    put(store, tmp_path, "big.glb", data)
    assert get(store, "big.glb") == (data, "model/gltf-binary")
    tag = store.objects.head("big.glb")["e_tag"]
    assert tag is not None
    # S3 says so of what came in two parts.
    assert tag.strip('"').endswith("-2")
    with pytest.raises(FileExistsError):
        put(store, tmp_path, "big.glb", data[:-1] + b"x")


def test_a_missing_bucket_is_an_error_of_the_store(server: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="NoSuchBucket") as error:
        put(s3(server, url="s3://none"), tmp_path, "a.png", b"picture")
    assert "Debug" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_server_that_is_not_there_is_an_error_of_the_store(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = s3(f"http://127.0.0.1:{port}", retries=1)
    with pytest.raises(StorageError, match="after 1 retries"):
        put(store, tmp_path, "a.png", b"picture")


def talk(*replies: bytes, folder: Path, **options: Any) -> tuple[RawServer, Any]:
    """What a server gets and what comes of it when it gives these replies in turn."""

    async def main() -> tuple[RawServer, Any]:
        async with served(always(*replies)) as server:
            store = s3(server.url, retries=2, **options)
            file = folder / "file"
            file.write_bytes(b"picture")
            try:
                return server, await store.put(file, "a.png")
            except Exception as error:
                return server, error

    return asyncio.run(main())


def test_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    server, made = talk(reply(status="503 Slow Down"), reply(ETag='"1"'), folder=tmp_path)
    assert made == "s3://pictures/a.png"
    assert len(server.requests) == 2


def test_a_lost_answer_is_no_collision(tmp_path: Path) -> None:
    """The first PUT was done; its repetition finds the object there, with the same bytes."""
    when = {"ETag": '"1"', "Last_Modified": "Wed, 25 Nov 2026 10:00:00 GMT"}
    server, made = talk(
        reply(status="500 Lost"),
        reply(status="412 Precondition Failed"),
        reply(b"picture", **when),
        folder=tmp_path,
    )
    assert made == "s3://pictures/a.png"
    assert [each.split()[0] for each in server.requests] == [b"PUT", b"PUT", b"GET"]
    assert b"if-none-match: *" in server.requests[0].lower()


def test_a_service_without_conditions_is_told_of(tmp_path: Path) -> None:
    _, error = talk(reply(status="501 Not Implemented"), folder=tmp_path)
    assert isinstance(error, StorageError)
    assert "set conditional = false" in str(error)


def test_neither_key_is_in_an_error(tmp_path: Path) -> None:
    _, error = talk(reply(status="403 Forbidden"), folder=tmp_path)
    assert isinstance(error, StorageError)
    assert "an-id" not in str(error)
    assert "a-secret" not in repr(error)


def check(*replies: bytes, **options: Any) -> tuple[list[bytes], StorageError | None]:
    """The first lines of the requests of a check, and what it raises."""

    async def main() -> tuple[list[bytes], StorageError | None]:
        async with served(always(*replies)) as server:
            try:
                await s3(server.url, **options).check()
            except StorageError as error:
                return [each.split(b"\r\n")[0] for each in server.requests], error
            return [each.split(b"\r\n")[0] for each in server.requests], None

    return asyncio.run(main())


class TestCheck:
    """Whether objects can be made is found out before anything is paid for."""

    def test_nothing_is_left_of_it(self, store: ObjectStore, tmp_path: Path) -> None:
        asyncio.run(store.check())
        asyncio.run(store.check())
        assert names(store) == []
        # Nor is a picture in its way.
        put(store, tmp_path, ".holodeck-gen-check", b"a")
        assert names(store) == ["holodeck-gen-check"]

    def test_who_may_not_remove_leaves_it_once(self) -> None:
        left = [reply(ETag='"1"'), reply(status="403 Forbidden")]
        with structlog.testing.capture_logs() as logs:
            requests, error = check(*left)
        assert (len(requests), error) == (2, None)
        assert logs[0]["event"] == "store.check_left"
        assert logs[0]["object"] == "s3://pictures/.holodeck-gen-check"
        requests, error = check(reply(status="412 Precondition Failed"))
        assert requests == [b"PUT /pictures/.holodeck-gen-check HTTP/1.1"]
        assert error is None

    def test_a_refusal_is_told_without_keys_and_is_not_repeated(self) -> None:
        requests, error = check(reply(status="403 Forbidden"))
        assert len(requests) == 1
        assert "cannot be written; nothing was submitted" in str(error)
        assert "an-id" not in str(error)
        assert "no credentials" not in str(error)

    def test_a_service_that_is_busy_is_asked_again(self) -> None:
        requests, error = check(reply(status="503 Slow Down"), reply(ETag='"1"'))
        assert (len(requests), error) == (3, None)

    def test_a_service_that_stays_busy_is_not_waited_for_as_a_put_would(self) -> None:
        requests, error = check(reply(status="503 Slow Down"))
        assert len(requests) == 3
        assert "503" in str(error)

    def test_a_service_without_conditions_is_told_of(self) -> None:
        _, error = check(reply(status="501 Not Implemented"))
        assert "set conditional = false" in str(error)
        _, error = check(reply(ETag='"1"'), conditional=False)
        assert error is None

    def test_missing_credentials_are_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Then the machine is asked for its role, which it does not have."""
        for name in list(os.environ):
            if name.startswith("AWS_"):
                monkeypatch.delenv(name)
        nobody = {"access_key_id": None, "secret_access_key": None}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{free.getsockname()[1]}"
        _, error = check(reply(), **nobody, config={"metadata_endpoint": address})
        assert "this machine's role was asked for: set AWS_ACCESS_KEY_ID and AWS_SECRET" in str(
            error
        )

    def test_a_server_that_never_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from holodeck_gen._plugins import store

        async def main() -> None:
            async def never(_request: bytes, _writer: asyncio.StreamWriter) -> None:
                await asyncio.Event().wait()

            monkeypatch.setattr(store, "CHECK_S", 0.1)
            async with served(never) as server:
                with pytest.raises(StorageError, match=r"at http.* has not answered within 0\.1 s"):
                    await store.check_store(s3(server.url))

        asyncio.run(main())

    def test_where_it_is_holds_no_credentials(self) -> None:
        assert s3("http://cos.example.org").where == "s3://pictures/ at http://cos.example.org"
        plain = ObjectOptions(url="gs://pictures/a")
        assert make_object(plain, context()).where == "gs://pictures/a/"


class TestSettings:
    def test_the_bucket_goes_into_the_host_where_that_is_wanted(self) -> None:
        options = ObjectOptions(
            url="s3://pictures-1250000000/a",
            endpoint="https://cos.ap-guangzhou.myqcloud.com",
            virtual_hosted=True,
        )
        settings = settings_of(options, {})
        assert settings == {
            "virtual_hosted_style_request": True,
            "endpoint": "https://pictures-1250000000.cos.ap-guangzhou.myqcloud.com",
        }

    def test_a_virtual_host_is_what_is_asked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Seen by a proxy, because the host has no address here."""

        async def main() -> bytes:
            async with served(always(reply(ETag='"1"'))) as proxy:
                monkeypatch.setenv("http_proxy", proxy.url)
                store = s3("http://cos.example.test", url="s3://bucket-1/pre", virtual_hosted=True)
                file = tmp_path / "file"
                file.write_bytes(b"picture")
                assert await store.put(file, "a.png") == "s3://bucket-1/pre/a.png"
                return proxy.requests[0]

        line = asyncio.run(main()).split(b"\r\n")[0]
        assert line == b"PUT http://bucket-1.cos.example.test/pre/a.png HTTP/1.1"

    def test_credentials_come_from_an_env_file_too_and_options_win(self) -> None:
        environ = {"AWS_ACCESS_KEY_ID": "a", "AWS_REGION": "r", "AWS_PROFILE": "no setting of ours"}
        options = ObjectOptions(url="s3://pictures", access_key_id="b")
        assert settings_of(options, environ) == {"aws_region": "r", "access_key_id": "b"}

    def test_no_address_comes_from_an_env_file(self) -> None:
        options = ObjectOptions(url="s3://pictures")
        assert settings_of(options, {"AWS_ENDPOINT_URL": "http://elsewhere"}) == {}

    def test_secrets_are_not_shown(self) -> None:
        options = ObjectOptions(
            url="s3://pictures", secret_access_key="a-secret", config={"account_key": "a-secret"}
        )
        assert "a-secret" not in repr(options)

    @pytest.mark.parametrize(
        "options",
        [
            {"url": "ftp://pictures"},
            {"url": "pictures"},
            {"url": "https://pictures.s3.eu-1.amazonaws.com"},
            {"url": "file:///tmp"},
            {"url": "s3://id:key@pictures"},
            {"url": "az://container?sig=key", "config": {"account_name": "somebody"}},
            {"url": "s3://pictures", "endpoint": "cos.example.org"},
            {"url": "s3://pictures", "endpoint": "https://id:key@cos.example.org"},
            {"url": "s3://pictures", "config": {"no_such_setting": "1"}},
            {"url": "az://container"},
        ],
        ids=str,
    )
    def test_what_is_wrong_is_found_out_before_the_first_task(
        self, options: dict[str, Any]
    ) -> None:
        with pytest.raises(ConfigError, match="object: ") as error:
            make_object(ObjectOptions(**options), context())
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("url", ["gs://pictures/a", "s3://pictures"])
    def test_other_services_are_taken(self, url: str) -> None:
        assert make_object(ObjectOptions(url=url), context()).url == f"{url}/"

    def test_azure_wants_an_account(self) -> None:
        options = ObjectOptions(url="az://container/a", config={"account_name": "somebody"})
        assert make_object(options, context()).url == "az://container/a/"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b.png", "image/png"),
        ("a.JPG", "image/jpeg"),
        ("a.webp", "image/webp"),
        ("a.glb", "model/gltf-binary"),
        ("a.xmp", "application/rdf+xml"),
        ("a", "application/octet-stream"),
    ],
)
def test_types_by_suffix(name: str, expected: str) -> None:
    assert media_type(name) == expected


def test_without_its_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(PluginLoadError, match=r"pip install 'holodeck-gen\[object\]'"):
        make_object(ObjectOptions(url="memory://"), context())


#: What there is of each picture of the whole chain.
ENDINGS = (".webp", "-thumb.jpg", ".json")
#: A task's events, in their order.
ORDER = (TaskAdmitted, JobSubmitted, JobEnded, TaskEnded)


def sidecar_of(store: ObjectStore, artifact: hg.Artifact) -> hg.Sidecar:
    beside = artifact.sidecar
    assert beside is not None
    if beside.path is not None:
        data = beside.read_bytes()
    else:
        assert beside.uri is not None
        data, media = get(store, beside.uri.removeprefix(store.url))
        assert media == "application/json"
    assert beside.media_type == "application/json"
    assert hashlib.sha256(data).hexdigest() == beside.sha256
    return hg.Sidecar.loads(data)


def told_alike(sidecar: hg.Sidecar) -> hg.Sidecar:
    """What two runs tell alike of one picture."""
    job = attrs.evolve(sidecar.job, submitted_at=None, ended_at=None)
    return attrs.evolve(sidecar, job=job)


def assert_complete(sidecar: hg.Sidecar, read: Callable[[str], bytes]) -> None:
    """It tells what was asked, what happened, and what is really there."""
    assert sidecar.task["prompt"] == "a door"
    assert sidecar.task["id"] == sidecar.key == f"t{sidecar.seed}"
    assert (sidecar.prompt, sidecar.seed_effective) == ("a door, ink", True)
    assert (sidecar.provider, sidecar.version) == ("procedural", hg.__version__)
    assert sidecar.stages.rewrite == ("template",)
    assert sidecar.stages.process == ("convert", "label", "thumbnail")
    assert (sidecar.raw.media_type, sidecar.raw.width, sidecar.raw.height) == ("image/png", 64, 64)
    assert sidecar.job.submitted_at is not None
    assert sidecar.job.ended_at is not None
    assert sidecar.job.submitted_at <= sidecar.job.ended_at
    assert [each.name for each in sidecar.files] == [f"{sidecar.key}{end}" for end in ENDINGS[:2]]
    for each in sidecar.files:
        assert each.name is not None
        data = read(each.name)
        assert (each.sha256, each.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
        with Image.open(io.BytesIO(data)) as picture:
            assert (picture.size, Image.MIME[picture.format or ""]) == (
                (each.width, each.height),
                each.media_type,
            )


def assert_in_order(events: Sequence[Event], keys: Sequence[str | None]) -> None:
    """Each task has its four events, once, each after the one before."""
    seen: dict[str, list[type]] = {}
    for event in events:
        if isinstance(event, ORDER):
            key = event.outcome.key if isinstance(event, TaskEnded) else event.key
            seen.setdefault(key, []).append(type(event))
    assert seen == {key: list(ORDER) for key in keys}


class TestStudio:
    """With the engine: the address as output, and the options of the stage of that name."""

    def test_pictures_go_there_and_the_same_again_make_no_second_object(self, server: str) -> None:
        _bucket(f"{server}/studio")
        task = hg.Task("a door", id="door", size="64x64", seed=7)
        for _ in range(2):
            with self._studio(server, output="s3://studio/run") as studio:
                result = result_of(studio.generate_all([task])[0])
            artifact = result.artifact
            assert artifact.path is None
            assert artifact.uri == "s3://studio/run/door.png"
        assert names(s3(server, url="s3://studio")) == ["run/door.png"]

    def test_a_strangers_object_gets_company(self, server: str, tmp_path: Path) -> None:
        _bucket(f"{server}/strange")
        store = s3(server, url="s3://strange")
        put(store, tmp_path, "door.png", b"a stranger's")
        with self._studio(server, output="s3://strange") as studio:
            result = result_of(studio.generate_all([hg.Task("a door", id="door", size="64x64")])[0])
        assert result.artifact.uri == "s3://strange/door~2.png"
        assert get(store, "door.png")[0] == b"a stranger's"

    @pytest.mark.parametrize("number", [5, pytest.param(200, marks=pytest.mark.long)])
    def test_a_folder_and_a_bucket_have_equal_bytes(
        self, number: int, server: str, tmp_path: Path
    ) -> None:
        bucket = f"equal-{number}"
        _bucket(f"{server}/{bucket}")
        tasks = [hg.Task("a door", id=f"t{i}", size="64x64", seed=i) for i in range(number)]
        remote_events: list[Event] = []
        local_events: list[Event] = []
        stages: dict[str, Any] = {
            "rewrite": ["template"],
            "process": ["convert", "label", "thumbnail"],
            "sidecar": True,
        }
        with self._studio(
            server, output=f"s3://{bucket}", on_event=remote_events.append, **stages
        ) as studio:
            remote = studio.generate_all(tasks)
        with self._studio(
            server, output=tmp_path, on_event=local_events.append, **stages
        ) as studio:
            local = studio.generate_all(tasks)
        store = s3(server, url=f"s3://{bucket}")
        for one, other in zip(remote, local, strict=True):
            there, here = result_of(one).artifacts, result_of(other).artifacts
            assert len(there) == len(here) == 2
            for this, that in zip(there, here, strict=True):
                assert this.uri is not None
                data, media = get(store, this.uri.removeprefix(store.url))
                assert data == that.read_bytes()
                assert media == that.media_type == this.media_type
                assert this.sha256 == that.sha256
            there_told = sidecar_of(store, there[0])
            # The times of two jobs differ; nothing else does.
            assert told_alike(there_told) == told_alike(sidecar_of(store, here[0]))
            assert_complete(there_told, lambda name: get(store, name)[0])
            assert_complete(there_told, lambda name: (tmp_path / name).read_bytes())
        expected = [f"t{i}{end}" for i in range(number) for end in ENDINGS]
        assert names(store) == sorted(expected)
        assert sorted(each.name for each in tmp_path.glob("t*")) == sorted(expected)
        assert_in_order(remote_events, [task.id for task in tasks])
        assert_in_order(local_events, [task.id for task in tasks])

    def _studio(self, server: str, **arguments: Any) -> hg.Studio:
        stages = {
            "object": {"endpoint": server, **KEYS},
            "convert": {"format": "webp"},
            "template": {"suffix": ", ink"},
        }
        config = hg.Config.of({"stages": stages}, environ={})
        return hg.Studio("procedural", config=config, **arguments)


class TestCommand:
    """As typed: addresses where files and folders are named."""

    @pytest.mark.parametrize(
        ("output", "uri"),
        [
            ("memory://door.png", "memory://door.png/a-door.png"),
            ("memory://", "memory://a-door.png"),
            ("memory://b/c/", "memory://b/c/a-door.png"),
            ("memory://b/c.png", "memory://b/c.png"),
            ("memory://b/c/d.png", "memory://b/c/d.png"),
        ],
    )
    def test_generate_takes_an_address_of_a_file_or_of_a_folder(
        self, output: str, uri: str, own_home: Path
    ) -> None:
        result = CliRunner().invoke(
            cli,
            [
                *("generate", "a door", "-o", output, "-p", "procedural", "--size", "64x64"),
                *("--set", "name=a-door"),
            ],
        )
        assert result.exit_code == 0, result.output
        assert result.stdout == f"{uri}\n"
        assert list(own_home.iterdir()) == []

    def test_run_keeps_its_journal_here_and_its_pictures_there(self, server: str) -> None:
        _bucket(f"{server}/command")
        Path("t.jsonl").write_text('{"id": "a", "prompt": "a door", "size": "64x64"}\n')
        Path("holodeck-gen.toml").write_text(
            f"""
            provider = "procedural"
            store = "bucket"
            [stages.bucket]
            use = "object"
            url = "s3://command/run"
            endpoint = "{server}"
            region = "eu-test-1"
            access_key_id = {{ env = "A_KEY" }}
            secret_access_key = {{ env = "A_KEY" }}
            """
        )
        for words in ("1 done", "(1 before)"):
            result = CliRunner(env={"A_KEY": "canary"}).invoke(cli, ["run", "t.jsonl", "-o", "out"])
            assert result.exit_code == 0, result.output
            assert words in result.stderr
            assert "sets stages.bucket.endpoint = http://" in result.stderr
            assert "canary" not in result.output
        assert names(s3(server, url="s3://command")) == ["run/a.png"]
        assert "s3://command/run/a.png" in Path("out/results.jsonl").read_text()
        assert list(Path("out").rglob("*.png")) == []


def test_damage_is_seen(tmp_path: Path) -> None:
    """The comparison of bytes is of all of them, not of their number."""
    store = make_object(ObjectOptions(url="memory://", conditional=False), context())
    data = encoded("png")
    put(store, tmp_path, "a.png", data)
    with pytest.raises(FileExistsError):
        put(store, tmp_path, "a.png", data[:-1] + bytes([data[-1] ^ 1]))
    assert attrs.asdict(store.options)["conditional"] is False
