"""Progress on the standard error, and only where a person looks at it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from secguard.client.formats.cleaning import line


def _ignore(_text: str, _done: int, _total: int) -> None:
    """In a pipeline's log a moving bar is noise; the result says what happened."""


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A function that shows (text, done, total); it does nothing where the standard error is no terminal."""
    if not sys.stderr.isatty():
        yield _ignore
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(text: str, done: int, total: int) -> None:
            # As plain text: a report's words are not rich's markup.
            bar.update(task, description=Text(line(text, 60)).markup, completed=done, total=total or None)

        yield show
