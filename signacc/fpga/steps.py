"""Yosys passes that come before a family's own synthesis command, for every script."""

from __future__ import annotations

from pathlib import Path

from hw.config import EngineConfig

# Yosys merges registers that hold the same value, also where the copies are there to divide a
# fan-out, and an attribute `keep` on the register's net does not stop it: one on the cell does.
KEEP_COPIES = (
    "proc",
    "select -set copies a:keep %ci1:+[Q] t:$*dff* %i",
    "setattr -set keep 1 @copies",
)
"""Passes on an elaborated design that keep the copies of registers apart."""

MULTIPLIERS = {
    # `synth_ice40 -dsp` would take registers into the blocks besides, by its pass ice40_dsp: Yosys
    # 0.70 crashes in it on a whole engine. Its techmap alone does not.
    "ice40-up5k": (
        "wreduce t:$mul",
        "techmap -map +/mul2dsp.v -map +/ice40/dsp_map.v -D DSP_A_MAXWIDTH=16 "
        "-D DSP_B_MAXWIDTH=16 -D DSP_A_MINWIDTH=2 -D DSP_B_MINWIDTH=2 -D DSP_Y_MINWIDTH=11 "
        "-D DSP_NAME=$__MUL16X16",
        "chtype -set $mul t:$__soft_mul",
    ),
}
"""By target: passes after KEEP_COPIES that map products, where the family's command does not."""

_HERE = Path(__file__).parent
TECHMAPS = {"xcup": {"adders": _HERE / "xcup_adders.v", "blocks": _HERE / "xcup_blocks.v"}}
"""What replaces modules of the design by cells of a family, before anything else is done."""


def replaced_modules(config: EngineConfig) -> tuple[str, ...]:
    """Return which of TECHMAPS find modules in the Verilog of `config`."""
    adders = ("adders",) if config.structure == "triple" else ()
    return adders + (("blocks",) if config.in_blocks else ())
