"""What a provider is to the engine, and the values that pass between them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

import attrs

from holodeck_gen._model.artifact import Cost
from holodeck_gen._model.values import JsonObject, freeze_object, in_order
from holodeck_gen.errors import TaskError

if TYPE_CHECKING:
    import httpx

    from holodeck_gen._log import Logger
    from holodeck_gen._model.task import Task

Billing: TypeAlias = Literal["paid", "free"]
Phase: TypeAlias = Literal["queued", "running", "done", "failed"]
Action: TypeAlias = Literal["submit", "poll", "download"]

_text = attrs.validators.and_(attrs.validators.instance_of(str), attrs.validators.min_len(1))
_positive = attrs.validators.optional(attrs.validators.gt(0))


@attrs.frozen(kw_only=True)
class Limits:
    """What a provider allows one account; None means that it does not say.

    Attributes:
        max_jobs: Jobs between submit and their end, at once.
        max_jobs_enforced: Whether a job above `max_jobs` is refused (`SlotRefusedError`) and
            does no harm. Only then an automatic search tries whether there are more slots
            than documented.
        refusals_free: Whether a submit that is refused because of the number of jobs costs
            nothing, however many are. Only then `probe` has an effect.
        submit_rate: Submits a second.
        poll_rate: Polls a second.
        download_rate: Downloads a second.
        poll_interval_s: Seconds between two polls of one job that would be sensible without
            knowing more. Where polls begin: how long jobs take is learnt from them.
        request_timeout_s: Seconds one submit or poll may take; long for direct providers.
        job_timeout_s: Seconds from submit after which a job is overdue.
        download_timeout_s: Seconds one download may take.
    """

    max_jobs: int | None = attrs.field(default=None, validator=_positive)
    max_jobs_enforced: bool = False
    refusals_free: bool = False
    submit_rate: float | None = attrs.field(default=None, validator=_positive)
    poll_rate: float | None = attrs.field(default=None, validator=_positive)
    download_rate: float | None = attrs.field(default=None, validator=_positive)
    poll_interval_s: float = attrs.field(default=2.0, validator=attrs.validators.gt(0))
    request_timeout_s: float = attrs.field(default=60.0, validator=attrs.validators.gt(0))
    job_timeout_s: float = attrs.field(default=600.0, validator=attrs.validators.gt(0))
    download_timeout_s: float = attrs.field(default=120.0, validator=attrs.validators.gt(0))

    def rate(self, action: Action) -> float | None:
        """The limit of `action` a second."""
        match action:
            case "submit":
                return self.submit_rate
            case "poll":
                return self.poll_rate
            case "download":
                return self.download_rate


@attrs.frozen(kw_only=True)
class Prepared:
    """A task in the provider's own words.

    Attributes:
        request: Exactly what is stored, fingerprinted and submitted.
        warnings: What the provider cannot do as asked, in words.
        seed_effective: Whether the seed makes the result repeatable.
        per_job: How many pictures one job can make.
        estimate: What this request will cost, if known.
        model: The model that will be used, if known.
    """

    request: JsonObject = attrs.field(converter=freeze_object, hash=False)
    warnings: tuple[str, ...] = attrs.field(default=(), converter=in_order)
    seed_effective: bool = False
    per_job: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    estimate: Cost | None = None
    model: str | None = None


@attrs.frozen(kw_only=True)
class JobRef:
    """A job at the provider: enough to poll it from any process.

    Attributes:
        job_id: The provider's id of it.
        state: Whatever else `poll` needs. JSON; no secrets.
        request_id: The provider's id of the submit, for its support.
    """

    job_id: str = attrs.field(validator=_text)
    state: JsonObject = attrs.field(default=None, converter=freeze_object, hash=False)
    request_id: str | None = None


@attrs.frozen(kw_only=True)
class Url:
    """An output to be downloaded.

    Attributes:
        url: Where. May carry a signature: whole in the journal, stripped everywhere else.
        media_type: If the provider says.
        expires_at: Seconds since the epoch by the provider's clock, if known.
        seed: The seed that made it.
        revised_prompt: The words the provider made of the prompt.
        metadata: Facts for the artifact.
    """

    url: str = attrs.field(
        validator=_text,
        repr=lambda url: repr(url.partition("?")[0]),
    )
    media_type: str | None = None
    expires_at: float | None = None
    seed: int | None = None
    revised_prompt: str | None = None
    metadata: JsonObject = attrs.field(default=None, converter=freeze_object, hash=False)


@attrs.frozen(kw_only=True)
class Bytes:
    """An output that came with the answer. Attributes as those of `Url`."""

    data: bytes = attrs.field(
        validator=attrs.validators.instance_of(bytes), repr=lambda data: f"<{len(data)} bytes>"
    )
    media_type: str | None = None
    seed: int | None = None
    revised_prompt: str | None = None
    metadata: JsonObject = attrs.field(default=None, converter=freeze_object, hash=False)


@attrs.frozen(kw_only=True)
class PartError:
    """One of several outputs that was not made."""

    error: TaskError = attrs.field(validator=attrs.validators.instance_of(TaskError), eq=False)


Output: TypeAlias = Url | Bytes | PartError


def _known_outputs(_status: object, _attribute: object, value: tuple[object, ...]) -> None:
    for item in value:
        if not isinstance(item, Url | Bytes | PartError):
            raise TypeError(f"an output is a Url, Bytes or PartError, not {item!r}")


@attrs.frozen(kw_only=True)
class JobStatus:
    """What a poll found.

    Attributes:
        phase: ``done`` and ``failed`` are final.
        outputs: What was made; only with ``done``.
        error: Why; only with ``failed``.
        retry_hint_s: Seconds after which the provider wants to be asked again.
        cost: What the job cost, if the provider says.
        request_id: The provider's id of the request that was answered so, for its support.
    """

    phase: Phase = attrs.field(
        validator=attrs.validators.in_(("queued", "running", "done", "failed"))
    )
    outputs: tuple[Output, ...] = attrs.field(
        default=(), converter=in_order, validator=_known_outputs
    )
    error: TaskError | None = attrs.field(default=None, eq=False)
    retry_hint_s: float | None = None
    cost: Cost | None = None
    request_id: str | None = None

    @property
    def final(self) -> bool:
        """Whether the job has ended."""
        return self.phase in ("done", "failed")


@runtime_checkable
class Provider(Protocol):
    """A service that makes media, one job at a time.

    Optional, found by presence: ``async cancel(job)``; ``async lookup(key) -> JobRef | None``
    for services with idempotency keys; ``async fetch(url) -> bytes`` where a plain GET will
    not do; ``async aclose()``; ``limits_for(task) -> Limits`` where the limits depend on the
    quota key; ``account_label``, which names the account to people and is no secret;
    ``endpoint``, the service's URL: results are fetched from this machine only where
    the service runs on it, too, as an emulator does; ``duration_key(request) -> str``, equal for
    requests whose jobs take about as long, as far as the request tells (without it, equal quota
    keys and models); ``resubmit_safe = True`` where a repeated
    submit with the same key cannot make a second job.
    """

    @property
    def name(self) -> str:
        """The name in results and logs."""
        ...

    @property
    def billing(self) -> Billing:
        """``"paid"`` or ``"free"``; whatever else is found means paid."""
        ...

    @property
    def limits(self) -> Limits:
        """The documented limits of the account in use."""
        ...

    def account_key(self) -> str:
        """A digest of the endpoint and the account; no secret."""
        ...

    def quota_key(self, task: Task) -> str:
        """Tasks with equal keys share the service's job slots."""
        ...

    def prepare(self, task: Task) -> Prepared:
        """Translate and check `task`; pure, no cost.

        Called in the event loop, and in threads for tasks with inputs, whose files it may read.

        Raises:
            InvalidTaskError: The provider cannot do what is asked.
        """
        ...

    async def submit(self, request: JsonObject, *, key: str) -> JobRef | JobStatus:
        """Make one call that starts one job; no retries, sleeps or limits inside.

        Args:
            request: What `prepare` returned.
            key: The same for every attempt at the same part; an idempotency key.

        Returns:
            The job, or, where the service answers at once, its final status.

        Raises:
            ProviderError: With ``not_created=True`` only where that is proven, and with a ``code``
                wherever the service answered.
        """
        ...

    async def poll(self, job: JobRef) -> JobStatus:
        """Ask once how the job is doing; always safe to repeat."""
        ...


#: What every provider has.
_PARTS = (
    "name", "billing", "limits", "account_key", "quota_key", "prepare", "submit", "poll",
)  # fmt: skip


def lacks(made: object) -> list[str]:
    """What `made` lacks to be a provider.

    Other than ``isinstance`` since Python 3.12, it finds what ``__getattr__`` hands on.
    """
    return [name for name in _PARTS if not hasattr(made, name)]


@attrs.frozen(kw_only=True)
class Context:
    """What the engine lends to a plugin's factory, inside the running loop.

    Attributes:
        http: Returns the studio's pooled HTTP client; import and connection happen on the
            first call. The studio closes it.
        wall_clock: Seconds since the epoch.
        environ: The environment, with the ``.env`` file below it.
        log: Bound to the plugin's name.
    """

    http: Callable[[], httpx.AsyncClient]
    wall_clock: Callable[[], float]
    environ: Mapping[str, str] = attrs.field(repr=False)
    log: Logger


class DirectProvider:
    """Adapts one asynchronous function to a `Provider` for a service that answers at once.

    A lost answer cannot be collected later, because there is no job to ask for.

    Args:
        name: The provider's name.
        generate: Takes the request (the task's fields that are set: ``prompt``, ``size``,
            ``seed``, ``model``, ``negative_prompt``, ``style`` and the provider options) and
            returns one encoded file.
        account: Names the account without being a secret.
        billing: ``"paid"`` unless it costs nothing.
        limits: What the service allows.
    """

    def __init__(
        self,
        name: str,
        generate: Callable[[JsonObject], Awaitable[bytes]],
        *,
        account: str = "default",
        billing: Billing = "paid",
        limits: Limits | None = None,
    ) -> None:
        self.name = name
        self.billing: Billing = billing
        self.limits = limits or Limits(request_timeout_s=300.0)
        self._generate = generate
        self._account = account

    def account_key(self) -> str:
        """The name and the account."""
        return f"{self.name}:{self._account}"

    def quota_key(self, task: Task) -> str:
        """One quota for all."""
        return "generate"

    def prepare(self, task: Task) -> Prepared:
        """Pass on every field that is set."""
        fields = {
            "prompt": task.prompt,
            "model": task.model,
            "size": task.size,
            "seed": task.seed,
            "negative_prompt": task.negative_prompt,
            "style": task.style,
            "inputs": [
                item if isinstance(item, str) else str(item.path or item.uri)
                for item in task.inputs
            ],
            **task.provider_options,
        }
        return Prepared(
            request={name: value for name, value in fields.items() if value not in (None, [])},
            seed_effective=task.seed is not None,
            model=task.model,
        )

    async def submit(self, request: JsonObject, *, key: str) -> JobStatus:
        """Call the function and return its file as the job's end."""
        data = await self._generate(request)
        return JobStatus(phase="done", outputs=(Bytes(data=data, seed=request.get("seed")),))

    async def poll(self, job: JobRef) -> JobStatus:
        """Not used: the answer of `submit` is final."""
        raise NotImplementedError(f"{self.name} answers at once and has no jobs to poll")
