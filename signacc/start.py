"""Starts the program so that an interruption ends it with one word from the first moment on.

Nothing heavy may be imported here: until :func:`main` has run, an interruption ends in Python's own
traceback.
"""

from __future__ import annotations

import os
import signal

INTERRUPTED = "interrupted"


class Interruption(KeyboardInterrupt):
    """What an interruption raises.

    Attributes
    ----------
    happened : whether there has been one; not every import lets what it meets pass
    """

    happened = False


def main() -> None:
    """Run the command line: what the ``signacc`` script calls."""
    # One that is ignored stays so, as for a script's job in the background.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_at_once)
    from .cli import main as run

    run()


def _end_at_once(number: int, frame: object) -> None:
    """End while there is nothing to undo: an exception could be lost in what is being imported."""
    os.write(2, f"{INTERRUPTED}\n".encode())
    os._exit(128 + number)


def raise_interruptions() -> None:
    """Make an interruption an exception from here on, so that files and children are left tidy."""
    if signal.getsignal(signal.SIGINT) is _end_at_once:
        signal.signal(signal.SIGINT, _raise)


def _raise(number: int, frame: object) -> None:
    Interruption.happened = True
    raise Interruption
