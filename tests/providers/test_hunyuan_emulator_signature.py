from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from holodeck_gen_providers.hunyuan.emulator import Account, Request, Service, Settings
from holodeck_gen_providers.hunyuan.emulator._signature import verify
from holodeck_gen_providers.hunyuan.emulator._wire import RefusedError
from hunyuan_service import ACCOUNT, NOON, Bench

DATA = Path(__file__).parent / "hunyuan_data"
QUERY = ("aiart", "QueryTextToImageJob", {"JobId": "x"})
#: What a request that passed every check of its signature is answered.
PASSED = "FailedOperation.JobNotExist"


def vectors() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((DATA / "signing_vectors.json").read_text())
    assert len(found) == 9
    return found


@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector["name"][:2])
def test_the_vectors_of_the_sdk_are_verified(vector: dict[str, Any]) -> None:
    token = vector.get("token")
    account = Account(secret_id=vector["secret_id"], secret_key=vector["secret_key"], token=token)
    headers = {
        "host": vector["host"],
        "content-type": vector["content_type"],
        "x-tc-timestamp": str(vector["timestamp"]),
        "authorization": vector["authorization"],
        **({"x-tc-token": token} if token else {}),
    }
    request = Request(headers=headers, body=vector["payload"].encode())
    assert verify(request, [account], vector["timestamp"]).service == vector["service"]
    with pytest.raises(RefusedError, match="SignatureFailure"):
        verify(attrs.evolve(request, body=request.body + b" "), [account], vector["timestamp"])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, PASSED),
        ({"more": ("x-tc-action", "x-tc-timestamp")}, PASSED),
        ({"content_type": "application/json; charset=utf-8"}, PASSED),
        ({"extra": {"x-tc-content-sha256": "UNSIGNED-PAYLOAD"}, "body": b'{"JobId":"y"}'}, PASSED),
        ({"region": None}, PASSED),
        ({"host": "aiart.tencentcloudapi.com"}, PASSED),
        ({"timestamp": int(NOON) - 300}, PASSED),
        ({"timestamp": int(NOON) + 300}, PASSED),
        ({"timestamp": int(NOON) - 301}, "AuthFailure.SignatureExpire"),
        ({"timestamp": int(NOON) + 301}, "AuthFailure.SignatureExpire"),
        ({"date": "2026-11-24"}, "AuthFailure.SignatureFailure"),
        ({"secret_key": "other"}, "AuthFailure.SignatureFailure"),
        ({"body": b'{"JobId": "y"}'}, "AuthFailure.SignatureFailure"),
        ({"host": "hunyuan.tencentcloudapi.com"}, "AuthFailure.SignatureFailure"),
        ({"secret_id": "AKIDnobody"}, "AuthFailure.SecretIdNotFound"),
        ({"extra": {"x-tc-token": "stray"}}, "AuthFailure.TokenFailure"),
        ({"without": ("authorization",)}, "AuthFailure.InvalidAuthorization"),
        ({"without": ("host",)}, "AuthFailure.SignatureFailure"),
        ({"without": ("x-tc-timestamp",)}, "MissingParameter"),
        ({"without": ("x-tc-action",)}, "MissingParameter"),
        ({"without": ("x-tc-version",)}, "MissingParameter"),
        ({"version": "2020-01-01"}, "NoSuchVersion"),
        ({"region": "nowhere"}, "UnsupportedRegion"),
        ({"content_type": "text/plain"}, "InvalidRequest"),
    ],
)
def test_a_request_is_checked_strictly(changes: dict[str, Any], code: str) -> None:
    assert Bench().code(*QUERY, **changes) == code


def test_the_date_that_is_claimed_must_be_the_timestamps() -> None:
    bench = Bench()
    request = bench.signed(*QUERY)
    claimed = request.headers["authorization"].replace("/2026-11-25/", "/2026-11-24/")
    headers = {**request.headers, "authorization": claimed}
    reply = bench.service.answer(attrs.evolve(request, headers=headers))
    assert isinstance(reply.body, bytes)
    assert b"AuthFailure.SignatureFailure" in reply.body


_SCOPE = "TC3-HMAC-SHA256 Credential=AKID/2026-11-25/aiart/tc3_request"


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer sk",
        _SCOPE,
        f"{_SCOPE}, SignedHeaders=content-type, Signature={'0' * 64}",
        f"{_SCOPE}, SignedHeaders=host;content-type, Signature={'0' * 64}",
        f"{_SCOPE}, SignedHeaders=content-type;host, Signature={'0' * 63}",
    ],
)
def test_an_authorization_of_another_shape_is_refused(authorization: str) -> None:
    bench = Bench()
    request = bench.signed(*QUERY)
    headers = {**request.headers, "authorization": authorization}
    reply = bench.service.answer(attrs.evolve(request, headers=headers))
    assert isinstance(reply.body, bytes)
    assert b"AuthFailure.InvalidAuthorization" in reply.body


def test_temporary_keys_need_their_token() -> None:
    bench = Bench(accounts=Account(token="session"))
    assert bench.code(*QUERY, extra={"x-tc-token": "session"}) == PASSED
    assert bench.code(*QUERY) == "AuthFailure.TokenFailure"
    assert bench.code(*QUERY, extra={"x-tc-token": "old"}) == "AuthFailure.TokenFailure"


def test_a_signature_for_one_service_does_not_serve_another() -> None:
    assert Bench().code("hunyuan", "QueryTextToImageJob", {"JobId": "x"}) == "InvalidAction"
    assert Bench().code("cvm", "DescribeInstances", {}) == "NoSuchProduct"


def test_image_actions_of_hunyuan_exist_in_one_region() -> None:
    query = ("hunyuan", "QueryHunyuanImageJob", {"JobId": "x"})
    assert Bench().code(*query, region="ap-shanghai") == "UnsupportedRegion"
    assert Bench().code(*QUERY, region="ap-shanghai") == PASSED


def test_what_is_not_post_is_refused() -> None:
    bench = Bench()
    reply = bench.service.answer(attrs.evolve(bench.signed(*QUERY), method="PUT"))
    assert isinstance(reply.body, bytes)
    assert b"UnsupportedProtocol" in reply.body


def test_a_wrong_clock_is_told_in_the_date() -> None:
    bench = Bench(faults="clock:600@1")
    request = bench.signed(*QUERY)
    reply = bench.service.answer(request)
    assert isinstance(reply.body, bytes)
    assert b"AuthFailure.SignatureExpire" in reply.body
    assert reply.headers["Date"] == "Wed, 25 Nov 2026 12:10:00 GMT"
    assert "Date" not in bench.service.answer(request).headers


def test_bearer_keys_are_checked() -> None:
    bench = Bench()
    for key in ("sk-other", "", "秘"):
        reply, body = bench.post("/v1/api/image/query", {"model": "hy-image-v3.0"}, key=key)
        assert (reply.status, body["error"]["code"]) == (401, "401002")
        assert body["error"]["type"] == "authentication_error"


def test_no_secret_is_shown() -> None:
    service = Service(settings=Settings(accounts=Account(token="session")))
    shown = f"{service!r}{service.settings!r}{service.stats()!r}"
    assert ACCOUNT.secret_id in shown
    for secret in (ACCOUNT.secret_key, ACCOUNT.api_key, "session"):
        assert secret not in shown
