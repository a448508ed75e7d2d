"""Bitstreams for ECP5 boards: a top module with real pins, through nextpnr and ecppack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from golden.errors import InputError
from signacc.files import write_files

from .flow import Design, Options, Result, implement, scratch
from .targets import Target
from .tools import Job, find_nextpnr, run


def make_bitstream(
    design: Design,
    target: Target,
    options: Options,
    work: Path,
    output: Path,
    *,
    parallel: int = 1,
    say: Callable[[str], None] = lambda text: None,
) -> Result:
    """Implement a design on its pins and write the fastest seed's bitstream.

    Parameters
    ----------
    design
        With `lpf`: pins of every port, and ``FREQUENCY`` of the clocks.
    options
        `freq` is what the design must reach.
    output
        The .bit file.

    Raises
    ------
    InputError
        If the target is no ECP5, the design has no pins or does not fit, or no seed reaches the
        clock.
    ToolError
        If a tool is missing or fails.
    """
    if target.family != "ecp5":
        raise InputError(f"bitstreams are made for ECP5 devices, not for {target.name}")
    if design.lpf is None:
        raise InputError(f"{design.top} needs an LPF file: pins of its ports")
    ecppack = find_nextpnr("ecppack")
    result = implement(design, target, options, work, parallel=parallel, say=say)
    good = [placement for placement in result.placements if placement.met]
    best = max(good or result.placements, key=lambda placement: placement.fmax_mhz)
    if not good or best.config is None:
        raise InputError(
            f"{design.top} reaches {best.fmax_mhz:.1f} MHz on {target.name} at best and misses a "
            f"clock: no bitstream is written; lower the clock or try more seeds"
        )
    say("bitstream")
    config = Path(best.config)
    with scratch(work) as folder:
        (folder / "top.config").write_bytes(config.read_bytes())
        command = (*ecppack.command, "--compress", "--input", "top.config", "--bit", "top.bit")
        run([Job("bitstream", command, folder, folder / "ecppack.log")])
        write_files({output: [(folder / "top.bit").read_bytes()]})
    return replace(result, placements=[best])
