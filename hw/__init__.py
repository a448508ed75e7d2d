"""The sign-accumulate engine in Amaranth, its configuration, and Verilog output."""
