"""Words of Tcl scripts."""

from __future__ import annotations

import re


def word(text: str) -> str:
    """Return `text` as one Tcl word, in which nothing is substituted."""
    if re.fullmatch(r"[\w.-]+", text, re.ASCII):
        return text
    return '"' + re.sub(r'([\\\[\]$"{}])', r"\\\1", text) + '"'
