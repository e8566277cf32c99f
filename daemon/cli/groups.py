"""Groups of commands that are imported on first use, so that help and shell completion are fast."""

from collections.abc import Mapping
from importlib import import_module
from typing import ClassVar, NamedTuple

import click
from click.shell_completion import CompletionItem

from daemon.runtime.signals import uninterrupted

SUMMARY_CHARACTERS = 200
"""More than any summary has, so that help wraps summaries instead of truncating them."""


class LazyCommand(NamedTuple):
    """A command whose module is imported on first use; the module lists its commands in `COMMANDS`."""

    module: str
    summary: str
    """The first sentence of the command's help."""


class CommandGroup(click.Group):
    """A group that shows the whole summary of each command, and imports its `lazy_commands` on first use."""

    lazy_commands: ClassVar[Mapping[str, LazyCommand]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self.lazy_commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.lazy_commands and cmd_name not in self.commands:
            with uninterrupted():
                module = import_module(self.lazy_commands[cmd_name].module)
            for command in module.COMMANDS:
                self.add_command(command)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.summary(name)) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete subcommands, with their summaries and without importing them; and options, as click
        does."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=self.summary(name)) for name in names]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def summary(self, name: str) -> str:
        """The first sentence of a command's help."""
        if name in self.lazy_commands:
            return self.lazy_commands[name].summary
        return self.commands[name].get_short_help_str(SUMMARY_CHARACTERS)
