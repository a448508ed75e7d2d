"""Starts the program so that an interruption ends it with one word from the first moment on.

Nothing heavy may be imported here: until :func:`main` has run, an interruption ends in Python's own
traceback.
"""

from __future__ import annotations

from .interruption import end_at_interruptions


def main() -> None:
    """Run the command line: what the ``signacc`` script calls."""
    end_at_interruptions()
    from .cli import main as run

    run()
