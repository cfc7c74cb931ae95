"""What the object store is told, and what obstore is told of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from holodeck_gen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What an address may begin with.
SCHEMES = frozenset({"s3", "gs", "az", "memory"})
#: Variables that hold credentials, by the scheme of the address. obstore finds them in the
#: environment by itself, but not in an ``.env`` file. Addresses are not among them: a folder
#: that was merely unpacked may not send credentials elsewhere.
_VARIABLES = {
    "s3": (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("AWS_REGION", "AWS_DEFAULT_REGION"),
    ),
    "gs": ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_APPLICATION_CREDENTIALS"),
    "az": (
        *("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_KEY"),
        *("AZURE_STORAGE_CLIENT_ID", "AZURE_STORAGE_CLIENT_SECRET", "AZURE_STORAGE_TENANT_ID"),
    ),
}
#: Any of these settings of obstore's, or variables of that name, is a credential or leads to one.
_CREDENTIALS = re.compile(
    r"(aws_)?(access_key_id|web_identity_token_file|container_credentials_\w+)"
    r"|(google_)?(service_account\w*|application_credentials)"
    r"|(azure_)?(storage_)?(account_key|access_key|sas_key|client_id|federated_token_file)"
    r"|(aws_|azure_|google_)?skip_signature",
    re.IGNORECASE,
)
#: What a service says of an error, in its XML.
_ANSWER = re.compile(r"<Code>([^<]*)</Code>(?:.*?<Message>([^<]*)</Message>)?")
_QUERY = re.compile(r"\?[^\s)\"']+")


@attrs.frozen(kw_only=True)
class ObjectOptions:
    """Options of the object store.

    Attributes:
        url: Where: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, memory://.
        endpoint: The address of a service that is like S3, such as
            https://cos.ap-guangzhou.myqcloud.com.
        region: Of the bucket.
        virtual_hosted: Whether the bucket is part of the host's name. Tencent COS wants it.
        access_key_id: Else from the usual variables, or the machine's role.
        secret_access_key: Likewise.
        session_token: Likewise.
        config: Further settings by obstore's names, such as account_name of Azure.
        conditional: Whether the service can create an object only where there is none. Where
            not, each object is looked for first.
        multipart_bytes: Larger files are sent in parts; each is looked for first.
        retries: How often obstore repeats a request that failed.
        timeout_s: Seconds one request may take.
    """

    url: str
    endpoint: str | None = None
    region: str | None = None
    virtual_hosted: bool = False
    access_key_id: str | None = attrs.field(default=None, repr=False)
    secret_access_key: str | None = attrs.field(default=None, repr=False)
    session_token: str | None = attrs.field(default=None, repr=False)
    config: dict[str, str] = attrs.field(factory=dict, repr=False)
    conditional: bool = True
    multipart_bytes: int = attrs.field(default=64 << 20, validator=attrs.validators.ge(0))
    retries: int = attrs.field(default=10, validator=attrs.validators.ge(0))
    timeout_s: float = attrs.field(default=120.0, validator=attrs.validators.gt(0))


def settings_of(options: ObjectOptions, environ: Mapping[str, str]) -> dict[str, Any]:
    """What obstore is to know, by its own names.

    Raises:
        ConfigError: The endpoint is no address.
    """
    parts = urlsplit(options.url)
    settings: dict[str, Any] = {
        name.lower(): environ[name]
        for name in _VARIABLES.get(parts.scheme, ())
        if environ.get(name)
    }
    settings |= options.config
    given = {
        "region": options.region,
        "access_key_id": options.access_key_id,
        "secret_access_key": options.secret_access_key,
        "session_token": options.session_token,
    }
    for name, value in given.items():
        if value is not None:
            # One value under two names would be an error, or worse.
            settings.pop(f"aws_{name}", None)
            settings[name] = value
    if options.virtual_hosted:
        settings["virtual_hosted_style_request"] = True
    if options.endpoint is not None:
        address = urlsplit(options.endpoint)
        if "@" in address.netloc or address.query:
            # It is kept in the journal, as part of where the files are.
            raise ConfigError(
                "object: write the endpoint without user, password and '?'; credentials are"
                " options of their own"
            )
        if address.scheme not in ("http", "https") or not address.netloc:
            raise ConfigError(f"object: endpoint {options.endpoint!r} is no http(s) address")
        # obstore takes the endpoint as it is and does not put the bucket into it.
        host = f"{parts.netloc}.{address.netloc}" if options.virtual_hosted else address.netloc
        settings["endpoint"] = address._replace(netloc=host).geturl()
    return settings


def check_address(url: str) -> None:
    """Refuse an address that is none of ours, or that holds what may be a credential.

    Raises:
        ConfigError: It is one of these; a credential is not repeated.
    """
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"object: {parts.scheme}://…: write the address without user, password, '?' and '#';"
            " credentials are options of their own"
        )
    if parts.scheme not in SCHEMES:
        raise ConfigError(
            f"object: {url}: write it as s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or"
            " az://CONTAINER/PREFIX; the address of a service that is like S3 is its endpoint"
        )


def without_credentials(url: str, settings: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """The end of an error message where no credentials are set; else nothing."""
    if any(_CREDENTIALS.fullmatch(name) for name in (*settings, *environ)):
        return ""
    first = " and ".join(_VARIABLES[urlsplit(url).scheme][:2])
    return (
        f"; no credentials are set, so this machine's role was asked for: set {first}, or the"
        " options of the store"
    )


def words(error: Exception) -> str:
    """What obstore says, in a line and without what may be a signature."""
    text = " ".join(str(error).partition("\n\nDebug source")[0].split())
    if answer := _ANSWER.search(text):
        text = f"{text[: text.index('<')]}{': '.join(filter(None, answer.groups()))}"
    text = _QUERY.sub("?…", text)
    return text if len(text) <= 400 else f"{text[:400]}…"
