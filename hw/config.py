"""EngineConfig: everything that the generator and the simulator must agree on.

Imports neither Amaranth nor numpy, so that ``sim`` uses the very same class as the generator.
All widths and block latencies are derived here, once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from types import MappingProxyType

from . import triples
from .floats import FLOATS, FP16, FloatFormat
from .jsontext import JsonTextError, KeyPath, read_object
from .table_steps import TableStep, table_steps


class ConfigError(ValueError):
    """An illegal engine configuration: the message says what, the rule, and the value."""


def clog2(value: int) -> int:
    """Return ceil(log2(value)) for value >= 1: the bits needed to count `value` states."""
    return (value - 1).bit_length()


VECTORS_AHEAD = 2
"""Token vectors that may be past the command port and not yet being quantized."""
BANKS = 2
"""Banks of the activation buffer: one is filled while the other is read."""
TABLE_BANKS = 2
"""Banks of every lookup table: one is written while the other is read."""
MEMORY_LATENCY = 2
"""Cycles of a read from block memory: its own register, and one that it can absorb."""
SHIFT_BIAS = 2
"""A product's shift is its exponent and this: the least exponent field of either factor is 1."""
SIGNIFICAND_SHIFT_BITS = 3
"""Bits of a shift that the factors of shift*x take before they are multiplied."""
FEW_LANES = 4
"""Most lanes of the front end with narrow bins: the reducer reads each lane's bins, one a cycle."""
BIN_BANKS = 2
"""Vectors whose shift*x may stand in the bins: one is summed while the other is reduced."""
FRONT_END_LATENCY = 7
"""Cycles from the last accepted chunk of one activation to its vector being summarized."""
REDUCE_OVERHEAD = 2
"""Cycles of the reducer beside its places and additions."""
QUANTIZE_LATENCY = 7
"""Cycles from the last step of the quantizer to the vector being usable by the array."""
CONVERT_LATENCY = 11
"""Cycles from a sum standing in the drain's pipeline to its result at the result port."""
SELECT_BITS = 3
"""Bits of a chunk's number that one stage of the drain decodes."""

TILE_QUEUE_LATENCY = 1
"""Cycles from sums entering the queue of finished tiles to their being ready for the drain."""
PARTIAL_SUM_DISTANCE = MEMORY_LATENCY + 3
"""Cycles from a beat to the next one that may add to the same partial sums (tables)."""
CLUSTER_ROWS = 8
"""Most rows that share one copy of the activations: it bounds the fan-out of every net."""

STRUCTURES = ("direct", "triple", "shared", "tables")
"""How a row finds the signed sum of a group of inputs; see EngineConfig."""
WEIGHTS = ("stream", "memory")
"""Where weights come from; see EngineConfig."""
AROUND = ("luts", "blocks")
"""What the logic around the array is made of; see EngineConfig."""
SCALES_OUT = ("none", "row", "groups")
"""Scales on the output axis; see EngineConfig."""
SCALE_LATENCY = 5
"""Cycles that scales on the output axis add to the drain."""
SCALE_LSB_BITS = 24
"""A finite float16 scale is an integer times 2**-24."""
SMALLEST_STEP = 24
"""Results are multiples of 2**24 units of the exact products, in both formats."""
MOST_ENTRIES = 64
"""Largest number of signed sums of one group that a row chooses from."""

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""What may become part of a Verilog name."""
NAME_MAX = 100
"""Most characters of a name: names of files and folders are made of it, and have at most 255."""

_LIMITS = {
    "k_par": (1, 512),
    "n_par": (1, 1024),
    "m_par": (1, 64),
    "group": (1, 6),
    "act_bits": (4, 24),
    "k_max": (1, 65536),
    "n_max": (1, 1 << 20),
    "act_par": (1, 512),
    "out_par": (1, 64),
    "levels_per_stage": (1, 9),
    "weight_words": (0, 1 << 20),
}


_NO_LINES: Mapping[KeyPath, int] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """A configuration of the sign-accumulate engine.

    Parameters
    ----------
    name
        What reports and files call it: a Verilog identifier of at most 100 characters.
    k_par, n_par
        Inputs and outputs that one weight beat covers; ``lanes = k_par * n_par * m_par``.
    m_par
        Token vectors that share a weight beat.
    structure
        ``direct``: every row adds or subtracts each input. ``triple``: the same by adders of
        three operands, not for ternary weights. ``shared``: the signed sums of `group`
        inputs are computed once for all rows, each row selects one. ``tables``: they stand in
        tables of look-up RAM, filled once for all outputs; partial sums wait in block memory.
    group
        Inputs whose signed sums are shared; divides k_par; 1 if and only if `structure` is direct
        or triple.
    ternary
        Weights are -1, 0 or +1.
    scale_out
        ``none``; ``row``: a float16 scale per output; ``groups``: one per output and group of
        words, whose length the command says; not with structure tables.
    weights
        ``stream``: from outside, beat by beat. ``memory``: from block memory of `weight_words`
        beats, loaded beforehand; a command says where its layer begins.
    weight_words
        Beats in that memory; 0 with weights from a stream.
    act_bits
        A: width of the quantized activations, 4 to 24.
    act_format
        Format of activations and results: ``fp16`` (float16) or ``bf16`` (bfloat16).
    k_max, n_max
        Largest K (inputs) and N (outputs) of a layer; they size buffers and counters.
    act_par
        Activations (with their scale and shift) that the front end takes per cycle; divides k_par.
    out_par
        Results that the drain rounds per cycle; divides n_par.
    around
        What takes look-up tables around the array, where there is a choice: ``luts``; ``blocks``:
        multipliers, their adders and block memory instead, for devices that have more of these than
        an engine needs. It changes no cycle and no result.
    levels_per_stage
        Levels of the adder tree between two pipeline registers.
    clock_mhz
        Clock that estimates assume. It changes no logic.

    Raises
    ------
    ConfigError
        If a value breaks its rule; the message begins with the name of the parameter and has the
        rule and the value.
    """

    name: str
    k_par: int
    n_par: int
    m_par: int = 1
    structure: str = "direct"
    group: int = 1
    ternary: bool = False
    scale_out: str = "none"
    weights: str = "stream"
    weight_words: int = 0
    act_bits: int = 16
    act_format: str = "fp16"
    k_max: int
    n_max: int
    act_par: int = 1
    out_par: int = 1
    around: str = "luts"
    levels_per_stage: int = 2
    clock_mhz: float = 100.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not IDENTIFIER.fullmatch(self.name):
            raise ConfigError(
                f"name must be ASCII letters, digits and underscores and not start with a digit, "
                f"not {self.name!r}"
            )
        if len(self.name) > NAME_MAX:
            raise ConfigError(
                f"name must have at most {NAME_MAX} characters, not {len(self.name)}"
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
        self._check_structure()
        if self.k_max < self.k_par:
            raise ConfigError(f"k_max must be at least k_par = {self.k_par}, not {self.k_max}")
        if self.n_max < self.n_par:
            raise ConfigError(f"n_max must be at least n_par = {self.n_par}, not {self.n_max}")

    def _check_structure(self) -> None:
        if self.structure not in STRUCTURES:
            raise ConfigError(
                f"structure must be one of {', '.join(STRUCTURES)}, not {self.structure!r}"
            )
        if not isinstance(self.ternary, bool):
            raise ConfigError(f"ternary must be true or false, not {self.ternary!r}")
        if (self.structure in ("direct", "triple")) != (self.group == 1):
            raise ConfigError(
                "group must be 1 with structure direct and triple and at least 2 with shared and "
                f"tables, not {self.group} with {self.structure}"
            )
        if self.structure == "triple" and self.ternary:
            raise ConfigError(
                "structure triple needs weights of +1 and -1: "
                "ternary must be false with it, not true"
            )
        if self.act_format not in tuple(FLOATS):
            raise ConfigError(
                f"act_format must be one of {', '.join(FLOATS)}, not {self.act_format!r}"
            )
        if self.scale_out not in SCALES_OUT:
            raise ConfigError(
                f"scale_out must be one of {', '.join(SCALES_OUT)}, not {self.scale_out!r}"
            )
        if self.scale_out == "groups" and self.structure == "tables":
            raise ConfigError(
                "scale_out groups needs structure direct, triple or shared: with tables, "
                "the sums of a group are not together before the next group begins"
            )
        if self.around not in AROUND:
            raise ConfigError(f"around must be one of {', '.join(AROUND)}, not {self.around!r}")
        if self.weights not in WEIGHTS:
            raise ConfigError(f"weights must be one of {', '.join(WEIGHTS)}, not {self.weights!r}")
        if (self.weights == "memory") != (self.weight_words > 0):
            raise ConfigError(
                f"weight_words must be at least 1 with weights from memory and 0 from a stream, "
                f"not {self.weight_words} with {self.weights}"
            )
        if self.k_par % self.group:
            raise ConfigError(
                f"group must divide k_par, not {self.group} with k_par {self.k_par}"
            )
        if len(self.entries) * (TABLE_BANKS if self.structure == "tables" else 1) > MOST_ENTRIES:
            raise ConfigError(
                f"group must give at most {MOST_ENTRIES} signed sums (two banks of them with "
                f"tables), not {len(self.entries)} with group {self.group}"
            )

    # ---- the weight code -----------------------------------------------------------------

    @cached_property
    def entries(self) -> tuple[tuple[int, ...], ...]:
        """The signed sums of a group, up to sign: coefficients of its inputs, -1, 0 or +1.

        A group of weights is one of these times a sign, so only half of all sums must be kept.
        The first coefficient that is not zero is +1. Binary: bit j - 1 of the index says whether
        weight j differs from weight 0. Ternary: index 0 is all zeros.
        """
        if not self.ternary:
            signs = product((1, -1), repeat=self.group - 1)
            return tuple((1, *reversed(rest)) for rest in signs)
        canonical = [
            vector
            for vector in product((0, 1, -1), repeat=self.group)
            if next((c for c in vector if c), 1) > 0
        ]
        return tuple(canonical)

    @property
    def groups(self) -> int:
        """Groups of inputs in a word of k_par."""
        return self.k_par // self.group

    @property
    def index_bits(self) -> int:
        """Bits that choose one of `entries`."""
        return clog2(len(self.entries))

    @property
    def code_bits(self) -> int:
        """Bits of the weight stream for one group of one output: a sign and an index."""
        return 1 + self.index_bits

    @property
    def term_bits(self) -> int:
        """Signed width of the sum of a group."""
        return self.act_bits + clog2(self.group)

    # ---- derived sizes -------------------------------------------------------------------

    @property
    def lanes(self) -> int:
        """Weights applied per cycle."""
        return self.k_par * self.n_par * self.m_par

    @property
    def acc_bits(self) -> int:
        """Signed width that holds k_max terms of magnitude at most 2**(A-1) - 1."""
        return self.act_bits + clog2(self.k_max)

    # ---- exact products and the reduced shift sum ------------------------------------------

    @property
    def float(self) -> FloatFormat:
        """Format of activations and results."""
        return FLOATS[self.act_format]

    @property
    def product_lsb_exp(self) -> int:
        """Exponent of the unit of exact products: -48, or -157 with bfloat16 activations."""
        smallest = 2 - (1 << self.float.exponent_bits - 1) - self.float.fraction_bits
        return smallest - SCALE_LSB_BITS

    @property
    def product_bits(self) -> int:
        """Bits of a finite product's magnitude in its unit: 80 or 301."""
        return self.product_shift_max + self.product_significand

    @property
    def product_significand(self) -> int:
        """Bits of a product's significand: 22 or 19."""
        return self.float.significand + FP16.significand

    @property
    def product_shift_max(self) -> int:
        """Largest exponent of a product, in units above the smallest: 58 or 282."""
        return self.float.exponent_ones - 2 + FP16.exponent_ones - 2

    @property
    def exponent_bits(self) -> int:
        """Width of the block exponent in units of products (0 to product_bits - act_bits + 1)."""
        return self.product_bits.bit_length()

    @property
    def bin_digit(self) -> int:
        """log2 of the exponents that share a bin of shift*x."""
        if self.act_format == "bf16":
            return 5
        return 3 if self.act_par <= FEW_LANES else 4

    @property
    def bins(self) -> int:
        """Bins of shift*x by exponent: 4, 8 or 9."""
        return (self.product_shift_max + SHIFT_BIAS >> self.bin_digit) + 1

    @property
    def bin_bits(self) -> int:
        """Signed width of a lane's bin."""
        return self.product_significand + (1 << self.bin_digit) + clog2(self.chunks_max)

    @property
    def sum_lsb_bits(self) -> int:
        """Places of the drain's sums below 2**exponent: those of scales on the output axis."""
        return SCALE_LSB_BITS * self.scales

    @property
    def window_bound(self) -> int:
        """The reduced shift sum is right beside sums below 2**window_bound in magnitude.

        At least what keeps a window's place from being negative.
        """
        sums = self.scaled_bits if self.scales else self.acc_bits
        return max(sums - 1, SMALLEST_STEP - 5 + self.sum_lsb_bits)

    @property
    def window_low_bits(self) -> int:
        """Bits of the window from below the sums' unit to where sums do not reach."""
        return self.float.significand + self.window_bound + 2

    @property
    def window_bits(self) -> int:
        """Signed width of the reduced shift sum. docs/design/0007-reduced-shift-sum.md."""
        return 1 + self.float.significand + 2 + self.window_low_bits

    @property
    def wide_bits(self) -> int:
        """Signed width of the drain's sum: a finished sum plus the reduced beta*x."""
        return self.window_bits + 1

    @property
    def reduce_end(self) -> int:
        """Places of beta*x that the reducer reads: all of its bits, and all that a window needs."""
        largest = self.product_bits - self.act_bits + 1 - self.sum_lsb_bits  # exponent
        needed = largest + self.window_bound + 2 + self.float.significand + 3
        return max(needed, self.product_bits + clog2(self.k_max) + 1)

    @property
    def place_bits(self) -> int:
        """Width of a place of beta*x above that of the smallest normal result."""
        return (self.reduce_end - SMALLEST_STEP - self.float.fraction_bits).bit_length()

    @property
    def place_offset(self) -> int:
        """What a window's place is lessened by: most that a sum is moved to the right."""
        return self.wide_bits - 1 - self.float.significand

    @property
    def reduce_cycles(self) -> int:
        """Cycles from the reducer taking a vector to its window standing in the table."""
        places = self.float.significand + self.sum_lsb_bits + self.reduce_end
        return places + self.bins * (self.act_par + 1) + REDUCE_OVERHEAD

    @property
    def vector_slots(self) -> int:
        """Vectors between the command port and their last result, a power of two."""
        return 1 << clog2(16 * self.m_par)

    @property
    def scales(self) -> bool:
        """Whether sums are scaled on the output axis."""
        return self.scale_out != "none"

    @property
    def scaled_bits(self) -> int:
        """Signed width of the scaled sums of all groups, in units of 2**-24."""
        return 40 + self.act_bits + clog2(self.k_max)

    @property
    def weight_beat_bits(self) -> int:
        """Weight bits per beat of the weight port."""
        return self.n_par * self.groups * self.code_bits

    @property
    def resident(self) -> bool:
        """Whether weights lie in the engine's own memory."""
        return self.weights == "memory"

    @property
    def in_blocks(self) -> bool:
        """Whether multipliers and block memory do what look-up tables could around the array."""
        return self.around == "blocks"

    @property
    def words_outer(self) -> bool:
        """Whether a word meets all outputs before the next word comes (tables); else tiles do."""
        return self.structure == "tables"

    @property
    def tiles_max(self) -> int:
        """Tiles of n_par outputs in the largest layer."""
        return -(-self.n_max // self.n_par)

    @property
    def tile_slots(self) -> int:
        """Tiles whose sums can wait for the drain."""
        return self.tiles_max if self.words_outer else 1

    @property
    def cluster_rows(self) -> int:
        """Rows that share one copy of the activations: the largest fitting divisor of n_par."""
        return max(d for d in range(1, CLUSTER_ROWS + 1) if self.n_par % d == 0)

    @property
    def chunks_max(self) -> int:
        """Capacity of the product buffer, in chunks of act_par products."""
        return -(-self.k_max // self.act_par)

    @property
    def chunk_levels(self) -> int:
        """Levels, one cycle each, that combine the act_par activations of a chunk."""
        return clog2(self.act_par)

    @property
    def front_end_latency(self) -> int:
        """Cycles from the last accepted chunk of a vector to its exponent and beta*x."""
        return FRONT_END_LATENCY + self.chunk_levels

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
        """Pipeline registers in a row's adder tree.

        At least one; with tables at least as many as the partial sums take to be read.
        """
        levels = self.plan.depth if self.structure == "triple" else clog2(self.groups)
        stages = -(-levels // self.levels_per_stage)
        return max(stages, MEMORY_LATENCY if self.words_outer else 1)

    @property
    def plan(self) -> triples.Plan:
        """The adders of a row of structure triple."""
        return triples.plan(self.k_par, self.act_bits, self.acc_bits)

    def stage_of(self, level: int) -> int:
        """Return the cycle, after the weights came, in which `plan`'s adders of a level add."""
        if level == 0:
            return self.tree_stages
        return (self.plan.depth - level) // self.levels_per_stage

    @cached_property
    def lane_delays(self) -> tuple[int, ...]:
        """Cycles, after the weights came, in which a row needs each input; 0 but for triple."""
        if self.structure != "triple":
            return (0,) * self.k_par
        delays = [0] * self.k_par
        for node in self.plan.nodes():
            for lane in node.leaves:
                delays[lane] = self.stage_of(node.level)
        return tuple(delays)

    @cached_property
    def serial_steps(self) -> tuple[TableStep, ...] | None:
        """What an adder does to fill a group's table; None: a tree gives an entry a cycle.

        It is smaller than a tree and takes more cycles for a word. It is taken where the quantizer
        writes one activation a cycle and takes as many cycles for a word or more.
        """
        if not self.words_outer or self.act_par > 1:
            return None
        steps = table_steps(self.group, self.ternary)
        return steps if len(steps) <= self.slots_per_word else None

    @cached_property
    def table_turns(self) -> int:
        """Groups that share an adder of serial_steps, one after the other; 1 without them.

        As many as let a word's tables still take no longer than the quantizer does for a word.
        Turn t fills the tables of the groups g with g mod table_turns = t.
        """
        if self.serial_steps is None:
            return 1
        most = self.slots_per_word // len(self.serial_steps)
        return max(turns for turns in range(1, most + 1) if self.groups % turns == 0)

    @property
    def table_cycles(self) -> int:
        """Cycles in which the tables of a word are filled."""
        steps = self.entries if self.serial_steps is None else self.serial_steps
        return len(steps) * self.table_turns

    @property
    def word_parts(self) -> int:
        """Reads of the activation buffer that give a word: with serial_steps a few lanes each."""
        return 1 if self.serial_steps is None else self.group * self.table_turns

    @property
    def part_lanes(self) -> int:
        """Activations in a part of a word: one of every group of a turn, or the whole word."""
        return self.k_par // self.word_parts

    @property
    def generator_stages(self) -> int:
        """Pipeline registers in what computes table entries."""
        if self.serial_steps is not None:
            return 1
        return max(1, -(-clog2(self.group) // self.levels_per_stage))

    @property
    def table_latency(self) -> int:
        """Cycles from the last entry's step to the first beat that may read the table."""
        return self.generator_stages + MEMORY_LATENCY

    @property
    def beat_latency(self) -> int:
        """Cycles from taking a beat to its weights and tags at the array.

        With tables one register; else activations, and in any case weights from memory, take a
        read of block memory.
        """
        return MEMORY_LATENCY if self.resident or not self.words_outer else 1

    @property
    def array_latency(self) -> int:
        """Cycles from the last weight beat of a tile to its sums being ready for the drain.

        Direct, triple and shared: memory, copies for the clusters, tree, hold register; one more
        for the shared sums. Tables: weights, copies, look-up, tree, sum; then the tile queue.
        """
        if self.words_outer:
            return self.beat_latency + self.tree_stages + 3 + TILE_QUEUE_LATENCY
        return MEMORY_LATENCY + self.tree_stages + 2 + (self.structure == "shared")

    @property
    def select_stages(self) -> int:
        """Cycles in which a chunk's sums are selected, and its window is read.

        With tables both are reads of block memory, and a register more, since the memory of the
        sums may lie far from the drain; else registers select among all sums.
        """
        if self.words_outer:
            return MEMORY_LATENCY + 1
        stages = -(-clog2(self.n_par // self.out_par * self.m_par) // SELECT_BITS)
        return max(MEMORY_LATENCY, stages)

    @property
    def result_latency(self) -> int:
        """Cycles from a chunk entering the drain's pipeline to its results at the result port."""
        return self.select_stages + CONVERT_LATENCY + SCALE_LATENCY * self.scales

    @property
    def result_queue_depth(self) -> int:
        """Entries of the result queue: enough for a chunk a cycle."""
        return self.result_latency + 1

    @property
    def latency_cycles(self) -> dict[str, int]:
        """Fixed block latencies, as they stand in the sidecar."""
        return {
            "front_end": self.front_end_latency,
            "reduce": self.reduce_cycles,
            "quantize": QUANTIZE_LATENCY,
            "tables": self.table_latency if self.words_outer else 0,
            "array": self.array_latency,
            "result": self.result_latency,
        }

    def beats(self, k: int, n: int) -> int:
        """Return the weight beats of a ``[n, k]`` layer for one command.

        Raises
        ------
        ConfigError
            If the engine cannot hold such a layer.
        """
        self.check_shape(k, n)
        return -(-k // self.k_par) * -(-n // self.n_par)

    def check_shape(self, k: int, n: int, m: int = 1) -> None:
        """Raise ConfigError unless `m` vectors of `k` inputs and `n` outputs fit the engine."""
        for what, value, limit in (
            ("K", k, self.k_max), ("N", n, self.n_max), ("M", m, self.m_par)
        ):
            if not 1 <= value <= limit:
                raise ConfigError(
                    f"{what} must be from 1 to {limit} on engine {self.name}, not {value}"
                )

    def group_words(self, k: int, size: int) -> int:
        """Return the words of a group of `size` inputs with scales of its own, of `k` in all.

        Raises
        ------
        ConfigError
            If groups are not whole words, or the engine has no scales by group.
        """
        if size >= k:
            return -(-k // self.k_par)
        if self.scale_out != "groups":
            raise ConfigError(
                f"a layer of {k} inputs in groups of {size} needs scale_out groups, "
                f"not {self.scale_out} of {self.name}"
            )
        if size < 1 or size % self.k_par:
            raise ConfigError(
                f"a group must be a multiple of k_par = {self.k_par} inputs, not {size}: "
                f"fill it up with inputs of zero"
            )
        return size // self.k_par

    # ---- files ---------------------------------------------------------------------------

    def to_dict(self) -> dict[str, object]:
        """Return the fields as a dictionary that ``from_dict`` reads back."""
        return asdict(self)

    @classmethod
    def from_dict(
        cls, data: object, *, where: str = "configuration", lines: Mapping[KeyPath, int] = _NO_LINES
    ) -> EngineConfig:
        """Build from a dictionary (a JSON object); unknown and missing keys are refused by name.

        `where` and the line of a key, if `lines` has it, begin the messages.
        """
        if not isinstance(data, dict):
            raise ConfigError(f"{where} must be a JSON object, not {type(data).__name__}")

        def at(key: str) -> str:
            return f"{where}, line {lines[(key,)]}" if (key,) in lines else where

        known = [f.name for f in fields(cls)]
        unknown = [key for key in data if key not in known]
        if unknown:
            raise ConfigError(f"{at(unknown[0])}: keys must be among {', '.join(known)}, not "
                              f"{', '.join(unknown)}")
        required = [f.name for f in fields(cls) if f.default is MISSING]
        missing = [name for name in required if name not in data]
        if missing:
            raise ConfigError(f"{where} must give {', '.join(required)}; missing: "
                              f"{', '.join(missing)}")
        try:
            return cls(**data)
        except ConfigError as error:
            field = str(error).split()[0]  # every message begins with the field that breaks a rule
            raise ConfigError(f"{at(field)}: {error}") from None

    @classmethod
    def from_file(cls, path: str | Path) -> EngineConfig:
        """Read a configuration from a JSON file; messages say the file and the line."""
        try:
            data, lines = read_object(path)
        except JsonTextError as error:
            raise ConfigError(str(error)) from None
        return cls.from_dict(data, where=str(path), lines=lines)


_KV260 = EngineConfig(
    name="kv260",
    # 1,024 weight bits a beat at 150 MHz take 19.2 GB/s: all that the board's DDR4 can give.
    k_par=32,
    n_par=32,
    act_bits=16,
    # Tables of four inputs measured densest of the structures that divide this beat.
    structure="tables",
    group=4,
    k_max=11264,
    n_max=11264,
    act_par=4,
    out_par=4,
    clock_mhz=150.0,
)
# One activation and one result a cycle, multipliers and block memory instead of look-up tables: the
# least around the same array. Streams of vectors do not notice if a layer has 1,024 inputs and
# outputs or more; a vector alone takes longer.
_KV260_LEAN = replace(_KV260, name="kv260_lean", act_par=1, out_par=1, around="blocks")

PRESETS: dict[str, EngineConfig] = {
    "tiny": EngineConfig(
        name="tiny", k_par=8, n_par=4, act_bits=8, k_max=256, n_max=256, act_par=2, out_par=1,
        clock_mhz=50.0,
    ),
    "kv260": _KV260,
    "kv260_a8": replace(_KV260, name="kv260_a8", act_bits=8),
    "kv260_lean": _KV260_LEAN,
    "kv260_a8_lean": replace(_KV260_LEAN, name="kv260_a8_lean", act_bits=8),
    "ulx3s": EngineConfig(
        # Holds every layer of fbi-1.3b; the board's 16-bit SDRAM bounds it long before the array.
        name="ulx3s", k_par=32, n_par=16, act_bits=8, structure="tables", group=4, k_max=5632,
        n_max=5632, act_par=2, out_par=1, levels_per_stage=1, clock_mhz=90.0,
    ),
    "u280": EngineConfig(
        # Half of a chip: its two engines take 16 of the 32 HBM2 channels each. 8,192 weight bits a
        # beat at 225 MHz (assumed: half the clock of the channels' 256-bit ports) are 230.4 GB/s.
        name="u280", k_par=64, n_par=128, act_bits=16, structure="tables", group=4, k_max=11264,
        n_max=11264, act_par=32, out_par=32, clock_mhz=225.0,
    ),
    "asic7": EngineConfig(
        # One engine for one HBM3 stack: 8,192 weight bits a beat at 800 MHz (assumed) are its
        # 819.2 GB/s. Look-up RAM is nothing that a chip has: shared pair sums. Four token vectors
        # share a beat.
        name="asic7", k_par=32, n_par=256, m_par=4, act_bits=16, structure="shared", group=2,
        k_max=11264, n_max=11264, act_par=32, out_par=32, clock_mhz=800.0,
    ),
}
"""Named configurations, the names that scripts rely on."""


def named_preset(name: str) -> EngineConfig:
    """Return the preset called `name`; raises ConfigError with the known names otherwise."""
    if name not in PRESETS:
        raise ConfigError(f"a preset is one of {', '.join(PRESETS)}, not {name!r}")
    return PRESETS[name]
