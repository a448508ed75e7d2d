"""Sums that stand in a multiplier's block where a configuration has `around` blocks.

Each is a module of its own in the Verilog, written as a sum, which every tool can map. As modules
with parameters they can be replaced as a whole: ``signacc/fpga/xcup_blocks.v`` is that for
UltraScale+, whose blocks (DSP48E2, AMD UG579) have an adder of 48 bits with a register behind it.
"""

from __future__ import annotations

from enum import IntEnum

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .place import VERILOG, instance

TOTAL_MODULE, SUMS_MODULE = "signacc_total", "signacc_sums"
TOTAL_BITS = 48
"""Widest sum of a block."""
FIELD_BITS = (12, 24)
"""Widths of the four or two sums that a block can keep apart."""

BLOCKS_VERILOG = """\
`ifndef SIGNACC_BLOCKS
`define SIGNACC_BLOCKS
// A register: 0 after clear, else a and, as `plus` says, 0 what the register held before its sum,
// 1 nothing, 2 c, 3 the register; signed. BEFORE 0: plus is not 0.
(* use_dsp = "yes" *)
module signacc_total #(parameter WA = 8, WC = 8, W = 8, BEFORE = 0) (
  input clk, clear,
  input [1:0] plus,
  input signed [WA-1:0] a,
  input signed [WC-1:0] c,
  output reg signed [W-1:0] y
);
  reg signed [W-1:0] previous;
  wire signed [W-1:0] low = plus[0] ? {W{1'b0}} : BEFORE != 0 ? previous : {W{1'b0}};
  wire signed [W-1:0] high = plus[0] ? y : c;
  always @(posedge clk) begin
    previous <= y;
    if (clear) y <= {W{1'b0}};
    else y <= a + (plus[1] ? high : low);
  end
endmodule
// N registers of W bits: 0 after clear, else less or more by x, signed, or twice x.
(* use_dsp = "yes" *)
module signacc_sums #(parameter N = 4, A = 8, W = 10) (
  input clk, clear, subtract, double,
  input [N*A-1:0] x,
  output [N*W-1:0] y
);
  genvar i;
  generate for (i = 0; i < N; i = i + 1) begin : field
    wire signed [A-1:0] one = x[i*A +: A];
    wire signed [A:0] some = double ? {one, 1'b0} : {one[A-1], one};
    reg signed [W-1:0] total;
    assign y[i*W +: W] = total;
    always @(posedge clk)
      if (clear) total <= {W{1'b0}};
      else if (subtract) total <= total - some;
      else total <= total + some;
  end endgenerate
endmodule
`endif
"""
"""What the placed sums are instances of; the same as the components below."""


class Plus(IntEnum):
    """What is added in a :class:`Total`."""

    BEFORE = 0
    NOTHING = 1
    C = 2
    SUM = 3


class Total(wiring.Component):
    """A registered sum: ``y = 0 if clear else a + what `plus` says``, a cycle later.

    Parameters
    ----------
    a, c, width
        Signed widths of `a`, `c` and `y`; the sum is taken modulo ``2**width``.
    before
        Whether it can be added to the sum before the last one: a second block holds that.

    Members
    -------
    clear : In
    plus : In
        A number of :class:`Plus`: `y` as it is, `y` as it was a cycle before, `c`, nothing.
    a, c : In, signed
    y : Out, signed

    Raises
    ------
    ValueError
        If `width` is more than a block has.
    """

    reset_less = True

    def __init__(self, a: int, c: int, width: int, *, before: bool = False):
        if width > TOTAL_BITS:
            raise ValueError(f"a block's sum must have at most {TOTAL_BITS} bits, not {width}")
        self.parameters = {"WA": a, "WC": c, "W": width, "BEFORE": int(before)}
        super().__init__(
            {
                "clear": In(1),
                "plus": In(2),
                "a": In(signed(a)),
                "c": In(signed(c)),
                "y": Out(signed(width)),
            }
        )

    def elaborate(self, platform):
        """Build the sum, or place the module."""
        if platform is VERILOG:
            return instance(self, TOTAL_MODULE)
        m = Module()
        held, before = (
            Signal(self.y.shape(), name=name, reset_less=True) for name in ("held", "before")
        )
        addend = Signal(self.y.shape())
        with m.Switch(self.plus):
            if self.parameters["BEFORE"]:
                with m.Case(Plus.BEFORE):
                    m.d.comb += addend.eq(before)
            with m.Case(Plus.C):
                m.d.comb += addend.eq(self.c)
            with m.Case(Plus.SUM):
                m.d.comb += addend.eq(held)
        m.d.comb += self.y.eq(held)
        m.d.sync += [before.eq(held), held.eq(self.a + addend)]
        with m.If(self.clear):
            m.d.sync += held.eq(0)
        return m


class Sums(wiring.Component):
    """Registers side by side: 0 after `clear`, else more or less by an operand or twice it.

    Parameters
    ----------
    count, operand_bits, width
        How many; signed widths of an operand and of a sum, which is taken modulo ``2**width``.

    Members
    -------
    clear, subtract, double : In
    x : In
        The operands, the first lowest.
    y : Out
        The sums.

    Raises
    ------
    ValueError
        If a block cannot hold them.
    """

    reset_less = True

    def __init__(self, count: int, operand_bits: int, width: int):
        field = next((bits for bits in FIELD_BITS if width <= bits), TOTAL_BITS + 1)
        if count * field > TOTAL_BITS:
            raise ValueError(
                f"a block's sums must be at most {TOTAL_BITS // FIELD_BITS[0]} of {FIELD_BITS[0]} "
                f"or {TOTAL_BITS // FIELD_BITS[1]} of {FIELD_BITS[1]} bits, not {count} of {width}"
            )
        self.parameters = {"N": count, "A": operand_bits, "W": width}
        super().__init__(
            {
                "clear": In(1),
                "subtract": In(1),
                "double": In(1),
                "x": In(count * operand_bits),
                "y": Out(count * width),
            }
        )

    def elaborate(self, platform):
        """Build the sums, or place the module."""
        if platform is VERILOG:
            return instance(self, SUMS_MODULE)
        m = Module()
        operand_bits, width = self.parameters["A"], self.parameters["W"]
        for i in range(self.parameters["N"]):
            one = self.x.word_select(i, operand_bits).as_signed()
            total = Signal(signed(width), name=f"sum_{i}", reset_less=True)
            some = Mux(self.double, one << 1, one)
            m.d.sync += total.eq(Mux(self.subtract, total - some, total + some))
            with m.If(self.clear):
                m.d.sync += total.eq(0)
            m.d.comb += self.y.word_select(i, width).eq(total)
        return m
