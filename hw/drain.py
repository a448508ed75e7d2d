"""Drain: adds shift*x to each finished accumulator and rounds once, to float16."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import bind, leading_one, shift_left, shift_right_sticky
from .config import RESULT_QUEUE_DEPTH, EngineConfig

_INFINITY = 0x7C00
_CANONICAL_NAN = 0x7E00
# In units of 2**-48: the smallest float16 step, 2**-24, is bit 24; a float16 has 11 bits.
_SMALLEST_STEP = 24
_FRACTION_BITS = 10


class Drain(wiring.Component):
    """Holds the sums of a tile and emits them, out_par a cycle, as float16.

    The conversion pipeline never stops: a chunk leaves the hold register only when the result
    queue has room for it.

    Members
    -------
    sums, load : In
        The n_par sums of a tile; loaded when the hold register is free.
    tile : In
        Exponent, shift sum, poison, count of valid outputs; stable while the tile is drained.
    hold_freed : Out
        Pulse: the last chunk of the tile left the hold register.
    result : Out stream
        Rounded outputs in order; the first is RESULT_LATENCY cycles behind its hold register.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "sums": In(config.acc_bits * config.n_par),
                "load": In(1),
                "tile": In(layouts.tile(config)),
                "hold_freed": Out(1),
                "result": Out(stream.Signature(layouts.results(config))),
            }
        )

    def elaborate(self, platform):
        """Build the hold register, the conversion pipeline and the result queue."""
        m = Module()
        config = self.config
        lanes = range(config.out_par)
        wide = signed(config.wide_bits)

        hold = Signal(config.acc_bits * config.n_par, reset_less=True)
        rest = Signal.like(self.tile.count)
        room = Signal(range(RESULT_QUEUE_DEPTH + 1), init=RESULT_QUEUE_DEPTH)
        pop = bind(m, (rest != 0) & (room != 0), "pop")
        tile_end = bind(m, rest <= config.out_par, "tile_end")
        m.d.comb += self.hold_freed.eq(pop & tile_end)
        with m.If(self.load):
            m.d.sync += [hold.eq(self.sums), rest.eq(self.tile.count)]
        with m.Elif(pop):
            m.d.sync += [
                hold.eq(hold.shift_right(config.acc_bits * config.out_par)),
                rest.eq(Mux(tile_end, 0, rest - config.out_par)),
            ]

        # ---- tags: which results exist, vector end, poison, one set per pipeline stage -----
        keep = bind(m, Cat(*(rest > lane for lane in lanes)), "keep")
        tag = {
            "valid": pop,
            "keep": keep,
            "last": self.tile.last & tile_end,
            "poison": self.tile.summary.poison,
        }
        for stage in range(5):
            registers = {
                name: Signal(len(value), name=f"{name}_{stage}") for name, value in tag.items()
            }
            m.d.sync += [registers[name].eq(value) for name, value in tag.items()]
            tag = registers

        # ---- stage 1: bring sums and shift*x to units of 2**-48 -----------------------------
        shift_sum = Signal(wide, reset_less=True)
        m.d.sync += shift_sum.eq(self.tile.summary.shift_sum)
        outputs = []
        for lane in lanes:
            accumulator = hold.word_select(lane, config.acc_bits).as_signed()
            aligned = Signal(wide, name=f"aligned_{lane}", reset_less=True)
            m.d.sync += aligned.eq(
                shift_left(
                    m, accumulator, self.tile.summary.exponent, config.wide_bits, f"align_{lane}"
                )
            )
            # ---- stage 2: the one exact sum ----------------------------------------------
            total = Signal(wide, name=f"total_{lane}", reset_less=True)
            m.d.sync += total.eq(aligned + shift_sum)
            # ---- stage 3: sign and magnitude ---------------------------------------------
            negative = Signal(3, name=f"negative_{lane}", reset_less=True)
            magnitude = Signal(config.wide_bits - 1, name=f"magnitude_{lane}", reset_less=True)
            m.d.sync += [
                negative.eq(Cat(total < 0, negative)),
                magnitude.eq(Mux(total < 0, -total, total)),
            ]
            # ---- stage 4: where the last kept bit lies -------------------------------------
            top = leading_one(m, magnitude, f"top_{lane}")
            least_top = _SMALLEST_STEP + _FRACTION_BITS
            drop = Signal(
                range(config.wide_bits - least_top), name=f"drop_{lane}", reset_less=True
            )
            normal = Signal.like(magnitude, name=f"normal_{lane}", reset_less=True)
            m.d.sync += [
                drop.eq(Mux(top > least_top, top - least_top, 0)),
                normal.eq(magnitude),
            ]
            # ---- stage 5: shift, keeping a rounding bit and what was lost -------------------
            below = _SMALLEST_STEP - 1
            value, lost = shift_right_sticky(m, normal[below:], drop, f"shift_{lane}")
            kept = Signal(_FRACTION_BITS + 2, name=f"kept_{lane}", reset_less=True)
            sticky = Signal(name=f"sticky_{lane}", reset_less=True)
            exponent = Signal.like(drop, name=f"exponent_{lane}", reset_less=True)
            m.d.sync += [
                kept.eq(value),
                sticky.eq(lost | normal[:below].any()),
                exponent.eq(drop),
            ]
            # ---- stage 6: round to nearest even; a carry walks into the exponent -------------
            up = bind(m, kept[0] & (sticky | kept[1]), f"up_{lane}")
            pattern = bind(
                m, (exponent << _FRACTION_BITS) + kept[1:] + up, f"pattern_{lane}"
            )
            finite = bind(m, Mux(pattern >= _INFINITY, _INFINITY, pattern)[:15], f"finite_{lane}")
            outputs.append(
                bind(
                    m,
                    Mux(tag["poison"], _CANONICAL_NAN, Cat(finite, negative[2])),
                    f"output_{lane}",
                )
            )

        m.submodules.queue = queue = fifo.SyncFIFO(
            width=layouts.results(config).size, depth=RESULT_QUEUE_DEPTH
        )
        taken = bind(m, self.result.valid & self.result.ready, "taken")
        m.d.sync += room.eq(room - pop + taken)
        entry = Signal(layouts.results(config))
        m.d.comb += [
            entry.keep.eq(tag["keep"]),
            entry.last.eq(tag["last"]),
            queue.w_data.eq(entry),
            queue.w_en.eq(tag["valid"]),
            self.result.payload.eq(queue.r_data),
            self.result.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.result.ready),
        ]
        for lane in lanes:
            # Lanes past the last output carry zeros, so that the payload is defined.
            m.d.comb += entry.data[lane].eq(Mux(tag["keep"][lane], outputs[lane], 0))
        return m
