"""Front end: multiplies each activation once by its scale and once by its shift.

The products with the scale go, exact, to the product buffer; their largest leading-one position
gives the block exponent. The products with the shift are summed in an accumulator wide enough to
be exact (a Kulisch accumulator), so that shift*x needs no rounding of its own.
"""

from __future__ import annotations

from itertools import pairwise

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.hdl import Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import bind, leading_one, maximum, shift_left, tree
from .config import PRODUCT_BITS, VECTORS_AHEAD, EngineConfig

_EXPONENT_ALL_ONES = 31


class FrontEnd(wiring.Component):
    """Takes commands and chunks, gives products and vector summaries.

    Latency: a summary is offered FRONT_END_LATENCY - 1 cycles after the last chunk was accepted.

    Parameters
    ----------
    config : EngineConfig

    Members
    -------
    command, act, coef : In stream
        One command per vector, then ceil(K / act_par) chunks on `act` and `coef` in step.
    product : Out, with ``product_valid``
        A chunk of exact products for the product buffer.
    chunk_freed : In
        Pulse: the product buffer has room for one more chunk.
    layer, layer_valid : Out
        Pulse: a legal command was accepted, and what it asks for.
    summary, summary_valid : Out
        Pulse: the summary of the oldest vector that has none yet.
    vector_taken : In
        Pulse: the quantizer took the oldest vector.
    error : Out
        Sticky: a command with K or N out of range was dropped.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "command": In(stream.Signature(layouts.command(config))),
                "act": In(stream.Signature(layouts.activations(config))),
                "coef": In(stream.Signature(layouts.coefficients(config))),
                "product": Out(layouts.products(config)),
                "product_valid": Out(1),
                "chunk_freed": In(1),
                "layer": Out(layouts.command(config)),
                "layer_valid": Out(1),
                "summary": Out(layouts.summary(config)),
                "summary_valid": Out(1),
                "vector_taken": In(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform):
        """Build the loader and the multiply, align, sum pipeline."""
        m = Module()
        config = self.config
        lanes = range(config.act_par)

        # ---- loader: which chunk may enter ---------------------------------------------
        loading = Signal()
        first = Signal()
        rest = Signal.like(self.command.payload.k)  # inputs of the vector still to come
        free_chunks = Signal(range(config.chunks_max + 1), init=config.chunks_max)
        free_vectors = Signal(range(VECTORS_AHEAD + 1), init=VECTORS_AHEAD)

        may_load = bind(m, loading & (free_chunks != 0), "may_load")
        accept = bind(m, may_load & self.act.valid & self.coef.valid, "accept")
        last = bind(m, rest <= config.act_par, "last")
        asked = self.command.payload
        legal = bind(
            m,
            (asked.k != 0)
            & (asked.k <= config.k_max)
            & (asked.n != 0)
            & (asked.n <= config.n_max),
            "legal",
        )
        m.d.comb += [
            self.act.ready.eq(may_load & self.coef.valid),
            self.coef.ready.eq(may_load & self.act.valid),
            self.command.ready.eq(~loading & (free_vectors != 0)),
            self.layer.eq(asked),
            self.layer_valid.eq(self.command.valid & self.command.ready & legal),
        ]
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [rest.eq(asked.k), first.eq(1), loading.eq(legal)]
            with m.If(~legal):
                m.d.sync += self.error.eq(1)
        with m.If(accept):
            m.d.sync += [rest.eq(rest - config.act_par), first.eq(0), loading.eq(~last)]
        m.d.sync += [
            free_chunks.eq(free_chunks - accept + self.chunk_freed),
            free_vectors.eq(free_vectors - self.layer_valid + self.vector_taken),
        ]

        # ---- stage 0: register the chunk; lanes past K become zero -----------------------
        tag = [Signal(3, name=f"tag{i}") for i in range(5)]  # valid, first, last
        m.d.sync += tag[0].eq(Cat(accept, first, last))
        for before, after in pairwise(tag):
            m.d.sync += after.eq(before)
        operands = {}
        for lane in lanes:
            present = bind(m, rest > lane, f"present_{lane}")
            raw = {
                "x": self.act.payload[lane],
                "scale": self.coef.payload[lane].scale,
                "shift": self.coef.payload[lane].shift,
            }
            for name, value in raw.items():
                operand = Signal(16, name=f"{name}_{lane}", reset_less=True)
                m.d.sync += operand.eq(Mux(present, value, 0))
                operands[name, lane] = operand

        # ---- stage 1: multiply ------------------------------------------------------------
        scaled = [Signal(layouts.PRODUCT, name=f"scaled_{i}", reset_less=True) for i in lanes]
        shifted = [Signal(layouts.PRODUCT, name=f"shifted_{i}", reset_less=True) for i in lanes]
        not_finite = Signal(reset_less=True)
        special = []
        for lane in lanes:
            x = _decode(m, operands["x", lane], f"x_{lane}")
            special.append(x["special"])
            for name, target in (("scale", scaled[lane]), ("shift", shifted[lane])):
                other = _decode(m, operands[name, lane], f"{name}_{lane}")
                special.append(other["special"])
                m.d.sync += [
                    target.magnitude.eq(x["mantissa"] * other["mantissa"]),
                    target.shift.eq(x["exponent"] + other["exponent"] - 2),
                    target.negative.eq(x["negative"] ^ other["negative"]),
                ]
        m.d.sync += not_finite.eq(Cat(*special).any())
        for lane in lanes:
            m.d.comb += self.product[lane].eq(scaled[lane])
        m.d.comb += self.product_valid.eq(tag[1][0])

        # ---- stage 2: leading-one position; align shift*x -----------------------------------
        tops = []
        aligned = []
        for lane in lanes:
            position = leading_one(m, scaled[lane].magnitude, f"position_{lane}")
            tops.append(
                bind(
                    m,
                    Mux(scaled[lane].magnitude.any(), position + scaled[lane].shift, 0),
                    f"top_{lane}",
                )
            )
            magnitude = shift_left(
                m, shifted[lane].magnitude, shifted[lane].shift, PRODUCT_BITS, f"align_{lane}"
            )
            term = Signal(signed(PRODUCT_BITS + 1), name=f"term_{lane}", reset_less=True)
            m.d.sync += term.eq(Mux(shifted[lane].negative, -magnitude, magnitude))
            aligned.append(term)
        chunk_top = Signal(range(PRODUCT_BITS + 4), reset_less=True)
        chunk_poison = Signal(reset_less=True)
        m.d.sync += [
            chunk_top.eq(maximum(m, tops, "top_max")),
            chunk_poison.eq(not_finite),
        ]

        # ---- stage 3: running maximum; sum of the chunk -----------------------------------
        top = Signal.like(chunk_top)
        poison = Signal(reset_less=True)
        chunk_sum_value = tree(aligned, lambda a, b: bind(m, a + b, "chunk_add"))
        chunk_sum = Signal(chunk_sum_value.shape(), reset_less=True)
        with m.If(tag[2][0]):
            m.d.sync += [
                top.eq(Mux(tag[2][1] | (chunk_top > top), chunk_top, top)),
                poison.eq(chunk_poison | (poison & ~tag[2][1])),
            ]
        m.d.sync += chunk_sum.eq(chunk_sum_value)

        # ---- stage 4: exact sum of shift*x -------------------------------------------------
        total = Signal(layouts.shift_sum_shape(config), reset_less=True)
        with m.If(tag[3][0]):
            m.d.sync += total.eq(Mux(tag[3][1], 0, total) + chunk_sum)
        top_done = Signal.like(top)
        poison_done = Signal(reset_less=True)
        m.d.sync += [top_done.eq(top), poison_done.eq(poison)]

        headroom = config.act_bits - 2
        m.d.comb += [
            self.summary.exponent.eq(Mux(top_done > headroom, top_done - headroom, 0)),
            self.summary.poison.eq(poison_done),
            self.summary.shift_sum.eq(total),
            self.summary_valid.eq(tag[4][0] & tag[4][2]),
        ]
        return m


def _decode(m: Module, bits: Value, name: str) -> dict[str, Value]:
    """Split a float16 bit pattern: value = mantissa * 2**(exponent - 25), exponent >= 1."""
    field = bits[10:15]
    normal = bind(m, field.any(), f"{name}_normal")
    return {
        "mantissa": bind(m, Cat(bits[:10], normal), f"{name}_mantissa"),
        "exponent": bind(m, Mux(normal, field, 1), f"{name}_exponent"),
        "negative": bits[15],
        "special": bind(m, field == _EXPONENT_ALL_ONES, f"{name}_special"),
    }
