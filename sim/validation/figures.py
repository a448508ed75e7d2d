"""What is published of the designs: results, kept apart from the parameters.

``published.json`` is a JSON object ``{"schema": "signacc-published-1", "figures": [...]}``; a
figure has the keys of :class:`Figure`.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

from ..errors import InputError
from ..jsonfile import read
from .predict import QUANTITIES

SCHEMA = "signacc-published-1"
"""Value of the file's ``schema`` key."""

METHODS = ("measured", "estimated", "composed", "unstated")
"""How its authors got a figure.

``measured`` on the machine; ``estimated`` by the design tools; ``composed`` from measured parts;
``unstated`` where what could be read does not say.
"""

READ = ("primary", "secondary")
"""Whether the authors' own text was read, or one that quotes it."""

_PATH = Path(__file__).parent / "published.json"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A published result.

    Parameters
    ----------
    design, run, quantity
        What it is of; a key of ``QUANTITIES``.
    value
        In the quantity's unit, above 0.
    method, read
        One of ``METHODS``, of ``READ``.
    source
        Where it was read.
    why
        Why the prediction misses it, from what the sources say; empty if it does not.

    Raises
    ------
    InputError
        If a value breaks its rule.
    """

    design: str
    run: str
    quantity: str
    value: float
    method: str
    read: str
    source: str
    why: str = ""

    def __post_init__(self) -> None:
        for name in ("design", "run", "source"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise InputError(f"{name} of a figure must be a text, not {value!r}")
        for name, legal in (("quantity", tuple(QUANTITIES)), ("method", METHODS), ("read", READ)):
            value = getattr(self, name)
            if value not in legal:
                raise InputError(
                    f"{name} of a figure must be one of {', '.join(legal)}, not {value!r}"
                )
        number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        if not number or not math.isfinite(self.value) or self.value <= 0:
            raise InputError(f"value of a figure must be a number above 0, not {self.value!r}")
        if not isinstance(self.why, str):
            raise InputError(f"why of a figure must be a text, not {self.why!r}")


def load_figures(path: str | Path = _PATH) -> tuple[Figure, ...]:
    """Return the figures of a file, the shipped one if not given.

    Raises
    ------
    InputError
        If a key is unknown or missing, or a value breaks its rule; the message names the entry.
    """
    section = read(path)
    section.keys(("schema", "figures"))
    section.schema(SCHEMA)
    entries = section.data["figures"]
    if not isinstance(entries, list):
        raise section.fail("figures", f"figures must be a list, not {entries!r}")
    known = {field.name: field for field in fields(Figure)}
    result = []
    for index, entry in enumerate(entries):
        where = f"figures[{index}]"
        if not isinstance(entry, dict):
            raise section.fail("figures", f"{where} must be a JSON object, not {entry!r}")
        for name in entry:
            if name not in known:
                raise section.fail(
                    "figures", f"{where}: keys must be among {', '.join(known)}, not {name}"
                )
        for name, field in known.items():
            if field.default is MISSING and name not in entry:
                raise section.fail("figures", f"{where}: {name} must be given")
        try:
            result.append(Figure(**entry))
        except InputError as error:
            raise section.fail("figures", f"{where}: {error}") from None
    return tuple(result)
