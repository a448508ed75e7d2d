"""How commands end: bad input in one sentence, interruptions, and output that nobody takes.

Every message is ``Error:`` and a sentence on standard error. Lines of usage stand before it only
where click refuses an option or its value; what the packages refuse is the sentence alone.

Exit codes: 1 for a check that failed, or a pipe that was closed; 2 for bad input, and for what
could not be written; 128 and the signal's number for a signal.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import click

from .interruption import INTERRUPTED, Interruption, raise_interruptions

MAY_BE_EMPTY = {"prompt", "stop", "constraints", "arguments"}
"""Options that take an empty text, or refuse it themselves; what another command reads."""


class Command(click.Command):
    """A command none of whose names, files and folders may be empty, nor numbers not-a-number.

    An empty path would be the working directory, and is mostly a script's unset variable. NaN is
    within every range that click checks.
    """

    def invoke(self, ctx: click.Context) -> Any:
        for parameter in self.params:
            value = ctx.params.get(parameter.name)
            if "" in (value if isinstance(value, tuple) else (value,)) and (
                parameter.name not in MAY_BE_EMPTY
            ):
                option = isinstance(parameter, click.Option)
                name = parameter.opts[-1] if option else parameter.make_metavar(ctx).strip("[].")
                raise click.UsageError(f"{name} must not be empty", ctx)
            kind = parameter.type
            if isinstance(kind, click.FloatRange) and value != value:
                raise click.UsageError(
                    f"{parameter.opts[-1]} must be from {kind.min} to {kind.max}, not nan", ctx
                )
        return super().invoke(ctx)


class Group(click.Group):
    """Turns the packages' errors for bad input into one line and exit code 2."""

    command_class = Command

    def main(self, *args: Any, **kwargs: Any) -> Any:
        _wrap_standard_streams()
        try:
            return super().main(*args, **kwargs)
        except OSError as error:  # of --help, which is printed before anything is invoked
            _fail_of(error)

    def invoke(self, ctx: click.Context) -> Any:
        with told():
            signal.signal(signal.SIGTERM, terminate)
            raise_interruptions()
            for stream in (sys.stdout, sys.stderr):
                if isinstance(stream, io.TextIOWrapper):  # a terminal may not know every character
                    stream.reconfigure(errors="replace")
            return super().invoke(ctx)


@contextmanager
def told() -> Iterator[None]:
    """End the program with one sentence and its exit code, if a block finds what it cannot use.

    So do interruptions, with one word. What is left is an error of the program itself.
    """
    try:
        yield
    except Terminated:
        sys.exit(128 + signal.SIGTERM)
    except KeyboardInterrupt:
        _interrupted()
    except Exception as error:
        if Interruption.happened:  # and was lost in an import, which then lacks something
            _interrupted()
        _tell(error)
        raise


def _tell(error: Exception) -> None:
    """End the program with one sentence if `error` is no error of the program itself."""
    from golden.errors import InputError
    from hw.config import ConfigError
    from sim.errors import InputError as SimInputError

    if isinstance(error, InputError | ConfigError | SimInputError):
        fail(str(error))
    if isinstance(error, OSError):
        _fail_of(error)
    if isinstance(error, UnicodeEncodeError):  # of a library that takes paths as text alone
        fail(f"names must be UTF-8 text here, not {error.object[:200]!r}")
    if isinstance(error, RuntimeError):
        from signacc.cosim.build import BenchError
        from signacc.cosim.toolchain import ToolError

        if isinstance(error, ToolError):
            fail(str(error))
        if isinstance(error, BenchError):
            notes = "\n".join(getattr(error, "__notes__", ()))
            click.echo(f"{notes}\nfailed: {error}".lstrip(), err=True)
            sys.exit(1)
    amaranth = sys.modules.get("amaranth.back.verilog")
    if amaranth is not None and isinstance(error, amaranth.YosysError):
        fail(_of_yosys(str(error)))


def _interrupted() -> NoReturn:
    warnings.simplefilter("ignore")  # Amaranth's, of modules that nothing came to use
    click.echo(INTERRUPTED, err=True)
    sys.exit(128 + signal.SIGINT)


def _of_yosys(said: str) -> str:
    """Return the sentence for what Amaranth says of its Yosys, or Yosys itself: maybe nothing."""
    chosen = " ".join(
        f"{name}={os.environ[name]}" for name in ("AMARANTH_USE_YOSYS", "YOSYS")
        if name in os.environ
    )  # fmt: skip
    reason = said.strip().splitlines()[-1:] or ["it ended without a word"]
    return f"Verilog needs a Yosys that works, not that of {chosen}: {reason[0]}"


class Terminated(KeyboardInterrupt):
    """SIGTERM: unwinds like an interruption, so that children end and files are removed."""


def terminate(number: int, frame: object) -> None:
    """Handle SIGTERM: raise :class:`Terminated`."""
    raise Terminated


_STDOUT = "standard output"


class _StandardOutput(io.FileIO):
    """The standard output, whose errors say that they are its own."""

    def write(self, data: Any) -> int | None:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = _STDOUT
            # What is left in buffers is written once more at the end: not to be complained of.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            raise


class _StandardError(io.FileIO):
    """The standard error: what cannot be said there must not cost the results."""

    def write(self, data: Any) -> int | None:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _wrap_standard_streams() -> None:
    """Tell errors of the standard output from those of files, and ignore those of the other."""
    for name, kind in (("stdout", _StandardOutput), ("stderr", _StandardError)):
        old = getattr(sys, name)
        if old is not getattr(sys, f"__{name}__") or not isinstance(old, io.TextIOWrapper):
            continue
        with suppress(OSError):
            old.flush()
        setattr(sys, name, io.TextIOWrapper(
            io.BufferedWriter(kind(old.fileno(), "wb", closefd=False)),
            encoding=old.encoding, errors=old.errors, line_buffering=old.line_buffering,
        ))


def _fail_of(error: OSError) -> NoReturn:
    if error.errno == errno.EPIPE and error.filename == _STDOUT:
        sys.exit(1)  # whoever reads has enough: nothing to complain of
    where = f": {error.filename}" if error.filename else ""
    fail(f"{error.strerror or ' '.join(map(str, error.args))}{where}")


def fail(message: str) -> NoReturn:
    """End the program with a sentence on standard error and exit code 2."""
    click.echo(f"Error: {message}", err=True)
    sys.exit(2)
