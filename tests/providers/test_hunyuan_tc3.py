"""Signing: the official SDK's vectors, its recorded requests, and what must not be shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holodeck_gen_providers.hunyuan._tc3 import (
    Credentials,
    authorization,
    canonical_request,
    masked,
    signature,
    string_to_sign,
)

DATA = Path(__file__).parent / "hunyuan_data"
VECTORS: list[dict[str, Any]] = json.loads((DATA / "signing_vectors.json").read_text("utf-8"))
RECORDED = sorted((DATA / "recorded").glob("*.json"))
#: The fake keys with which the recorded requests were made.
KEYS = {
    "AKIDEXAMPLEFAKEEXAMPLEFAKE0000000001": "FAKESECRETKEYFAKESECRETKEY000001",
    "AKIDtmp": "sk",
}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"])[:2])
def test_the_vectors_of_the_sdk(vector: dict[str, Any]) -> None:
    keys = Credentials(secret_id=vector["secret_id"], secret_key=vector["secret_key"])
    headers = [("Content-Type", vector["content_type"]), ("Host", vector["host"])]
    body = vector["payload"].encode()
    made = authorization(
        keys, headers, body, service=vector["service"], timestamp=vector["timestamp"]
    )
    assert made == vector["authorization"]


def test_there_are_nine_vectors_and_nine_recorded_requests() -> None:
    assert (len(VECTORS), len(RECORDED)) == (9, 9)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: str(path.stem))
def test_the_recorded_requests_verify(path: Path) -> None:
    """As a server does it: over whatever headers the request says it signed."""
    recorded = json.loads(path.read_text("utf-8"))
    headers = {name.lower(): value for name, value in recorded["headers"]}
    _, _, rest = headers["authorization"].partition(" ")
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    secret_id, _, service, _ = parts["Credential"].split("/")
    signed = [(name, headers[name]) for name in parts["SignedHeaders"].split(";")]
    canonical = canonical_request(signed, recorded["body_utf8"].encode())
    made = signature(
        KEYS[secret_id], canonical, service=service, timestamp=int(headers["x-tc-timestamp"])
    )
    assert made == parts["Signature"]


def test_more_headers_can_be_signed_in_any_order_and_case() -> None:
    headers = [("X-TC-Action", " Query "), ("Host", "h"), ("Content-Type", "c")]
    canonical = canonical_request(headers, b"{}")
    assert canonical.split("\n")[3:8] == [
        "content-type:c",
        "host:h",
        "x-tc-action:Query",
        "",
        "content-type;host;x-tc-action",
    ]


def test_the_scope_has_the_utc_day_of_the_timestamp() -> None:
    days = [
        string_to_sign("", service="aiart", timestamp=1767225599 + second).split("\n")[2]
        for second in (0, 1)
    ]
    assert days == ["2025-12-31/aiart/tc3_request", "2026-01-01/aiart/tc3_request"]


def test_another_key_day_or_service_makes_another_signature() -> None:
    """The derived key is kept, and must be kept apart."""
    made = {
        signature(key, "c", service=service, timestamp=timestamp)
        for key in ("a", "b")
        for service in ("aiart", "hunyuan")
        for timestamp in (0, 86_400)
    }
    assert len(made) == 8


def test_credentials_show_only_part_of_their_id() -> None:
    shown = repr(Credentials(secret_id="AKID" + "0" * 32, secret_key="the-key", token="the-token"))
    assert "the-key" not in shown
    assert "the-token" not in shown
    assert "AKID" + "0" * 32 not in shown


@pytest.mark.parametrize(("secret", "shown"), [("short", "…"), ("a" * 10 + "b" * 10, "aa…bb")])
def test_masks_show_little(secret: str, shown: str) -> None:
    assert masked(secret) == shown
