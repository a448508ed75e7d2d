"""Places a component as an instance of a Verilog module that is emitted once, or given."""

from __future__ import annotations

from amaranth import Instance, Module
from amaranth.hdl import ClockSignal, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Out


def placed(component: type[wiring.Component], module_name: str) -> type[wiring.Component]:
    """Return a component class like `component` that is an instance of Verilog `module_name`.

    It is made with the same arguments and has the same ports. An attribute `parameters` of the
    component, a dictionary, gives the instance's parameters; a true attribute `combinational` says
    that the module has neither clk nor rst. Amaranth's own simulator cannot run it.
    """

    class Placed(component):
        def elaborate(self, platform):
            """Place the instance."""
            m = Module()
            ports = {f"p_{name}": value for name, value in getattr(self, "parameters", {}).items()}
            if not getattr(self, "combinational", False):
                ports |= {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
            for name, member in self.signature.members.items():
                prefix = "o" if member.flow == Out else "i"
                ports[f"{prefix}_{name}"] = Value.cast(getattr(self, name))
            m.submodules.instance = Instance(module_name, **ports)
            return m

    return Placed
