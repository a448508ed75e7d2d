"""Quantizer: brings a vector's exact products to A bits under its block exponent."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import at_most, bind, equals, one_hot, shift_right_sticky, up_down
from .config import BANKS, MEMORY_LATENCY, SHIFT_BIAS, EngineConfig, clog2
from .counters import count_down
from .tree import delay, register


class Quantizer(wiring.Component):
    """Reads the products of one vector, writes A-bit integers into a bank of its buffer.

    Takes ``ceil(K / k_par) * slots_per_word`` steps of one cycle each: the last word is filled
    with zeros. The vectors of a command share a bank, each in the buffer of its own; they are
    offered together; the last of them is written QUANTIZE_LATENCY cycles after its last step.

    Parameters
    ----------
    config : EngineConfig

    Members
    -------
    source, source_valid, source_taken : In, In, Out
        The oldest summarized vector; taken by a pulse.
    product : In, chunk_freed : Out
        Data of the product buffer, MEMORY_LATENCY cycles after the pulse that asked for it.
    write_addr, write_slot, write_data, write_valid : Out
        A chunk of quantized activations; `write_valid` has a bit per vector of a command.
    batch, batch_valid : Out
        Pulse: the vectors of a command have gone through, and what is known of them.
    batch_written : Out
        Pulse, some cycles later: the last of them stands in the buffer from the second cycle after.
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
                "write_addr": Out(layouts.activation_address(config)),
                "write_slot": Out(layouts.slot_bits(config)),
                "write_data": Out(config.act_bits * config.act_par),
                "write_valid": Out(config.m_par),
                "batch": Out(layouts.batch(config)),
                "batch_valid": Out(1),
                "batch_written": Out(1),
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
        done = Signal(layouts.batch(config), reset_less=True)
        rest = Signal.like(current.layer.k)
        slots = config.slots_per_word // config.word_parts
        slot = Signal(range(max(2, slots)))
        # Chunks go through the parts of a word, then through its slots.
        part = Signal(clog2(config.word_parts)) if config.word_parts > 1 else Const(0, 0)
        bank = Signal()
        member = Signal(range(max(2, config.m_par)))  # which vector of its command
        word = Signal(range(max(2, config.words_max)))
        free_banks = Signal(range(BANKS + 1), init=BANKS)

        begins = bind(m, equals(member, 0), "begins")
        completes = Const(1, 1) if config.m_par == 1 else (member == current.layer.m - 1)
        completes = bind(m, completes, "completes")
        m.d.comb += self.source_taken.eq(
            self.source_valid & ~running & (~begins | (free_banks != 0))
        )
        m.d.sync += free_banks.eq(
            up_down(free_banks, self.bank_freed, self.source_taken & begins)
        )

        part_last = part == config.word_parts - 1 if config.word_parts > 1 else Const(1, 1)
        part_last = bind(m, part_last, "part_last")
        word_last = bind(m, part_last & (slot == slots - 1), "word_last")
        # Registers, so that the counter is not compared in the cycle that asks: at most act_par
        # inputs are left; this step is not a zero that fills the last word. Between vectors the
        # counter follows what the next one will ask for.
        rest_last, real = Signal(reset_less=True), Signal()
        end = bind(m, running & word_last & rest_last, "end")
        m.d.comb += self.chunk_freed.eq(real)
        inputs = self.source.layer.k
        m.d.sync += [
            rest.eq(
                count_down(
                    m, rest, config.act_par, counting=running, advance=running, start=inputs,
                    name="next_rest",
                )
            ),
            rest_last.eq(
                Mux(
                    running,
                    rest_last | at_most(rest, 2 * config.act_par),
                    at_most(inputs, config.act_par),
                )
            ),
            real.eq(self.source_taken | (real & ~rest_last)),
        ]
        with m.If(self.source_taken):
            m.d.sync += [
                running.eq(1),
                current.eq(self.source),
            ]
        with m.If(running):
            m.d.sync += [
                word.eq(word + word_last),
            ]
            if config.word_parts > 1:
                m.d.sync += part.eq(_next(part, part_last, config.word_parts))
            with m.If(part_last):
                m.d.sync += slot.eq(_next(slot, word_last, slots))
        with m.If(end):
            m.d.sync += [
                running.eq(0),
                word.eq(0),
                bank.eq(bank ^ completes),
                member.eq(Mux(completes, 0, member + 1)),
                done.layer.eq(current.layer),
            ]

        # ---- tags -------------------------------------------------------------------------
        stages = MEMORY_LATENCY + 5
        target = Cat(running & equals(member, i) for i in range(config.m_par))
        m.d.comb += [
            self.write_valid.eq(delay(m, target, stages, "valid", reset_less=False)),
            self.write_slot.eq(delay(m, slot, stages, "slot", in_lut=False)),
            self.write_addr.eq(
                delay(m, Cat(part, bank, word), stages, "word", in_lut=False)
            ),
            self.batch.eq(done),
            self.batch_valid.eq(delay(m, end & completes, 1, "complete", reset_less=False)),
            self.batch_written.eq(
                delay(m, self.batch_valid, stages - 2, "written", reset_less=False)
            ),
        ]
        real = delay(m, real, MEMORY_LATENCY, "real")

        # ---- align, then round to nearest even and saturate ------------------------------
        # The next vector may be in `current` when the last products of this one arrive. What the
        # shift is subtracted from is the same for all of them.
        raised = current.summary.exponent + (bits - 2 + SHIFT_BIAS)
        exponent = delay(m, raised, MEMORY_LATENCY - 1, "exponent")
        outputs = []
        for lane in range(config.act_par):
            product = self.product[lane]
            # magnitude * 2**(shift - bias - exponent), computed as one right shift of
            # magnitude * 2**(A - 2), which the exponent's rule makes never negative.
            moved = bind(m, (exponent - product.shift)[: config.exponent_bits], f"moved_by_{lane}")
            amount = register(m, moved, f"amount_{lane}")
            magnitude = register(m, Mux(real, product.magnitude, 0), f"product_{lane}")
            negative = delay(m, product.negative, 3, f"negative_{lane}")
            wide = Cat(Const(0, bits - 1), magnitude)
            covered = clog2(len(wide))
            if config.in_blocks:
                # As a product: 15 places to the left less those to the right, then whole sixteens.
                power = register(m, one_hot(moved[:4], down=True), f"power_{lane}")
                far = register(m, magnitude * power, f"moved_{lane}")
                far = Cat(Const(0, bits - 1), far)
                near = register(
                    m, Cat(amount[4:covered], amount[covered:].any()), f"near_{lane}"
                )
                value, lost = shift_right_sticky(
                    m, far[15:], Cat(Const(0, 4), near), f"shift_{lane}", lost=far[:15].any()
                )
            else:
                far, lost = shift_right_sticky(
                    m, wide, Cat(Const(0, 4), amount[4:covered], amount[covered:].any()),
                    f"far_{lane}",
                )
                far, lost = register(m, far, f"far_{lane}_r"), register(m, lost, f"far_{lane}_l")
                near = register(m, amount[:4], f"near_{lane}")
                value, lost = shift_right_sticky(m, far, near, f"shift_{lane}", lost=lost)
            aligned = register(m, value[:bits], f"aligned_{lane}")
            sticky = register(m, lost, f"sticky_{lane}")

            # Rounding up and negating are one addition: -(size + up) = ~size + 1 - up.
            size = aligned[1:]
            up = bind(m, aligned[0] & (sticky | aligned[1]) & ~size.all(), f"up_{lane}")
            plus = register(m, up ^ negative, f"plus_{lane}")
            size = register(m, size, f"size_{lane}")
            flip = register(m, negative, f"flip_{lane}").replicate(bits)
            turned = bind(m, Cat(size, Const(0, 1)) ^ flip, f"turned_{lane}")
            outputs.append(register(m, (turned + plus)[:bits], f"output_{lane}"))
        m.d.comb += self.write_data.eq(Cat(*outputs))
        return m


def _next(counter: Signal, last: Signal, count: int):
    """Return what follows in a counter of `count` steps, `last` being true in the last one."""
    if count & (count - 1):
        return Mux(last, 0, counter + 1)
    return (counter + 1)[: clog2(count)]
