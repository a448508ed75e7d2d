"""Quantizer: brings a vector's exact products to A bits under its block exponent."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import bind, shift_right_sticky
from .config import BANKS, EngineConfig, clog2


class Quantizer(wiring.Component):
    """Reads the products of one vector, writes A-bit integers into a bank of the buffer.

    Takes ``ceil(K / k_par) * slots_per_word`` steps of one cycle each: the last word is filled
    with zeros. The vector is offered QUANTIZE_LATENCY - 1 cycles after the last step.

    Parameters
    ----------
    config : EngineConfig

    Members
    -------
    source, source_valid, source_taken : In, In, Out
        The oldest summarized vector; taken by a pulse.
    product : In, chunk_freed : Out
        Data of the product buffer, one cycle after the pulse that asked for the next chunk.
    write_addr, write_slot, write_data, write_valid : Out
        A chunk of quantized activations for the activation buffer.
    vector, vector_valid : Out
        Pulse: a vector is complete in its bank.
    bank_freed : In
        Pulse: the array is done with the oldest bank.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "source": In(layouts.vector(config)),
                "source_valid": In(1),
                "source_taken": Out(1),
                "product": In(layouts.products(config)),
                "chunk_freed": Out(1),
                "write_addr": Out(clog2(BANKS * config.words_max)),
                "write_slot": Out(max(1, clog2(config.slots_per_word))),
                "write_data": Out(config.act_bits * config.act_par),
                "write_valid": Out(1),
                "vector": Out(layouts.vector(config)),
                "vector_valid": Out(1),
                "bank_freed": In(1),
            }
        )

    def elaborate(self, platform):
        """Build the step counter and the align, round pipeline."""
        m = Module()
        config = self.config
        bits = config.act_bits

        running = Signal()
        current = Signal(layouts.vector(config), reset_less=True)
        done = Signal(layouts.vector(config), reset_less=True)
        rest = Signal.like(current.layer.k)
        slot = Signal(range(max(2, config.slots_per_word)))
        bank = Signal()
        word = Signal(range(max(2, BANKS * config.words_max)))
        free_banks = Signal(range(BANKS + 1), init=BANKS)

        m.d.comb += self.source_taken.eq(self.source_valid & ~running & (free_banks != 0))
        m.d.sync += free_banks.eq(free_banks - self.source_taken + self.bank_freed)

        slot_last = bind(m, slot == config.slots_per_word - 1, "slot_last")
        end = bind(m, running & slot_last & (rest <= config.act_par), "end")
        real = bind(m, running & (rest != 0), "real")  # not a zero that fills the last word
        m.d.comb += self.chunk_freed.eq(real)
        with m.If(self.source_taken):
            m.d.sync += [
                running.eq(1),
                current.eq(self.source),
                rest.eq(self.source.layer.k),
                slot.eq(0),
                word.eq(Mux(bank, config.words_max, 0)),
            ]
        with m.If(running):
            m.d.sync += [
                rest.eq(Mux(rest > config.act_par, rest - config.act_par, 0)),
                slot.eq(Mux(slot_last, 0, slot + 1)),
                word.eq(word + slot_last),
            ]
        with m.If(end):
            m.d.sync += [running.eq(0), bank.eq(~bank), done.eq(current)]

        # ---- tags of the three pipeline stages -------------------------------------------
        tags = {
            "valid": (running, self.write_valid),
            "slot": (slot, self.write_slot),
            "word": (word, self.write_addr),
        }
        for name, (value, port) in tags.items():
            for stage in range(3):
                register = Signal.like(value, name=f"{name}_{stage}")
                m.d.sync += register.eq(value)
                value = register
            m.d.comb += port.eq(value)
        real_0 = Signal()
        end_0 = Signal()
        end_1 = Signal()
        m.d.sync += [real_0.eq(real), end_0.eq(end), end_1.eq(end_0)]
        m.d.comb += [self.vector.eq(done), self.vector_valid.eq(end_1)]

        # ---- align, then round to nearest even and saturate ------------------------------
        exponent = current.summary.exponent
        outputs = []
        for lane in range(config.act_par):
            product = self.product[lane]
            # magnitude * 2**(shift - exponent), computed as one right shift of
            # magnitude * 2**(A - 2), which the exponent's rule makes never negative.
            amount = Signal(range(128), name=f"amount_{lane}")
            m.d.comb += amount.eq(exponent + (bits - 2) - product.shift)
            wide = bind(
                m,
                Cat(Const(0, bits - 1), Mux(real_0, product.magnitude, 0)),
                f"wide_{lane}",
            )
            value, lost = shift_right_sticky(m, wide, amount, f"shift_{lane}")
            aligned = Signal(bits + 1, name=f"aligned_{lane}", reset_less=True)
            sticky = Signal(name=f"sticky_{lane}", reset_less=True)
            negative = Signal(name=f"negative_{lane}", reset_less=True)
            m.d.sync += [aligned.eq(value), sticky.eq(lost), negative.eq(product.negative)]

            up = bind(m, aligned[0] & (sticky | aligned[1]), f"up_{lane}")
            rounded = bind(m, aligned[1:] + up, f"rounded_{lane}")
            limit = (1 << (bits - 1)) - 1
            magnitude = bind(
                m, Mux(rounded > limit, limit, rounded)[: bits - 1], f"magnitude_{lane}"
            )
            output = Signal(signed(bits), name=f"output_{lane}", reset_less=True)
            m.d.sync += output.eq(Mux(negative, -magnitude, magnitude))
            outputs.append(output)
        m.d.comb += self.write_data.eq(Cat(*outputs))
        return m
