"""Commands that are imported when they are asked for: whoever asks for one does not wait for all."""

from collections.abc import Mapping
from importlib import import_module
from typing import ClassVar, NamedTuple

import click

from daemon.runtime.signals import uninterrupted


class Room(NamedTuple):
    """Where a command lives: a module that names its commands in `COMMANDS`."""

    module: str
    summary: str
    """The first sentence of the command's help, for the list of commands."""


class LazyGroup(click.Group):
    """A group whose commands lie in modules of their own."""

    rooms: ClassVar[Mapping[str, Room]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self.rooms})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.rooms and cmd_name not in self.commands:
            with uninterrupted():
                module = import_module(self.rooms[cmd_name].module)
            for command in module.COMMANDS:
                self.add_command(command)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`, for which nothing is imported."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.commands.get(name)
            summary = self.rooms[name].summary if name in self.rooms else None
            rows.append((name, summary or (command.get_short_help_str(100) if command else "")))
        with formatter.section("Commands"):
            formatter.write_dl(rows)
