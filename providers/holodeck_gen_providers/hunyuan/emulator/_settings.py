"""What the service can be told to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from holodeck_gen_providers.hunyuan.emulator._faults import Fault, parse_faults

if TYPE_CHECKING:
    from collections.abc import Iterable

_not_negative = attrs.validators.ge(0.0)
_some = attrs.validators.optional(attrs.validators.ge(1))
_rate = attrs.validators.optional(_not_negative)


@attrs.frozen(kw_only=True)
class Account:
    """One customer; has keys for both kinds of dialect.

    Attributes:
        secret_id: Names the account in signatures.
        secret_key: Signs.
        token: Must come with every request where it is set, as with temporary keys.
        api_key: The bearer key of TokenHub.
    """

    secret_id: str = "AKIDemulator0000000000000000000001"
    secret_key: str = attrs.field(default="emulated-secret-key-0000000001", repr=False)
    token: str | None = attrs.field(default=None, repr=False)
    api_key: str = attrs.field(default="sk-emulated-0000000001", repr=False)


def _accounts(value: Account | Iterable[Account]) -> tuple[Account, ...]:
    return (value,) if isinstance(value, Account) else tuple(value)


def _words(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _names(value: str | Iterable[str]) -> frozenset[str]:
    return frozenset(_words(value))


@attrs.frozen(kw_only=True)
class Settings:
    """How the service behaves. Where a field may be None, None means as documented.

    Attributes:
        max_jobs: Jobs at once of one account and action. Where nothing is documented, 1.
        job_s: Median seconds from a job's submit to its end.
        job_sigma: Spread of the logarithm of those seconds; 0 makes all equal.
        queue_share: Share of those seconds for which a job waits.
        submit_rate: Submits a second of one account, action and region; 0 is no limit.
        poll_rate: Queries a second, likewise.
        slot_lag_s: Seconds for which a slot stays taken after its job's end.
        url_ttl_s: Seconds for which a result's address works.
        renew_urls: Whether every query gives a fresh address; otherwise its time runs from the
            job's end. What the real service does is not known.
        keep_s: Seconds after which jobs are forgotten.
        bill_failures: Whether pictures are billed that a job was to make and did not. What the
            real service does is not known.
        faults: See `_faults`; text or parsed.
        seed: Of everything that is left to chance.
        accounts: Those that exist.
        pictures: ``"drawn"`` by the procedural provider, or ``"cheap"``: 16×16 pixels whatever
            the size, for load.
        refused_words: A prompt with one of them is refused at submit.
        rejected_words: A prompt with one of them fails in its job.
        offline: Dialects, actions or models that are retired.

    Raises:
        ValueError: A field cannot be what it is.
    """

    max_jobs: int | None = attrs.field(default=None, validator=_some)
    job_s: float = attrs.field(default=5.0, validator=_not_negative)
    job_sigma: float = attrs.field(default=0.0, validator=_not_negative)
    queue_share: float = attrs.field(default=0.2, validator=[_not_negative, attrs.validators.le(1)])
    submit_rate: float | None = attrs.field(default=None, validator=_rate)
    poll_rate: float | None = attrs.field(default=None, validator=_rate)
    slot_lag_s: float = attrs.field(default=0.0, validator=_not_negative)
    url_ttl_s: float | None = attrs.field(default=None, validator=_rate)
    renew_urls: bool = True
    keep_s: float = attrs.field(default=24 * 3600.0, validator=attrs.validators.gt(0))
    bill_failures: bool = False
    faults: tuple[Fault, ...] = attrs.field(default=(), converter=parse_faults)
    seed: int = 0
    accounts: tuple[Account, ...] = attrs.field(default=(Account(),), converter=_accounts)
    pictures: Literal["drawn", "cheap"] = attrs.field(
        default="drawn", validator=attrs.validators.in_(("drawn", "cheap"))
    )
    refused_words: tuple[str, ...] = attrs.field(default=("forbidden",), converter=_words)
    rejected_words: tuple[str, ...] = attrs.field(default=("indecent",), converter=_words)
    offline: frozenset[str] = attrs.field(factory=frozenset, converter=_names)
