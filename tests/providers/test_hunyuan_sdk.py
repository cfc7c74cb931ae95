"""Tencent's official SDK, unmodified, against the emulator; and what it once sent, replayed."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import attrs
import pytest

from holodeck_gen_providers.hunyuan.emulator import Account, HunyuanEmulator, Settings
from hunyuan_service import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDED = Path(__file__).parent / "hunyuan_data" / "recorded"
#: The keys with which the recorded requests were signed; fake ones.
RECORDED_ACCOUNTS = (
    Account(
        secret_id="AKIDEXAMPLEFAKEEXAMPLEFAKE0000000001",
        secret_key="FAKESECRETKEYFAKESECRETKEY000001",
        api_key="sk-recorded-1",
    ),
    Account(secret_id="AKIDtmp", secret_key="sk", token="FAKETOKEN", api_key="sk-recorded-2"),
)


def sdk(module: str) -> Any:
    """A module of the SDK, which has no types."""
    return import_module(f"tencentcloud.{module}")


@attrs.frozen(kw_only=True)
class Family:
    """One product as the SDK has it."""

    service: str
    version: str
    action: str
    parameters: dict[str, Any]

    @property
    def module(self) -> str:
        """Of its clients and models."""
        return f"{self.service}.v{self.version.replace('-', '')}"

    def client(self, emulator: HunyuanEmulator, *, suffix: str = "", **account: str) -> Any:
        """A client of its own; with suffix ``_async`` the asynchronous one."""
        module = sdk(f"{self.module}.{self.service}_client{suffix}")
        name = f"{self.service.capitalize()}Client"
        return getattr(module, name)(*arguments(emulator, **account))

    def request(self, verb: str, parameters: dict[str, Any]) -> Any:
        """A model with these fields."""
        request = getattr(sdk(f"{self.module}.models"), f"{verb}{self.action}Request")()
        request.from_json_string(json.dumps(parameters))
        return request


FAMILIES = [
    Family(
        service="hunyuan",
        version="2023-09-01",
        action="HunyuanImageJob",
        parameters={"Prompt": "雨中, 竹林", "Resolution": "768:1024", "Num": 2, "Revise": 0},
    ),
    Family(
        service="aiart",
        version="2022-12-29",
        action="TextToImageJob",
        parameters={"Prompt": "雨中, 竹林", "Images": ["https://example.com/a.png"], "Seed": 7},
    ),
    Family(
        service="ai3d",
        version="2025-05-13",
        action="HunyuanTo3DProJob",
        parameters={"Prompt": "a cat", "EnablePBR": True, "FaceCount": 40_000},
    ),
    Family(
        service="ai3d",
        version="2025-05-13",
        action="HunyuanTo3DRapidJob",
        parameters={"Prompt": "a cat", "ResultFormat": "OBJ"},
    ),
]
AIART = FAMILIES[1]
family = pytest.mark.parametrize("family", FAMILIES, ids=lambda each: each.action)


def arguments(emulator: HunyuanEmulator, **account: str) -> tuple[Any, str, Any]:
    """Credentials, region and profile of an SDK client."""
    keys = {"secret_id": ACCOUNT.secret_id, "secret_key": ACCOUNT.secret_key, **account}
    http = sdk("common.profile.http_profile").HttpProfile(
        protocol="http", endpoint=urlsplit(emulator.endpoint).netloc, reqTimeout=20
    )
    profile = sdk("common.profile.client_profile").ClientProfile(httpProfile=http)
    credential = sdk("common.credential").Credential(keys["secret_id"], keys["secret_key"])
    return credential, "ap-guangzhou", profile


def sdk_error() -> type[Exception]:
    """The SDK's own exception."""
    found: type[Exception] = sdk("common.exception").TencentCloudSDKException
    return found


@attrs.define
class Clock:
    """The real time, which the SDK signs, and what was skipped; less than the 300 s of skew."""

    skipped_s: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.skipped_s


@pytest.fixture
def clock() -> Clock:
    """The clock of `emulator`."""
    return Clock()


@pytest.fixture
def emulator(clock: Clock) -> Iterator[HunyuanEmulator]:
    """Its jobs wait for 20 s and run for 80 s; direct calls are another matter."""
    with HunyuanEmulator(Settings(job_s=100.0, pictures="cheap"), clock=clock) as running:
        yield running


@family
def test_the_synchronous_client_gets_its_files(
    family: Family, emulator: HunyuanEmulator, clock: Clock
) -> None:
    client = family.client(emulator)
    submit = getattr(client, f"Submit{family.action}")
    query = getattr(client, f"Query{family.action}")
    job_id = submit(family.request("Submit", family.parameters)).JobId
    request = family.request("Query", {"JobId": job_id})
    found = []
    for skipped_s in (0.0, 50.0, 100.0):
        clock.skipped_s = skipped_s
        answer = query(request)
        found.append(status_of(answer))
    assert found in (["1", "2", "5"], ["WAIT", "RUN", "DONE"])
    check_files(family, answer)
    stats = emulator.stats()
    assert (stats["jobs_created"], stats["refusals"]) == (1, {})


@family
def test_the_asynchronous_client_gets_its_files(
    family: Family, emulator: HunyuanEmulator, clock: Clock
) -> None:
    async def main() -> Any:
        async with family.client(emulator, suffix="_async") as client:
            request = family.request("Submit", family.parameters)
            job_id = (await getattr(client, f"Submit{family.action}")(request)).JobId
            clock.skipped_s = 100.0
            request = family.request("Query", {"JobId": job_id})
            return await getattr(client, f"Query{family.action}")(request)

    check_files(family, asyncio.run(main()))


@family
def test_the_common_client_gets_its_files(
    family: Family, emulator: HunyuanEmulator, clock: Clock
) -> None:
    client = sdk("common.common_client").CommonClient(
        family.service, family.version, *arguments(emulator)
    )
    submitted = client.call_json(f"Submit{family.action}", family.parameters)
    job_id = submitted["Response"]["JobId"]
    clock.skipped_s = 100.0
    answer = client.call_json(f"Query{family.action}", {"JobId": job_id})["Response"]
    if "ResultImage" in answer:
        (url, *_) = answer["ResultImage"]
    else:
        url = answer["ResultFile3Ds"][0]["PreviewImageUrl"]
    assert fetch(url).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("module", "action"),
    [
        ("hunyuan.v20230901", "TextToImageLite"),
        ("aiart.v20221229", "TextToImageLite"),
        ("aiart.v20221229", "TextToImageRapid"),
    ],
)
def test_direct_actions_answer_with_a_picture(module: str, action: str) -> None:
    service = module.partition(".")[0]
    request = getattr(sdk(f"{module}.models"), f"{action}Request")()
    request.from_json_string(json.dumps({"Prompt": "a cat", "RspImgType": "url"}))
    name = f"{service.capitalize()}Client"
    with HunyuanEmulator(Settings(job_s=0.0, pictures="cheap")) as emulator:
        client = getattr(sdk(f"{module}.{service}_client"), name)(*arguments(emulator))
        assert fetch(getattr(client, action)(request).ResultImage).startswith(b"\x89PNG")


class TestErrors:
    def code(self, client: Any, parameters: dict[str, Any] | None = None) -> str:
        with pytest.raises(sdk_error()) as caught:
            client.SubmitTextToImageJob(AIART.request("Submit", parameters or {"Prompt": "a"}))
        error: Any = caught.value
        assert len(error.get_request_id()) == 36
        return str(error.get_code())

    def test_a_wrong_key(self, emulator: HunyuanEmulator) -> None:
        client = AIART.client(emulator, secret_key="wrong")
        assert self.code(client) == "AuthFailure.SignatureFailure"
        client = AIART.client(emulator, secret_id="AKIDnobody")
        assert self.code(client) == "AuthFailure.SecretIdNotFound"

    @pytest.mark.parametrize("minutes", [-6, 6])
    def test_a_stale_clock(self, minutes: int) -> None:
        with HunyuanEmulator(clock=lambda: time.time() + 60 * minutes) as emulator:
            assert self.code(AIART.client(emulator)) == "AuthFailure.SignatureExpire"

    def test_a_bad_parameter(self, emulator: HunyuanEmulator) -> None:
        client = AIART.client(emulator)
        bad = {"Prompt": "a", "Resolution": "1920:1080"}
        assert self.code(client, bad) == "InvalidParameterValue.ParameterValueError"
        assert self.code(client, {"Resolution": "1024:1024"}) == "MissingParameter"
        assert emulator.stats()["jobs_created"] == 0

    def test_a_full_quota(self) -> None:
        with HunyuanEmulator(Settings(job_s=60.0)) as emulator:
            client = AIART.client(emulator)
            client.SubmitTextToImageJob(AIART.request("Submit", {"Prompt": "a"}))
            assert self.code(client) == "RequestLimitExceeded.JobNumExceed"

    def test_an_interface_that_is_gone(self) -> None:
        with HunyuanEmulator(Settings(offline=["aiart"])) as emulator:
            assert self.code(AIART.client(emulator)) == "ActionOffline"

    def test_the_asynchronous_client_too(self, emulator: HunyuanEmulator) -> None:
        async def main() -> Any:
            async with AIART.client(emulator, suffix="_async", secret_key="wrong") as client:
                with pytest.raises(sdk_error()) as caught:
                    await client.SubmitTextToImageJob(AIART.request("Submit", {"Prompt": "a"}))
            return caught.value

        assert asyncio.run(main()).get_code() == "AuthFailure.SignatureFailure"

    def test_an_answer_that_never_comes(self) -> None:
        with HunyuanEmulator(Settings(faults="drop-after-accept")) as emulator:
            with pytest.raises(sdk_error(), match="ClientNetworkError"):
                AIART.client(emulator).SubmitTextToImageJob(
                    AIART.request("Submit", {"Prompt": "a"})
                )
            assert emulator.stats()["jobs_created"] == 1


#: What each recorded request is answered; no code is acceptance.
ANSWERS = {
    "QueryHunyuanImageJob": "FailedOperation.JobNotExist",
    "QueryTextToImageJob": "FailedOperation.JobNotExist",
    "QueryTextToImageJob_noregion": "FailedOperation.JobNotExist",
    "QueryTextToImageJob_with_token_keepalive": "FailedOperation.JobNotExist",
    "SubmitHunyuanImageJob": "",
    "SubmitHunyuanImageJob_async_sdk": "",
    "SubmitTextToImageJob": "",
    "SubmitTextToImageJob_empty": "MissingParameter",
    "SubmitTextToImageJob_via_CommonClient": "",
}


class TestRecorded:
    def replay(self, name: str, *, flip: bool = False) -> dict[str, Any]:
        recorded = json.loads((RECORDED / f"{name}.json").read_text())
        headers = recorded["headers"]
        stamp = next(value for key, value in headers if key.lower() == "x-tc-timestamp")
        lines = [recorded["requestline"], *(f"{key}: {value}" for key, value in headers)]
        body = recorded["body_utf8"].encode()
        assert len(body) == recorded["body_len"]
        if flip:
            body = body[:-1] + b" "
        settings = Settings(accounts=RECORDED_ACCOUNTS)
        with (
            HunyuanEmulator(settings, clock=lambda: float(stamp)) as emulator,
            closing(connect(emulator)) as raw,
            raw.makefile("rb") as answer,
        ):
            raw.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
            head = "".join(line.decode() for line in iter(answer.readline, b"\r\n"))
            assert "Content-Type: application/json\r\n" in head
            length = int(head.partition("Content-Length: ")[2].split()[0])
            found: dict[str, Any] = json.loads(answer.read(length))
        return dict(found["Response"])

    @pytest.mark.parametrize("name", ANSWERS)
    def test_a_request_is_accepted_byte_for_byte(self, name: str) -> None:
        response = self.replay(name)
        assert response.get("Error", {}).get("Code", "") == ANSWERS[name]
        assert ("JobId" in response) == (ANSWERS[name] == "")

    @pytest.mark.parametrize("name", ANSWERS)
    def test_with_one_byte_changed_it_is_not(self, name: str) -> None:
        assert self.replay(name, flip=True)["Error"]["Code"] == "AuthFailure.SignatureFailure"

    def test_all_of_them_are_tried(self) -> None:
        assert sorted(ANSWERS) == sorted(path.stem for path in RECORDED.iterdir())


def connect(emulator: HunyuanEmulator) -> socket.socket:
    address = urlsplit(emulator.endpoint)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=20)


def status_of(answer: Any) -> Any:
    """The word for how the job is doing."""
    return getattr(answer, "JobStatusCode", None) or getattr(answer, "Status", None)


def check_files(family: Family, answer: Any) -> None:
    """Fetch the files of a job that is done."""
    assert status_of(answer) in ("5", "DONE")
    if family.service == "ai3d":
        (file,) = answer.ResultFile3Ds
        wanted = family.parameters.get("ResultFormat", "GLB")
        assert file.Type == wanted
        assert fetch(file.Url).startswith({"GLB": b"glTF", "OBJ": b"v "}[wanted])
        assert fetch(file.PreviewImageUrl).startswith(b"\x89PNG")
        return
    count = family.parameters.get("Num", 1)
    assert answer.ResultDetails == ["Success"] * count
    assert len(answer.RevisedPrompt) == count
    files = {fetch(url) for url in answer.ResultImage}
    assert len(files) == count
    assert all(file.startswith(b"\x89PNG") for file in files)


def fetch(url: str) -> bytes:
    """A result file."""
    with urlopen(url, timeout=20) as response:
        found: bytes = response.read()
    return found
