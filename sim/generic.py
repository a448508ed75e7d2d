"""Engines of others, described by their multiply-accumulates a cycle; nothing of them has RTL here.

Time is tile rounding: a beat covers ``k_par`` inputs and ``n_par`` outputs of ``m_par`` token
vectors, so a linear of K inputs and N outputs applied to T vectors takes

    ``ceil(K / k_par) * ceil(N / n_par) * ceil(T / m_par) + latency_cycles``

cycles, and nothing else is known of it. Everything that ``hw.config.EngineConfig`` tells the
simulator of an engine with RTL, this class tells of one without.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from hw.config import EngineConfig

from .checks import check_integer, is_number, shown
from .errors import InputError
from .runs import Run

ARITHMETICS = ("add", "float-add", "float-mac")
"""What a lane does: an integer addition, a 16-bit float addition, or a multiplication and one."""

_MOST = 1 << 30  # larger than any linear's outputs


@dataclass(frozen=True, kw_only=True)
class GenericEngine:
    """A matrix engine known by its tile, its clock and its weight format.

    Parameters
    ----------
    name
        What reports call it.
    k_par, n_par, m_par
        Inputs and outputs that a cycle covers, and token vectors that share the weights;
        ``lanes = k_par * n_par * m_par`` multiply-accumulates a cycle.
    clock_mhz
        Clock, MHz.
    weight_bits
        Bits of memory that a weight takes, its share of scales and zero points included; above 0,
        at most 64.
    act_bits
        Width of an activation, 4 to 32.
    latency_cycles
        Cycles of a linear on top of its beats (pipeline fill and drain).
    arithmetic
        One of ``ARITHMETICS``; decides the energy alone.

    Raises
    ------
    InputError
        If a value is not in its range.
    """

    name: str = "generic"
    k_par: int
    n_par: int
    m_par: int = 1
    clock_mhz: float
    weight_bits: float
    act_bits: int = 16
    latency_cycles: int = 0
    arithmetic: str = "add"

    # What the simulator asks of an engine and what a generic one does not have.
    n_max = _MOST
    resident = False
    scale_out = "none"
    words_outer = False
    levels_per_stage = 1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("k_par", 1, _MOST), ("n_par", 1, _MOST), ("m_par", 1, _MOST), ("act_bits", 4, 32),
            ("latency_cycles", 0, _MOST),
        ):
            check_integer(f"{name} of a generic engine", getattr(self, name), low, high)
        for name, high in (("clock_mhz", 1e5), ("weight_bits", 64.0)):
            value = getattr(self, name)
            if not is_number(value) or not 0 < value <= high:
                raise InputError(
                    f"{name} of a generic engine must be a number above 0 and at most {high:g}, "
                    f"not {shown(value)}"
                )
        if not isinstance(self.name, str) or not self.name.strip():
            raise InputError(f"name of a generic engine must be a text, not {self.name!r}")
        if self.arithmetic not in ARITHMETICS:
            raise InputError(
                f"arithmetic of a generic engine must be one of {', '.join(ARITHMETICS)}, "
                f"not {self.arithmetic!r}"
            )

    @property
    def lanes(self) -> int:
        """Multiply-accumulates a cycle."""
        return self.k_par * self.n_par * self.m_par

    @property
    def weight_beat_bits(self) -> int:
        """Bits of memory of the weights of a cycle, rounded up."""
        return math.ceil(self.k_par * self.n_par * self.weight_bits - 1e-9)

    @property
    def groups(self) -> int:
        """Operands of one output's adder tree."""
        return self.k_par

    @property
    def term_bits(self) -> int:
        """Width of such an operand."""
        return self.act_bits

    @property
    def acc_bits(self) -> int:
        """Width of an accumulator: 32, or what 2^16 activations need if that is more."""
        return max(32, self.act_bits + 16)

    def check_shape(self, k: int, n: int) -> None:
        """Accept every linear: a generic engine is not known to have a largest one."""

    def to_dict(self) -> dict[str, object]:
        """Return the keys of a system file's ``engine``."""
        return {"kind": "generic", **asdict(self)}


Engine = EngineConfig | GenericEngine
"""An engine that the simulator can time."""


def generic_run_ends(engine: GenericEngine, runs: tuple[Run, ...]) -> tuple[int, ...]:
    """Return after how many cycles each of `runs`, back to back, has ended (module docstring)."""
    ends, now = [], 0
    for k, n, tokens, _ in runs:
        tiles = -(-k // engine.k_par) * -(-n // engine.n_par)
        now += tiles * -(-tokens // engine.m_par) + engine.latency_cycles
        ends.append(now)
    return tuple(ends)
