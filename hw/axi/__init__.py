"""Standard buses around the engine: AXI4-Stream, AXI4-Lite registers, and an AXI4 read master."""
