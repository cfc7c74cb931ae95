"""``holodeck-gen emulate hunyuan``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from holodeck_gen_providers.hunyuan.emulator._settings import Settings

GROUP = "emulate"
DEFAULT_PORT = 8787


def add_to(cli: click.Group) -> None:
    """Add the command to the group ``emulate``, which is made if no other plugin has made it."""
    group = cli.commands.get(GROUP)
    if not isinstance(group, click.Group):
        group = click.Group(GROUP, help="Run a local service that behaves like a provider's.")
        cli.add_command(group)
    group.add_command(emulate_hunyuan)


def _read_seconds(
    _ctx: click.Context, _parameter: click.Parameter, value: str
) -> tuple[float, float]:
    median, _, sigma = value.partition(",")
    try:
        return float(median), float(sigma or 0)
    except ValueError:
        raise click.BadParameter("give SECONDS, or MEDIAN,SIGMA") from None


def _list_faults(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    from holodeck_gen_providers.hunyuan.emulator import _faults

    text = (_faults.__doc__ or "").partition("\n\n")[2]
    rows = []
    for name, kind in _faults.KINDS.items():
        shown = f"{name}[:VALUE]" if kind.value else name
        default = f" (default {kind.value})" if kind.value else ""
        rows.append(f"  {shown:<30}{kind.point:<10}{kind.summary}{default}")
    click.echo(text + "\nFaults and where they strike:\n" + "\n".join(rows))
    ctx.exit()


@click.command("hunyuan")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind.")
@click.option("--port", default=DEFAULT_PORT, show_default=True, help="0 takes a free one.")
@click.option("--max-jobs", type=int, help="Jobs at once per action.  [default: as documented]")
@click.option(
    "--job-seconds",
    default="5",
    show_default=True,
    metavar="S[,SIGMA]",
    callback=_read_seconds,
    help="Seconds a job takes, or median and sigma of a lognormal distribution.",
)
@click.option(
    "--submit-rate",
    type=float,
    help="Submits a second per action; 0 is no limit.  [default: as documented]",
)
@click.option(
    "--poll-rate",
    type=float,
    help="Queries a second per action; 0 is no limit.  [default: as documented]",
)
@click.option(
    "--slot-lag",
    type=float,
    default=0.0,
    show_default=True,
    help="Seconds a slot stays taken after its job's end.",
)
@click.option("--url-ttl", type=float, help="Seconds a result URL works.  [default: as documented]")
@click.option(
    "--renew-urls/--no-renew-urls", default=True, help="Whether a query gives a fresh URL."
)
@click.option("--bill-failures", is_flag=True, help="Bill what a failed job was to make, too.")
@click.option("--faults", default="", help="Such as 'drop-after-accept=0.05,http-query@3'.")
@click.option(
    "--list-faults",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_faults,
    help="Show the grammar and every fault, and exit.",
)
@click.option("--seed", default=0, show_default=True, help="Of everything left to chance.")
@click.option("--secret-id", help="Of the one account.")
@click.option("--secret-key", help="Of the one account.")
@click.option("--token", help="Of temporary keys; required in every request if given.")
@click.option("--api-key", help="Of the one account.")
@click.option(
    "--pictures",
    type=click.Choice(["drawn", "cheap"]),
    default="drawn",
    show_default=True,
    help="Drawn by the procedural provider, or 16x16 pixels for load.",
)
@click.option(
    "--refuse-word", multiple=True, help="A prompt with it is refused.  [default: forbidden]"
)
@click.option(
    "--reject-word", multiple=True, help="A prompt with it fails in its job.  [default: indecent]"
)
@click.option(
    "--offline", multiple=True, metavar="NAME", help="A dialect, action or model that is retired."
)
def emulate_hunyuan(*, host: str, port: int, **given: Any) -> None:
    """Serve like Tencent's Hunyuan, until Ctrl-C or SIGTERM.

    Prints the lines that point a shell at it. Counters are at /_emulator/stats.

    \b
    Examples:
      holodeck-gen emulate hunyuan
      holodeck-gen emulate hunyuan --max-jobs 2 --job-seconds 40,0.25
      holodeck-gen emulate hunyuan --faults 'drop-after-accept=0.05' --seed 7
    """
    import asyncio

    try:
        settings = _settings(given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    try:
        asyncio.run(_serve(settings, host, port))
    except OSError as error:
        raise click.ClickException(
            f"{host}:{port} cannot be bound: {error.strerror or error}"
        ) from error


def _settings(given: dict[str, Any]) -> Settings:
    from holodeck_gen_providers.hunyuan.emulator._settings import Account, Settings

    keys = ("secret_id", "secret_key", "token", "api_key")
    account = Account(**{name: given[name] for name in keys if given[name] is not None})
    words = {
        "refused_words": given["refuse_word"],
        "rejected_words": given["reject_word"],
    }
    return Settings(
        max_jobs=given["max_jobs"],
        job_s=given["job_seconds"][0],
        job_sigma=given["job_seconds"][1],
        submit_rate=given["submit_rate"],
        poll_rate=given["poll_rate"],
        slot_lag_s=given["slot_lag"],
        url_ttl_s=given["url_ttl"],
        renew_urls=given["renew_urls"],
        bill_failures=given["bill_failures"],
        faults=given["faults"],
        seed=given["seed"],
        accounts=account,
        pictures=given["pictures"],
        offline=given["offline"],
        **{name: value for name, value in words.items() if value},
    )


async def _serve(settings: Settings, host: str, port: int) -> None:
    import asyncio
    import signal

    from holodeck_gen_providers.hunyuan.emulator._running import AsyncHunyuanEmulator

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with AsyncHunyuanEmulator(settings, host=host, port=port) as emulator:
        for name, value in emulator.environ.items():
            shown = shlex.quote(value)
            if name == "NO_PROXY":
                shown += '"${NO_PROXY:+,$NO_PROXY}"'
            click.echo(f"export {name}={shown}")
        click.echo("# The dialect is tokenhub, unless HUNYUAN_DIALECT says aiart or hunyuan.")
        click.echo(f"serving at {emulator.endpoint} until Ctrl-C", err=True)
        await stop.wait()
