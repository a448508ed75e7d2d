// The adders of structure triple (hw/adders.py) for UltraScale+: a techmap for Yosys, to be applied
// to the design's Verilog before anything else,
//
//   read_verilog engine.v
//   techmap -map xcup_adders.v
//
// A bit of an adder is one LUT6_2 and one position of a CARRY8; AMD UG574 has both.
// tests/signacc/fpga/test_adders.py proves each equal to the module that it replaces.

// N positions of a carry chain.
module _signacc_chain #(parameter N = 8) (
  input ci, input [N-1:0] s, di, output [N-1:0] o, output co
);
  localparam BLOCKS = (N + 7) / 8;
  wire [8*BLOCKS-1:0] all_s = s, all_di = di, all_o, all_co;
  assign o = all_o[N-1:0];
  assign co = all_co[N-1];
  genvar i;
  generate for (i = 0; i < BLOCKS; i = i + 1) begin : block
    wire carry;
    if (i == 0) assign carry = ci;
    else assign carry = all_co[8*i-1];
    CARRY8 carry8 (
      .CI(carry), .CI_TOP(1'b0), .S(all_s[8*i +: 8]), .DI(all_di[8*i +: 8]),
      .O(all_o[8*i +: 8]), .CO(all_co[8*i +: 8])
    );
  end endgenerate
endmodule

// Both inputs of a bit with their flips: O6 the propagate, O5 the first operand; the carry out is
// the sum's last bit.
module signacc_pair #(parameter A = 8) (
  input [A-1:0] q0, q1,
  input n0, n1, c,
  output [A:0] y
);
  wire [A-1:0] s, di;
  genvar i;
  generate for (i = 0; i < A; i = i + 1) begin : position
    // I0 to I3: q0, n0, q1, n1.
    LUT6_2 #(.INIT({{2{16'h6996}}, {2{i == A - 1 ? 16'h9999 : 16'h6666}}})) lut (
      .I0(q0[i]), .I1(n0), .I2(q1[i]), .I3(n1), .I4(1'b0), .I5(1'b1), .O6(s[i]), .O5(di[i])
    );
  end endgenerate
  _signacc_chain #(.N(A)) chain (.ci(c), .s(s), .di(di), .o(y[A-1:0]), .co(y[A]));
endmodule

// Three operands: a bit's O5 is their majority, which goes to the next bit; O6 is their parity and
// the majority of the bit below, the propagate; that majority is also what the carry takes where
// nothing propagates. c0 is the majority below bit 0. c1 takes a position of its own below bit 0:
// a slice has one pin for a first carry and for the lowest majority.
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
  localparam SUMS = WA > WB ? WA : WB;
  localparam WIDEST = LEAF != 0 && A > SUMS ? A : SUMS;
  localparam TWO = LEAF == 0 && OFFSET == 0 && CARRIES < 2;
  localparam BITS = TWO || W <= WIDEST ? (W < WIDEST ? W : WIDEST) : WIDEST + 1;
  localparam BELOW = CARRIES == 2;
  localparam [W-1:0] HIGH = OFFSET >> (A - 1), LOWER = HIGH - 1;
  wire [BITS-1:0] left = a, right = b;
  wire [BELOW+BITS-1:0] s, di, o;
  wire co;
  wire [BITS:0] majority;
  assign majority[0] = CARRIES > 0 ? c0 : 1'b0;
  genvar i;
  generate
    if (BELOW) begin : below
      LUT6_2 #(.INIT(64'h00000000_AAAAAAAA)) lut (
        .I0(c1), .I1(1'b0), .I2(1'b0), .I3(1'b0), .I4(1'b0), .I5(1'b1), .O6(s[0]), .O5(di[0])
      );
    end
    for (i = 0; i < BITS; i = i + 1) begin : position
      if (TWO) begin
        LUT6_2 #(.INIT(64'h66666666_AAAAAAAA)) lut (
          .I0(left[i]), .I1(right[i]), .I2(1'b0), .I3(1'b0), .I4(1'b0), .I5(1'b1),
          .O6(s[BELOW+i]), .O5(di[BELOW+i])
        );
      end else begin
        // The third operand's bit where q's flipped bit is 0, and where it is 1: from the sign on,
        // that of OFFSET, and of OFFSET - 1.
        localparam ZERO = i < A - 1 ? 1'b0 : HIGH[i < A - 1 ? 0 : i - A + 1];
        localparam ONE = LEAF == 0 ? ZERO : i < A - 1 ? 1'b1 : LOWER[i < A - 1 ? 0 : i - A + 1];
        // I0 to I4: a, b, q, n, majority below.
        localparam [7:0] MAJORITY = {ONE ? 4'hE : 4'h8, ZERO ? 4'hE : 4'h8};
        localparam [7:0] PARITY = {ONE ? 4'h9 : 4'h6, ZERO ? 4'h9 : 4'h6};
        localparam [15:0] O5 = {MAJORITY[3:0], MAJORITY[7:4], MAJORITY};
        localparam [15:0] O6 = {PARITY[3:0], PARITY[7:4], PARITY};
        LUT6_2 #(.INIT({~O6, O6, O5, O5})) lut (
          .I0(left[i]), .I1(right[i]), .I2(q[i < A ? i : A - 1]), .I3(n), .I4(majority[i]),
          .I5(1'b1), .O6(s[BELOW+i]), .O5(majority[i+1])
        );
        assign di[BELOW+i] = majority[i];
      end
    end
  endgenerate
  _signacc_chain #(.N(BELOW + BITS)) chain (
    .ci(TWO ? majority[0] : 1'b0), .s(s), .di(di), .o(o), .co(co)
  );
  generate
    if (W > BITS) assign y = {co, o[BELOW +: BITS]};
    else assign y = o[BELOW +: W];
  endgenerate
endmodule
