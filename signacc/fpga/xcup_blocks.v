// The sums of a configuration with `around` blocks (hw/blocks.py) for UltraScale+: a techmap for
// Yosys, to be applied to the design's Verilog before anything else,
//
//   read_verilog engine.v
//   techmap -map xcup_blocks.v
//
// Each is one DSP48E2 without its multiplier: the adder and the register behind it; AMD UG579 has
// the codes. tests/signacc/fpga/test_blocks.py proves each equal to the module that it replaces.

// P = 0, or Z + X + Y or Z - (X + Y), in FIELDS. X is x; Y is y_or_z or 0; Z is, as z says, the
// cascaded P of another block, 0, y_or_z or P.
module _signacc_dsp #(parameter FIELDS = "ONE48") (
  input clk, clear, subtract, with_y,
  input [1:0] z,
  input [47:0] x, y_or_z, cascade,
  output [47:0] p, cascaded
);
  DSP48E2 #(
    .AREG(0), .ACASCREG(0), .BREG(0), .BCASCREG(0), .CREG(0), .DREG(0), .ADREG(0), .MREG(0),
    .ALUMODEREG(0), .CARRYINREG(0), .CARRYINSELREG(0), .INMODEREG(0), .OPMODEREG(0), .PREG(1),
    .USE_MULT("NONE"), .USE_SIMD(FIELDS),
    .IS_OPMODE_INVERTED(9'b000010000)  // Z: 001 PCIN, 000 zero, 011 C, 010 P
  ) dsp (
    .CLK(clk), .A(x[47:18]), .B(x[17:0]), .C(y_or_z), .D(27'b0), .P(p), .PCOUT(cascaded),
    .OPMODE({2'b00, 1'b0, z, {2{with_y}}, 2'b11}), .ALUMODE({2'b00, {2{subtract}}}),
    .INMODE(5'b0), .CARRYIN(1'b0), .CARRYINSEL(3'b0),
    .ACIN(30'b0), .BCIN(18'b0), .PCIN(cascade), .CARRYCASCIN(1'b0), .MULTSIGNIN(1'b0),
    .CEA1(1'b0), .CEA2(1'b0), .CEB1(1'b0), .CEB2(1'b0), .CEC(1'b0), .CED(1'b0), .CEAD(1'b0),
    .CEM(1'b0), .CEALUMODE(1'b0), .CECARRYIN(1'b0), .CECTRL(1'b0), .CEINMODE(1'b0), .CEP(1'b1),
    .RSTA(1'b0), .RSTB(1'b0), .RSTC(1'b0), .RSTD(1'b0), .RSTM(1'b0), .RSTALLCARRYIN(1'b0),
    .RSTALUMODE(1'b0), .RSTCTRL(1'b0), .RSTINMODE(1'b0), .RSTP(clear)
  );
endmodule

// The numbers of `plus` are those of Z. The sum before stands in the block below.
module signacc_total #(parameter WA = 8, WC = 8, W = 8, BEFORE = 0) (
  input clk, clear,
  input [1:0] plus,
  input signed [WA-1:0] a,
  input signed [WC-1:0] c,
  output [W-1:0] y
);
  wire signed [47:0] x = a, z = c;
  wire [47:0] p, cascade;
  _signacc_dsp dsp (
    .clk(clk), .clear(clear), .subtract(1'b0), .with_y(1'b0), .z(plus), .x(x), .y_or_z(z),
    .cascade(cascade), .p(p)
  );
  generate
    if (BEFORE != 0)
      _signacc_dsp below (
        .clk(clk), .clear(1'b0), .subtract(1'b0), .with_y(1'b0), .z(2'd1), .x(p), .y_or_z(48'b0),
        .cascade(48'b0), .cascaded(cascade)
      );
    else assign cascade = 48'b0;
  endgenerate
  assign y = p[W-1:0];
endmodule

// Twice an operand is the operand as X and as Y.
module signacc_sums #(parameter N = 4, A = 8, W = 10) (
  input clk, clear, subtract, double,
  input [N*A-1:0] x,
  output [N*W-1:0] y
);
  localparam FIELD = W <= 12 ? 12 : 24;
  wire [47:0] operands, p;
  genvar i;
  generate
    for (i = 0; i < 48 / FIELD; i = i + 1) begin : field
      if (i < N) begin
        wire signed [FIELD-1:0] wide = $signed(x[i*A +: A]);
        assign operands[i*FIELD +: FIELD] = wide;
        assign y[i*W +: W] = p[i*FIELD +: W];
      end else assign operands[i*FIELD +: FIELD] = {FIELD{1'b0}};
    end
  endgenerate
  _signacc_dsp #(.FIELDS(W <= 12 ? "FOUR12" : "TWO24")) dsp (
    .clk(clk), .clear(clear), .subtract(subtract), .with_y(double), .z(2'd3), .x(operands),
    .y_or_z(operands), .cascade(48'b0), .p(p)
  );
endmodule
