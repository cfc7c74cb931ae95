from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from holodeck_gen_providers.hunyuan.emulator import KINDS, Reply, parse_faults
from holodeck_gen_providers.hunyuan.emulator._faults import FaultPlan
from hunyuan_service import Bench, content

DIALECTS = ("tokenhub", "aiart", "hunyuan", "ai3d")
_ACTIONS = {
    "aiart": "TextToImageJob",
    "hunyuan": "HunyuanImageJob",
    "ai3d": "HunyuanTo3DProJob",
}


class Client:
    """Submits, queries and downloads in one dialect."""

    def __init__(self, dialect: str, **settings: Any) -> None:
        self.dialect = dialect
        self.bench = Bench(**settings)

    def submit(self, prompt: str = "a cat") -> Reply:
        if self.dialect == "tokenhub":
            parameters = {"model": "hy-image-v3.0", "prompt": prompt}
            return self.bench.send("/v1/api/image/submit", parameters)
        action = "Submit" + _ACTIONS[self.dialect]
        request = self.bench.signed(self.dialect, action, {"Prompt": prompt})
        return self.bench.service.answer(request)

    def direct(self) -> Reply:
        if self.dialect == "tokenhub":
            parameters = {"model": "hy-image-v3", "prompt": "a cat"}
            return self.bench.send("/v1/wand/hunyuan-image/v3-generation", parameters)
        request = self.bench.signed(
            self.dialect, "TextToImageLite", {"Prompt": "a cat", "RspImgType": "url"}
        )
        return self.bench.service.answer(request)

    def query(self, job_id: str) -> Reply:
        if self.dialect == "tokenhub":
            parameters = {"model": "hy-image-v3.0", "id": job_id}
            return self.bench.send("/v1/api/image/query", parameters)
        action = "Query" + _ACTIONS[self.dialect]
        request = self.bench.signed(self.dialect, action, {"JobId": job_id})
        return self.bench.service.answer(request)

    def job_id(self) -> str:
        return str(self.id_in(self.submit()))

    def id_in(self, reply: Reply) -> Any:
        fields = self.fields(reply)
        return fields.get("id", fields.get("JobId"))

    def fields(self, reply: Reply) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(content(reply))
        return dict(found.get("Response", found))

    def code(self, reply: Reply) -> str:
        error = self.fields(reply).get("error") or self.fields(reply).get("Error") or {}
        return str(error.get("code", error.get("Code", "")))

    def phase(self, reply: Reply) -> Any:
        fields = self.fields(reply)
        return next(
            fields[name] for name in ("status", "JobStatusCode", "Status") if name in fields
        )

    def urls(self, reply: Reply) -> list[str]:
        fields = self.fields(reply)
        if "data" in fields:
            return [item["url"] for item in fields["data"]]
        if "ResultImage" in fields:
            return list(fields["ResultImage"])
        return [item["Url"] for item in fields["ResultFile3Ds"]]


@pytest.fixture(params=DIALECTS)
def client(request: pytest.FixtureRequest) -> Callable[..., Client]:
    """Makes a client of each dialect in turn."""
    return lambda faults, **settings: Client(request.param, faults=faults, **settings)


MakeClient = Callable[..., Client]


class TestGrammar:
    def test_an_item_has_up_to_five_parts(self) -> None:
        (fault,) = parse_faults("aiart/redirect:http://10.0.0.1:80/x?a=b~red cat@3-8")
        assert (fault.dialect, fault.name, fault.word) == ("aiart", "redirect", "red cat")
        assert (fault.value, fault.first, fault.last) == ("http://10.0.0.1:80/x?a=b", 3, 8)
        once, always, later, some = parse_faults("clock@2, clock, clock:-5@2-, clock=0.25,")
        assert (once.first, once.last, once.value) == (2, 2, "600")
        assert (always.first, always.last, always.chance) == (1, math.inf, None)
        assert (later.first, later.last, later.value) == (2, math.inf, "-5")
        assert some.chance == 0.25

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("drop-everything", "there is no fault"),
            ("DROP", "is not"),
            ("drop-query:5", "takes no value"),
            ("stall-query:long", "not a number"),
            ("stall-query:inf", "not a number"),
            ("http-query:200", "not an HTTP status"),
            ("drop-query=2", "from 0 to 1"),
            ("drop-query=0.5.5", "not a number"),
            ("drop-query@0", "upward from 1"),
            ("drop-query@8-3", "upward from 1"),
            ("moon/drop-query", "dialects are"),
        ],
    )
    def test_a_mistake_is_named(self, text: str, words: str) -> None:
        with pytest.raises(ValueError, match=words):
            parse_faults(text)

    def test_every_fault_can_be_asked_for(self) -> None:
        assert [fault.name for fault in parse_faults(",".join(KINDS))] == list(KINDS)


class TestPlan:
    def struck(self, text: str, count: int, *, seed: int = 0) -> list[bool]:
        plan = FaultPlan(parse_faults(text), seed)
        return [bool(plan.strike("query", dialect="aiart")) for _ in range(count)]

    def test_by_number(self) -> None:
        assert self.struck("drop-query@3", 5) == [False, False, True, False, False]
        assert self.struck("drop-query@2-3", 5) == [False, True, True, False, False]
        assert self.struck("drop-query@4-", 5) == [False, False, False, True, True]

    def test_by_chance_from_the_seed_and_apart_from_others(self) -> None:
        once = self.struck("drop-query=0.2", 1000, seed=1)
        assert once == self.struck("drop-query=0.2", 1000, seed=1)
        assert once != self.struck("drop-query=0.2", 1000, seed=2)
        assert 150 < sum(once) < 250
        both = FaultPlan(parse_faults("drop-query=0.2,stall-query=0.5"), 1)
        names = [
            [fault.name for fault in both.strike("query", dialect="aiart")] for _ in range(1000)
        ]
        assert ["drop-query" in each for each in names] == once

    def test_what_it_does_not_apply_to_is_not_counted(self) -> None:
        plan = FaultPlan(parse_faults("aiart/drop-after-accept~cat@2"))
        calls = [("aiart", "cat"), ("hunyuan", "cat"), ("aiart", "dog"), ("aiart", "a cat")]
        found = [bool(plan.strike("submit", dialect=d, prompt=p)) for d, p in calls]
        assert found == [False, False, False, True]
        assert plan.struck == {"drop-after-accept": 1}


class TestSubmit:
    @pytest.mark.parametrize(
        ("fault", "jobs", "status", "delivery", "wait_s"),
        [
            ("drop-before-accept", 0, 200, "dropped", 0),
            ("drop-after-accept", 1, 200, "dropped", 0),
            ("stall-before-accept:30", 0, 200, "dropped", 30),
            ("stall-after-accept:30", 1, 200, "dropped", 30),
            ("http-before-accept:503", 0, 503, "whole", 0),
            ("http-after-accept", 1, 502, "whole", 0),
            ("truncate-submit", 1, 200, "truncated", 0),
        ],
    )
    def test_the_answer_is_lost_with_or_without_a_job(
        self, client: MakeClient, fault: str, jobs: int, status: int, delivery: str, wait_s: float
    ) -> None:
        one = client(f"{fault}@1", max_jobs=2)
        reply = one.submit()
        assert (reply.status, reply.delivery, reply.wait_s) == (status, delivery, wait_s)
        assert one.bench.stats["jobs_created"] == jobs
        assert one.bench.stats["faults"] == {fault.partition(":")[0]: 1}
        assert one.job_id()

    def test_a_direct_call_takes_its_time_before_its_answer_is_lost(self) -> None:
        for dialect in ("tokenhub", "aiart", "hunyuan"):
            one = Client(dialect, faults="drop-after-accept", job_s=10.0)
            reply = one.direct()
            assert (reply.delivery, reply.wait_s) == ("dropped", 10.0)
            assert one.bench.stats["jobs_created"] == 1

    def test_a_200_without_json(self, client: MakeClient) -> None:
        one = client("unparsable-submit")
        reply = one.submit()
        assert reply.status == 200
        with pytest.raises(ValueError, match="Expecting"):
            json.loads(content(reply))
        assert one.bench.stats["jobs_created"] == 1

    def test_a_200_without_an_id(self, client: MakeClient) -> None:
        one = client("no-job-id")
        reply = one.submit()
        assert (reply.status, one.id_in(reply), one.code(reply)) == (200, None, "")
        assert one.bench.stats["jobs_created"] == 1

    def test_a_direct_200_without_a_picture(self) -> None:
        for dialect in ("tokenhub", "aiart"):
            one = Client(dialect, faults="no-job-id")
            fields = one.fields(one.direct())
            assert not fields.get("data")
            assert not fields.get("ResultImage")
            assert one.bench.stats["jobs_created"] == 1

    @pytest.mark.parametrize(
        ("fault", "signed", "bearer"),
        [
            ("throttle-submit", "RequestLimitExceeded", "429001"),
            ("slots-full", "RequestLimitExceeded.JobNumExceed", "429001"),
            ("refuse", "InternalError", "502001"),
            ("refuse:ResourceUnavailable.InArrears", "ResourceUnavailable.InArrears", "401008"),
            ("refuse:403004", "403004", "403004"),
        ],
    )
    def test_a_storm_of_refusals_makes_no_job(
        self, client: MakeClient, fault: str, signed: str, bearer: str
    ) -> None:
        one = client(f"{fault}@1-5")
        codes = [one.code(one.submit()) for _ in range(6)]
        assert codes == [bearer if one.dialect == "tokenhub" else signed] * 5 + [""]
        assert one.bench.stats["jobs_created"] == 1
        assert sum(one.bench.stats["refusals"].values()) == 5

    def test_an_error_in_a_200_concerns_bearer_keys_only(self, client: MakeClient) -> None:
        one = client("error-in-200")
        reply = one.submit()
        assert reply.status == 200
        bearer = one.dialect == "tokenhub"
        assert one.code(reply) == ("502001" if bearer else "")
        assert one.bench.stats["jobs_created"] == (0 if bearer else 1)


class TestQuery:
    @pytest.mark.parametrize(
        ("fault", "status", "delivery", "wait_s"),
        [
            ("drop-query", 200, "dropped", 0),
            ("stall-query:30", 200, "dropped", 30),
            ("http-query:504", 504, "whole", 0),
            ("truncate-query", 200, "truncated", 0),
        ],
    )
    def test_an_answer_is_lost_and_the_next_comes(
        self, client: MakeClient, fault: str, status: int, delivery: str, wait_s: float
    ) -> None:
        one = client(f"{fault}@1")
        job_id = one.job_id()
        one.bench.wait(10.0)
        reply = one.query(job_id)
        assert (reply.status, reply.delivery, reply.wait_s) == (status, delivery, wait_s)
        assert one.urls(one.query(job_id))

    def test_errors(self, client: MakeClient) -> None:
        one = client("throttle-query@1,error-query@2,unparsable-query@3")
        job_id = one.job_id()
        codes = [one.code(one.query(job_id)) for _ in range(2)]
        bearer = one.dialect == "tokenhub"
        assert codes == (
            ["429001", "502001"] if bearer else ["RequestLimitExceeded", "InternalError"]
        )
        with pytest.raises(ValueError, match="Expecting"):
            one.fields(one.query(job_id))


class TestJob:
    def test_it_fails_with_a_code(self, client: MakeClient) -> None:
        one = client("job-failed@1", max_jobs=2)
        failed, good = one.job_id(), one.job_id()
        one.bench.wait(10.0)
        fields = one.fields(one.query(failed))
        codes = (
            fields.get("JobErrorCode") or fields.get("ErrorCode") or fields.get("error", {})["code"]
        )
        assert codes == "ServerError"
        assert not one.urls(one.query(failed))
        assert one.urls(one.query(good))
        assert one.bench.stats["billed"] == 1

    def test_it_never_ends(self, client: MakeClient) -> None:
        one = client("never-ends", max_jobs=1)
        job_id = one.job_id()
        one.bench.wait(80_000.0)
        assert one.phase(one.query(job_id)) in ("running", "2", "RUN")
        assert one.code(one.submit())
        assert one.bench.stats["busy_slot_seconds"] == 80_000.0

    def test_it_is_slow(self, client: MakeClient) -> None:
        one = client("slow-job:3", job_s=10.0)
        job_id = one.job_id()
        one.bench.wait(29.0)
        assert not one.urls(one.query(job_id))
        one.bench.wait(1.0)
        assert one.urls(one.query(job_id))

    def test_its_status_is_a_word_that_nobody_knows(self, client: MakeClient) -> None:
        one = client("odd-status:thinking")
        job_id = one.job_id()
        assert one.phase(one.query(job_id)) == "thinking"
        one.bench.wait(10.0)
        assert one.phase(one.query(job_id)) in ("completed", "5", "DONE")

    def test_it_is_unknown_at_first(self, client: MakeClient) -> None:
        one = client("unknown-at-first:2")
        job_id = one.job_id()
        codes = [one.code(one.query(job_id)) for _ in range(3)]
        bearer = one.dialect == "tokenhub"
        assert codes == ["400004" if bearer else "FailedOperation.JobNotExist"] * 2 + [""]

    def test_it_is_done_without_a_picture(self, client: MakeClient) -> None:
        one = client("no-picture")
        job_id = one.job_id()
        one.bench.wait(10.0)
        reply = one.query(job_id)
        assert one.phase(reply) in ("completed", "5", "DONE")
        assert one.urls(reply) == []

    def test_some_of_its_pictures_are_not_made(self) -> None:
        bench = Bench(faults="partial:2")
        parameters = {"Prompt": "a", "Num": 4}
        job_id = bench.call("hunyuan", "SubmitHunyuanImageJob", parameters)["JobId"]
        bench.wait(10.0)
        answer = bench.call("hunyuan", "QueryHunyuanImageJob", {"JobId": job_id})
        assert answer["JobStatusCode"] == "5"
        assert len(answer["ResultImage"]) == 2
        lost = "FailedOperation.GenerateImageFailed"
        assert answer["ResultDetails"] == ["Success", "Success", lost, lost]
        assert bench.stats["billed"] == 2

    def test_its_first_address_has_expired(self, client: MakeClient) -> None:
        one = client("url-expired")
        job_id = one.job_id()
        one.bench.wait(10.0)
        statuses = [one.bench.get(one.urls(one.query(job_id))[0]).status for _ in range(2)]
        assert statuses == [403, 200]

    def test_its_address_leads_elsewhere(self, client: MakeClient) -> None:
        one = client("result-url:file:///etc/passwd@1,result-url@2", max_jobs=2)
        ids = [one.job_id(), one.job_id()]
        one.bench.wait(10.0)
        found = [one.urls(one.query(job_id)) for job_id in ids]
        assert found == [["file:///etc/passwd"], ["http://169.254.169.254/latest/meta-data/"]]


class TestDownload:
    def download(self, one: Client) -> Reply:
        job_id = one.job_id()
        one.bench.wait(10.0)
        return one.bench.get(one.urls(one.query(job_id))[0])

    @pytest.mark.parametrize(
        ("fault", "status", "delivery", "wait_s"),
        [
            ("drop-download", 200, "dropped", 0),
            ("stall-download:30", 200, "dropped", 30),
            ("http-download", 502, "whole", 0),
            ("truncate-download", 200, "truncated", 0),
            ("oversized", 200, "oversized", 0),
            ("endless", 200, "endless", 0),
        ],
    )
    def test_delivery(
        self, client: MakeClient, fault: str, status: int, delivery: str, wait_s: float
    ) -> None:
        reply = self.download(client(fault))
        assert (reply.status, reply.delivery, reply.wait_s) == (status, delivery, wait_s)

    def test_what_comes_is_not_the_picture(self, client: MakeClient) -> None:
        reply = self.download(client("html-instead"))
        assert (reply.status, reply.media_type) == (200, "text/html")
        assert content(reply).startswith(b"<html>")
        reply = self.download(client("wrong-type:application/json"))
        assert reply.media_type == "application/json"
        assert content(reply)[:4] in (b"\x89PNG", b"glTF")

    def test_half_a_picture_comes_whole(self) -> None:
        whole = content(self.download(Client("aiart", seed=1)))
        half = content(self.download(Client("aiart", seed=1, faults="broken-picture")))
        assert whole.startswith(half)
        assert len(half) == len(whole) // 2

    def test_bombs_are_small_and_claim_much(self) -> None:
        one = Client("aiart", faults="bomb:20000@1,gzip-bomb:8@2")
        picture = content(self.download(one))
        assert len(picture) < 100_000
        assert int.from_bytes(picture[16:20], "big") == 20_000
        assert int(Image.MAX_IMAGE_PIXELS or 0) < 20_000**2
        reply = self.download(one)
        assert reply.headers["Content-Encoding"] == "gzip"
        packed = content(reply)
        assert len(packed) < 100_000
        assert len(gzip.decompress(packed)) == 8 * 2**20

    def test_a_bomb_is_a_real_picture(self) -> None:
        picture = content(self.download(Client("aiart", faults="bomb:64")))
        start = picture.index(b"IDAT") + 4
        assert len(zlib.decompress(picture[start:-16])) == 64 * (1 + 8)

    def test_a_redirect_leads_to_a_private_address(self, client: MakeClient) -> None:
        reply = self.download(client("redirect"))
        assert reply.status == 302
        assert reply.headers["Location"].startswith("http://169.254.169.254/")
