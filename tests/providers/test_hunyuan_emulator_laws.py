"""Laws of the emulator, for whatever a client may send and whenever it may send it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from holodeck_gen_providers.hunyuan.emulator import Reply, Request
from holodeck_gen_providers.hunyuan.emulator._interfaces import SERVED
from hunyuan_service import ACCOUNT, Bench, content

_NAMES = sorted(
    {
        name
        for interface, _ in SERVED.values()
        for model in interface.models
        for name in (
            *model.fields.values(),
            *(option.field for option in model.options.values()),
            *model.constants,
            *(filter(None, [getattr(model.references, "field", "")])),
            *(filter(None, [getattr(model.references, "url", "")])),
            *(filter(None, [getattr(model.references, "base64", "")])),
        )
    }
    | {"JobId", "id", "messages", "Nonsense"}
)
_MODELS = [model.name for interface, _ in SERVED.values() for model in interface.models]
_scalars = st.none() | st.booleans() | st.integers(-1, 2**40) | st.floats() | st.text(max_size=8)
_good = st.sampled_from(
    ["a cat", "1024:1024", "1024x1024", "https://example.com/a.png", "url", "QUFB", 1, True, "GLB"]
)
_messages = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "assistant", "nobody"]),
            "content": st.text(max_size=5)
            | st.lists(
                st.fixed_dictionaries({"type": st.just("text"), "text": st.text(max_size=5)})
                | st.fixed_dictionaries({"type": st.just("image_url"), "image_url": _scalars})
                | _scalars,
                max_size=3,
            ),
        }
    )
    | _scalars,
    max_size=3,
)
_values = st.recursive(
    _scalars | _good | _messages,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=3)
    ),
    max_leaves=6,
)
_parameters = st.dictionaries(st.sampled_from(_NAMES), _values, max_size=5)


def encoded(value: Any) -> bytes:
    # NaN and lone surrogates are what a careless client would send.
    return json.dumps(value).encode(errors="replace")


@given(
    served=st.sampled_from(sorted(SERVED)),
    parameters=_parameters,
    prompted=st.booleans(),
    model=st.sampled_from(_MODELS) | _scalars,
)
def test_every_authenticated_request_is_answered(
    served: tuple[str, str], parameters: dict[str, Any], prompted: bool, model: Any
) -> None:
    bench = Bench()
    dialect, name = served
    if dialect == "tokenhub":
        more = {"prompt": "a", "model": model} if prompted else {"model": model}
        body = encoded({**parameters, **more})
        headers = {"authorization": f"Bearer {ACCOUNT.api_key}"}
        reply = bench.service.answer(Request(path=name, headers=headers, body=body))
        assert "request_id" in json.loads(content(reply)) or reply.status >= 400
    else:
        body = encoded({**parameters, **({"Prompt": "a"} if prompted else {})})
        reply = bench.service.answer(bench.signed(dialect, name, body))
        assert "RequestId" in json.loads(content(reply))["Response"]
    check(bench, reply)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD"]),
    path=st.sampled_from(["/", "/_files/a/0.png", "/_files/", *(path for _, path in SERVED)])
    | st.text(max_size=20),
    query=st.text(max_size=40) | st.just("q-sign-time=1;2&q-signature=x"),
    headers=st.dictionaries(
        st.sampled_from(
            ["authorization", "host", "content-type", "x-tc-timestamp", "x-tc-action", "x-tc-token"]
        ),
        st.text(max_size=40),
    ),
    body=st.binary(max_size=40),
)
def test_every_other_request_is_answered(
    method: str, path: str, query: str, headers: dict[str, str], body: bytes
) -> None:
    bench = Bench()
    request = Request(method=method, path=path, query=query, headers=headers, body=body)
    check(bench, bench.service.answer(request))
    assert bench.stats["jobs_created"] == 0


def check(bench: Bench, reply: Reply) -> None:
    assert 200 <= reply.status < 600
    stats = bench.stats
    json.dumps(stats)
    assert stats["jobs_created"] + sum(stats["refusals"].values()) <= 1


@given(
    max_jobs=st.integers(1, 4),
    lag_s=st.sampled_from([0.0, 3.0]),
    steps=st.lists(st.tuples(st.floats(0, 8), st.integers(1, 4)), max_size=30),
)
def test_slots_are_never_more_than_allowed(
    max_jobs: int, lag_s: float, steps: list[tuple[float, int]]
) -> None:
    bench = Bench(max_jobs=max_jobs, slot_lag_s=lag_s, job_s=5.0, job_sigma=0.5, submit_rate=0)
    spans: list[tuple[float, float]] = []
    codes: Counter[str] = Counter()
    for seconds, submits in steps:
        bench.wait(seconds)
        for _ in range(submits):
            answer = bench.call("aiart", "SubmitTextToImageJob", {"Prompt": "a"})
            code = answer.get("Error", {}).get("Code", "")
            codes[code] += 1
            busy = sum(start <= bench.clock.now < end + lag_s for start, end in spans)
            assert (code == "") == (busy < max_jobs)
            if job := bench.service._state.jobs.of_file(answer.get("JobId", "")):
                spans.append((job.created, job.ends))
    stats = bench.stats
    now = bench.clock.now
    assert stats["jobs_created"] == len(spans) == codes[""]
    assert stats["max_jobs_at_once"] <= max_jobs
    busy_s = sum(min(end, now) - start for start, end in spans)
    assert abs(stats["busy_slot_seconds"] - busy_s) < 1e-3
    assert stats["billed"] == sum(end <= now for _, end in spans)


@given(rate=st.sampled_from([0.5, 1.0, 3.0, 20.0]), gaps=st.lists(st.floats(0, 0.6), max_size=80))
def test_no_window_holds_more_than_the_rate(rate: float, gaps: list[float]) -> None:
    bench = Bench(poll_rate=rate)
    admitted: list[float] = []
    for gap in gaps:
        bench.wait(gap)
        code = bench.code("aiart", "QueryTextToImageJob", {"JobId": "x"})
        if code == "FailedOperation.JobNotExist":
            admitted.append(bench.clock.now)
    most = max(1, int(rate))
    window_s = 0.95 * most / rate
    for start in admitted:
        assert sum(start <= time < start + window_s - 1e-6 for time in admitted) <= most
