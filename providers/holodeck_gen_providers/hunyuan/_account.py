"""Which account is used, and in which dialect: from options, environment and credentials."""

from __future__ import annotations

import hashlib
import urllib.parse
from typing import TYPE_CHECKING

import attrs

from holodeck_gen.errors import ConfigError
from holodeck_gen_providers.hunyuan._tables import Dialect
from holodeck_gen_providers.hunyuan._tc3 import Credentials, masked

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Pairs of variables for signed dialects, best first, each with the names of its token.
_PAIRS = (
    ("HUNYUAN_SECRET_ID", "HUNYUAN_SECRET_KEY", ("HUNYUAN_TOKEN",)),
    (
        "TENCENTCLOUD_SECRET_ID",
        "TENCENTCLOUD_SECRET_KEY",
        ("TENCENTCLOUD_TOKEN", "TENCENTCLOUD_SESSION_TOKEN", "TENCENTCLOUD_SECURITY_TOKEN"),
    ),
)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@attrs.frozen(kw_only=True)
class Given:
    """What options say; empty text is nothing said. Attributes as `HunyuanOptions`."""

    secret_id: str = attrs.field(default="", repr=False)
    secret_key: str = attrs.field(default="", repr=False)
    token: str = attrs.field(default="", repr=False)
    api_key: str = attrs.field(default="", repr=False)
    dialect: str = ""
    endpoint: str = ""


@attrs.frozen(kw_only=True)
class Account:
    """One set of credentials at one endpoint.

    Attributes:
        dialect: Its table.
        credentials: For signed dialects.
        api_key: For the others.
        endpoint: Scheme and host, such as ``https://aiart.tencentcloudapi.com``.
        reason: Why this dialect, in words.
    """

    dialect: Dialect
    credentials: Credentials | None = None
    api_key: str = attrs.field(default="", repr=False)
    endpoint: str
    reason: str = ""

    @property
    def shown(self) -> str:
        """The account's name, masked."""
        return masked(self.credentials.secret_id if self.credentials else self.api_key)

    @property
    def key(self) -> str:
        """A digest that tells accounts apart and reveals none."""
        name = self.credentials.secret_id if self.credentials else self.api_key
        text = "\n".join((self.dialect.name, self.endpoint, name))
        # Slow on purpose: an API key is the secret itself, and the digest is stored.
        digest = hashlib.pbkdf2_hmac("sha256", text.encode(), b"holodeck-gen account", 10_000)
        return f"{self.dialect.name}:{digest[:12].hex()}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What may appear nowhere."""
        keys = self.credentials
        every = (self.api_key, *((keys.secret_key, keys.token, keys.secret_id) if keys else ()))
        return tuple(secret for secret in every if secret)

    @property
    def encrypted(self) -> bool:
        """Whether nobody between can read the credentials."""
        parts = urllib.parse.urlsplit(self.endpoint)
        return parts.scheme == "https" or parts.hostname in _LOOPBACK


def choose(
    given: Given, environ: Mapping[str, str], dialects: Mapping[str, Dialect], *, provider: str
) -> Account:
    """The account to use; what `given` says wins over the environment.

    Raises:
        ConfigError: There are no credentials, half of a pair, or none that fit the dialect.
    """
    keys = _pair(given, environ)
    api_key = _usable("API key", given.api_key or environ.get("HUNYUAN_API_KEY", ""))
    bearers = any(not dialect.signed for dialect in dialects.values())
    dialect, reason = _dialect(given, environ, dialects, keys, api_key if bearers else "")
    if dialect is None:
        raise ConfigError(f"{provider} needs credentials: {_wanted(bearers)}")
    if dialect.signed and keys is None:
        raise ConfigError(f"{provider}: dialect {dialect.name} needs {_wanted(False)}")
    if not dialect.signed and not api_key:
        raise ConfigError(f"{provider}: dialect {dialect.name} needs HUNYUAN_API_KEY or api_key")
    redirected = given.endpoint or environ.get("HUNYUAN_ENDPOINT", "")
    return Account(
        dialect=dialect,
        credentials=keys if dialect.signed else None,
        api_key="" if dialect.signed else api_key,
        endpoint=_endpoint(redirected) if redirected else f"https://{dialect.host}",
        reason=reason,
    )


def _dialect(
    given: Given,
    environ: Mapping[str, str],
    dialects: Mapping[str, Dialect],
    keys: Credentials | None,
    api_key: str,
) -> tuple[Dialect | None, str]:
    named = given.dialect or environ.get("HUNYUAN_DIALECT", "")
    if named and len(dialects) > 1:
        if named not in dialects:
            raise ConfigError(f"there is no dialect {named!r}; there are: {', '.join(dialects)}")
        return dialects[named], "named"
    signed = next((dialect for dialect in dialects.values() if dialect.signed), None)
    bearer = next((dialect for dialect in dialects.values() if not dialect.signed), None)
    if keys and api_key and bearer and signed:
        # Options are the nearer wish; among equals the interface that goes on wins.
        if given.secret_id and not given.api_key:
            return signed, f"secret_id is set, HUNYUAN_API_KEY is not used; {_other(bearer)}"
        return bearer, f"an API key and a key pair are set, {signed.name} is old; {_other(signed)}"
    if api_key and bearer:
        return bearer, "an API key is set"
    if keys and signed:
        return signed, "a key pair is set"
    return None, ""


def _other(dialect: Dialect) -> str:
    return f"dialect={dialect.name} chooses otherwise"


def _pair(given: Given, environ: Mapping[str, str]) -> Credentials | None:
    if given.secret_id or given.secret_key:
        if not (given.secret_id and given.secret_key):
            raise ConfigError("secret_id and secret_key are only of use together")
        return _credentials(given.secret_id, given.secret_key, given.token)
    for id_name, key_name, token_names in _PAIRS:
        secret_id, secret_key = environ.get(id_name, ""), environ.get(key_name, "")
        if secret_id and secret_key:
            token = next((environ[name] for name in token_names if environ.get(name)), "")
            return _credentials(secret_id, secret_key, given.token or token)
    return None


def _credentials(secret_id: str, secret_key: str, token: str) -> Credentials:
    return Credentials(
        secret_id=_usable("secret id", secret_id),
        secret_key=_usable("secret key", secret_key),
        token=_usable("token", token) or None,
    )


def _usable(what: str, value: str) -> str:
    """`value` without the blanks that copying adds; it must fit into a header."""
    value = value.strip()
    if not (value.isascii() and value.isprintable()) or " " in value:
        # Found out now: in the middle of a submit it would look like a lost answer.
        raise ConfigError(f"the {what} holds characters that no {what} has")
    return value


def _wanted(bearers: bool) -> str:
    pair = "HUNYUAN_SECRET_ID and HUNYUAN_SECRET_KEY (or secret_id and secret_key)"
    return f"HUNYUAN_API_KEY (or api_key) for TokenHub, or {pair}" if bearers else pair


def _endpoint(text: str) -> str:
    """Check an address of ours: scheme, host and port, nothing else."""
    parts = urllib.parse.urlsplit(text.strip())
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    extras = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if not usable or extras:
        # Not quoted: what is wrong with it may be a password.
        raise ConfigError("the endpoint must look like https://host or http://127.0.0.1:8787")
    return f"{parts.scheme}://{parts.netloc.lower()}"
