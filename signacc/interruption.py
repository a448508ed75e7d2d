"""What an interruption does: it ends the program at once, or is an exception, by how far it is.

Nothing heavy may be imported here, for it is the first thing that the program reads.
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


def end_at_interruptions() -> None:
    """End at an interruption from here on, while there is nothing to undo.

    An exception could be lost in what is being imported. An interruption that is ignored stays so,
    as for a script's job in the background.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_interruptions() -> None:
    """Make an interruption an exception from here on, so that files and children are left tidy."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, _raise)


def _end(number: int, frame: object) -> None:
    os.write(2, f"{INTERRUPTED}\n".encode())
    os._exit(128 + number)


def _raise(number: int, frame: object) -> None:
    Interruption.happened = True
    raise Interruption
