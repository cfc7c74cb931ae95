"""The group of commands; each is imported only when it is used."""

from __future__ import annotations

import difflib
import errno
from importlib import import_module
from typing import Any

import click

from holodeck_gen._cli._exit import INTERRUPTED, code_of, say, tell

#: Name → (module and attribute, help). The help stands here so that listing imports nothing.
COMMANDS = {
    "generate": ("_generate:generate", "Make a picture from a prompt."),
    "run": ("_run:run", "Work through a file of tasks."),
    "status": ("_journals:status", "Show how a run stands."),
    "audit": ("_journals:audit", "List what is paid for and unfinished, and damaged files."),
    "collect": ("_journals:collect", "Fetch what is paid for; never begins a job."),
    "providers": ("_inspect:providers", "List the providers."),
    "plugins": ("_inspect:plugins", "List the plugins, or one plugin's options."),
    "config": ("_inspect:config", "Show each setting and where it comes from."),
}


class Commands(click.Group):
    """Commands of this package by `COMMANDS`; others are asked of the plugins, one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names that can be told without importing anything."""
        return [*COMMANDS, *sorted(self.commands)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, or load plugins until one has it."""
        if cmd_name in COMMANDS:
            module, _, attribute = COMMANDS[cmd_name][0].partition(":")
            found = getattr(import_module(f"holodeck_gen._cli.{module}"), attribute)
            assert isinstance(found, click.Command)
            return found
        if cmd_name not in self.commands and not cmd_name.startswith("-"):
            self._ask_plugins(cmd_name)
        return self.commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            known = self.list_commands(ctx)
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            meant = (
                f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
            )
            ctx.fail(f"there is no command {name!r}; {meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error becomes one line and an exit code."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            say("interrupted")
            ctx.exit(INTERRUPTED)
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise
            tell(error)
            ctx.exit(code_of(error))

    def _ask_plugins(self, name: str) -> None:
        from holodeck_gen._plugins.registry import Registry

        plugins = Registry().plugins
        for plugin_name in plugins.names():
            try:
                plugin = plugins.load(plugin_name)
                if plugin is None:
                    continue
                register = plugins.implementation(plugin, "register_commands")
                if register is not None:
                    register(self)
            except Exception as error:
                say(f"warning: plugin {plugin_name!r} could not add its commands: {error!r}")
            if name in self.commands:
                return


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Plugins may add commands of their own. 'holodeck-gen COMMAND --help' shows examples.",
)
@click.version_option(package_name="holodeck-gen", prog_name="holodeck-gen")
def cli() -> None:
    """Generate media in bulk through quota-limited, paid, asynchronous job APIs.

    \b
    Examples:
      holodeck-gen generate "misty mountains at dawn" -o dawn.png
      holodeck-gen run tasks.jsonl -p procedural -o out/
    """
