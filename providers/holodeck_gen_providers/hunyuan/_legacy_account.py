"""Which account the legacy client uses, and what it says of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import holodeck_gen as hg
from holodeck_gen_providers.hunyuan import DEFAULT_REGION, HunyuanOptions
from holodeck_gen_providers.hunyuan._account import Given, choose
from holodeck_gen_providers.hunyuan._services import DIALECTS

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger("holodeck_core.image_generation")

#: The default of old, which callers may read; the service does not take it.
OLD_REGION = "ap-beijing"
_EITHER = (
    ("HUNYUAN_API_KEY",),
    ("HUNYUAN_SECRET_ID", "HUNYUAN_SECRET_KEY"),
    ("TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY"),
)


def environment() -> Mapping[str, str]:
    """The variables of the process and, below them, of the nearest ``.env`` file."""
    return hg.Config.load().environ


def check_credentials(environ: Mapping[str, str]) -> None:
    """Find out whether there are any.

    Raises:
        ValueError: There are none; names the variables.
    """
    if not any(all(environ.get(name) for name in names) for names in _EITHER):
        raise ValueError(
            "no credentials: set HUNYUAN_SECRET_ID and HUNYUAN_SECRET_KEY, or HUNYUAN_API_KEY for"
            " TokenHub, in the environment or in a .env file"
        )


def max_concurrent(environ: Mapping[str, str], default: int) -> int:
    """``HUNYUAN_MAX_CONCURRENT``.

    Raises:
        ValueError: It is no number.
    """
    text = environ.get("HUNYUAN_MAX_CONCURRENT", "").strip()
    if text and not (text.isdecimal() and int(text) >= 1):
        raise ValueError(f"HUNYUAN_MAX_CONCURRENT must be a number of at least 1, not {text!r}")
    return int(text) if text else default


def chosen(
    secret_id: str, secret_key: str, region: str, environ: Mapping[str, str]
) -> HunyuanOptions:
    """The provider's options; tells the account and the region in the log.

    Args:
        secret_id: As given in code; empty where the environment decides.
        secret_key: Likewise.
        region: As given in code.
        environ: The variables that apply.

    Raises:
        ConfigError: There is no account to use.
    """
    options = HunyuanOptions(secret_id=secret_id or "", secret_key=secret_key or "")
    given = Given(secret_id=options.secret_id, secret_key=options.secret_key)
    account = choose(given, environ, DIALECTS, provider="hunyuan")
    # Whoever has both kinds of credentials must see without asking which of them pays.
    both = bool(environ.get("HUNYUAN_API_KEY")) and (
        bool(options.secret_id) or all(environ.get(name) for name in _EITHER[1])
    )
    log.log(
        logging.WARNING if both else logging.INFO,
        "account %s of dialect %s at %s pays (%s)",
        account.shown,
        account.dialect.name,
        account.endpoint,
        account.reason,
    )
    if account.dialect.signed and region != DEFAULT_REGION:
        log.info("region %s is not served by the image actions; %s is sent", region, DEFAULT_REGION)
    return options
