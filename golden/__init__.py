"""The numeric contract: formats, packing, the bit-exact FBI-linear, the golden FBI-LLM."""
