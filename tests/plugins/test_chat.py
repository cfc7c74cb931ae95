"""The rewriter that asks a chat model, with a model played here and time that is virtual."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import attrs
import httpx
import pytest
from structlog.testing import capture_logs

import holodeck_gen as hg
from helpers import collect, failure_of, opened, result_of
from holodeck_gen.errors import ConfigError, RewriteError
from holodeck_gen.testing import ScriptedProvider, run_virtual
from holodeck_gen_plugins.rewriters._answers import MAX_REST_S
from holodeck_gen_plugins.rewriters.chat import ChatOptions, make_chat
from pictures import context

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = "sk-canary-key"
PROMPT = "a canary door, 门"
ADDRESS = "https://chat.example.test/v1/"


def said(text: Any, **more: Any) -> httpx.Response:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop", **more}
    return httpx.Response(200, json={"choices": [choice]})


def refused(status: int, code: str = "", **headers: str) -> httpx.Response:
    error = {"code": code, "message": f"{KEY} may not ask for {PROMPT}"}
    return httpx.Response(status, json={"error": error}, headers=headers)


@attrs.define
class Model:
    """Gives these answers in turn, the last one from then on; each takes `seconds`."""

    answers: list[httpx.Response | Exception]
    seconds: float = 0.0
    requests: list[httpx.Request] = attrs.field(factory=list)
    times: list[float] = attrs.field(factory=list)
    now: int = 0
    most: int = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.times.append(asyncio.get_running_loop().time())
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.seconds)
        self.now -= 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(each.content) for each in self.requests]


def rewritten(
    service: Model, /, *tasks: hg.Task | str, **options: Any
) -> list[hg.Task | Exception]:
    """What becomes of tasks that are rewritten at the same time."""

    async def main() -> list[hg.Task | Exception]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(service)) as client:
            ctx = attrs.evolve(context(), http=lambda: client)
            settings = {"base_url": ADDRESS, "model": "m-1", "api_key": KEY, **options}
            chat = make_chat(ChatOptions(**settings), ctx)
            given = [hg.Task(each) if isinstance(each, str) else each for each in tasks]
            made = await asyncio.gather(
                *(chat.rewrite(each) for each in given), return_exceptions=True
            )
            assert not any(isinstance(each, asyncio.CancelledError) for each in made)
            return [each for each in made if isinstance(each, hg.Task | Exception)]

    return run_virtual(main())


def error_of(model: Model, **options: Any) -> str:
    (error,) = rewritten(model, PROMPT, **options)
    assert isinstance(error, RewriteError), error
    assert error.stage == "chat"
    for secret in (KEY, PROMPT, "canary"):
        assert secret not in str(error)
        assert secret not in repr(error.__cause__)
    return str(error)


def test_the_answer_takes_the_prompts_place() -> None:
    model = Model([said("  a richer door \n")])
    task = hg.Task(PROMPT, id="d", seed=7, metadata={"a": 1})
    (made,) = rewritten(model, task, temperature=0.5, body={"top_p": 1})
    assert made == attrs.evolve(task, prompt="a richer door")
    (request,) = model.requests
    assert str(request.url) == "https://chat.example.test/v1/chat/completions"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    (body,) = model.bodies
    assert body["messages"][-1] == {"role": "user", "content": PROMPT}
    assert body["messages"][0]["role"] == "system"
    assert (body["model"], body["temperature"], body["top_p"]) == ("m-1", 0.5, 1)


def test_without_a_key_and_instructions_none_are_sent() -> None:
    model = Model([said("x")])
    rewritten(model, PROMPT, api_key=None, system="")
    assert "Authorization" not in model.requests[0].headers
    assert [each["role"] for each in model.bodies[0]["messages"]] == ["user"]


def test_thoughts_are_no_part_of_the_answer() -> None:
    (made,) = rewritten(Model([said("<think>hm\n\nhm</think>\n\na door")]), PROMPT)
    assert isinstance(made, hg.Task)
    assert made.prompt == "a door"


@pytest.mark.parametrize(
    "trouble",
    [
        refused(429), refused(500), refused(503), refused(408),
        httpx.ConnectError("x"), httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x"),
    ],
    ids=str,
)  # fmt: skip
def test_trouble_is_waited_out(trouble: httpx.Response | Exception) -> None:
    model = Model([trouble, trouble, said("x")])
    (made,) = rewritten(model, PROMPT)
    assert isinstance(made, hg.Task)
    assert len(model.requests) == 3


def test_tries_are_bounded() -> None:
    model = Model([refused(500)])
    assert "answered 500" in error_of(model, attempts=3)
    assert len(model.requests) == 3


def test_the_service_says_how_long_to_wait() -> None:
    model = Model([refused(429, **{"Retry-After": "31"}), said("x")])
    rewritten(model, PROMPT)
    assert 31 <= model.times[1] - model.times[0] < 32


@pytest.mark.parametrize("rest", ["", "soon", "-5", "Wed, 25 Nov 2026 10:00:00 GMT"])
def test_a_wait_that_is_no_number_is_an_ordinary_one(rest: str) -> None:
    model = Model([refused(429, **{"Retry-After": rest}), said("x")])
    rewritten(model, PROMPT)
    assert model.times[1] - model.times[0] < 21


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refused(401, "invalid_api_key"), "401 (invalid_api_key)"),
        (refused(400, f"{PROMPT}!"), "answered 400"),
        (refused(404), "answered 404"),
        (refused(301), "answered 301"),
        (refused(429, "insufficient_quota"), "429 (insufficient_quota)"),
        (refused(429, **{"Retry-After": str(MAX_REST_S + 1)}), "answered 429"),
        (httpx.Response(200, content=b"<html>canary"), "no chat completion"),
        (httpx.Response(200, json=[]), "no chat completion"),
        (httpx.Response(200, json={"choices": []}), "no chat completion"),
        (said(""), "empty"),
        (said(None), "empty"),
        (said([{"text": "x"}]), "empty"),
        (said("a canary doo", finish_reason="length"), "ended early: length"),
        (said("", finish_reason="content_filter"), "content_filter"),
        (said("x\x00canary"), "NUL"),
        (said("canary" * 50_000), "characters"),
    ],
    ids=range(16),
)
def test_what_cannot_help_is_not_repeated(answer: httpx.Response, words: str) -> None:
    model = Model([answer])
    assert words in error_of(model)
    assert len(model.requests) == 1


def test_the_prompt_is_kept_where_that_is_wanted() -> None:
    with capture_logs() as logs:
        made = rewritten(Model([refused(401)]), hg.Task(PROMPT, id="d"), on_error="keep")
    assert made == [hg.Task(PROMPT, id="d")]
    assert logs == [
        {
            "event": "chat.prompt_kept",
            "log_level": "warning",
            "task": "d",
            "error": "the service answered 401",
        }
    ]


def test_requests_are_paced_and_few_at_once() -> None:
    model = Model([said("x")], seconds=10.0)
    rewritten(model, *(f"a {i}" for i in range(12)), rate=2.0, at_once=3)
    gaps = [after - before for before, after in zip(model.times, model.times[1:], strict=False)]
    assert min(gaps) >= 0.5 - 1e-9
    assert model.most == 3
    assert len(model.requests) == 12


def test_retries_are_paced_too() -> None:
    model = Model([refused(500)])
    rewritten(model, *(f"a {i}" for i in range(4)), rate=1.0, attempts=2)
    gaps = [after - before for before, after in zip(model.times, model.times[1:], strict=False)]
    assert len(gaps) == 7
    assert min(gaps) >= 1.0 - 1e-9


class TestCache:
    def test_a_prompt_is_asked_once_also_by_another_studio(self, tmp_path: Path) -> None:
        model = Model([said("one"), said("two")], seconds=1.0)
        cache = str(tmp_path / "new" / "cache")
        made = rewritten(model, PROMPT, PROMPT, PROMPT, cache=cache)
        made += rewritten(model, PROMPT, cache=cache)
        assert {each.prompt for each in made if isinstance(each, hg.Task)} == {"one"}
        assert len(made) == 4
        assert len(model.requests) == 1

    @pytest.mark.parametrize(
        "other", [{"model": "m-2"}, {"system": "x"}, {"temperature": 1.0}, {"body": {"seed": 1}}]
    )
    def test_another_question_is_asked(self, other: dict[str, Any], tmp_path: Path) -> None:
        model = Model([said("one"), said("two")])
        rewritten(model, PROMPT, cache=str(tmp_path))
        (made,) = rewritten(model, PROMPT, cache=str(tmp_path), **other)
        assert isinstance(made, hg.Task)
        assert made.prompt == "two"

    @pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"answer": 1}', b'{"answer": " "}'])
    def test_what_is_damaged_is_asked_again_and_mended(self, damage: bytes, tmp_path: Path) -> None:
        model = Model([said("one"), said("two")])
        rewritten(model, PROMPT, cache=str(tmp_path))
        (file,) = tmp_path.iterdir()
        file.write_bytes(damage)
        for _ in range(2):
            (made,) = rewritten(model, PROMPT, cache=str(tmp_path))
            assert isinstance(made, hg.Task)
            assert made.prompt == "two"

    def test_it_holds_no_key_and_no_failure(self, tmp_path: Path) -> None:
        rewritten(Model([said("one")]), PROMPT, cache=str(tmp_path))
        rewritten(Model([refused(401)]), "another", cache=str(tmp_path))
        (file,) = tmp_path.iterdir()
        kept = json.loads(file.read_text())
        assert kept == {"model": "m-1", "prompt": PROMPT, "answer": "one"}

    def test_without_one_each_task_has_its_own_answer(self) -> None:
        made = rewritten(Model([said("one"), said("two")]), PROMPT, PROMPT)
        assert {each.prompt for each in made if isinstance(each, hg.Task)} == {"one", "two"}


class TestOptions:
    def test_the_key_is_not_shown(self) -> None:
        assert KEY not in repr(ChatOptions(base_url=ADDRESS, model="m", api_key=KEY))

    @pytest.mark.parametrize("address", ["", "localhost:11434/v1", "file:///etc/passwd", "http://"])
    def test_an_address_is_checked(self, address: str) -> None:
        with pytest.raises(ValueError, match="no http"):
            ChatOptions(base_url=address, model="m")

    def test_somebody_has_to_be_asked(self) -> None:
        with pytest.raises(ConfigError, match="base_url"):
            make_chat(None, context())


def test_nothing_is_said_where_only_pictures_are_given() -> None:
    model = Model([said("x")])
    task = hg.Task("", inputs=["a.png"])
    assert rewritten(model, task) == [task]
    assert model.requests == []


class TestStudio:
    """With the engine: both texts are kept, and one failure is one task's."""

    def outcomes(self, answer: Callable[[httpx.Request], httpx.Response]) -> list[hg.Outcome]:
        async def main() -> list[hg.Outcome]:
            async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
                ctx = attrs.evolve(context(), http=lambda: client)
                chat = make_chat(ChatOptions(base_url=ADDRESS, model="m", api_key=KEY), ctx)
                async with opened(ScriptedProvider(), rewrite=[chat]) as studio:
                    tasks = [hg.Task("a door", id="a"), hg.Task("bad", id="b")]
                    return await collect(studio.map(tasks, ordered=True))

        return run_virtual(main())

    def test_a_failure_is_one_tasks_and_both_texts_are_known(self) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            return refused(400) if b"bad" in request.content else said("a richer door")

        with capture_logs() as logs:
            good, bad = self.outcomes(answer)
        assert (good.task.prompt, result_of(good).prompt) == ("a door", "a richer door")
        assert isinstance(failure_of(bad).error, RewriteError)
        assert KEY not in str(logs)
        assert "a richer door" not in str(logs)
