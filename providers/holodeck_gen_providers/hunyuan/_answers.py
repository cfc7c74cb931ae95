"""From the service's answers to jobs and their outputs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

import holodeck_gen as hg
from holodeck_gen.errors import JobFailedError, ProviderError, TaskError, TransientError
from holodeck_gen_providers.hunyuan._errors import job_error
from holodeck_gen_providers.hunyuan._tables import Dialect, Model

if TYPE_CHECKING:
    from holodeck_gen_providers.hunyuan._wire import Answer

#: What a result detail says of a picture that was made.
_SUCCESS = "Success"
#: The end of a presigned address's life: https://cloud.tencent.com/document/product/436/7778
_SIGN_TIME = re.compile(r"[?&]q-sign-time=\d+(?:;|%3B)(\d+)", re.IGNORECASE)

_MEDIA_TYPES = {
    "GLB": "model/gltf-binary",
    "OBJ": "model/obj",
    "FBX": "model/x-fbx",
    "STL": "model/stl",
    "USDZ": "model/vnd.usdz+zip",
    "MP4": "video/mp4",
}


@attrs.frozen(kw_only=True)
class Reader:
    """Reads the answers about one job.

    Attributes:
        provider: Its name, for errors.
        job_id: The job; None where the answer came at once.
        state: What `submit` left for the poll: ``seed`` where one was used, ``format`` where
            one was asked for.
    """

    provider: str
    dialect: Dialect
    model: Model
    job_id: str | None = None
    state: Mapping[str, Any]

    def status(self, answer: Answer) -> hg.JobStatus:
        """What a query found.

        Raises:
            TransientError: It says nothing that is known.
        """
        words = self.dialect.words
        told = str(answer.fields.get(words.status))
        phase = words.phases.get(told) or words.phases.get(told.lower())
        if phase is None:
            # A word of a newer release, perhaps; the job's deadline bounds how long it is asked.
            raise TransientError(
                f"unknown job status {told[:40]!r}", provider=self.provider, job_id=self.job_id
            )
        if phase == "failed":
            code = str(_at(answer.fields, words.error_code) or "")
            message = str(_at(answer.fields, words.error_message) or "")
            return self._failed(self._error(code, message))
        return self.finished(answer) if phase == "done" else hg.JobStatus(phase=phase)

    def finished(self, answer: Answer) -> hg.JobStatus:
        """The end of a job, or an answer that came at once."""
        match self.model.answer:
            case "pictures":
                outputs = self._pictures(answer)
            case "data":
                outputs = self._data(answer)
            case "choices":
                outputs = self._choices(answer)
            case "files":
                return self._files(answer)
        return self._ended(outputs)

    def _ended(self, outputs: list[hg.Url | hg.PartError]) -> hg.JobStatus:
        if any(isinstance(output, hg.Url) for output in outputs):
            return hg.JobStatus(phase="done", outputs=tuple(outputs))
        missing = [output.error for output in outputs if isinstance(output, hg.PartError)]
        return self._failed(missing[0] if missing else self._error("", "it is done without a file"))

    def _pictures(self, answer: Answer) -> list[hg.Url | hg.PartError]:
        """``ResultImage``, one text or several, with ``ResultDetails`` beside them."""
        given = answer.fields.get("ResultImage")
        urls = [given] if isinstance(given, str) else _texts(given)
        details = _texts(answer.fields.get("ResultDetails"))
        revised = _texts(answer.fields.get("RevisedPrompt"))
        seed = answer.fields.get("Seed")
        if not details:
            details = [_SUCCESS] * len(urls)
        # Some list only what was made, others leave a gap for what was not.
        aligned = len(urls) == len(details)
        made = iter([url for url in urls if url])
        outputs: list[hg.Url | hg.PartError] = []
        for place, detail in enumerate(details):
            if detail != _SUCCESS:
                outputs.append(self._missing(detail))
            elif url := urls[place] if aligned else next(made, ""):
                outputs.append(self._url(url, answer, revised, place, seed))
            else:
                outputs.append(self._missing("no address was given"))
        if not aligned:
            outputs += [self._url(url, answer) for url in made]
        return outputs

    def _data(self, answer: Answer) -> list[hg.Url | hg.PartError]:
        """``data[]``, each with a URL."""
        return [
            self._url(str(item["url"]), answer, [str(item.get("revised_prompt") or "")])
            for item in _objects(answer.fields.get("data"))
            if item.get("url")
        ]

    def _choices(self, answer: Answer) -> list[hg.Url | hg.PartError]:
        """``choices[].delta.image``."""
        images: list[Mapping[str, Any]] = []
        for choice in _objects(answer.fields.get("choices")):
            message = choice.get("delta") or choice.get("message")
            image = message.get("image") if isinstance(message, Mapping) else None
            if isinstance(image, Mapping) and image.get("url"):
                images.append(image)
        return [self._url(str(image["url"]), answer) for image in images]

    def _files(self, answer: Answer) -> hg.JobStatus:
        """``ResultFile3Ds[]``: one model in one or several formats, of which one is taken."""
        files = [each for each in _objects(answer.fields.get("ResultFile3Ds")) if each.get("Url")]
        if not files:
            return self._ended([])
        wanted = str(self.state.get("format") or "GLB").upper()
        chosen = next((f for f in files if str(f.get("Type")).upper() == wanted), files[0])
        kind = str(chosen.get("Type") or "").upper()
        spent = answer.fields.get("ResultCreditConsumed")
        facts = {
            "format": kind,
            "formats": [str(each.get("Type")) for each in files],
            "credits": spent if isinstance(spent, int | float) else None,
        }
        output = attrs.evolve(
            self._url(str(chosen["Url"]), answer),
            media_type=_MEDIA_TYPES.get(kind),
            metadata={name: fact for name, fact in facts.items() if fact is not None},
        )
        return self._ended([output])

    def _url(
        self,
        url: str,
        answer: Answer,
        revised: Sequence[str] = (),
        place: int = 0,
        seed: object = None,
    ) -> hg.Url:
        signed_until = _SIGN_TIME.search(url)
        used = self.state.get("seed", seed)
        # When the job ended is not told; it may have been asked for long after. No file is older
        # than its job.
        oldest = self.state.get("at", answer.at)
        return hg.Url(
            url=url,
            expires_at=float(signed_until[1]) if signed_until else oldest + self.model.url_ttl_s,
            seed=used if isinstance(used, int) else None,
            revised_prompt=(revised[place] if place < len(revised) else "") or None,
        )

    def _missing(self, detail: str) -> hg.PartError:
        code, _, message = detail.partition(":")
        return hg.PartError(error=self._error(code.strip(), message.strip()))

    def _error(self, code: str, message: str) -> ProviderError:
        return job_error(code, message, provider=self.provider, job_id=self.job_id)

    def _failed(self, error: TaskError) -> hg.JobStatus:
        return hg.JobStatus(phase="failed", error=error)


def lost_job(error: ProviderError, job_id: str) -> JobFailedError:
    """The service no longer knows a job that it accepted."""
    return JobFailedError(
        f"the service does not know job {job_id} (any more); its result cannot be had: {error}",
        code=error.code,
        request_id=error.request_id,
        provider=error.provider,
        job_id=job_id,
    )


def _at(fields: Mapping[str, Any], path: str) -> Any:
    value: Any = fields
    for name in path.split("."):
        if not isinstance(value, Mapping):
            # ``error`` may be a text where an object is documented.
            return value if name == "message" else None
        value = value.get(name)
    return value


def _texts(value: object) -> list[str]:
    items = value if isinstance(value, list) else []
    return [item if isinstance(item, str) else "" for item in items]


def _objects(value: object) -> list[Mapping[str, Any]]:
    items = value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, Mapping)]
