"""A bar on stderr while a person watches; stdout is for the results."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from daemon.runtime.terminal import steering


@contextmanager
def progress(length: int, label: str) -> Iterator[Callable[[int], None]]:
    """Gives what is to be called with the number of steps done; it does nothing without a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=length, label=label, file=steering(sys.stderr)) as bar:
        yield bar.update
