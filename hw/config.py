"""EngineConfig: everything that the generator and the simulator must agree on.

Imports neither Amaranth nor numpy, so that ``sim`` uses the very same class as the generator.
All widths and block latencies are derived here, once.
"""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path


class ConfigError(ValueError):
    """An illegal engine configuration: the message says what, the rule, and the value."""


def clog2(value: int) -> int:
    """Return ceil(log2(value)) for value >= 1: the bits needed to count `value` states."""
    return (value - 1).bit_length()


# Exact products of two float16 values are integers in units of 2**-48 (the square of the
# smallest subnormal, 2**-24); a finite product is below 2**32. See docs/contract.md.
PRODUCT_LSB_EXP = -48
PRODUCT_BITS = 80  # magnitude of a finite product in units of 2**-48

INPUT_QUEUE_DEPTH = 2
"""Entries of the register slice on every input port."""
RESULT_QUEUE_DEPTH = 8
"""Entries of the result queue: >= RESULT_LATENCY + 1 sustains one beat a cycle."""
VECTORS_AHEAD = 2
"""Token vectors that may be past the command port and not yet being quantized."""
BANKS = 2
"""Banks of the activation buffer: one is filled while the other is read."""
FRONT_END_LATENCY = 6
"""Cycles from the last accepted activation chunk of a vector to its exponent and beta*x."""
QUANTIZE_LATENCY = 3
"""Cycles from the last step of the quantizer to the vector being usable by the array."""
RESULT_LATENCY = 6
"""Cycles from an accumulator leaving the hold register to its result at the result port."""

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""What may become part of a Verilog name."""

_LIMITS = {
    "k_par": (1, 512),
    "n_par": (1, 1024),
    "m_par": (1, 1),
    "act_bits": (4, 24),
    "k_max": (1, 65536),
    "n_max": (1, 1 << 20),
    "act_par": (1, 512),
    "out_par": (1, 64),
    "levels_per_stage": (1, 9),
}


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """A configuration of the sign-accumulate engine.

    Parameters
    ----------
    name
        What reports and files call it.
    k_par, n_par
        Inputs and outputs that one weight beat covers; ``lanes = k_par * n_par * m_par``.
    m_par
        Token vectors that share a weight beat (only 1 in this version).
    act_bits
        A: width of the quantized activations, 4 to 24.
    k_max, n_max
        Largest K (inputs) and N (outputs) of a layer; they size buffers and counters.
    act_par
        Activations (with their scale and shift) that the front end takes per cycle; divides k_par.
    out_par
        Results that the drain rounds per cycle; divides n_par.
    levels_per_stage
        Levels of the adder tree between two pipeline registers.
    clock_mhz
        Clock that estimates assume. It changes no logic.

    Raises
    ------
    ConfigError
        If a value breaks its rule; the message names the rule and the value.
    """

    name: str
    k_par: int
    n_par: int
    m_par: int = 1
    act_bits: int = 16
    k_max: int
    n_max: int
    act_par: int = 1
    out_par: int = 1
    levels_per_stage: int = 2
    clock_mhz: float = 100.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not IDENTIFIER.fullmatch(self.name):
            raise ConfigError(
                f"name must be ASCII letters, digits and underscores and not start with a digit, "
                f"not {self.name!r}"
            )
        for field, (low, high) in _LIMITS.items():
            value = getattr(self, field)
            if not isinstance(value, int) or isinstance(value, bool):
                raise ConfigError(f"{field} must be an integer, not {value!r}")
            if not low <= value <= high:
                raise ConfigError(f"{field} must be from {low} to {high}, not {value}")
        clock = self.clock_mhz
        if not isinstance(clock, int | float) or isinstance(clock, bool) or not 0 < clock <= 1e5:
            raise ConfigError(f"clock_mhz must be above 0 and at most 100000, not {clock!r}")
        if self.k_par % self.act_par:
            raise ConfigError(
                f"act_par must divide k_par, not {self.act_par} with k_par {self.k_par}"
            )
        if self.n_par % self.out_par:
            raise ConfigError(
                f"out_par must divide n_par, not {self.out_par} with n_par {self.n_par}"
            )
        if self.k_max < self.k_par:
            raise ConfigError(f"k_max must be at least k_par = {self.k_par}, not {self.k_max}")
        if self.n_max < self.n_par:
            raise ConfigError(f"n_max must be at least n_par = {self.n_par}, not {self.n_max}")

    # ---- derived sizes -------------------------------------------------------------------

    @property
    def lanes(self) -> int:
        """Weights applied per cycle."""
        return self.k_par * self.n_par * self.m_par

    @property
    def acc_bits(self) -> int:
        """Signed width that holds k_max terms of magnitude at most 2**(A-1) - 1."""
        return self.act_bits + clog2(self.k_max)

    @property
    def exponent_bits(self) -> int:
        """Width of the block exponent in units above 2**-48 (0 to 80 - act_bits + 1)."""
        return PRODUCT_BITS.bit_length()

    @property
    def wide_bits(self) -> int:
        """Signed width of the exact result in units of 2**-48: accumulator plus beta*x."""
        return PRODUCT_BITS + clog2(self.k_max) + 2

    @property
    def weight_beat_bits(self) -> int:
        """Weight bits per beat of the weight port."""
        return self.k_par * self.n_par

    @property
    def chunks_max(self) -> int:
        """Capacity of the product buffer, in chunks of act_par products."""
        return -(-self.k_max // self.act_par)

    @property
    def words_max(self) -> int:
        """Words (of k_par activations) in one bank of the activation buffer."""
        return -(-self.k_max // self.k_par)

    @property
    def slots_per_word(self) -> int:
        """Chunks that make one word of the activation buffer."""
        return self.k_par // self.act_par

    @property
    def tree_stages(self) -> int:
        """Pipeline registers in the adder tree, at least one."""
        return max(1, -(-clog2(self.k_par) // self.levels_per_stage))

    @property
    def array_latency(self) -> int:
        """Cycles from the last weight beat of a tile to its accumulators in the hold register."""
        return self.tree_stages + 2

    @property
    def latency_cycles(self) -> dict[str, int]:
        """Fixed block latencies, as they stand in the sidecar."""
        return {
            "front_end": FRONT_END_LATENCY,
            "quantize": QUANTIZE_LATENCY,
            "array": self.array_latency,
            "result": RESULT_LATENCY,
        }

    def beats(self, k: int, n: int) -> int:
        """Return the weight beats of a ``[n, k]`` layer for one token vector.

        Raises
        ------
        ConfigError
            If the engine cannot hold such a layer.
        """
        self.check_shape(k, n)
        return -(-k // self.k_par) * -(-n // self.n_par)

    def check_shape(self, k: int, n: int) -> None:
        """Raise ConfigError unless a layer of `k` inputs and `n` outputs fits the engine."""
        for what, value, limit in (("K", k, self.k_max), ("N", n, self.n_max)):
            if not 1 <= value <= limit:
                raise ConfigError(
                    f"{what} must be from 1 to {limit} on preset {self.name}, not {value}"
                )

    # ---- files ---------------------------------------------------------------------------

    def to_dict(self) -> dict[str, object]:
        """Return the fields as a dictionary that ``from_dict`` reads back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: object, *, where: str = "configuration") -> EngineConfig:
        """Build from a dictionary (a JSON object); unknown and missing keys are refused by name."""
        if not isinstance(data, dict):
            raise ConfigError(f"{where} must be a JSON object, not {type(data).__name__}")
        known = [f.name for f in fields(cls)]
        unknown = sorted(set(data) - set(known))
        if unknown:
            raise ConfigError(f"{where}: keys must be among {', '.join(known)}, not "
                              f"{', '.join(unknown)}")
        required = [f.name for f in fields(cls) if f.default is MISSING]
        missing = [name for name in required if name not in data]
        if missing:
            raise ConfigError(f"{where} must give {', '.join(required)}; missing: "
                              f"{', '.join(missing)}")
        try:
            return cls(**data)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None

    @classmethod
    def from_file(cls, path: str | Path) -> EngineConfig:
        """Read a configuration from a JSON file."""
        path = Path(path)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path} must be valid JSON: {error}") from None
        return cls.from_dict(data, where=str(path))


_KV260 = EngineConfig(
    name="kv260",
    # 1,024 weight bits a beat at 150 MHz take 19.2 GB/s: all that the board's DDR4 can give.
    k_par=32,
    n_par=32,
    act_bits=16,
    k_max=11264,
    n_max=32768,
    act_par=4,
    out_par=4,
    clock_mhz=150.0,
)

PRESETS: dict[str, EngineConfig] = {
    "tiny": EngineConfig(
        name="tiny", k_par=8, n_par=4, act_bits=8, k_max=256, n_max=256, act_par=2, out_par=1,
        clock_mhz=50.0,
    ),
    "kv260": _KV260,
    "kv260_a8": replace(_KV260, name="kv260_a8", act_bits=8),
}
"""Named configurations, the names that scripts rely on."""


def named_preset(name: str) -> EngineConfig:
    """Return the preset called `name`; raises ConfigError with the known names otherwise."""
    if name not in PRESETS:
        raise ConfigError(f"a preset is one of {', '.join(PRESETS)}, not {name!r}")
    return PRESETS[name]
