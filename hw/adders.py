"""The adders of structure triple, each a module of its own in the Verilog.

They are written as sums, which every tool can map. As modules with parameters they can be replaced
as a whole by what a device does best: ``signacc/fpga/xcup_adders.v`` is that for UltraScale+.
"""

from __future__ import annotations

from amaranth import Cat, Const, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .arith import bind

PAIR_MODULE, JOIN_MODULE = "signacc_pair", "signacc_join"

ADDERS_VERILOG = """\
`ifndef SIGNACC_ADDERS
`define SIGNACC_ADDERS
// Two signed inputs, each with its bits flipped if its n is 1, and a carry; 2**A above that sum,
// so that y is not negative.
module signacc_pair #(parameter A = 8) (
  input [A-1:0] q0, q1,
  input n0, n1, c,
  output [A:0] y
);
  // A flipped sign bit adds 2**(A-1).
  wire [A-1:0] u0 = q0 ^ {~n0, {(A-1){n0}}};
  wire [A-1:0] u1 = q1 ^ {~n1, {(A-1){n1}}};
  assign y = {1'b0, u0} + {1'b0, u1} + {{A{1'b0}}, c};
endmodule
// a + b + (q, signed, its bits flipped if n is 1) + OFFSET + c0 + c1, modulo 2**W.
// OFFSET is a multiple of 2**(A-1). LEAF 0: without (q, n). CARRIES 1: without c1; 0: nor c0.
module signacc_join #(
  parameter A = 8, WA = 9, WB = 9, W = 11, LEAF = 1, CARRIES = 2,
  parameter [W-1:0] OFFSET = 1 << (A - 1)
) (
  input [WA-1:0] a,
  input [WB-1:0] b,
  input [A-1:0] q,
  input n, c0, c1,
  output [W-1:0] y
);
  wire [A-1:0] x = LEAF == 0 ? {A{1'b0}} : q ^ {A{n}};
  wire [W-1:0] left = a, right = b;
  wire [W-1:0] third = {{(W-A){x[A-1]}}, x};
  wire [W-1:0] first = CARRIES > 0 ? c0 : 1'b0, second = CARRIES > 1 ? c1 : 1'b0;
  assign y = left + right + third + OFFSET + first + second;
endmodule
`endif
"""
"""What the placed adders are instances of; the same as the components below."""


class PairAdder(wiring.Component):
    """Adds two inputs: ``y = (q0 ^ n0) + (q1 ^ n1) + c + 2**act_bits``.

    Members
    -------
    q0, q1 : In, signed act_bits
    n0, n1 : In
        Flip all bits of q0, q1.
    c : In
    y : Out, unsigned act_bits + 1
    """

    combinational = True

    def __init__(self, act_bits: int):
        self.parameters = {"A": act_bits}
        super().__init__(
            {
                "q0": In(signed(act_bits)),
                "q1": In(signed(act_bits)),
                "n0": In(1),
                "n1": In(1),
                "c": In(1),
                "y": Out(act_bits + 1),
            }
        )

    def elaborate(self, platform):
        """A flipped sign bit adds 2**(A-1)."""
        m = Module()
        last = self.parameters["A"] - 1
        raised = [
            bind(m, q.as_unsigned() ^ Cat(n.replicate(last), ~n), f"raised_{i}")
            for i, (q, n) in enumerate(((self.q0, self.n0), (self.q1, self.n1)))
        ]
        m.d.comb += self.y.eq(raised[0] + raised[1] + self.c)
        return m


class JoinAdder(wiring.Component):
    """Adds sums and an input: ``y = a + b + (q ^ n) + offset * 2**(act_bits - 1) + c0 + c1``.

    ``q ^ n`` is q, all its bits flipped if n is 1.

    Parameters
    ----------
    act_bits, a_bits, b_bits, bits
        Widths of q, a, b and y; y is modulo ``2**bits`` and no narrower than the others.
    leaf
        Whether there is an input: without one, q and n are ignored.
    carries
        How many of c0 and c1 are added, c0 first; the others are ignored.
    offset
        Any integer.

    Members
    -------
    a, b : In, unsigned
    q : In, signed
    n, c0, c1 : In
    y : Out, unsigned
    """

    combinational = True

    def __init__(
        self, act_bits: int, a_bits: int, b_bits: int, bits: int, *, leaf: bool, carries: int,
        offset: int,
    ):
        self.parameters = {
            "A": act_bits, "WA": a_bits, "WB": b_bits, "W": bits, "LEAF": int(leaf),
            "CARRIES": carries, "OFFSET": Const(offset << (act_bits - 1), bits),
        }
        super().__init__(
            {
                "a": In(a_bits),
                "b": In(b_bits),
                "q": In(signed(act_bits)),
                "n": In(1),
                "c0": In(1),
                "c1": In(1),
                "y": Out(bits),
            }
        )

    def elaborate(self, platform):
        """One sum."""
        m = Module()
        flipped = Signal(signed(len(self.q)))
        if self.parameters["LEAF"]:
            m.d.comb += flipped.eq(self.q ^ self.n.replicate(len(self.q)))
        total = self.a + self.b + flipped + self.parameters["OFFSET"]
        for carry in (self.c0, self.c1)[: self.parameters["CARRIES"]]:
            total = total + carry
        m.d.comb += self.y.eq(total)
        return m
