"""One request to the service: built, signed or keyed, sent once, its answer read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from holodeck_gen.errors import ProviderError, TransientError
from holodeck_gen_providers.hunyuan._account import Account
from holodeck_gen_providers.hunyuan._errors import Fault, fault_in, http_date
from holodeck_gen_providers.hunyuan._network import network_errors, nothing_sent
from holodeck_gen_providers.hunyuan._tc3 import authorization

if TYPE_CHECKING:
    import httpx

#: Seconds; the pages say nothing, and overseas hosts were seen to take long to connect.
CONNECT_S = 10.0
READ_S = WRITE_S = 60.0
#: Seconds to wait for a place among the requests in flight; its end proves that nothing was sent.
PLACE_S = 30.0
#: Seconds; direct calls answer when the picture is drawn, usually within one minute.
DIRECT_READ_S = 280.0

#: As the SDK sends it: the signature covers it, so that a charset would make another one.
JSON_TYPE = "application/json"
AGENT = "holodeck-gen"

#: What is said where the answer to a direct call is lost.
NO_JOB = (
    "this model answers at once, so there is no job from which a picture that was made could be"
    " collected"
)

_CLOCK_CODE = "AuthFailure.SignatureExpire"


@attrs.frozen(kw_only=True)
class Answer:
    """What a call returned.

    Attributes:
        fields: The object that holds the fields, without its envelope.
        at: When, in seconds since the epoch by the service's clock.
    """

    fields: Mapping[str, Any]
    at: float

    @property
    def request_id(self) -> str | None:
        """The service's id of the request; the dialects spell its field in two ways."""
        found = self.fields.get("RequestId") or self.fields.get("request_id")
        return found if isinstance(found, str) else None


class FaultError(Exception):
    """The service answered with an error; never leaves the provider.

    Attributes:
        fault: What it said.
        date: When, by its clock, if it said so.
    """

    def __init__(self, fault: Fault, *, date: float | None) -> None:
        super().__init__(fault.code)
        self.fault = fault
        self.date = date


@attrs.define(kw_only=True, eq=False)
class Wire:
    """Calls actions of one account.

    Attributes:
        clock_offset_s: The service's clock minus ours, as far as it was ever needed.
    """

    provider: str
    account: Account
    region: str
    http: Callable[[], httpx.AsyncClient] = attrs.field(repr=False)
    wall_clock: Callable[[], float] = attrs.field(repr=False)
    clock_offset_s: float = attrs.field(default=0.0, init=False)
    _urls: dict[str, httpx.URL] = attrs.field(factory=dict, init=False, repr=False)

    async def call(
        self, action: str, body: bytes, *, direct: bool = False, job_field: str = ""
    ) -> Answer:
        """Send one request.

        Args:
            action: The action's name, or the path of its endpoint.
            body: JSON; exactly these bytes are signed and sent.
            direct: Whether the answer may take minutes.
            job_field: Where the answer has this field, it tells of a job, and an error beside it
                is the job's: an id that came is never thrown away.

        Raises:
            FaultError: The service answered with an error.
            TransientError: There is no usable answer; `not_created` where nothing was sent.
        """
        try:
            return await self._once(action, body, direct=direct, job_field=job_field)
        except FaultError as error:
            # Refused for its time alone, so that nothing was begun: the one error that the
            # answer itself tells how to mend.
            if error.fault.code != _CLOCK_CODE or not self._learn_clock(error):
                raise
        return await self._once(action, body, direct=direct, job_field=job_field)

    def redact(self, text: str) -> str:
        """`text` without anything of the account that a service may have quoted."""
        for secret in self.account.secrets:
            text = text.replace(secret, "…")
        return text

    async def _once(self, action: str, body: bytes, *, direct: bool, job_field: str) -> Answer:
        import httpx

        deadlines = {
            "connect": CONNECT_S,
            "read": DIRECT_READ_S if direct else READ_S,
            "write": WRITE_S,
            "pool": PLACE_S,
        }
        request = httpx.Request(
            "POST",
            self._url(action),
            headers=self._headers(action, body),
            content=body,
            extensions={"timeout": deadlines},
        )
        try:
            response = await self.http().send(request, follow_redirects=False)
        except network_errors() as error:
            raise self._lost(error, action, direct=direct) from error
        return self._read(response, action, direct=direct, job_field=job_field)

    def _read(
        self, response: httpx.Response, action: str, *, direct: bool, job_field: str
    ) -> Answer:
        parsed = _parsed(response.content)
        date = http_date(response.headers.get("date"))
        now = self._now() if date is None else date
        fields = _inner(parsed, "Response" if self._signed else "")
        if fields and response.is_success and fields.get(job_field):
            return Answer(fields=fields, at=now)
        fault = fault_in(
            parsed,
            status=response.status_code,
            headers=response.headers,
            now=now,
            redact=self.redact,
        )
        if fault is not None:
            raise FaultError(fault, date=date)
        if fields is None:
            raise self._doubtful(f"{action} was answered with something else than JSON", direct)
        return Answer(fields=fields, at=now)

    def _headers(self, action: str, body: bytes) -> list[tuple[str, str]]:
        common = [("Host", self._host), ("Content-Type", JSON_TYPE), ("User-Agent", AGENT)]
        keys = self.account.credentials
        if keys is None:
            return [*common, ("Authorization", f"Bearer {self.account.api_key}")]
        timestamp = int(self._now())
        dialect = self.account.dialect
        signed = authorization(
            keys,
            (("content-type", JSON_TYPE), ("host", self._host)),
            body,
            service=dialect.service,
            timestamp=timestamp,
        )
        headers = [
            *common,
            ("X-TC-Action", action),
            ("X-TC-Version", dialect.version),
            ("X-TC-Timestamp", str(timestamp)),
            ("X-TC-RequestClient", AGENT),
            ("Authorization", signed),
        ]
        if self.region:
            headers.append(("X-TC-Region", self.region))
        if keys.token:
            headers.append(("X-TC-Token", keys.token))
        return headers

    def _url(self, action: str) -> httpx.URL:
        path = "/" if self._signed else action
        if path not in self._urls:
            import httpx

            # Parsed once: reading a URL costs as much as all the rest of a request's making.
            self._urls[path] = httpx.URL(self.account.endpoint + path)
        return self._urls[path]

    def _lost(self, error: Exception, action: str, *, direct: bool) -> ProviderError:
        # Without the error's words: they may quote an address with what is in it.
        if nothing_sent(error):
            return TransientError(
                f"{self._host} cannot be reached: {type(error).__name__}",
                not_created=True,
                provider=self.provider,
            )
        return self._doubtful(f"the answer to {action} was lost: {type(error).__name__}", direct)

    def _doubtful(self, words: str, direct: bool) -> TransientError:
        return TransientError(f"{words}; {NO_JOB}" if direct else words, provider=self.provider)

    def _learn_clock(self, error: FaultError) -> bool:
        if error.date is None:
            return False
        self.clock_offset_s = error.date - self.wall_clock()
        return True

    def _now(self) -> float:
        return self.wall_clock() + self.clock_offset_s

    @property
    def _signed(self) -> bool:
        return self.account.dialect.signed

    @cached_property
    def _host(self) -> str:
        return self.account.endpoint.partition("://")[2]


def encode(fields: Mapping[str, Any]) -> bytes:
    """The body of a request."""
    return orjson.dumps(fields, default=dict)


def _parsed(content: bytes) -> dict[str, Any] | None:
    # Whatever the type says: gateways and the service itself label JSON in many ways.
    try:
        value = orjson.loads(content)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _inner(parsed: dict[str, Any] | None, envelope: str) -> dict[str, Any] | None:
    if parsed is None or not envelope:
        return parsed
    inner = parsed.get(envelope)
    return inner if isinstance(inner, dict) else None
