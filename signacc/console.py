"""What people see: tables and progress bars on the terminal, both silent under --json."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

import click
from rich.console import Console
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from golden.files import made_folder

from .files import write_files

# No markup, no emoji: names of files and text of models are printed as they are.
out = Console(highlight=False, markup=False, emoji=False)
err = Console(file=sys.stderr, highlight=False, markup=False, emoji=False)


def say(text: str, indent: int = 2) -> None:
    """Print a paragraph, all of its lines indented by so many columns."""
    out.print(Padding(text, (0, 0, 0, indent), expand=False))


def deliver(
    show: Callable[[], None],
    files: Callable[[], Mapping[Path, Iterable[bytes]]],
    *,
    as_json: bool = False,
    folder: str | Path | None = None,
    kinds: Iterable[Path] = (),
) -> None:
    """Print results by `show`, then make and write `files`: each even if the other fails.

    `folder` is made for them if it is not there. What was written is said on standard output unless
    `as_json`, or on standard error if standard output could not be written. Of the files in
    `kinds`, those that were not made now are removed: what an earlier run left there would pass for
    a part of this one.

    Raises
    ------
    OSError
        If standard output or a file cannot be written. Of the files there are all or none,
        and without them nothing is removed and no folder made.
    """
    lost: BaseException | None = None
    try:
        show()
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, SystemExit) as error:  # rich ends the program if a pipe is closed
        lost = error
    with nullcontext() if folder is None else made_folder(folder):
        made = files()
        write_files(made)
    for path in kinds:
        if path not in made and path.is_file():
            path.unlink()
    if made and (lost is not None or not as_json):
        for path in made:
            click.echo(f"  wrote {path}", err=lost is not None)
    if lost is not None:
        raise lost


@contextmanager
def progress(text: str, total: int | None = None) -> Iterator[Step]:
    """Show a bar (or, with no total, a spinner) on standard error while a block runs."""
    columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn()]
    if total is not None:
        columns.append(MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=err) as bar:
        task = bar.add_task(text, total=total)
        yield Step(bar, task)
        if total is None:
            bar.update(task, total=1, completed=1)


class Step:
    """A running progress bar."""

    def __init__(self, bar: Progress, task: int):
        self._bar, self._task = bar, task

    def to(self, done: int, total: int | None = None) -> None:
        """Set how much is done."""
        self._bar.update(self._task, completed=done, total=total)

    def say(self, text: str) -> None:
        """Change the text."""
        self._bar.update(self._task, description=text)
