"""Co-simulation: the generated Verilog under Verilator, driven by cocotb, held to golden."""
