"""Switching activity: how often the engine's nets toggle, from SAIF files that Verilator writes."""
