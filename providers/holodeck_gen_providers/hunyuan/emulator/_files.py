"""Result files under signed addresses that expire, as Tencent's object storage has them."""

from __future__ import annotations

import hashlib
import hmac
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

import attrs

from holodeck_gen_providers.hunyuan.emulator import _damage as damage
from holodeck_gen_providers.hunyuan.emulator import _pictures as pictures
from holodeck_gen_providers.hunyuan.emulator import _solids as solids
from holodeck_gen_providers.hunyuan.emulator._wire import Reply, Request

if TYPE_CHECKING:
    from holodeck_gen_providers.hunyuan.emulator._jobs import Job
    from holodeck_gen_providers.hunyuan.emulator._state import State

PREFIX = "/_files/"

#: The storage's own account; not one of a customer.
_STORAGE_ID, _STORAGE_KEY = "AKIDstorage", b"storage-key"

_MEDIA_TYPES = {
    "png": "image/png",
    "glb": "model/gltf-binary",
    "obj": "model/obj",
    "stl": "model/stl",
}


def file_url(state: State, job: Job, name: str, now: float) -> str:
    """The address of one file of `job`, as told at `now`."""
    if (elsewhere := job.faults.get("result-url")) is not None:
        return elsewhere
    start = int(now if state.settings.renew_urls else job.ends)
    end = int(start + state.url_ttl_s(job.interface))
    if "url-expired" in job.faults and job.queries <= 1:
        start, end = start - 7200, start - 3600
    path = f"{PREFIX}{job.id}/{name}"
    times = f"{start};{end}"
    query = {
        "q-sign-algorithm": "sha1",
        "q-ak": _STORAGE_ID,
        "q-sign-time": times,
        "q-key-time": times,
        "q-header-list": "",
        "q-url-param-list": "",
        "q-signature": _signature(path, times),
    }
    return f"{state.base_url}{path}?{urlencode(query, safe=';')}"


def answer_file(state: State, request: Request) -> Reply:
    """Answer a download: a file, or XML that says why not."""
    state.counts["downloads"] += 1
    if {"authorization", "x-tc-token"} & request.headers.keys():
        state.counts["leaked_credentials"] += 1
    job_id, _, name = request.path.removeprefix(PREFIX).partition("/")
    job = state.jobs.of_file(job_id)
    if request.method != "GET":
        return _xml(state, request, 405, "MethodNotAllowed", "Only GET is served.")
    if (refusal := _refusal(request, state.clock())) is not None:
        return _xml(state, request, 403, *refusal)
    if job is None or job.phase(state.clock()) != "done" or name not in file_names(job):
        return _xml(state, request, 404, "NoSuchKey", "The specified key does not exist.")
    dialect = job.interface.dialect.name
    struck = state.faults.strike("download", dialect=dialect, prompt=job.wish.prompt)
    reply = _content(state, job, name)
    return damage.damaged_download(reply, struck[0]) if struck else reply


def file_names(job: Job) -> list[str]:
    """Names of the files of a job that is done, previews after them."""
    made = [f"{index}.{job.wish.format}" for index in range(job.made)]
    if job.interface.dialect.kind == "model3d":
        made += [f"{index}.preview.png" for index in range(job.made)]
    return made


def content_of(state: State, job: Job, index: int) -> pictures.Maker:
    """Makes one picture of `job`."""
    wish = attrs.evolve(job.wish, seed=job.wish.seed + index)
    if state.settings.pictures == "cheap":
        return pictures.cheap_maker(f"{job.id}/{index}")
    return pictures.drawing_maker(wish)


def _content(state: State, job: Job, name: str) -> Reply:
    index, _, extension = name.partition(".")
    if extension == "preview.png":
        return Reply(body=pictures.cheap_png(job.id), media_type="image/png")
    if extension != "png":
        body = solids.solid(extension, job.wish.seed)
        return Reply(body=body, media_type=_MEDIA_TYPES[extension])
    return Reply(body=content_of(state, job, int(index)), media_type="image/png")


def _refusal(request: Request, now: float) -> tuple[str, str] | None:
    query = dict(parse_qsl(request.query))
    times = query.get("q-sign-time", "")
    expected = _signature(request.path, times)
    if not hmac.compare_digest(expected, query.get("q-signature", "")):
        return "AccessDenied", "Access Denied."
    start, _, end = times.partition(";")
    if not int(start) <= now <= int(end):
        return "AccessDenied", "Request has expired"
    return None


def _signature(path: str, times: str) -> str:
    # https://cloud.tencent.com/document/product/436/7778, with no headers and parameters signed.
    key = hmac.new(_STORAGE_KEY, times.encode(), hashlib.sha1).hexdigest()
    digest = hashlib.sha1(f"get\n{path}\n\n\n".encode()).hexdigest()
    text = f"sha1\n{times}\n{digest}\n"
    return hmac.new(key.encode(), text.encode(), hashlib.sha1).hexdigest()


def _xml(state: State, request: Request, status: int, code: str, message: str) -> Reply:
    resource = urlsplit(state.base_url).netloc + request.path
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        resource = resource.replace(sign, entity)
    body = (
        "<?xml version='1.0' encoding='utf-8' ?>\n<Error>\n"
        f"\t<Code>{code}</Code>\n\t<Message>{message}</Message>\n"
        f"\t<Resource>{resource}</Resource>\n\t<RequestId>{state.request_id()}</RequestId>\n"
        f"\t<ServerTime>{formatdate(state.clock(), usegmt=True)}</ServerTime>\n</Error>\n"
    )
    return Reply(status=status, body=body.encode(), media_type="application/xml")
