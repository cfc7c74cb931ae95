"""Makes the providers from their options and the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holodeck_gen.errors import ConfigError
from holodeck_gen_providers.hunyuan._account import Given, choose
from holodeck_gen_providers.hunyuan._provider import HunyuanProvider, configured_model
from holodeck_gen_providers.hunyuan._wire import Wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    import holodeck_gen as hg
    from holodeck_gen_providers.hunyuan import Hunyuan3DOptions, HunyuanOptions
    from holodeck_gen_providers.hunyuan._tables import Dialect


def make(
    name: str,
    options: HunyuanOptions | Hunyuan3DOptions,
    ctx: hg.Context,
    dialects: Mapping[str, Dialect],
) -> HunyuanProvider:
    """The provider called `name`, and one log line that says which account it uses.

    Raises:
        ConfigError: Credentials, dialect, region, endpoint or model cannot be what they are.
    """
    given = Given(
        secret_id=options.secret_id,
        secret_key=options.secret_key,
        token=options.token,
        api_key=getattr(options, "api_key", ""),
        dialect=getattr(options, "dialect", ""),
        endpoint=options.endpoint,
    )
    account = choose(given, ctx.environ, dialects, provider=name)
    dialect = account.dialect
    if dialect.regions and options.region not in dialect.regions:
        raise ConfigError(
            f"{name}: dialect {dialect.name} is served in region"
            f" {' or '.join(dialect.regions)} only, not in {options.region!r}"
        )
    model = configured_model(options.model, dialect)
    facts = {"retired": dialect.retired} if dialect.retired else {}
    ctx.log.info(
        "account.selected",
        provider=name,
        dialect=dialect.name,
        account=account.shown,
        endpoint=account.endpoint,
        model=model.name,
        reason=account.reason,
        **facts,
    )
    if not account.encrypted:
        ctx.log.warning("endpoint.not_encrypted", provider=name, endpoint=account.endpoint)
    return HunyuanProvider(
        name=name,
        default=model,
        wire=Wire(
            provider=name,
            account=account,
            region=options.region,
            http=ctx.http,
            wall_clock=ctx.wall_clock,
        ),
        others=tuple(each for each in dialects.values() if each is not dialect),
    )
