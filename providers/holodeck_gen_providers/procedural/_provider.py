"""`ProceduralProvider`: answers at once, or plays a service with jobs to be polled."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

import holodeck_gen as hg
from holodeck_gen.errors import (
    InvalidTaskError,
    JobFailedError,
    SlotRefusedError,
    ThrottledError,
)
from holodeck_gen_providers.procedural import ProceduralOptions

if TYPE_CHECKING:
    from PIL import Image


#: Pixels a side; below, nothing can be seen, above, memory runs short.
MIN_SIDE, MAX_SIDE = 16, 4096
DEFAULT_SIZE = (1024, 1024)
MODEL = "keywords"

#: What machines read: https://cv.iptc.org/newscodes/digitalsourcetype/ (no model was trained).
_XMP = (
    '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
    ' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
    ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    " Iptc4xmpExt:DigitalSourceType="
    '"http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia"/>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


@attrs.define(kw_only=True)
class _Drawn:
    """A job of the played service, with what it will answer."""

    request: Mapping[str, Any]
    key: str
    ends_at: float
    fails: bool


@attrs.define(kw_only=True)
class ProceduralProvider:
    """Draws pictures from the keywords of a prompt.

    A picture depends on nothing but the request and, without a seed, the task's key.
    """

    options: ProceduralOptions
    wall_clock: Callable[[], float]
    name: str = attrs.field(default="procedural", init=False)
    billing: hg.Billing = attrs.field(default="free", init=False)
    _jobs: dict[str, _Drawn] = attrs.field(factory=dict, init=False)
    _sent: float = attrs.field(default=float("-inf"), init=False)

    @property
    def limits(self) -> hg.Limits:
        """As many jobs as processors, unless the options say otherwise."""
        return hg.Limits(
            max_jobs=self.options.max_jobs or os.cpu_count() or 1,
            poll_interval_s=max(0.05, self.options.job_s / 8),
        )

    def account_key(self) -> str:
        """There is one account."""
        return self.name

    def quota_key(self, task: hg.Task) -> str:
        """There is one quota."""
        return "draw"

    def prepare(self, task: hg.Task) -> hg.Prepared:
        """Check what can be drawn. As `holodeck_gen.Provider.prepare`."""
        width, height = task.size or DEFAULT_SIZE
        if task.kind != "image":
            raise InvalidTaskError(f"procedural draws images, not {task.kind}")
        if task.inputs:
            raise InvalidTaskError("procedural takes no reference pictures")
        if task.model not in (None, MODEL):
            raise InvalidTaskError(f"procedural has one model, {MODEL!r}, not {task.model!r}")
        if task.provider_options:
            raise InvalidTaskError(
                f"procedural has no option {', '.join(sorted(task.provider_options))}"
            )
        for side in (width, height):
            if not MIN_SIDE <= side <= MAX_SIDE:
                raise InvalidTaskError(
                    f"size {width}x{height}: procedural draws {MIN_SIDE} to {MAX_SIDE} a side"
                )
        request = {
            "prompt": task.prompt,
            "width": width,
            "height": height,
            "seed": task.seed,
            "style": task.style,
            "avoid": task.negative_prompt,
        }
        return hg.Prepared(
            request={name: value for name, value in request.items() if value is not None},
            seed_effective=task.seed is not None,
            model=MODEL,
        )

    async def submit(self, request: Mapping[str, Any], *, key: str) -> hg.JobRef | hg.JobStatus:
        """Draw, or begin a job. As `holodeck_gen.Provider.submit`."""
        if self.options.job_s <= 0:
            return await self._drawn(request, key)
        now = self.wall_clock()
        self._refuse(now)
        chance = random.Random(f"{key}{request}")
        seconds = self.options.job_s * chance.lognormvariate(0.0, self.options.job_spread)
        facts: dict[str, Any] = {
            "request": request,
            "ends_at": now + seconds,
            "fails": chance.random() < self.options.failure_rate,
        }
        self._jobs[key] = _Drawn(key=key, **facts)
        # What another process needs to go on with it; a service would remember.
        return hg.JobRef(job_id=key, state=facts)

    async def poll(self, job: hg.JobRef) -> hg.JobStatus:
        """Draw when the job's time has come. As `holodeck_gen.Provider.poll`."""
        if job.state:
            self._jobs.setdefault(job.job_id, _Drawn(key=job.job_id, **job.state))
        drawn = self._jobs.get(job.job_id)
        if drawn is None:
            raise JobFailedError(f"there is no job {job.job_id}", code="JobNotExist")
        if self.wall_clock() < drawn.ends_at:
            return hg.JobStatus(phase="running")
        if drawn.fails:
            del self._jobs[job.job_id]
            return hg.JobStatus(
                phase="failed", error=JobFailedError("failed, as failure_rate asks", code="Chance")
            )
        status = await self._drawn(drawn.request, drawn.key)
        del self._jobs[job.job_id]
        return status

    def _refuse(self, now: float) -> None:
        busy = sum(1 for job in self._jobs.values() if now < job.ends_at)
        if self.options.quota and busy >= self.options.quota:
            raise SlotRefusedError(f"{busy} jobs are running", code="JobNumExceed")
        if self.options.submit_rate and now - self._sent < 1 / self.options.submit_rate:
            raise ThrottledError("too many submits", code="RequestLimitExceeded")
        self._sent = now

    async def _drawn(self, request: Mapping[str, Any], key: str) -> hg.JobStatus:
        seed = request.get("seed")
        if seed is None:
            digest = hashlib.blake2b(key.encode(), digest_size=4).digest()
            seed = int.from_bytes(digest, "big")
        data, matched = await asyncio.to_thread(_draw_png, request, seed)
        metadata = {"keywords": list(matched), "method": "procedural"}
        return hg.JobStatus(
            phase="done",
            outputs=(hg.Bytes(data=data, media_type="image/png", seed=seed, metadata=metadata),),
        )


def _draw_png(request: Mapping[str, Any], seed: int) -> tuple[bytes, tuple[str, ...]]:
    from holodeck_gen_providers.procedural._draw import draw

    drawing = draw(
        request["prompt"],
        width=request["width"],
        height=request["height"],
        seed=seed,
        style=request.get("style"),
        avoid=request.get("avoid"),
    )
    return _encode(drawing.image, drawing.matched), drawing.matched


def _encode(image: Image.Image, matched: tuple[str, ...]) -> bytes:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", _XMP)
    info.add_text("Software", "holodeck-gen procedural")
    words = ", ".join(matched) if matched else "none, so this is an abstract"
    info.add_text("Comment", f"Drawn by an algorithm, not by a model. Keywords: {words}.")
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=info, compress_level=3)
    return file.getvalue()
