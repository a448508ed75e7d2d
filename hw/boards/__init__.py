"""Tops for boards: pins, clocks and a way for a host to reach the engine."""
