"""FPGA flows with open tools: synthesis, place and route, bitstreams; files for other tools.

Everything here works on plain Verilog text; what it reports was measured on the netlist that the
tools made, and is marked so.
"""
