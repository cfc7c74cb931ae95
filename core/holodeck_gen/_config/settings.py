"""How a studio goes about its work: the numbers and policies a user may set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from holodeck_gen._health.judgement import OUTAGE_S
from holodeck_gen._health.retry import RetryPolicy
from holodeck_gen._model.artifact import Cost
from holodeck_gen._model.concurrency import Concurrency
from holodeck_gen._model.money import parse_money
from holodeck_gen._model.names import NameTemplate
from holodeck_gen.errors import ConfigError

if TYPE_CHECKING:
    from holodeck_gen._config.config import Config
    from holodeck_gen._model.provider import Limits

OnUncertain: TypeAlias = Literal["hold", "resubmit"]

_positive = attrs.validators.optional(attrs.validators.gt(0))


def _concurrency(value: int | str | Concurrency) -> Concurrency:
    return Concurrency.parse(value)


def _budget(value: object) -> Cost | None:
    return None if value is None else parse_money(value)


@attrs.frozen(kw_only=True)
class Settings:
    """Checked at construction.

    Attributes:
        concurrency: Jobs at once.
        budget: What the jobs of a journal may cost in all; None means any amount.
        probe: Whether the next submit is tried where a slot is probably free, before a poll.
        on_uncertain: What to do where a submit may or may not have made a job.
        attempts: Tries of one request in all.
        backoff_s: Seconds before the second try.
        request_timeout_s: Seconds for one submit or poll; None means the provider's figure.
        job_timeout_s: Seconds until a job is overdue; None means the provider's figure.
        outage_s: Seconds without a good answer of the service after which the run pauses.
        name: How files are named.
        sidecar: Whether each picture gets a file beside it that tells how it was made.
        window: Tasks in work at once, at least; more where there are more slots.
        undelivered: Outcomes that may wait for the caller before no new task is begun.
        downloads: Downloads at once.
        stage_timeout_s: Seconds one rewriter, processor or store may take.
    """

    concurrency: Concurrency = attrs.field(factory=Concurrency, converter=_concurrency)
    budget: Cost | None = attrs.field(default=None, converter=_budget)
    probe: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))
    on_uncertain: OnUncertain = attrs.field(
        default="hold", validator=attrs.validators.in_(("hold", "resubmit"))
    )
    attempts: int = attrs.field(default=4, validator=attrs.validators.ge(1))
    backoff_s: float = attrs.field(default=2.0, validator=attrs.validators.ge(0))
    request_timeout_s: float | None = attrs.field(default=None, validator=_positive)
    job_timeout_s: float | None = attrs.field(default=None, validator=_positive)
    outage_s: float = attrs.field(default=OUTAGE_S, validator=attrs.validators.gt(0))
    name: NameTemplate = attrs.field(factory=NameTemplate)
    sidecar: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))
    window: int = 64
    undelivered: int = 1024
    downloads: int = 8
    stage_timeout_s: float = 300.0

    def submit_policy(self) -> RetryPolicy:
        """For submits, which cost."""
        return RetryPolicy(attempts=self.attempts, backoff_s=self.backoff_s)

    def patient_policy(self) -> RetryPolicy:
        """For polls, which are always safe to repeat and have the job's deadline."""
        return RetryPolicy(attempts=None, backoff_s=self.backoff_s)

    def request_timeout(self, limits: Limits) -> float:
        """Seconds for one submit or poll."""
        return self.request_timeout_s or limits.request_timeout_s

    def job_timeout(self, limits: Limits) -> float:
        """Seconds until a job is overdue."""
        return self.job_timeout_s or limits.job_timeout_s


def settings_of(config: Config, *, name: str | None, **arguments: Any) -> Settings:
    """Settings from arguments and, where those are None, from the configuration.

    Raises:
        ConfigError: One of them cannot be what it is.
    """
    known = {key: config.get(key) if given is None else given for key, given in arguments.items()}
    template = NameTemplate(config.get("name") if name is None else name)
    try:
        return Settings(name=template, **{k: v for k, v in known.items() if v is not None})
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error.args[0])) from error
