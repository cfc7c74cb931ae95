from __future__ import annotations

import base64
import io
import json
import struct
from typing import Any

import pytest
from PIL import Image

from holodeck_gen_providers.hunyuan.emulator import Account, Settings
from hunyuan_service import NOON, Bench, content

SUBMIT = ("aiart", "SubmitTextToImageJob", {"Prompt": "a cat", "Revise": 0})
MANY = ("hunyuan", "SubmitHunyuanImageJob", {"Prompt": "a cat", "Num": 4, "Revise": 0})
FULL = "RequestLimitExceeded.JobNumExceed"


BAD = "InvalidParameterValue.ParameterValueError"
URL = "https://example.com/a.png"


def with_prompt(cases: list[tuple[dict[str, Any], str]]) -> list[tuple[Any, str]]:
    """The cases with a prompt, where they have none of their own."""
    return [({"Prompt": "a", **parameters}, code) for parameters, code in cases]


#: Parameters of a submit, and the code with which they are refused; empty where they are not.
PARAMETERS: dict[tuple[str, str], list[tuple[Any, str]]] = {
    ("aiart", "QueryTextToImageJob"): [
        ({}, "MissingParameter"),
        ({"JobId": 5}, "InvalidParameter"),
        ({"JobId": "x", "Y": 1}, "UnknownParameter"),
    ],
    ("aiart", "SubmitTextToImageJob"): [
        ({}, "MissingParameter"),
        ({"Prompt": None}, "MissingParameter"),
        ({"Prompt": "a", "Seed": None, "Images": None}, ""),
        (b"[]", "InvalidParameter"),
        (b"\xff{", "InvalidParameter"),
        *with_prompt(
            [
                ({"Prompt": " "}, BAD),
                ({"Prompt": 5}, "InvalidParameter"),
                ({"Prompt": "猫" * 8193}, "InvalidParameterValue.TextLengthExceed"),
                ({"Prompt": "猫" * 8192}, ""),
                ({"Num": 2}, "UnknownParameter"),
                ({"Resolution": "1024x1024"}, BAD),
                ({"Resolution": "1920:1080"}, BAD),
                ({"Resolution": "511:1024"}, BAD),
                ({"Resolution": "1280:768"}, ""),
                ({"Seed": 2**32}, BAD),
                ({"Seed": True}, "InvalidParameter"),
                ({"Seed": 2**32 - 1}, ""),
                ({"Revise": "1"}, "InvalidParameter"),
                ({"LogoAdd": 7}, ""),
                ({"LogoParam": {"LogoRect": {"X": 1, "Y": 1}}}, ""),
                ({"LogoParam": {"LogoRect": {"Z": 1}}}, "UnknownParameter"),
                ({"LogoParam": []}, "InvalidParameter"),
                ({"Images": [URL] * 3}, ""),
                ({"Images": [URL] * 4}, BAD),
                ({"Images": URL}, BAD),
                ({"Images": ["data:image/png;base64,AA=="]}, "InvalidParameterValue.UrlIllegal"),
                ({"Images": [""]}, "InvalidParameterValue.ImageEmpty"),
                ({"Images": ["AAAA"]}, "FailedOperation.ImageDecodeFailed"),
                ({"Images": ["ftp://a"]}, "FailedOperation.ImageDecodeFailed"),
            ]
        ),
    ],
    ("hunyuan", "SubmitHunyuanImageJob"): with_prompt(
        [
            ({"Prompt": "猫" * 1025}, BAD),
            ({"NegativePrompt": "猫" * 1025}, BAD),
            ({"NegativePrompt": "dog"}, ""),
            ({"Num": 4}, ""),
            ({"Num": 5}, BAD),
            ({"Style": "riman"}, ""),
            ({"Style": "rimen"}, BAD),
            ({"Resolution": "1024:768"}, ""),
            ({"Resolution": "1216:832"}, BAD),
            ({"Clarity": "x2"}, ""),
            ({"Clarity": "x3"}, BAD),
            ({"ContentImage": {"ImageUrl": URL}}, ""),
            (
                {"ContentImage": {"ImageUrl": "file:///etc/passwd"}},
                "InvalidParameterValue.ImageRequestError",
            ),
            ({"ContentImage": {}}, "InvalidParameterValue.ImageRequestError"),
            ({"ContentImage": {"Url": URL}}, BAD),
            ({"ContentImage": {"ImageUrl": URL}, "Resolution": "1280:720"}, BAD),
        ]
    ),
    ("ai3d", "SubmitHunyuanTo3DProJob"): [
        ({}, "InvalidParameterValue"),
        ({"ImageUrl": URL}, ""),
        ({"ImageUrl": URL, "Prompt": "a"}, "InvalidParameterValue"),
        ({"ImageUrl": URL, "Prompt": "a", "GenerateType": "Sketch"}, ""),
        ({"ImageUrl": URL, "ImageBase64": "AAAA"}, "InvalidParameterValue"),
        ({"Prompt": "a", "Model": "3.1"}, ""),
        ({"Prompt": "a", "Model": "2.5"}, "InvalidParameterValue.Model"),
        ({"Prompt": "a", "FaceCount": 2999}, BAD),
        ({"Prompt": "a", "EnablePBR": 1}, "InvalidParameter"),
        ({"Prompt": "a", "ResultFormat": "STL"}, ""),
        ({"Prompt": "a", "ResultFormat": "FBX"}, "UnsupportedOperation"),
        (
            {"ImageUrl": URL, "MultiViewImages": [{"ViewType": "left", "ViewImageUrl": URL}]},
            "",
        ),
        ({"ImageUrl": URL, "MultiViewImages": [{"View": "left"}]}, "UnknownParameter"),
    ],
}


def query_of(bench: Bench, job_id: str, service: str = "aiart") -> dict[str, Any]:
    action = {"aiart": "QueryTextToImageJob", "hunyuan": "QueryHunyuanImageJob"}[service]
    return bench.call(service, action, {"JobId": job_id})


def picture(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


class TestJobs:
    def test_a_job_waits_runs_and_is_done(self) -> None:
        bench = Bench(job_s=10.0, queue_share=0.2)
        job_id = bench.call(*SUBMIT)["JobId"]
        found = []
        for _ in range(4):
            answer = query_of(bench, job_id)
            found.append((answer["JobStatusCode"], answer["JobStatusMsg"]))
            assert bool(answer["ResultImage"]) == (answer["JobStatusCode"] == "5")
            bench.wait(4.0)
        assert found == [("1", "排队中"), ("2", "处理中"), ("2", "处理中"), ("5", "处理完成")]

    def test_what_is_not_used_is_empty_and_not_null(self) -> None:
        bench = Bench()
        answer = query_of(bench, bench.call(*SUBMIT)["JobId"])
        assert answer == {
            "JobStatusCode": "1",
            "JobStatusMsg": "排队中",
            "JobErrorCode": "",
            "JobErrorMsg": "",
            "ResultImage": [],
            "ResultDetails": [],
            "RevisedPrompt": [],
            "RequestId": answer["RequestId"],
        }

    def test_its_pictures_can_be_downloaded_and_differ(self) -> None:
        bench = Bench()
        job_id = bench.call(*MANY)["JobId"]
        bench.wait(10.0)
        urls = query_of(bench, job_id, "hunyuan")["ResultImage"]
        replies = [bench.get(url) for url in urls]
        assert {reply.media_type for reply in replies} == {"image/png"}
        files = {content(reply) for reply in replies}
        assert len(files) == 4
        assert {picture(file).size for file in files} == {(16, 16)}
        assert (bench.stats["downloads"], bench.stats["billed"]) == (4, 4)

    def test_drawn_pictures_have_the_size_asked_for(self) -> None:
        bench = Bench(pictures="drawn")
        job_id = bench.call(
            "hunyuan",
            "SubmitHunyuanImageJob",
            {"Prompt": "dawn", "Resolution": "768:1024", "Revise": 0, "Seed": 5},
        )["JobId"]
        bench.wait(10.0)
        (url,) = query_of(bench, job_id, "hunyuan")["ResultImage"]
        assert picture(content(bench.get(url))).size == (768, 1024)

    def test_a_job_of_another_account_or_action_is_unknown(self) -> None:
        other = Account(secret_id="AKIDother", secret_key="other", api_key="sk-other")
        bench = Bench(accounts=[Account(), other])
        job_id = bench.call(*SUBMIT)["JobId"]
        unknown = "FailedOperation.JobNotExist"
        query = {"JobId": job_id}
        keys: dict[str, Any] = {"secret_id": "AKIDother", "secret_key": "other"}
        assert bench.code("aiart", "QueryTextToImageJob", query, **keys) == unknown
        assert bench.code("hunyuan", "QueryHunyuanImageJob", query) == unknown
        assert bench.code("aiart", "QueryTextToImageJob", query) == ""

    def test_a_job_is_forgotten_in_time(self) -> None:
        bench = Bench(keep_s=3600.0)
        job_id = bench.call(*SUBMIT)["JobId"]
        bench.wait(3599.0)
        (url,) = query_of(bench, job_id)["ResultImage"]
        bench.wait(1.0)
        assert query_of(bench, job_id)["Error"]["Code"] == "FailedOperation.JobNotExist"
        bench.call(*SUBMIT)
        assert bench.get(url).status == 404

    def test_the_rewriting_is_told_and_makes_the_seed_void(self) -> None:
        bench = Bench(pictures="cheap", max_jobs=4)
        ids = [
            bench.call("aiart", "SubmitTextToImageJob", {"Prompt": "a", "Seed": 7, "Revise": on})
            for on in (0, 0, 1, 1)
        ]
        bench.wait(10.0)
        revised = [query_of(bench, each["JobId"])["RevisedPrompt"][0] for each in ids]
        assert revised[:2] == ["a", "a"]
        assert revised[2].startswith("a,")
        state = bench.service._state
        seeds = [job.wish.seed for each in ids if (job := state.jobs.of_file(each["JobId"]))]
        assert seeds[:2] == [7, 7]
        assert 7 not in seeds[2:]

    def test_durations_differ_by_sigma_and_repeat_by_seed(self) -> None:
        def durations(**settings: Any) -> list[float]:
            bench = Bench(max_jobs=40, job_s=40.0, submit_rate=0, **settings)
            ids = [bench.call(*SUBMIT)["JobId"] for _ in range(40)]
            jobs = [bench.service._state.jobs.of_file(each) for each in ids]
            return [job.ends - job.created for job in jobs if job is not None]

        assert set(durations()) == {40.0}
        spread = durations(job_sigma=0.25, seed=3)
        assert durations(job_sigma=0.25, seed=3) == spread
        assert durations(job_sigma=0.25, seed=4) != spread
        assert 30 < sorted(spread)[20] < 50
        assert max(spread) > 50


class TestSlots:
    def test_more_than_max_jobs_are_refused_in_the_documented_words(self) -> None:
        bench = Bench(max_jobs=1)
        bench.call(*SUBMIT)
        error = bench.call(*SUBMIT)["Error"]
        assert error == {"Code": FULL, "Message": "当前已达到1个任务上限，请稍后重试"}
        assert bench.stats["refusals"] == {FULL: 1}
        assert (bench.stats["submits"], bench.stats["jobs_created"]) == (2, 1)

    def test_a_slot_is_given_back_late(self) -> None:
        bench = Bench(max_jobs=1, job_s=10.0, slot_lag_s=30.0)
        bench.call(*SUBMIT)
        bench.wait(39.0)
        assert bench.code(*SUBMIT) == FULL
        bench.wait(1.0)
        assert bench.code(*SUBMIT) == ""
        bench.wait(10.0)
        assert bench.stats["busy_slot_seconds"] == 20.0
        assert bench.stats["max_jobs_at_once"] == 1

    def test_every_action_and_account_has_slots_of_its_own(self) -> None:
        other = Account(secret_id="AKIDother", secret_key="other")
        bench = Bench(max_jobs=1, accounts=[Account(), other])
        keys: dict[str, Any] = {"secret_id": "AKIDother", "secret_key": "other"}
        assert [bench.code(*SUBMIT), bench.code(*MANY), bench.code(*SUBMIT, **keys)] == [""] * 3
        assert [bench.code(*SUBMIT), bench.code(*MANY), bench.code(*SUBMIT, **keys)] == [FULL] * 3
        assert bench.stats["max_jobs_at_once"] == 1
        assert len(bench.stats["max_jobs_at_once_by_quota"]) == 3

    def test_the_documented_quotas_hold_where_nothing_is_said(self) -> None:
        solid = ("ai3d", "SubmitHunyuanTo3DProJob", {"Prompt": "a cat"})
        bench = Bench()
        assert [bench.code(*solid) for _ in range(4)] == ["", "", "", FULL]

    def test_the_quota_may_be_lowered_under_way(self) -> None:
        bench = Bench(max_jobs=3, faults="throttle-submit@4-")
        bench.call(*SUBMIT)
        bench.call(*SUBMIT)
        bench.service.change(max_jobs=1, faults="")
        assert bench.code(*SUBMIT) == FULL
        bench.wait(10.0)
        assert [bench.code(*SUBMIT) for _ in range(2)] == ["", FULL]
        assert bench.stats["jobs_created"] == 3
        bench.service.reset()
        assert [bench.code(*SUBMIT) for _ in range(2)] == ["", FULL]

    def test_busy_seconds_count_what_runs(self) -> None:
        bench = Bench(max_jobs=2, job_s=10.0)
        bench.call(*SUBMIT)
        bench.wait(3.0)
        assert bench.stats["busy_slot_seconds"] == pytest.approx(3.0)
        bench.call(*SUBMIT)
        bench.wait(8.0)
        assert bench.stats["busy_slot_seconds"] == pytest.approx(18.0)
        assert (bench.stats["max_jobs_at_once"], bench.stats["unfinished_jobs"]) == (2, 1)


class TestRates:
    def test_a_second_holds_as_many_queries_as_the_rate_allows(self) -> None:
        bench = Bench()
        query = ("aiart", "QueryTextToImageJob", {"JobId": "x"})
        codes = [bench.code(*query) for _ in range(21)]
        assert codes == ["FailedOperation.JobNotExist"] * 20 + ["RequestLimitExceeded"]
        assert bench.code(*query, region="ap-shanghai") == "FailedOperation.JobNotExist"
        bench.wait(1.0)
        assert bench.code(*query) == "FailedOperation.JobNotExist"

    def test_requests_spaced_by_the_rate_are_never_refused(self) -> None:
        bench = Bench(poll_rate=20)
        query = ("aiart", "QueryTextToImageJob", {"JobId": "x"})
        for number in range(200):
            # A network that delivers every third request 20 ms late.
            bench.clock.now = NOON + number / 20 + 0.02 * (number % 3 == 0)
            assert bench.code(*query) == "FailedOperation.JobNotExist"

    def test_rates_below_one_a_second_and_none_at_all(self) -> None:
        slow = Bench(submit_rate=0.5, max_jobs=100)
        codes = []
        for _ in range(4):
            codes.append(slow.code(*SUBMIT))
            slow.wait(1.0)
        assert codes == ["", "RequestLimitExceeded"] * 2
        free = Bench(submit_rate=0, max_jobs=100)
        assert {free.code(*SUBMIT) for _ in range(100)} == {""}


class TestModeration:
    def test_a_word_is_refused_at_submit(self) -> None:
        bench = Bench(refused_words="毒")
        code = bench.code("aiart", "SubmitTextToImageJob", {"Prompt": "一只毒猫"})
        assert code == "OperationDenied.TextIllegalDetected"
        assert bench.stats["jobs_created"] == 0

    def test_a_word_fails_in_its_job_and_is_not_billed(self) -> None:
        bench = Bench()
        job_id = bench.call("aiart", "SubmitTextToImageJob", {"Prompt": "indecent"})["JobId"]
        bench.wait(10.0)
        answer = query_of(bench, job_id)
        assert answer["JobStatusCode"] == "4"
        assert answer["JobErrorCode"] == "FailedOperation.GenerateImageFailed"
        assert (bench.stats["jobs_created"], bench.stats["billed"]) == (1, 0)

    def test_what_was_not_made_is_billed_where_that_is_asked_for(self) -> None:
        bench = Bench(bill_failures=True)
        bench.call("aiart", "SubmitTextToImageJob", {"Prompt": "an indecent cat"})
        bench.wait(10)
        assert bench.stats["billed"] == 1

    def test_it_comes_after_the_quota(self) -> None:
        bench = Bench()
        bench.call(*SUBMIT)
        assert bench.code("aiart", "SubmitTextToImageJob", {"Prompt": "forbidden"}) == FULL


class TestParameters:
    @pytest.mark.parametrize(
        ("service", "action", "parameters", "code"),
        [
            (*action, parameters, code)
            for action, cases in PARAMETERS.items()
            for parameters, code in cases
        ],
    )
    def test_they_are_checked(self, service: str, action: str, parameters: Any, code: str) -> None:
        bench = Bench()
        assert bench.code(service, action, parameters) == code
        assert bench.stats["jobs_created"] == (0 if code else 1)

    @pytest.mark.parametrize(("side", "code"), [(50, ""), (49, "ImageResolutionExceed")])
    def test_pictures_in_base64_are_looked_at(self, side: int, code: str) -> None:
        file = io.BytesIO()
        Image.new("RGB", (side, 60)).save(file, "PNG")
        text = base64.b64encode(file.getvalue()).decode()
        found = Bench().code("aiart", "SubmitTextToImageJob", {"Prompt": "a", "Images": [text]})
        assert found.removeprefix("FailedOperation.") == code

    def test_a_reference_picture_forces_the_rewriting(self) -> None:
        bench = Bench()
        image = {"ImageUrl": "https://example.com/a.jpg"}
        parameters = {"Prompt": "a", "Revise": 0, "ContentImage": image}
        job_id = bench.call("hunyuan", "SubmitHunyuanImageJob", parameters)["JobId"]
        bench.wait(10.0)
        assert query_of(bench, job_id, "hunyuan")["RevisedPrompt"] != ["a"]


class TestDirect:
    def test_it_answers_when_the_job_would_be_done(self) -> None:
        bench = Bench(job_s=7.0)
        request = bench.signed("hunyuan", "TextToImageLite", {"Prompt": "a", "RspImgType": "url"})
        reply = bench.service.answer(request)
        assert reply.wait_s == pytest.approx(7.0)
        url = json.loads(content(reply))["Response"]["ResultImage"]
        bench.wait(7.0)
        assert picture(content(bench.get(url))).format == "PNG"
        assert (bench.stats["jobs_created"], bench.stats["billed"]) == (1, 1)

    def test_base64_is_the_default(self) -> None:
        bench = Bench()
        answer = bench.call("aiart", "TextToImageLite", {"Prompt": "a", "Seed": 9})
        assert picture(base64.b64decode(answer["ResultImage"])).size == (16, 16)
        assert answer["Seed"] == 9

    def test_it_has_slots_and_failures_too(self) -> None:
        bench = Bench()
        lite = ("aiart", "TextToImageLite", {"Prompt": "indecent"})
        assert bench.code(*lite) == "FailedOperation.GenerateImageFailed"
        assert bench.code(*lite) == FULL

    def test_an_unprefixed_job_code_gets_its_prefix(self) -> None:
        bench = Bench(faults="job-failed:ServerError")
        assert bench.code("hunyuan", "TextToImageLite", {"Prompt": "a"}) == (
            "FailedOperation.ServerError"
        )


class TestSolids:
    def made(self, parameters: dict[str, Any]) -> tuple[Bench, dict[str, Any]]:
        bench = Bench()
        action = "HunyuanTo3DRapidJob"
        job_id = bench.call("ai3d", f"Submit{action}", parameters)["JobId"]
        words = [bench.call("ai3d", f"Query{action}", {"JobId": job_id})["Status"]]
        bench.wait(5.0)
        words.append(bench.call("ai3d", f"Query{action}", {"JobId": job_id})["Status"])
        bench.wait(5.0)
        answer = bench.call("ai3d", f"Query{action}", {"JobId": job_id})
        assert [*words, answer["Status"]] == ["WAIT", "RUN", "DONE"]
        return bench, answer["ResultFile3Ds"][0]

    def test_a_glb_is_valid_and_has_a_preview(self) -> None:
        bench, file = self.made({"Prompt": "a cat"})
        reply = bench.get(file["Url"])
        data = content(reply)
        assert (file["Type"], reply.media_type) == ("GLB", "model/gltf-binary")
        magic, version, length, text_length, kind = struct.unpack("<4sIII4s", data[:20])
        assert (magic, version, length, kind) == (b"glTF", 2, len(data), b"JSON")
        scene = json.loads(data[20 : 20 + text_length])
        binary_length, binary_kind = struct.unpack("<I4s", data[20 + text_length :][:8])
        assert binary_kind == b"BIN\0"
        assert 28 + text_length + binary_length == length
        assert scene["buffers"][0]["byteLength"] <= binary_length
        positions = data[28 + text_length :][:48]
        highest = [max(struct.unpack("<12f", positions)[axis::3]) for axis in range(3)]
        assert highest == scene["accessors"][0]["max"]
        assert picture(content(bench.get(file["PreviewImageUrl"]))).format == "PNG"

    def test_other_formats_are_made_by_name(self) -> None:
        bench, file = self.made({"Prompt": "a cat", "ResultFormat": "OBJ"})
        assert file["Type"] == "OBJ"
        lines = content(bench.get(file["Url"])).decode().splitlines()
        assert sum(line.startswith("f ") for line in lines) == 4
        bench, file = self.made({"Prompt": "a cat", "ResultFormat": "STL"})
        data = content(bench.get(file["Url"]))
        (count,) = struct.unpack("<I", data[80:84])
        assert len(data) == 84 + 50 * count


class TestFiles:
    def url(self, **settings: Any) -> tuple[Bench, str, str]:
        bench = Bench(**settings)
        job_id = bench.call(*SUBMIT)["JobId"]
        bench.wait(10.0)
        (url,) = query_of(bench, job_id)["ResultImage"]
        return bench, job_id, url

    def test_an_address_works_for_its_time(self) -> None:
        bench, _, url = self.url()
        times = url.partition("q-sign-time=")[2].partition("&")[0].split(";")
        assert [float(time) for time in times] == [bench.clock.now, bench.clock.now + 3600]
        bench.wait(3600.0)
        assert bench.get(url).status == 200
        bench.wait(1.0)
        reply = bench.get(url)
        assert (reply.status, reply.media_type) == (403, "application/xml")
        assert b"<Message>Request has expired</Message>" in content(reply)

    def test_a_query_gives_a_fresh_address_or_not(self) -> None:
        for renew, status in ((True, 200), (False, 403)):
            bench, job_id, _ = self.url(renew_urls=renew, url_ttl_s=60.0)
            bench.wait(61.0)
            (url,) = query_of(bench, job_id)["ResultImage"]
            assert bench.get(url).status == status

    def test_an_address_cannot_be_changed(self) -> None:
        bench, job_id, url = self.url()
        later = url.replace(str(int(bench.clock.now) + 3600), str(int(bench.clock.now) + 9999))
        assert later != url
        for bad in (later, url.partition("?")[0], url.replace("/0.png", "/1.png")):
            assert bench.get(bad).status == 403
        assert b"NoSuchKey" not in content(bench.get(f"http://127.0.0.1/_files/{job_id}/../x"))

    def test_leaked_credentials_are_counted(self) -> None:
        bench, _, url = self.url()
        bench.get(url)
        assert bench.stats["leaked_credentials"] == 0
        bench.get(url, authorization="TC3-HMAC-SHA256 …")
        assert bench.stats["leaked_credentials"] == 1


class TestOffline:
    @pytest.mark.parametrize("name", ["aiart", "SubmitTextToImageJob", "hy-image-v3.0"])
    def test_a_retired_action_says_so(self, name: str) -> None:
        bench = Bench(offline=[name])
        assert bench.code(*SUBMIT) == "ActionOffline"
        assert bench.code(*MANY) == ""

    def test_one_action_may_be_retired_alone(self) -> None:
        bench = Bench(offline=["QueryTextToImageJob"])
        assert bench.code(*SUBMIT) == ""
        assert bench.code("aiart", "QueryTextToImageJob", {"JobId": "x"}) == "ActionOffline"

    def test_a_retired_model_of_tokenhub_does_not_exist(self) -> None:
        reply, body = Bench(offline=["hy-image-v3.0"]).post(
            "/v1/api/image/submit", {"model": "hy-image-v3.0", "prompt": "a"}
        )
        assert (reply.status, body["error"]["code"]) == (400, "400004")


class TestStats:
    def test_prompts_are_counted_by_jobs(self) -> None:
        bench = Bench(max_jobs=9)
        bench.call(*SUBMIT)
        bench.call(*SUBMIT)
        bench.call(*MANY)
        bench.post("/v1/api/image/submit", {"model": "hy-image-v3.0", "prompt": "a dog"})
        assert bench.stats["prompts"] == {"a cat": 3, "a dog": 1}

    def test_every_job_is_told_in_order(self) -> None:
        bench = Bench(max_jobs=2, job_s=10.0, faults="never-ends@2")
        job = bench.call(*SUBMIT)["JobId"]
        bench.wait(3.0)
        bench.call(*SUBMIT)
        for _ in range(3):
            bench.wait(5.0)
            bench.call("aiart", "QueryTextToImageJob", {"JobId": job})
        assert bench.service.jobs() == [
            {"created": NOON, "ends": NOON + 10.0, "found": NOON + 13.0, "queries": 3},
            {"created": NOON + 3.0, "ends": None, "found": None, "queries": 0},
        ]

    def test_what_else_is_left_to_chance_does_not_change_how_long_jobs_take(self) -> None:
        def seconds(*calls: Any) -> list[float]:
            bench = Bench(max_jobs=9, job_sigma=0.5)
            for call in calls:
                bench.call(*call)
            return [job["ends"] - job["created"] for job in bench.service.jobs()]

        query = ("aiart", "QueryTextToImageJob", {"JobId": "x"})
        assert seconds(SUBMIT, query, query, SUBMIT) == seconds(SUBMIT, SUBMIT)

    def test_a_reset_forgets_all_and_begins_chance_again(self) -> None:
        bench = Bench(job_sigma=0.5, faults="throttle-submit@1")
        first = [bench.call(*SUBMIT) for _ in range(2)]
        before = bench.stats
        bench.service.reset()
        assert bench.stats["submits"] == 0
        assert [bench.call(*SUBMIT) for _ in range(2)] == first
        assert bench.stats == before

    @pytest.mark.parametrize(
        "bad",
        [
            {"max_jobs": 0},
            {"job_s": -1},
            {"queue_share": 1.1},
            {"pictures": "photographs"},
            {"slot_lag_s": -1},
        ],
    )
    def test_settings_are_checked(self, bad: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(bad))):
            Settings(**bad)
