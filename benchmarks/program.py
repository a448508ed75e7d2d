"""How benchmarks are called: what they cannot use is one sentence, before any work."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from golden.errors import InputError
from model.errors import told as told_of_training
from signacc.files import check_output_file
from signacc.group import told


class Program(click.Command):
    """A command that ends as ``signacc`` does: see `signacc.group`."""

    def invoke(self, ctx: click.Context) -> Any:
        with told(), told_of_training():
            try:
                return super().invoke(ctx)
            except subprocess.CalledProcessError as error:  # which has said why
                raise _Ended(error) from None


class _Ended(click.ClickException):
    """A program that was called has failed, or has refused what it was given."""

    def __init__(self, error: subprocess.CalledProcessError) -> None:
        super().__init__(f"{Path(error.cmd[0]).name} ended with {error.returncode}")
        self.exit_code = 2 if error.returncode == 2 else 1


@contextmanager
def record_of(program: str, path: Path) -> Iterator[None]:
    """Refuse, by InputError, a file that is read meanwhile and is no record of `program`."""
    try:
        yield
    except InputError:  # a ValueError whose message says it all
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{path} must be a record of benchmarks/{program}, and is not") from None


class OutputFile(click.Path):
    """A file that can be written when the work is done: else the option is refused at once."""

    name = "file"

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        path = super().convert(value, param, ctx)
        try:
            check_output_file(path)
        except InputError as error:
            self.fail(str(error), param, ctx)
        return path
