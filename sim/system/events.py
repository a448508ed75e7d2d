"""From an operator to the events that energy is computed from."""

from __future__ import annotations

from ..energy import Events
from ..generic import GenericEngine
from ..workload import Operator
from .config import SystemConfig

RESULT_BITS = 16
"""Width of an engine result."""
PRODUCT_STORE_BITS = 32
"""Width at which alpha*x products wait to be quantized (modelled)."""
FLOAT_BITS = 16
"""Width of a vector-unit operand."""


def operator_events(operator: Operator, system: SystemConfig) -> Events:
    """Return the countable events of one instance of `operator` on one chip, all its engines.

    FBI-linear of K inputs and N outputs, for each token vector: 2K front-end multiplications
    (alpha*x and beta*x) and K wide additions of beta*x on every engine, one per step of the
    reducer, and N in the drain; on-chip memory: every product written and read once, every
    quantized activation written once, one activation word read per beat, every result written and
    read once. With structure tables, instead of a word per beat: every entry of every table of
    every output written once per word (and its word read), and in a beat one entry per group and
    output read, every partial sum read and written; a look-up is priced like any bit of memory,
    which is too much for look-up RAM. Vector unit: a MAC reads one operand from on-chip memory
    (the other streams in), an elementwise operation reads two and writes one. In addition, every
    bit that comes from memory passes an on-chip buffer; a stream that stays in it is read again
    for every command.
    """
    moved = 8 * operator.bytes
    if operator.kind != "fbi-linear":
        return Events(
            macs=operator.macs,
            vector_ops=operator.vector_ops,
            sram_read_bits=moved + FLOAT_BITS * (operator.macs + 2 * operator.vector_ops),
            sram_write_bits=moved + FLOAT_BITS * operator.vector_ops,
        )
    engine, engines = system.engine, system.engines
    if isinstance(engine, GenericEngine):
        return generic_events(operator, engine, engines)
    k, n = operator.shape
    tokens = operator.runs[0][2]
    words = -(-k // engine.k_par)
    stored = (PRODUCT_STORE_BITS * k + RESULT_BITS * n) * tokens
    beats = operator.vector_beats
    read, written = beats * engine.k_par * engine.act_bits, 0
    if engine.words_outer:
        tables = words * len(operator.runs) * tokens
        entry = engine.groups * engine.term_bits
        sums = beats * engine.n_par * engine.acc_bits
        inputs = tables * engine.table_cycles * engine.part_lanes * engine.act_bits
        read = inputs + beats * engine.n_par * entry + sums
        written = tables * len(engine.entries) * engine.n_par * entry + sums
    streamed = operator.weight_beats * engine.weight_beat_bits * engines
    fetched = 8 * operator.bytes_by_category["packed_weights"]
    return Events(
        weight_beats=operator.weight_beats * engines,
        vector_beats=beats * engines,
        front_end_muls=2 * k * tokens * engines,
        wide_adds=(k + engine.reduce_cycles + n) * tokens * engines,
        wide_bits=max(engine.bin_bits, engine.wide_bits),
        sram_read_bits=moved - fetched + max(streamed, fetched) + (stored + read) * engines,
        sram_write_bits=moved + (stored + k * engine.act_bits * tokens + written) * engines,
    )


def generic_events(operator: Operator, engine: GenericEngine, engines: int) -> Events:
    """Return the events of a linear on `engines` generic engines, padded lanes included.

    Arithmetic by lane and beat; the weights pass an on-chip buffer, and are read from it again for
    every command if they stay there; one activation word is read per beat, every activation and
    every result is written once.
    """
    k, n = operator.shape
    tokens = operator.runs[0][2]
    lanes = operator.vector_beats * engine.k_par * engine.n_par * engines
    moved, floats = 8 * operator.bytes, engine.arithmetic != "add"
    beats = operator.vector_beats * engines
    fetched = 8 * operator.bytes_by_category["packed_weights"]
    streamed = operator.weight_beats * engine.weight_beat_bits * engines
    return Events(
        weight_beats=0 if floats else operator.weight_beats * engines,
        vector_beats=0 if floats else beats,
        array_float_adds=lanes if floats else 0,
        array_float_muls=lanes if engine.arithmetic == "float-mac" else 0,
        sram_read_bits=moved - fetched + max(streamed, fetched)
        + beats * engine.k_par * engine.act_bits,
        sram_write_bits=moved + (k * engine.act_bits + n * RESULT_BITS) * tokens * engines,
    )
