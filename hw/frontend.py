"""Front end: multiplies each activation once by its scale and once by its shift.

The products with the scale go, exact, to the product buffer; their largest leading-one position
gives the block exponent. The products with the shift are summed exactly, in bins by exponent
(hw.bins), so that shift*x needs no rounding of its own; the reducer makes a window of their sum.
"""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.hdl import Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import at_most, bind, equals, leading_one, negate, select, shift_left
from .bins import Bins
from .config import SHIFT_BIAS, SIGNIFICAND_SHIFT_BITS, EngineConfig, clog2
from .floats import FP16, FloatFormat
from .loader import Loader
from .reducer import Reducer
from .tree import delay, register

_BLOCK = 4  # bits that the search for a product's leading one looks at together
_NEAR_BITS = SIGNIFICAND_SHIFT_BITS - 1  # of a shift: what one look-up table of six inputs chooses


class FrontEnd(wiring.Component):
    """Takes commands and chunks, gives products, vector summaries, and later vector windows.

    The vectors of a command come one after the other; each is a vector of its own from here to
    the quantizer. Latency: a summary is offered front_end_latency - 1 cycles after the last chunk
    was accepted. Its window follows reduce_cycles after the next cycle, or after the cycle that
    follows the window before it.

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
        Pulse: a vector begins, and what its command asks for; the cycle after it was taken.
    summary, summary_valid : Out
        Pulse: the summary of the oldest vector that has none yet.
    vector_taken : In
        Pulse: the quantizer took the oldest vector.
    window, window_valid : Out
        Pulse: the reduced shift sum of the oldest vector that has none yet.
    slots_freed : In
        Vectors whose windows are not needed any more from the next cycle on; vector_slots may
        be between command and here.
    inside : Out
        Vectors need their windows still.
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
                "window": Out(layouts.window(config)),
                "window_valid": Out(1),
                "slots_freed": In(clog2(config.m_par + 1)),
                "inside": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform):
        """Join loader, bins and reducer with the multipliers and the search for the exponent."""
        m = Module()
        config = self.config
        lanes = range(config.act_par)

        # ---- which chunks enter --------------------------------------------------------------
        m.submodules.loader = loader = Loader(config)
        wiring.connect(m, wiring.flipped(self.command), loader.command)
        m.d.comb += [
            loader.act_valid.eq(self.act.valid),
            loader.coef_valid.eq(self.coef.valid),
            self.act.ready.eq(loader.act_ready),
            self.coef.ready.eq(loader.coef_ready),
            loader.chunk_freed.eq(self.chunk_freed),
            loader.vector_taken.eq(self.vector_taken),
            loader.window_valid.eq(self.window_valid),
            loader.slots_freed.eq(self.slots_freed),
            self.layer.eq(loader.layer),
            self.layer_valid.eq(loader.layer_valid),
            self.inside.eq(loader.inside),
            self.error.eq(loader.error),
        ]

        # ---- tags: tag(t) is (valid, first, last) of what stage t has registered --------------
        tags = [Cat(loader.accept, loader.first, loader.last)]

        def tag(stage: int) -> Value:
            while len(tags) < stage + 1:
                tags.append(delay(m, tags[-1], 1, f"tag_{len(tags)}", reset_less=False))
            return tags[stage]

        # ---- stage 1: register the chunk; lanes past K become zero -----------------------
        operands, normals = {}, {}
        for lane in lanes:
            present = loader.present[lane]
            raw = {
                "x": self.act.payload[lane],
                "scale": self.coef.payload[lane].scale,
                "shift": self.coef.payload[lane].shift,
            }
            for name, value in raw.items():
                fraction = (config.float if name == "x" else FP16).fraction_bits
                # The exponent field of a subnormal counts as 1; the leading bit of a mantissa. Both
                # are known here, so that nothing stands before the adder and the multiplier.
                low = value[fraction] | ~value[fraction + 1 : 15].any()
                value = Cat(value[:fraction], low, value[fraction + 1 :])
                operands[name, lane] = register(m, Mux(present, value, 0), f"{name}_{lane}")
                normals[name, lane] = register(
                    m, present & raw[name][fraction:15].any(), f"{name}_{lane}_normal"
                )

        # ---- stage 2: decode --------------------------------------------------------------
        # ---- stage 3: multiply by the scale, with nothing between registers and multiplier -----
        # ---- stage 4: the same with the shift, whose factors take a part of the exponent before --
        special, exponents = [], []
        scaled = Signal(layouts.products(config), name="scaled", reset_less=True)
        shifted = Signal(layouts.significands(config), name="shifted", reset_less=True)
        for lane in lanes:
            x = _decode(operands["x", lane], normals["x", lane], config.float)
            mantissa, ones = x["mantissa"], config.float.exponent_ones
            special.append(bind(m, x["exponent"] == ones, f"x_{lane}_special"))
            for name in ("scale", "shift"):
                other = _decode(operands[name, lane], normals[name, lane], FP16)
                special.append(
                    bind(m, other["exponent"] == FP16.exponent_ones, f"{name}_{lane}_special")
                )
                negative = bind(m, x["negative"] ^ other["negative"], f"{name}_{lane}_neg")
                exponent = register(m, x["exponent"] + other["exponent"], f"{name}_{lane}_exp")
                if name == "scale":
                    left = register(m, mantissa, f"scale_{lane}_left")
                    right = register(m, other["mantissa"], f"scale_{lane}_right")
                    m.d.sync += [
                        scaled[lane].magnitude.eq(left * right),
                        scaled[lane].shift.eq(exponent),
                        scaled[lane].negative.eq(register(m, negative, f"negative_{lane}")),
                    ]
                    continue
                if config.in_blocks:
                    # The product is shifted by another, with a power of two that has the sign.
                    left = register(m, mantissa, f"shift_{lane}_left", copy=True)
                    right = register(m, other["mantissa"], f"shift_{lane}_right")
                    power = register(
                        m,
                        _power(exponent[:SIGNIFICAND_SHIFT_BITS],
                               register(m, negative, f"shift_{lane}_negative")),
                        f"shift_{lane}_power",
                    )
                    product = register(m, left * right, f"shift_{lane}_product")
                    exponents.append(register(m, exponent, f"shift_{lane}_exp_late"))
                    m.d.sync += shifted[lane].eq(product * power.as_signed())
                    continue
                # The sign goes through the multiplier. A copy of x, since the other's registers can
                # move into its multiplier.
                factor = negate(m, other["mantissa"], negative, f"factor_{lane}")
                factor = register(m, factor, f"shift_{lane}_factor")
                mantissa = register(m, mantissa, f"shift_{lane}_mantissa", copy=True)
                left = register(
                    m, shift_left(m, mantissa, exponent[:_NEAR_BITS],
                                  len(mantissa) + (1 << _NEAR_BITS) - 1, f"shift_{lane}_near"),
                    f"shift_{lane}_left",
                )  # fmt: skip
                far = 1 << _NEAR_BITS
                right = register(
                    m, Mux(exponent[_NEAR_BITS], factor.shift_left(far), factor),
                    f"shift_{lane}_right",
                )  # fmt: skip
                exponents.append(register(m, exponent, f"shift_{lane}_exp_late"))
                m.d.sync += shifted[lane].eq(left * right)
        valid, starts, ends = tag(3)
        m.submodules.bins = bins = Bins(config)
        m.d.comb += [
            self.product.eq(scaled),
            self.product_valid.eq(valid),
            bins.shifts.eq(Cat(exponents)),
            bins.significands.eq(shifted),
            bins.valid.eq(valid),
            bins.first.eq(starts),
            bins.last.eq(ends),
        ]

        # ---- stages 4 and 5: the exponent that scale*x needs ------------------------------------
        # Its leading one's place, less what makes it the highest bit of a quantized number. What
        # whole blocks of that there are is taken from the block's number.
        headroom = config.act_bits - 2 + SHIFT_BIAS
        tops = []
        for lane in lanes:
            magnitude = scaled[lane].magnitude
            # Which block of bits has it, and where it would be in each block; then where it is.
            blocks = [magnitude[i : i + _BLOCK] for i in range(0, len(magnitude), _BLOCK)]
            number = leading_one(m, Cat(block.any() for block in blocks), f"number_{lane}")
            places = [
                register(m, leading_one(m, block, f"place_{lane}_{i}"), f"places_{lane}_{i}")
                for i, block in enumerate(blocks)
            ]
            above = select(
                m, [Const(i - headroom // _BLOCK, signed(5)) for i in range(len(blocks))], number,
                f"above_{lane}",
            )
            above = register(m, above, f"lead_above_{lane}")
            number = register(m, number, f"lead_{lane}")
            some = register(m, magnitude.any(), f"some_{lane}")
            exponent = register(m, scaled[lane].shift, f"lead_exp_{lane}")
            place = Cat(select(m, places, number, f"lead_place_{lane}"), above).as_signed()
            needed = place + exponent - headroom % _BLOCK
            tops.append(register(m, Mux(some, needed, 0), f"top_{lane}"))

        # ---- one stage per level: largest leading one of the chunk -------------------------------
        for level in range(config.chunk_levels):
            tops = _level(
                m, tops, lambda a, b, level=level: Mux(a > b, a, b), f"top_level_{level}"
            )
        poison = delay(m, Cat(*special).any(), 4 + config.chunk_levels, "poison")
        (chunk_top,) = tops

        # ---- last stage: over the chunks of the vector, at least 0 ------------------------------
        valid, starts, ends = tag(5 + config.chunk_levels)
        top = Signal(config.exponent_bits, name="vector_top", reset_less=True)
        poisoned = Signal(reset_less=True)
        below = chunk_top[-1]
        with m.If(valid):
            m.d.sync += poisoned.eq(poison | (poisoned & ~starts))
            with m.If(starts | (~below & (chunk_top[:-1] > top))):
                m.d.sync += top.eq(chunk_top)
            with m.If(starts & below):
                m.d.sync += top.eq(0)
        m.submodules.reducer = reducer = Reducer(config)
        m.d.comb += [
            self.summary.exponent.eq(top),
            self.summary.poison.eq(poisoned),
            self.summary_valid.eq(delay(m, valid & ends, 1, "summarized", reset_less=False)),
            reducer.summary.eq(self.summary),
            reducer.summary_valid.eq(self.summary_valid),
            bins.read_bin.eq(reducer.read_bin),
            bins.read_lane.eq(reducer.read_lane),
            bins.read_bank.eq(reducer.read_bank),
            bins.read_en.eq(reducer.read_en),
            reducer.read_data.eq(bins.read_data),
            self.window.eq(reducer.window),
            self.window_valid.eq(reducer.window_valid),
        ]
        return m


def _power(exponent: Value, negative: Value) -> Value:
    """Return ``2**exponent``, or less 0 if `negative`: signed, a look-up table a bit."""
    bits = [
        Mux(negative, at_most(exponent, place), equals(exponent, place))
        for place in range(1 << len(exponent))
    ]
    return Cat(bits, negative)


def _level(m: Module, items: list[Value], combine, name: str) -> list[Value]:
    """Combine neighbours, a register behind each."""
    pairs = [
        register(m, combine(a, b), f"{name}_{i}")
        for i, (a, b) in enumerate(zip(items[::2], items[1::2], strict=False))
    ]
    return pairs + ([register(m, items[-1], f"{name}_rest")] if len(items) % 2 else [])


def _decode(bits: Value, normal: Value, form: FloatFormat) -> dict[str, Value]:
    """Split a float: value = mantissa * 2**(exponent - 1) of its smallest step, exponent >= 1.

    `normal` says whether its exponent field was not 0; a 0 has become 1.
    """
    return {
        "mantissa": Cat(bits[: form.fraction_bits], normal),
        "exponent": bits[form.fraction_bits : 15],
        "negative": bits[15],
    }
