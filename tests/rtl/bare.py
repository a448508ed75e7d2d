"""Verilog as an ASIC has it: without initial values.

Not named test_*: pytest must not collect it.
"""

from __future__ import annotations

import re


def without_initial_values(text: str) -> tuple[str, int]:
    """Return the Verilog without initializers of registers and memories, and how many there were.

    The writer's own event registers (``$auto$...``) stay: they are not hardware.
    """
    text, registers = re.subn(
        r"^(\s*reg (?:signed )?(?:\[[^\]]*\] )?(?!\\\$auto)\S+\s*) = [^;]*;", r"\1;", text,
        flags=re.MULTILINE,
    )
    text, memories = re.subn(
        r"^  initial begin\n(?:    \S+\[\d+\] = [^;]*;\n)+  end\n", "", text, flags=re.MULTILINE
    )
    return text, registers + memories


def random_power_up(seed: int) -> list[str]:
    """Return the arguments that let Verilator begin with random values."""
    return ["+verilator+rand+reset+2", f"+verilator+seed+{seed}"]
