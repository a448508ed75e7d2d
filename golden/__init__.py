"""The numeric contract of signacc: formats, packing, the bit-exact FBI-linear, the golden FBI-LLM."""
