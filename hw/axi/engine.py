"""The engine behind standard buses: streams for data, registers for control, one interrupt."""

from __future__ import annotations

import re
from collections.abc import Callable

from amaranth import Cat, ClockDomain, ClockSignal, Module, Mux, ResetSignal, Signal
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .. import layouts
from ..arith import bind
from ..config import ConfigError, EngineConfig
from ..engine import Engine
from .config import AxiConfig
from .control import RunControl, in_core
from .counters import Counters
from .fetch import Fetcher
from .frames import FrameGate, shape, vector_walk, weight_walk
from .layers import Fork, Placer, SingleLayer, shape_errors
from .lite import LiteSlave, access_ports, lite_signature
from .ports import give, item_bits, stream_ports
from .reader import read_signature
from .regfile import RegisterFile
from .results import LANE_BYTES, ResultPort
from .scales import ScaleRepeat, ScaleWalk


class AxiEngine(wiring.Component):
    """:class:`hw.engine.Engine` with AXI4-Stream, AXI4-Lite and, if configured, AXI4 to memory.

    docs/axi.md describes every signal, the registers and what happens after an error.

    Parameters
    ----------
    config : EngineConfig
    axi : AxiConfig
    engine : callable
        Makes the engine from the configuration.

    Members
    -------
    aclk, aresetn : In
        Clock; reset, low-active and synchronous.
    irq : Out
        High while an enabled bit of IRQ_STATUS is set.
    s_axi_* : AXI4-Lite slave, 32 bit
    s_axis_act_*, m_axis_result_* : AXI4-Stream
    s_axis_coef_*, s_axis_weight_*, s_axis_scale_* : AXI4-Stream, without the read master only;
        the last with output-axis scales only. Weights that stay in the engine come with a load.
    m_axi_ar*, m_axi_r* : AXI4 read channels, with the read master only

    Raises
    ------
    ConfigError
        If `config` or `axi` is of another type.
    """

    def __init__(
        self,
        config: EngineConfig,
        axi: AxiConfig,
        *,
        engine: Callable[[EngineConfig], Engine] = Engine,
    ):
        if not isinstance(config, EngineConfig):
            raise ConfigError(f"config must be an EngineConfig, not {type(config).__name__}")
        if not isinstance(axi, AxiConfig):
            raise ConfigError(f"axi must be an AxiConfig, not {type(axi).__name__}")
        self.config, self.axi = config, axi
        self._engine = engine
        self._streams = ["act"]
        if not axi.memory:
            self._streams += ["coef", "weight", *(["scale"] if config.scales else [])]
        results = layouts.results(config)
        ports = {"aclk": In(1), "aresetn": In(1), "irq": Out(1)}
        ports |= {
            f"s_axi_{name}": member.flip() for name, member in lite_signature().members.items()
        }
        for name in self._streams:
            ports |= stream_ports(f"s_axis_{name}", item_bits(config, name))
        if axi.memory:
            bus = read_signature(axi).members
            ports |= {f"m_axi_{name}": member for name, member in bus.items()}
        ports |= stream_ports("m_axis_result", results["data"].width, out=True)
        ports["m_axis_result_tkeep"] = Out(LANE_BYTES * config.out_par)
        if "vector" in results.members:
            ports["m_axis_result_tid"] = Out(results["vector"].width)
        super().__init__(ports)

    def elaborate(self, platform):
        """Join the engine, the gates of its streams, the registers and the control."""
        m = Module()
        config = self.config
        m.domains.sync = ClockDomain()
        m.domains.core = ClockDomain()
        m.submodules.lite = lite = LiteSlave()
        m.submodules.registers = registers = RegisterFile(config, self.axi)
        m.submodules.control = control = RunControl()
        engine = self._engine(config)
        m.submodules.engine = in_core(engine)
        m.d.comb += [
            ClockSignal().eq(self.aclk),
            ClockSignal("core").eq(self.aclk),
            ResetSignal().eq(~self.aresetn),
            ResetSignal("core").eq(control.core_reset),
        ]
        for name in lite.bus.signature.members:
            self._join(m, f"s_axi_{name}", getattr(lite.bus, name))
        for name, member in access_ports().items():
            source, sink = (lite, registers) if member.flow == Out else (registers, lite)
            m.d.comb += getattr(sink, name).eq(getattr(source, name))

        # ---- layers, and everyone who works on one; inputs -------------------------------------
        source, starved = (
            self._from_memory(m, registers, control)
            if self.axi.memory
            else self._from_registers(m, registers)
        )
        m.d.comb += source.start.eq(control.begin)
        sinks = self._sinks(m, engine, source)
        takers = [name for name in self._streams if name != "weight" or not config.resident]
        if "scale_repeat" in sinks:
            takers.append("scale_repeat")
        fork = Fork(shape(config), ["cmd", *takers])
        m.submodules.fork = in_core(fork)
        wiring.connect(m, source.layer, fork.i)
        m.d.comb += [
            engine.cmd.valid.eq(fork.cmd.valid),
            fork.cmd.ready.eq(engine.cmd.ready),
        ]
        for name in layouts.command(config).members:
            m.d.comb += engine.cmd.payload[name].eq(fork.cmd.payload[name])
        if "scale_repeat" in sinks:
            wiring.connect(m, fork.scale_repeat, sinks.pop("scale_repeat"))
        walks = {"weight": weight_walk, "scale": ScaleWalk}
        gates = {}
        for name in self._streams:
            walk = walks.get(name, vector_walk)(config)
            gates[name] = gate = FrameGate(config, width=item_bits(config, name), walk=walk)
            m.submodules[f"{name}_gate"] = gate
            layers = getattr(fork, name) if name in takers else source.load
            wiring.connect(m, layers, gate.layer)
            self._join_input(m, gate, f"s_axis_{name}")
            give(m, gate.o, sinks[name])
            starved[name] = gate.starved
            m.d.comb += [
                gate.stop.eq(control.stop),
                gate.flush.eq(getattr(registers, f"ctrl_flush_{name}") & ~control.busy),
                gate.forget.eq(control.forget),
                getattr(registers, f"error_{name}_short_set").eq(gate.short),
                getattr(registers, f"error_{name}_long_set").eq(gate.long),
            ]
        if self.axi.memory:
            for name in source.streams:
                give(m, getattr(source, name), sinks[name])

        # ---- results -------------------------------------------------------------------------
        m.submodules.results = results = ResultPort(config)
        wiring.connect(m, engine.result, results.i)
        m.d.comb += [
            results.stop.eq(control.stop),
            results.ready.eq(self.m_axis_result_tready),
            self.m_axis_result_tvalid.eq(results.valid),
            self.m_axis_result_tdata.eq(results.data),
            self.m_axis_result_tkeep.eq(results.keep),
            self.m_axis_result_tlast.eq(results.last),
        ]
        if "m_axis_result_tid" in self.signature.members:
            m.d.comb += self.m_axis_result_tid.eq(results.vector)

        inside = Signal(16)  # token vectors whose results have not all left
        starts = bind(m, source.layer.valid & source.layer.ready, "starts")
        begins, finished = starts, source.finished
        weights = engine.load if config.resident else engine.weight
        if config.resident:
            begins = starts | source.load_start
            if self.axi.memory:
                m.d.comb += source.through.eq(~inside.any())
            else:
                loading = Signal()
                with m.If(source.load_start):
                    m.d.core += loading.eq(1)
                with m.Elif(gates["weight"].whole):
                    m.d.core += loading.eq(0)
                finished = source.finished & ~loading
        with m.If(control.begin):
            m.d.sync += inside.eq(0)
        with m.Else():
            m.d.sync += inside.eq(
                inside + Mux(starts, source.layer.payload.m, 0) - results.done
            )

        # ---- counters ------------------------------------------------------------------------
        events = {
            "layers_started": begins,
            "vectors_done": results.done,
            "busy_cycles": control.busy,
            "stall_out": results.valid & ~results.ready,
            "weight_beats": weights.valid & weights.ready,
        }
        events |= {f"{name}_frames": gate.whole for name, gate in gates.items()}
        events |= {f"stall_{name}": event for name, event in starved.items()}
        m.submodules.counters = counters = Counters(
            {name: len(getattr(registers, name)) for name in events}
        )
        m.d.comb += counters.clear.eq(control.begin)
        for name, event in events.items():
            m.d.comb += [
                getattr(counters, f"{name}_event").eq(event),
                getattr(registers, name).eq(getattr(counters, name)),
            ]

        # ---- control, errors, interrupt ------------------------------------------------------
        quiet = [results.quiet, *(gate.quiet for gate in gates.values())]
        if self.axi.memory:
            quiet.append(source.idle)
        failed = Cat(
            getattr(registers, name)
            for name in registers.signature.members
            if re.fullmatch(r"error_(?!start_busy)\w+_set", name)
        ).any()
        flush = Cat(getattr(registers, f"ctrl_flush_{name}") for name in gates).any()
        start = registers.ctrl_start
        if config.resident and not self.axi.memory:
            start = start | registers.ctrl_load
        causes = shape_errors(config)
        if self.axi.memory:
            causes += ("count", "address", "flags")
        for name in causes:
            fault = getattr(source, f"bad_{name}") & ~control.stop
            m.d.comb += getattr(registers, f"error_bad_{name}_set").eq(fault)
        m.d.comb += [
            control.start.eq(start),
            control.reset.eq(registers.ctrl_reset),
            control.flush.eq(flush),
            control.error.eq(failed),
            control.complete.eq(finished & ~inside.any()),
            control.quiet.eq(Cat(*quiet).all()),
            registers.error_start_busy_set.eq(control.refused),
            registers.status_busy.eq(control.busy),
            registers.status_recovering.eq(control.recovering),
            registers.irq_status_done_set.eq(control.finish),
            registers.irq_status_error_set.eq(failed | control.refused),
            self.irq.eq(
                (registers.irq_status_done & registers.irq_enable_done)
                | (registers.irq_status_error & registers.irq_enable_error)
            ),
        ]
        return m

    def _from_registers(self, m: Module, registers: RegisterFile) -> tuple[SingleLayer, dict]:
        """Place what offers the layer of the registers."""
        source = SingleLayer(self.config)
        m.submodules.source = in_core(source)
        for name in shape_errors(self.config):
            m.d.comb += getattr(source, name).eq(getattr(registers, name))
        if self.config.resident:
            m.d.comb += source.is_load.eq(registers.ctrl_load)
        return source, {}

    def _from_memory(
        self, m: Module, registers: RegisterFile, control: RunControl
    ) -> tuple[Fetcher, dict]:
        """Place what fetches layers from memory, with all that the engine needs for them."""
        m.submodules.source = source = Fetcher(self.config, self.axi)
        for name in source.bus.signature.members:
            self._join(m, f"m_axi_{name}", getattr(source.bus, name))
        m.d.comb += [
            source.address.eq(Cat(registers.list_lo, registers.list_hi)),
            source.count.eq(registers.list_count),
            source.stop.eq(control.stop),
            registers.error_read_slverr_set.eq(source.slverr),
            registers.error_read_decerr_set.eq(source.decerr),
            registers.error_read_misfit_set.eq(source.misfit),
        ]
        return source, {name: getattr(source, f"{name}_starved") for name in source.streams}

    def _sinks(self, m: Module, engine: Engine, source: SingleLayer | Fetcher) -> dict:
        """Return, by name, the streams that take what comes in from outside.

        ``scale_repeat`` takes layers: it gives the engine each scale once a token vector.
        """
        config = self.config
        sinks = {"act": engine.act, "coef": engine.coef}
        if config.resident:
            placer = Placer(config)
            m.submodules.placer = in_core(placer)
            m.d.comb += [placer.start.eq(source.load_start), placer.at.eq(source.load_at)]
            give(m, placer.o, engine.load)
            sinks["weight"] = placer.i
        else:
            sinks["weight"] = engine.weight
        if config.scales and config.m_par > 1:
            repeat = ScaleRepeat(config)
            m.submodules.scale_repeat = in_core(repeat)
            give(m, repeat.o, engine.scale)
            sinks |= {"scale": repeat.i, "scale_repeat": repeat.layer}
        elif config.scales:
            sinks["scale"] = engine.scale
        return sinks

    def _join_input(self, m: Module, gate: FrameGate, prefix: str) -> None:
        """Drive a gate from the bus; bits that fill tdata to whole bytes go nowhere."""
        m.d.comb += [
            gate.i.payload.data.eq(getattr(self, f"{prefix}_tdata")),
            gate.i.payload.last.eq(getattr(self, f"{prefix}_tlast")),
            gate.i.valid.eq(getattr(self, f"{prefix}_tvalid")),
            getattr(self, f"{prefix}_tready").eq(gate.i.ready),
        ]

    def _join(self, m: Module, name: str, inner: Value) -> None:
        """Join a port of this component with the same signal inside."""
        port = getattr(self, name)
        inward = self.signature.members[name].flow == In
        m.d.comb += inner.eq(port) if inward else port.eq(inner)
