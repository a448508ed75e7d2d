"""Errors of training, and how a command tells them: one sentence, no traceback, no usage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from golden.errors import InputError


class TrainingError(RuntimeError):
    """Training cannot go on; the message says at which step and what is kept."""


class CheckpointError(RuntimeError):
    """A checkpoint could not be written; the message says what is kept."""


class _Refused(click.ClickException):
    """Bad input, whose sentence click shows as ``Error:`` on standard error."""

    exit_code = 2


@contextmanager
def told() -> Iterator[None]:
    """Turn what may go wrong into one sentence: exit code 2 for bad input, and for
    what cannot be read or written, else 1.

    A context, or a decorator of what a click command calls.
    """
    try:
        yield
    except InputError as error:
        raise _Refused(str(error)) from None
    except (TrainingError, CheckpointError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:  # a full disk, a file that is not there
        where = f": {error.filename}" if error.filename else ""
        raise _Refused(f"{error.strerror or error}{where}") from None
