"""Places a component as an instance of a Verilog module that is emitted once, or given."""

from __future__ import annotations

from amaranth import Instance, Module
from amaranth.hdl import ClockSignal, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

VERILOG = object()
"""The platform of components that are made for Verilog: some of them are instances then."""


def instance(component: wiring.Component, module_name: str) -> Module:
    """Return a module that holds an instance of `module_name`, with the ports of `component`.

    An attribute `parameters` of the component, a dictionary, gives the instance's parameters; a
    true attribute `combinational` says that the module has neither clk nor rst, a true `reset_less`
    that it has no rst.
    """
    m = Module()
    ports = {f"p_{name}": value for name, value in getattr(component, "parameters", {}).items()}
    if not getattr(component, "combinational", False):
        ports["i_clk"] = ClockSignal()
        if not getattr(component, "reset_less", False):
            ports["i_rst"] = ResetSignal()
    for name, member in component.signature.members.items():
        prefix = "o" if member.flow == Out else "i"
        ports[f"{prefix}_{name}"] = Value.cast(getattr(component, name))
    m.submodules.instance = Instance(module_name, **ports)
    return m


def placed(component: type[wiring.Component], module_name: str) -> type[wiring.Component]:
    """Return a component class like `component` that is an instance of Verilog `module_name`.

    It is made with the same arguments and has the same ports; :func:`instance` says what else
    counts. Amaranth's own simulator cannot run it.
    """

    class Placed(component):
        def elaborate(self, platform):
            """Place the instance."""
            return instance(self, module_name)

    return Placed
