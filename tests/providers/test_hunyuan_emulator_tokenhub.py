from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from hunyuan_service import Bench, content

SUBMIT = "/v1/api/image/submit"
QUERY = "/v1/api/image/query"
LITE = "/v1/api/image/lite"
WAND = "/v1/wand/hunyuan-image/v3-generation"
CHAT = "/v1/wand/hunyuan-image/v35-generation"
CAT = {"model": "hy-image-v3.0", "prompt": "a cat"}
WAND_CAT = {"model": "hy-image-v3", "prompt": "a cat"}


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {
        "model": "hy-image-v3.5-preview",
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
        **more,
    }


def query_of(bench: Bench, job_id: str) -> dict[str, Any]:
    return bench.post(QUERY, {"model": "hy-image-v3.0", "id": job_id})[1]


def test_a_job_is_queued_runs_and_is_completed() -> None:
    bench = Bench()
    reply, accepted = bench.post(SUBMIT, {**CAT, "resolution": "768:1024", "revise": 0})
    assert (reply.status, accepted["status"]) == (200, "queued")
    found = []
    for _ in range(2):
        found.append(query_of(bench, accepted["id"])["status"])
        bench.wait(5.0)
    answer = query_of(bench, accepted["id"])
    assert [*found, answer["status"]] == ["queued", "running", "completed"]
    assert answer["data"][0]["revised_prompt"] == "a cat"
    assert content(bench.get(answer["data"][0]["url"])).startswith(b"\x89PNG")


def test_a_job_that_fails_says_why() -> None:
    bench = Bench(faults="job-failed:FailedOperation.InnerError")
    job_id = bench.post(SUBMIT, CAT)[1]["id"]
    bench.wait(10.0)
    answer = query_of(bench, job_id)
    assert (answer["status"], answer["data"]) == ("failed", [])
    assert answer["error"]["code"] == "FailedOperation.InnerError"


@pytest.mark.parametrize(
    ("path", "parameters", "status", "code"),
    [
        (SUBMIT, {"prompt": "a"}, 400, "400002"),
        (SUBMIT, {"model": "hy-image-v3", "prompt": "a"}, 400, "400004"),
        (SUBMIT, {"model": "hy-image-v3.0"}, 400, "400002"),
        (SUBMIT, {**CAT, "resolution": "1024x1024"}, 400, "400001"),
        (SUBMIT, {**CAT, "Prompt": "a"}, 400, "400001"),
        (SUBMIT, {**CAT, "images": ["data:image/png;base64,AAAA"]}, 400, "400001"),
        (SUBMIT, {**CAT, "prompt": "forbidden"}, 451, "451001"),
        (SUBMIT, [], 400, "400001"),
        (QUERY, {"model": "hy-image-v3.0"}, 400, "400002"),
        (QUERY, {"model": "hy-image-v3.0", "id": "x"}, 400, "400004"),
        (WAND, {**WAND_CAT, "size": "1024:1024"}, 400, "400001"),
        (WAND, {**WAND_CAT, "revise": 1}, 400, "400001"),
        (WAND, {**WAND_CAT, "negative_prompt": "dog"}, 400, "400001"),
        (WAND, {**WAND_CAT, "footnote": "a" * 17}, 400, "400001"),
        (WAND, {**WAND_CAT, "prompt": "indecent"}, 451, "451001"),
        (CHAT, {"model": "hy-image-v3.5-preview"}, 400, "400002"),
        (CHAT, chat(" "), 400, "400001"),
        (CHAT, chat("a", size="255x1024"), 400, "400001"),
        (CHAT, chat("a", messages=[{"role": "assistant", "content": "a"}]), 400, "400001"),
        (CHAT, chat("a", messages=[{"role": "user", "content": [{"type": "x"}]}]), 400, "400001"),
    ],
)
def test_errors_have_the_documented_form(
    path: str, parameters: Any, status: int, code: str
) -> None:
    bench = Bench()
    reply, body = bench.post(path, parameters)
    assert (reply.status, body["error"]["code"]) == (status, code)
    assert set(body["error"]) >= {"type", "code", "message", "source", "request_id"}
    assert bench.stats["refusals"] == {code: 1}


def test_quota_and_rate_have_one_code_and_the_quota_names_the_service_behind() -> None:
    bench = Bench()
    bench.post(SUBMIT, CAT)
    _, full = bench.post(SUBMIT, CAT)
    limited = Bench(poll_rate=1)
    query_of(limited, "x")
    fast = query_of(limited, "x")
    assert full["error"]["code"] == fast["error"]["code"] == "429001"
    assert "concurrent" in full["error"]["message"]
    assert "rpm" in fast["error"]["message"]
    assert full["error"]["upstream_code"] == "RequestLimitExceeded.JobNumExceed"
    assert full["error"]["source"] == "upstream"
    assert "upstream_code" not in fast["error"]


def test_direct_calls_answer_when_the_job_would_be_done() -> None:
    bench = Bench(job_s=20.0)
    reply, answer = bench.post(WAND, {**WAND_CAT, "size": "768x1024", "revise": False})
    assert reply.wait_s == pytest.approx(20.0)
    bench.wait(20.0)
    assert content(bench.get(answer["data"][0]["url"])).startswith(b"\x89PNG")
    assert set(answer) == {"id", "created", "data", "tokenhub_usage", "request_id"}
    _, lite = bench.post(LITE, {"model": "hy-image-lite", "prompt": "a", "rsp_img_type": "url"})
    assert lite["data"][0]["url"].startswith("http://127.0.0.1/_files/")
    bench.wait(20.0)
    _, inline = bench.post(LITE, {"model": "hy-image-lite", "prompt": "a"})
    assert base64.b64decode(inline["data"][0]["b64_json"]).startswith(b"\x89PNG")


def test_the_chat_answers_with_an_image_or_an_error_in_200() -> None:
    bench = Bench()
    _, answer = bench.post(CHAT, chat("a cat", size="2048x1024"))
    (choice,) = answer["choices"]
    image = choice["delta"]["image"]
    assert (image["width"], image["height"], choice["finish_reason"]) == (2048, 1024, "stop")
    assert bench.stats["prompts"] == {"a cat": 1}
    bench.wait(10.0)
    assert content(bench.get(image["url"])).startswith(b"\x89PNG")
    reply, answer = bench.post(CHAT, chat("indecent"))
    assert reply.status == 200
    assert answer["error"]["code"] == "content_filter"
    assert answer["choices"][0]["finish_reason"] == "error"


def test_errors_may_come_in_a_200() -> None:
    reply, body = Bench(faults="error-in-200:429001").post(SUBMIT, CAT)
    assert (reply.status, body["error"]["code"]) == (200, "429001")


def test_what_is_not_a_path_of_it_is_not_found() -> None:
    reply, _ = Bench().post("/v1/api/image/other", CAT)
    assert reply.status == 404
    assert json.loads(content(reply))
