"""Cycle-level simulator: engine timing, workload, memory, energy, baselines."""
