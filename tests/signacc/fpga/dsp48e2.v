// What a DSP48E2 does without its multiplier, all registers but P's bypassed: AMD UG579, chapter 2,
// "ALUMODE" and "OPMODE"; carries between SIMD fields are cut. Everything else is refused.
module DSP48E2 #(
  parameter AREG = 1, ACASCREG = 1, BREG = 1, BCASCREG = 1, CREG = 1, DREG = 1, ADREG = 1,
  MREG = 1, ALUMODEREG = 1, CARRYINREG = 1, CARRYINSELREG = 1, INMODEREG = 1, OPMODEREG = 1,
  PREG = 1, USE_MULT = "MULTIPLY", USE_SIMD = "ONE48",
  parameter [8:0] IS_OPMODE_INVERTED = 9'b0
) (
  input CLK, input [29:0] A, input [17:0] B, input [47:0] C, input [26:0] D,
  input [8:0] OPMODE, input [3:0] ALUMODE, input [4:0] INMODE, input CARRYIN,
  input [2:0] CARRYINSEL, input [29:0] ACIN, input [17:0] BCIN, input [47:0] PCIN,
  input CARRYCASCIN, MULTSIGNIN, CEA1, CEA2, CEB1, CEB2, CEC, CED, CEAD, CEM, CEALUMODE,
  CECARRYIN, CECTRL, CEINMODE, CEP, RSTA, RSTB, RSTC, RSTD, RSTM, RSTALLCARRYIN, RSTALUMODE,
  RSTCTRL, RSTINMODE, RSTP,
  output reg [47:0] P, output [47:0] PCOUT
);
  localparam BYPASSED = AREG == 0 && ACASCREG == 0 && BREG == 0 && BCASCREG == 0 && CREG == 0
    && DREG == 0 && ADREG == 0 && MREG == 0 && ALUMODEREG == 0 && CARRYINREG == 0
    && CARRYINSELREG == 0 && INMODEREG == 0 && OPMODEREG == 0;
  localparam FIELD = USE_SIMD == "ONE48" ? 48 : USE_SIMD == "TWO24" ? 24 : 12;
  generate if (!BYPASSED || PREG != 1 || USE_MULT != "NONE") not_modelled refused(); endgenerate
  wire [8:0] mode = OPMODE ^ IS_OPMODE_INVERTED;
  wire [47:0] x = mode[1:0] == 2'b11 ? {A, B} : mode[1:0] == 2'b10 ? P : 48'b0;
  wire [47:0] y = mode[3:2] == 2'b11 ? C : mode[3:2] == 2'b10 ? ~48'b0 : 48'b0;
  wire [47:0] z = mode[6:4] == 3'b011 ? C : mode[6:4] == 3'b010 ? P
    : mode[6:4] == 3'b001 ? PCIN : 48'b0;
  wire [47:0] w = mode[8:7] == 2'b11 ? C : mode[8:7] == 2'b01 ? P : 48'b0;
  wire [47:0] sum;
  genvar i;
  generate for (i = 0; i < 48; i = i + FIELD) begin : field
    wire [FIELD-1:0] inner = w[i +: FIELD] + x[i +: FIELD] + y[i +: FIELD] + CARRYIN;
    assign sum[i +: FIELD] = ALUMODE == 4'b0000 ? z[i +: FIELD] + inner
      : ALUMODE == 4'b0011 ? z[i +: FIELD] - inner : {FIELD{1'bx}};
  end endgenerate
  always @(posedge CLK) if (RSTP) P <= 48'b0; else if (CEP) P <= sum;
  assign PCOUT = P;
endmodule
