"""A Vivado script, non-project and out of context, for a generated engine.

The project runs no Vivado: what the script reports is the user's to measure.
"""

from __future__ import annotations

import re

from golden.errors import InputError

from .tcl import word

_PART = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+", re.IGNORECASE)


def vivado_script(*, top: str, verilog: str, part: str, clock_mhz: float,
                  clock: str = "clk") -> str:
    """Return a Tcl script: synthesis, placement, routing, reports, a checkpoint.

    Parameters
    ----------
    top
        Top module.
    verilog
        Name of the Verilog file, relative to the script.
    part
        Device, package and grade, as Vivado names them: ``xck26-sfvc784-2LV-c``.
    clock_mhz
        Clock of the constraint.
    clock
        Clock input.

    Raises
    ------
    InputError
        If the part is no part name, or the clock not above 0.
    """
    if not _PART.fullmatch(part):
        raise InputError(
            f"a Vivado part is letters and digits in groups joined by -, like "
            f"xck26-sfvc784-2LV-c, not {part!r}"
        )
    if not 0 < clock_mhz <= 1e4:
        raise InputError(f"the clock must be above 0 and at most 10000 MHz, not {clock_mhz!r}")
    return f"""# Out-of-context implementation of {top}: vivado -mode batch -source <this file>
# The ports stay inside the device, so their count does not matter and no pin is needed.
set here [file dirname [file normalize [info script]]]
set out [file join $here {word(f"{top}_vivado")}]
file mkdir $out

read_verilog [file join $here {word(verilog)}]
set constraints [open [file join $out clock.xdc] w]
puts $constraints {{create_clock -name {clock} -period {1e3 / clock_mhz:.3f} [get_ports {clock}]}}
close $constraints
read_xdc -mode out_of_context [file join $out clock.xdc]

synth_design -top {word(top)} -part {word(part)} -mode out_of_context -flatten_hierarchy rebuilt
report_utilization -hierarchical -file [file join $out utilization_synthesis.rpt]

opt_design
place_design
phys_opt_design
route_design

report_utilization -hierarchical -file [file join $out utilization.rpt]
report_timing_summary -file [file join $out timing.rpt]
report_timing -max_paths 10 -nworst 1 -file [file join $out critical_paths.rpt]
report_power -file [file join $out power.rpt]
write_checkpoint -force [file join $out routed.dcp]

set slack [get_property SLACK [get_timing_paths -max_paths 1 -setup]]
set period {1e3 / clock_mhz:.3f}
puts "signacc: worst setup slack $slack ns at a period of $period ns"
puts "signacc: Fmax [format %.1f [expr {{1000.0 / ($period - $slack)}}]] MHz"
"""
