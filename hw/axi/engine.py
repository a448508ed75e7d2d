"""The engine behind standard buses: streams for data, registers for control, one interrupt."""

from __future__ import annotations

import re
from collections.abc import Callable

from amaranth import Cat, ClockDomain, ClockSignal, Module, Mux, ResetSignal, Signal
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .. import layouts
from ..config import ConfigError, EngineConfig
from ..engine import Engine
from .config import AxiConfig, whole_bytes
from .control import RunControl, in_core
from .counters import Counters
from .fetch import Fetcher
from .frames import FrameGate, shape, vector_walk, weight_walk
from .layers import Fork, SingleLayer
from .lite import LiteSlave, access_ports, lite_signature
from .reader import read_signature
from .regfile import RegisterFile
from .results import LANE_BYTES, ResultPort


def stream_ports(prefix: str, width: int, *, out: bool = False) -> dict[str, wiring.Member]:
    """Return the ports of an AXI4-Stream of at least `width` bits that the core takes or gives."""
    forward, back = (Out, In) if out else (In, Out)
    return {
        f"{prefix}_tdata": forward(whole_bytes(width)),
        f"{prefix}_tlast": forward(1),
        f"{prefix}_tvalid": forward(1),
        f"{prefix}_tready": back(1),
    }


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
    s_axis_coef_*, s_axis_weight_* : AXI4-Stream, without the read master only
    m_axi_ar*, m_axi_r* : AXI4 read channels, with the read master only

    Raises
    ------
    ConfigError
        If `config` or `axi` is of another type, or the engine has output-axis scales.
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
        if config.resident:
            raise ConfigError(
                "an engine behind AXI must have weights from a stream, not memory: "
                "there is no bus that loads them"
            )
        if config.scales:
            raise ConfigError(
                f"an engine behind AXI must have scale_out none, not {config.scale_out}: "
                f"there is no bus for output-axis scales"
            )
        self.config, self.axi = config, axi
        self._engine = engine
        results = layouts.results(config)
        ports = {"aclk": In(1), "aresetn": In(1), "irq": Out(1)}
        ports |= {
            f"s_axi_{name}": member.flip() for name, member in lite_signature().members.items()
        }
        ports |= stream_ports("s_axis_act", layouts.activations(config).size)
        if not axi.memory:
            ports |= stream_ports("s_axis_coef", layouts.coefficients(config).size)
            ports |= stream_ports("s_axis_weight", config.weight_beat_bits)
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
        streams = ("act",) if self.axi.memory else ("act", "coef", "weight")
        fork = Fork(shape(config), ["cmd", *streams])
        m.submodules.fork = in_core(fork)
        m.d.comb += [
            engine.cmd.valid.eq(fork.cmd.valid),
            fork.cmd.ready.eq(engine.cmd.ready),
        ]
        for name in layouts.command(config).members:
            m.d.comb += engine.cmd.payload[name].eq(fork.cmd.payload[name])
        source, starved = (
            self._from_memory(m, engine, registers, control)
            if self.axi.memory
            else self._from_registers(m, registers)
        )
        wiring.connect(m, source.layer, fork.i)
        m.d.comb += source.start.eq(control.begin)
        gates = {}
        for name in streams:
            walk = weight_walk(config) if name == "weight" else vector_walk(config)
            width = len(Value.cast(getattr(engine, name).payload))
            gates[name] = gate = FrameGate(config, width=width, walk=walk)
            m.submodules[f"{name}_gate"] = gate
            wiring.connect(m, getattr(fork, name), gate.layer)
            self._join_input(m, gate, f"s_axis_{name}")
            _give(m, gate.o, getattr(engine, name))
            starved[name] = gate.starved
            m.d.comb += [
                gate.stop.eq(control.stop),
                gate.flush.eq(getattr(registers, f"ctrl_flush_{name}") & ~control.busy),
                gate.forget.eq(control.forget),
                getattr(registers, f"error_{name}_short_set").eq(gate.short),
                getattr(registers, f"error_{name}_long_set").eq(gate.long),
            ]

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
        starts = source.layer.valid & source.layer.ready
        with m.If(control.begin):
            m.d.sync += inside.eq(0)
        with m.Else():
            m.d.sync += inside.eq(
                inside + Mux(starts, source.layer.payload.m, 0) - results.done
            )

        # ---- counters ------------------------------------------------------------------------
        events = {
            "layers_started": starts,
            "vectors_done": results.done,
            "busy_cycles": control.busy,
            "stall_out": results.valid & ~results.ready,
            "weight_beats": engine.weight.valid & engine.weight.ready,
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
        bad = Cat(registers.error_bad_k_set, registers.error_bad_n_set, registers.error_bad_m_set)
        failed = Cat(
            getattr(registers, name)
            for name in registers.signature.members
            if re.fullmatch(r"error_(?!start_busy)\w+_set", name)
        ).any()
        flush = Cat(getattr(registers, f"ctrl_flush_{name}") for name in gates).any()
        m.d.comb += [
            bad.eq(Mux(control.stop, 0, source.bad)),
            control.start.eq(registers.ctrl_start),
            control.reset.eq(registers.ctrl_reset),
            control.flush.eq(flush),
            control.error.eq(failed),
            control.complete.eq(source.finished & ~inside.any()),
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
        m.d.comb += [
            source.k.eq(registers.k),
            source.n.eq(registers.n),
            source.m.eq(registers.m),
        ]
        return source, {}

    def _from_memory(
        self, m: Module, engine: Engine, registers: RegisterFile, control: RunControl
    ) -> tuple[Fetcher, dict]:
        """Place what fetches layers from memory, with their coefficients and weights."""
        m.submodules.source = source = Fetcher(self.config, self.axi)
        for name in source.bus.signature.members:
            self._join(m, f"m_axi_{name}", getattr(source.bus, name))
        for name in ("coef", "weight"):
            _give(m, getattr(source, name), getattr(engine, name))
        m.d.comb += [
            source.address.eq(Cat(registers.list_lo, registers.list_hi)),
            source.count.eq(registers.list_count),
            source.stop.eq(control.stop),
            registers.error_bad_count_set.eq(source.bad_count & ~control.stop),
            registers.error_bad_address_set.eq(source.bad_address & ~control.stop),
            registers.error_bad_flags_set.eq(source.bad_flags & ~control.stop),
            registers.error_read_slverr_set.eq(source.slverr),
            registers.error_read_decerr_set.eq(source.decerr),
        ]
        return source, {"coef": source.coef_starved, "weight": source.weight_starved}

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


def _give(m: Module, source: wiring.PureInterface, target: wiring.PureInterface) -> None:
    """Join two streams of the same width, one of plain bits and one of the engine."""
    m.d.comb += [
        Value.cast(target.payload).eq(source.payload),
        target.valid.eq(source.valid),
        source.ready.eq(target.ready),
    ]
