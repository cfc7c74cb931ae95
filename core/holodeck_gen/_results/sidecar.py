"""The file beside a picture that tells how it was made: what is in it, and in which form.

No secret: addresses lose their queries, which may be signatures, and options of the provider whose
name says that they are secret are masked. Nothing that a second try would say otherwise: a run
that was killed may have stored it already, and it is the same file then.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from holodeck_gen._config.secrets import mask
from holodeck_gen._http.addresses import without_query
from holodeck_gen._model.artifact import Artifact, Cost
from holodeck_gen._model.codec import from_json, to_json
from holodeck_gen._model.money import NO_CURRENCY
from holodeck_gen._model.origin import Origin, this_release
from holodeck_gen._model.values import JsonObject, JsonValue, freeze_object, in_order

if TYPE_CHECKING:
    from holodeck_gen._journal.journal import Entry, PartRecord
    from holodeck_gen._journal.shares import Share
    from holodeck_gen._journal.spool import RawFile
    from holodeck_gen._model.task import Input, Task
    from holodeck_gen._results.inspection import FileFacts
    from holodeck_gen._results.shelf import Kept

#: The form of what is written now; grows where a reader of the former one would be misled.
FORM = 1
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[^\s\"'<>]+", re.IGNORECASE)


@attrs.frozen(kw_only=True)
class SidecarJob:
    """The provider's job.

    Attributes:
        id: The provider's id; None where an answer came at once.
        request_ids: The provider's ids of the submit and of the query that told of the end.
        submitted_at: When it was accepted, by the clock here; UTC, as in RFC 3339.
        ended_at: When its end was seen.
        pictures: How many it was to make; cost and price are for all of them.
        cost: What it cost, if the provider says.
        price: What it was to cost, where that was known before.
        reused: Whether another task's job made the picture and it comes from the generation
            cache; then nothing was paid for it here, and cost and price are None.
    """

    id: str | None = None
    request_ids: tuple[str, ...] = attrs.field(default=(), converter=in_order)
    submitted_at: str | None = None
    ended_at: str | None = None
    pictures: int = 1
    cost: Cost | None = None
    price: Cost | None = None
    reused: bool = False


@attrs.frozen(kw_only=True)
class SidecarStages:
    """What the task and the picture went through, by the stages' names, in order.

    Attributes:
        rewrite: Rewriters.
        process: Processors.
    """

    rewrite: tuple[str, ...] = attrs.field(default=(), converter=in_order)
    process: tuple[str, ...] = attrs.field(default=(), converter=in_order)


@attrs.frozen(kw_only=True)
class SidecarFile:
    """A file.

    Attributes:
        name: Its name beside the sidecar; None for the provider's own, which is not kept.
        media_type: Such as ``image/png``.
        sha256: 64 hex digits over its bytes.
        size_bytes: Its length.
        width: Pixels, for pictures.
        height: Pixels, for pictures.
    """

    name: str | None = None
    media_type: str
    sha256: str
    size_bytes: int
    width: int | None = None
    height: int | None = None


@attrs.frozen(kw_only=True)
class SidecarParent:
    """An input of the task, such as the picture that a 3D model was made of.

    Attributes:
        path: As the task gave it, for local files.
        uri: Its address otherwise, without a query.
        sha256: 64 hex digits over its bytes when the task was put to the provider; None where
            these were not at hand.
    """

    path: str | None = None
    uri: str | None = None
    sha256: str | None = None


@attrs.frozen(kw_only=True)
class Sidecar:
    """How one picture, or other file of a provider, was made.

    Attributes:
        sidecar: The form of this file, 1.
        version: The release of holodeck-gen that fetched the picture.
        key: The task's key: its id, or a digest and an occurrence number.
        number: Which of the task's pictures it is, from 1.
        task: The task as it was given: the fields that were set, without ``inputs``.
        prompt: The words that were sent, after rewriting.
        negative_prompt: Likewise.
        revised_prompt: The words the provider made of them, if it says.
        provider: The provider's name.
        account: The provider's `account_key`: a digest, no secret.
        model: The model's name, where known.
        seed: The seed of this picture, where one was used.
        seed_effective: Whether it decides what is made; False where there is none.
        warnings: What the provider could not do as asked, in words.
        job: The job that made it.
        stages: What it went through.
        raw: The file as the provider sent it.
        files: What is stored: first the picture, then what processors put beside it.
        parents: The task's inputs.
        metadata: Facts from the provider, as those of an `Artifact`.
    """

    sidecar: int = FORM
    version: str
    key: str
    number: int
    task: JsonObject = attrs.field(converter=freeze_object, hash=False)
    prompt: str
    negative_prompt: str | None = None
    revised_prompt: str | None = None
    provider: str
    account: str
    model: str | None = None
    seed: int | None = None
    seed_effective: bool = False
    warnings: tuple[str, ...] = attrs.field(default=(), converter=in_order)
    job: SidecarJob
    stages: SidecarStages
    raw: SidecarFile
    files: tuple[SidecarFile, ...] = attrs.field(converter=in_order)
    parents: tuple[SidecarParent, ...] = attrs.field(default=(), converter=in_order)
    metadata: JsonObject = attrs.field(default=None, converter=freeze_object, hash=False)

    @classmethod
    def loads(cls, text: str | bytes) -> Sidecar:
        """Read a sidecar's content; what a later release has added is ignored.

        Raises:
            ValueError: It is no sidecar, or its form is not known here.
        """
        value = json.loads(text)
        form = value.get("sidecar") if isinstance(value, dict) else None
        if form != FORM:
            raise ValueError(f"it is no sidecar of form {FORM}")
        try:
            return from_json(value, cls)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it is no whole sidecar: {error!r}") from error

    def dumps(self) -> str:
        """The content of its file; equal for equal sidecars."""
        return json.dumps(to_json(self), ensure_ascii=False, indent=2) + "\n"


def describe(
    facts: FileFacts,
    kept: Sequence[Kept],
    processors: Sequence[str],
    *,
    raw: RawFile,
    entry: Entry,
    share: Share,
    made: Task,
    number: int,
    record: PartRecord,
    cost: Cost | None,
) -> bytes:
    """The content of a picture's sidecar.

    Args:
        facts: Of the raw file.
        kept: What was stored of it.
        processors: Their names.
        raw: The provider's file.
        entry: Its task.
        share: What its job was to make.
        made: What of it this picture is, with who made it.
        number: Which of the task's pictures it is, from 1.
        record: What an earlier run remembered of the part.
        cost: What the job cost, if the provider says.
    """
    plan = share.plan
    origin = raw.origin or recorded(record)
    price = plan.prices[share.index] if plan.prices and not origin.reused else None
    if price is not None and price.currency == NO_CURRENCY:
        # It costs nothing, in no money.
        price = None
    return (
        Sidecar(
            version=origin.release or this_release(),
            key=entry.key,
            number=number,
            task=_task(entry.task),
            prompt=made.prompt,
            negative_prompt=made.negative_prompt,
            revised_prompt=raw.revised_prompt,
            provider=plan.provider,
            account=plan.account,
            model=made.model,
            seed=made.seed,
            seed_effective=plan.seed_effective and made.seed is not None,
            warnings=plan.warnings,
            job=SidecarJob(
                id=origin.job_id,
                request_ids=origin.request_ids,
                submitted_at=_time(origin.submitted_at),
                ended_at=_time(origin.ended_at),
                pictures=share.task.n,
                cost=cost,
                price=price,
                reused=origin.reused,
            ),
            stages=SidecarStages(rewrite=entry.rewriters, process=processors),
            raw=_file(facts, None),
            files=[_file(each.artifact, each.name) for each in kept],
            parents=_parents(entry.task.inputs, plan.inputs),
            metadata=_shown(raw.metadata),
        )
        .dumps()
        .encode()
    )


def recorded(record: PartRecord) -> Origin:
    """What a part's record tells of its job, where no sidecar was wanted when it was fetched."""
    request_id = record.job.request_id if record.job else None
    return Origin(
        job_id=record.job.job_id if record.job else None,
        request_ids=[request_id] if request_id else (),
        submitted_at=record.submitted_at,
    )


def input_digests(inputs: Iterable[Input]) -> tuple[str | None, ...]:
    """The SHA-256 of each input, None where its bytes are not at hand. Reads files."""
    return tuple(each.sha256 if isinstance(each, Artifact) else _digest(each) for each in inputs)


def _digest(given: str) -> str | None:
    if given.startswith("data:") or "://" in given:
        return None
    try:
        with Path(given).expanduser().open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError, RuntimeError):
        # Whether the task can do without it is for its provider to say.
        return None


def _parents(inputs: Sequence[Input], digests: Sequence[str | None]) -> tuple[SidecarParent, ...]:
    # Where no sidecar was wanted yet, an earlier run has noted none.
    known = digests if len(digests) == len(inputs) else [None] * len(inputs)
    return tuple(_parent(each, digest) for each, digest in zip(inputs, known, strict=True))


def _parent(given: Input, digest: str | None) -> SidecarParent:
    if isinstance(given, Artifact):
        path = None if given.path is None else str(given.path)
        uri = None if given.uri is None else without_query(given.uri)
        return SidecarParent(path=path, uri=uri, sha256=given.sha256)
    if given.startswith("data:"):
        return SidecarParent(uri=given.partition(",")[0], sha256=digest)
    if "://" in given:
        return SidecarParent(uri=without_query(given), sha256=digest)
    return SidecarParent(path=given, sha256=digest)


def _task(task: Task) -> JsonObject:
    told = {name: value for name, value in to_json(task).items() if name != "inputs"}
    for name in ("provider_options", "metadata"):
        if name in told:
            told[name] = _shown(told[name])
    if "provider_options" in told:
        told["provider_options"] = mask(told["provider_options"])
    return told


def _shown(value: JsonValue) -> Any:
    """`value` with no query in any address."""
    if isinstance(value, str):
        return _ADDRESS.sub(lambda found: without_query(found[0]), value)
    if isinstance(value, Mapping):
        return {key: _shown(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(item) for item in value]
    return value


def _file(facts: FileFacts | Artifact, name: str | None) -> SidecarFile:
    return SidecarFile(
        name=name,
        media_type=facts.media_type,
        sha256=facts.sha256,
        size_bytes=facts.size_bytes,
        width=facts.width,
        height=facts.height,
    )


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
