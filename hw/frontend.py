"""Front end: multiplies each activation once by its scale and once by its shift.

The products with the scale go, exact, to the product buffer; their largest leading-one position
gives the block exponent. The products with the shift are summed in an accumulator wide enough to
be exact (a Kulisch accumulator), so that shift*x needs no rounding of its own.
"""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import bind, equals, leading_one, shift_left
from .config import PRODUCT_BITS, VECTORS_AHEAD, EngineConfig
from .tree import delay, register

_EXPONENT_ALL_ONES = 31


class FrontEnd(wiring.Component):
    """Takes commands and chunks, gives products and vector summaries.

    The vectors of a command come one after the other; each is a vector of its own from here to
    the quantizer. Latency: a summary is offered front_end_latency - 1 cycles after the last chunk
    was accepted.

    Parameters
    ----------
    config : EngineConfig

    Members
    -------
    command, act, coef : In stream
        A command, then for each of its vectors ceil(K / act_par) chunks on `act` and `coef` in
        step.
    product : Out, with ``product_valid``
        A chunk of exact products for the product buffer.
    chunk_freed : In
        Pulse: the product buffer has room for one more chunk.
    layer, layer_valid : Out
        Pulse: a vector begins, and what its command asks for.
    summary, summary_valid : Out
        Pulse: the summary of the oldest vector that has none yet.
    vector_taken : In
        Pulse: the quantizer took the oldest vector.
    error : Out
        Sticky: a command with K, N or M out of range was dropped.
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
        asked = Signal(layouts.command(config), reset_less=True)  # of the vectors still to come
        more = Signal(range(max(2, config.m_par)))  # how many
        rest = Signal.like(asked.k)  # inputs of the vector still to come
        free_chunks = Signal(range(config.chunks_max + 1), init=config.chunks_max)
        free_vectors = Signal(range(VECTORS_AHEAD + 1), init=VECTORS_AHEAD)

        may_load = bind(m, loading & (free_chunks != 0), "may_load")
        accept = bind(m, may_load & self.act.valid & self.coef.valid, "accept")
        last = bind(m, rest <= config.act_par, "last")
        given = self.command.payload
        in_range = [
            (given.k != 0) & (given.k <= config.k_max),
            (given.n != 0) & (given.n <= config.n_max),
        ]
        if config.scale_out == "groups":
            in_range.append(given.s != 0)
        if config.resident:
            in_range.append(given.w < config.weight_words)
        if config.m_par > 1:
            in_range.append((given.m != 0) & (given.m <= config.m_par))
        legal = bind(m, Cat(*in_range).all(), "legal")
        idle = bind(m, ~loading & (free_vectors != 0), "idle")
        continued = bind(m, idle & (more != 0), "continued")
        commanded = bind(m, idle & equals(more, 0) & self.command.valid, "commanded")
        m.d.comb += [
            self.act.ready.eq(may_load & self.coef.valid),
            self.coef.ready.eq(may_load & self.act.valid),
            self.command.ready.eq(idle & equals(more, 0)),
            self.layer.eq(Mux(continued, asked, given)),
            self.layer_valid.eq(continued | (commanded & legal)),
        ]
        with m.If(commanded):
            m.d.sync += [asked.eq(given), rest.eq(given.k), first.eq(1), loading.eq(legal)]
            if config.m_par > 1:
                with m.If(legal):
                    m.d.sync += more.eq(given.m - 1)
            with m.If(~legal):
                m.d.sync += self.error.eq(1)
        with m.If(continued):
            m.d.sync += [rest.eq(asked.k), first.eq(1), loading.eq(1), more.eq(more - 1)]
        with m.If(accept):
            m.d.sync += [rest.eq(rest - config.act_par), first.eq(0), loading.eq(~last)]
        m.d.sync += [
            free_chunks.eq(free_chunks - accept + self.chunk_freed),
            free_vectors.eq(free_vectors - self.layer_valid + self.vector_taken),
        ]

        # ---- tags: tag(t) is (valid, first, last) of what stage t has registered --------------
        tags = [Cat(accept, first, last)]

        def tag(stage: int) -> Value:
            while len(tags) < stage + 1:
                tags.append(delay(m, tags[-1], 1, f"tag_{len(tags)}", reset_less=False))
            return tags[stage]

        # ---- stage 1: register the chunk; lanes past K become zero -----------------------
        operands = {}
        for lane in lanes:
            present = bind(m, rest > lane, f"present_{lane}")
            raw = {
                "x": self.act.payload[lane],
                "scale": self.coef.payload[lane].scale,
                "shift": self.coef.payload[lane].shift,
            }
            for name, value in raw.items():
                operands[name, lane] = register(m, Mux(present, value, 0), f"{name}_{lane}")

        # ---- stage 2: decode --------------------------------------------------------------
        # ---- stage 3: multiply, with nothing between the registers and the multiplier ---------
        special = []
        scaled, shifted = [], []
        for lane in lanes:
            x = _decode(m, operands["x", lane], f"x_{lane}")
            special.append(x["special"])
            for name, target in (("scale", scaled), ("shift", shifted)):
                other = _decode(m, operands[name, lane], f"{name}_{lane}")
                special.append(other["special"])
                # A copy of x for each multiplier: its registers can move into the block.
                left = register(m, x["mantissa"], f"{name}_{lane}_left")
                right = register(m, other["mantissa"], f"{name}_{lane}_right")
                shift = register(m, x["exponent"] + other["exponent"] - 2, f"{name}_{lane}_exp")
                negative = register(m, x["negative"] ^ other["negative"], f"{name}_{lane}_neg")
                product = Signal(layouts.PRODUCT, name=f"{name}_product_{lane}", reset_less=True)
                m.d.sync += [
                    product.magnitude.eq(left * right),
                    product.shift.eq(shift),
                    product.negative.eq(negative),
                ]
                target.append(product)
        poison = delay(m, Cat(*special).any(), 2, "poison")
        for lane in lanes:
            m.d.comb += self.product[lane].eq(scaled[lane])
        m.d.comb += self.product_valid.eq(tag(3)[0])

        # ---- stages 4 to 6: leading one of scale*x; shift*x aligned in two steps, signed --------
        tops, terms = [], []
        for lane in lanes:
            magnitude = scaled[lane].magnitude
            position = register(m, leading_one(m, magnitude, f"position_{lane}"), f"lead_{lane}")
            some = register(m, magnitude.any(), f"some_{lane}")
            exponent = register(m, scaled[lane].shift, f"lead_exp_{lane}")
            tops.append(
                delay(m, register(m, Mux(some, position + exponent, 0), f"top_{lane}"), 1, "top")
            )
            product = shifted[lane]
            width = len(product.magnitude) + 15
            low = register(
                m,
                shift_left(m, product.magnitude, product.shift[:4], width, f"align_{lane}"),
                f"aligned_{lane}",
            )
            shift = register(m, product.shift[4:], f"aligned_exp_{lane}")
            high = register(
                m,
                shift_left(m, low, Cat(Const(0, 4), shift), PRODUCT_BITS, f"align_far_{lane}"),
                f"aligned_far_{lane}",
            )
            negative = delay(m, product.negative, 2, f"aligned_neg_{lane}")
            terms.append(
                register(m, Mux(negative, -high, high), f"term_{lane}")
            )
        poison = delay(m, poison, 3, "poison_far")

        # ---- one stage per level: largest leading one and sum of the chunk ------------------
        for level in range(config.chunk_levels):
            tops = _level(
                m, tops, lambda a, b, level=level: Mux(a > b, a, b), f"top_level_{level}"
            )
            terms = _level(m, terms, lambda a, b: a + b, f"term_level_{level}")
        poison = delay(m, poison, config.chunk_levels, "poison_chunk")
        (chunk_top,), (chunk_sum,) = tops, terms

        # ---- last two stages: over the chunks of the vector, then the summary ------------------
        valid, starts, ends = tag(6 + config.chunk_levels)
        summarized, _, summarized_end = tag(7 + config.chunk_levels)
        top = Signal.like(chunk_top, name="vector_top", reset_less=True)
        poisoned = Signal(reset_less=True)
        total = Signal(layouts.shift_sum_shape(config))
        next_top = bind(m, Mux(starts | (chunk_top > top), chunk_top, top), "next_top")
        next_total = bind(m, (total + chunk_sum)[: len(total)].as_signed(), "next_total")
        headroom = config.act_bits - 2
        with m.If(valid):
            m.d.sync += [
                top.eq(next_top),
                poisoned.eq(poison | (poisoned & ~starts)),
                total.eq(next_total),
            ]
        # The last sum leaves at once, so the next vector finds zero without a choice at the adder.
        with m.If(valid & ends):
            m.d.sync += total.eq(0)
        top_done = register(m, next_top, "top_done")
        poison_done = register(m, poison | (poisoned & ~starts), "poison_done")
        total_done = register(m, next_total, "total_done")
        m.d.comb += [
            self.summary.exponent.eq(Mux(top_done > headroom, top_done - headroom, 0)),
            self.summary.poison.eq(poison_done),
            self.summary.shift_sum.eq(total_done),
            self.summary_valid.eq(summarized & summarized_end),
        ]
        return m


def _level(m: Module, items: list[Value], combine, name: str) -> list[Value]:
    """Combine neighbours, a register behind each."""
    pairs = [
        register(m, combine(a, b), f"{name}_{i}")
        for i, (a, b) in enumerate(zip(items[::2], items[1::2], strict=False))
    ]
    return pairs + ([register(m, items[-1], f"{name}_rest")] if len(items) % 2 else [])


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
