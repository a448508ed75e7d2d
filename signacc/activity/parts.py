"""Which nets of the engine's Verilog belong to which part, and what their toggles are counted per.

Operands, sums and registers are told apart by the names that :mod:`hw` gives them. Nets that only
hand another on (ports of the levels between) are left out, so that nothing counts twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from golden.errors import InputError

from .saif import Saif


@dataclass(frozen=True)
class Part:
    """A kind of nets.

    Attributes
    ----------
    name
        What records call it.
    scope, nets
        Patterns of the whole instance path below the top module, and of the net's name.
    event
        What its toggles are divided by: ``beat``, ``chunk`` of the front end, ``write`` of a word
        of all tables, or ``result``.
    """

    name: str
    scope: str
    nets: str
    event: str


_ROW = r"array_\d+/cluster_\d+(/instance)?/row_\d+(/instance)?"
_CLUSTER = r"array_\d+/cluster_\d+(/instance)?"

PARTS = (
    # Every adder's right operand after the choice of its sign, and every sum. Left operands are
    # sums of the level below, or the terms.
    Part("terms", _ROW, r"chosen_\d+(_\d+)*|term_\d+", "beat"),
    Part("adders", _ROW, r"tree_\d+_\d+_\d+(_b)?", "beat"),
    # Of structure triple, whose last join, the addition to the accumulator, has no name of its own.
    Part("adders", rf"{_ROW}/(pair|join)_\d+(/instance)?", r"u[01]|third|y", "beat"),
    Part("accumulators", _ROW, r"after(_b)?", "beat"),
    Part("accumulator_sums", _ROW, r"sum", "beat"),
    Part("array_registers", _CLUSTER, r"(options|weights)_here", "beat"),
    Part("array_registers", _ROW,
         r"tree_[rf]\d+_\d+|term_\d+|flip_\d+|sum_\d+|flag_\d+_\d+|accumulator|sum_register",
         "beat"),
    Part("shared_sums", r"array_\d+/shared_sums", r"part_\d+_[pm]+|sum_\d+_[pm]+", "beat"),
    Part("table_words", _CLUSTER, r"write_data_here", "write"),
    Part("partial_sums", _CLUSTER, r"partial", "beat"),
    Part("front_end_multipliers", r"front_end",
         r"(scale|shift)_\d+_(left|right)|scaled|shifted", "chunk"),
    Part("bins", r"front_end/bins", r"(term|sum)_\d+", "chunk"),
    Part("drain", r"drain", r"lane_\d+_(total|turned|magnitude)", "result"),
)
"""Parts of the engine whose activity is measured."""


@dataclass(frozen=True)
class PartActivity:
    """How much a part switched.

    Attributes
    ----------
    bits
        Nets of one bit.
    toggles
        Of all of them, in the whole run.
    events
        How often the part had work.
    """

    bits: int
    toggles: int
    events: int

    @property
    def per_bit(self) -> float:
        """Toggles per bit and event: 0.5 if every bit were a fair coin each time."""
        return self.toggles / (self.bits * self.events)

    def __add__(self, other: PartActivity) -> PartActivity:
        """Return both runs of one design as one."""
        if self.bits != other.bits:
            raise ValueError(f"runs of one design have one count of bits, not {self.bits} and "
                             f"{other.bits}")
        return PartActivity(self.bits, self.toggles + other.toggles, self.events + other.events)


def by_part(saif: Saif, top: str, events: Mapping[str, int]) -> dict[str, PartActivity]:
    """Return the activity of every part that the design has.

    Parameters
    ----------
    top
        The top module: instance paths are taken below it.
    events
        How often each kind of event happened in the observed time.

    Raises
    ------
    InputError
        If the file has no instance called `top`.
    """
    if top not in saif.nets:
        raise InputError(f"the SAIF must have an instance {top} at its top")
    bits: dict[str, int] = {}
    toggles: dict[str, int] = {}
    kinds = {part.name: part.event for part in PARTS}
    for path, nets in saif.nets.items():
        if not path.startswith(f"{top}/"):
            continue
        scope = path.removeprefix(f"{top}/")
        for part in PARTS:
            if re.fullmatch(part.scope, scope):
                for name, net in nets.items():
                    if re.fullmatch(part.nets, name):
                        bits[part.name] = bits.get(part.name, 0) + net.bits
                        toggles[part.name] = toggles.get(part.name, 0) + net.total
    return {
        name: PartActivity(bits[name], toggles[name], events[kinds[name]]) for name in bits
    }
