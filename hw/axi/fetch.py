"""Weights and coefficients from memory: a list of layers, and the data of each, by one master."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .. import layouts
from ..config import EngineConfig
from .config import AxiConfig, whole_bytes
from .control import in_core
from .descriptor_list import (
    ITEM_BITS,
    DescriptorList,
    coef_beats_max,
    layer_job,
    list_beats_max,
    weight_beats_max,
)
from .frames import ItemGate, shape, vector_walk, weight_walk
from .gearbox import Gearbox
from .layers import Fork
from .reader import ADDRESS_BITS, ReadClient, ReadMaster, job, read_signature

_CLIENTS = ("list", "coef", "weight")


class Fetcher(wiring.Component):
    """Runs a list of layers: offers their shapes, and gives the engine weights and coefficients.

    What it does for a layer begins while the layer before is still at work, as far as its queues
    have room. Everything but the read master is in the domain "core".

    Members
    -------
    start : In
        Pulse, with `address` and `count` of the list.
    stop : In
        The run was stopped.
    layer : Out stream
    coef, weight : Out streams, of the engine's payload widths
    coef_starved, weight_starved : Out
        The engine could take an item of a layer that is begun, and none is there.
    finished : Out
        No layer is waiting, and none will come.
    idle : Out
        No read is on its way.
    bad, bad_count, bad_address, bad_flags : Out
        See DescriptorList.
    slverr, decerr : Out
        See ReadMaster.
    bus : Out AXI4 read channels
    """

    def __init__(self, config: EngineConfig, axi: AxiConfig):
        self.config, self.axi = config, axi
        super().__init__(
            {
                "start": In(1),
                "address": In(ADDRESS_BITS),
                "count": In(32),
                "stop": In(1),
                "layer": Out(stream.Signature(shape(config))),
                "coef": Out(stream.Signature(layouts.coefficients(config).size)),
                "weight": Out(stream.Signature(config.weight_beat_bits)),
                "coef_starved": Out(1),
                "weight_starved": Out(1),
                "finished": Out(1),
                "idle": Out(1),
                "bad": Out(3),
                "bad_count": Out(1),
                "bad_address": Out(1),
                "bad_flags": Out(1),
                "slverr": Out(1),
                "decerr": Out(1),
                "bus": Out(read_signature(axi)),
            }
        )

    def elaborate(self, platform):
        """Join the list, the master with its clients, and a gearbox and a gate for each stream."""
        m = Module()
        config, axi = self.config, self.axi
        layers = DescriptorList(config, axi)
        m.submodules.layers = in_core(layers)
        m.submodules.master = master = ReadMaster(axi, _CLIENTS)
        wiring.connect(m, master.bus, wiring.flipped(self.bus))
        m.d.comb += [
            layers.start.eq(self.start),
            layers.address.eq(self.address),
            layers.count.eq(self.count),
            master.stop.eq(self.stop),
            self.idle.eq(master.idle),
            self.finished.eq(layers.finished),
            self.slverr.eq(master.slverr),
            self.decerr.eq(master.decerr),
        ]
        for name in ("bad", "bad_count", "bad_address", "bad_flags"):
            m.d.comb += getattr(self, name).eq(getattr(layers, name))

        # ---- the list ---------------------------------------------------------------------------
        gearbox = self._client(
            m, master, "list", depth=axi.max_burst, beats_max=list_beats_max(axi),
            jobs=layers.list, width=ITEM_BITS,
        )
        wiring.connect(m, gearbox.o, layers.i)
        m.d.comb += gearbox.clear.eq(layers.clear)

        # ---- a layer: its shape goes to the engine and the gates, its jobs to the clients ------
        branches = ("layer", "coef_gate", "coef_job", "weight_gate", "weight_job")
        fork = Fork(layer_job(config, axi), branches)
        m.submodules.fork = in_core(fork)
        wiring.connect(m, layers.layer, fork.i)
        m.d.comb += [
            self.layer.payload.eq(fork.layer.payload.layer),
            self.layer.valid.eq(fork.layer.valid),
            fork.layer.ready.eq(self.layer.ready),
        ]

        jobs = stream.Signature(job(axi, coef_beats_max(config, axi))).create()
        repeat = _Repeat(config)
        m.submodules.repeat = in_core(repeat)
        m.d.comb += [
            repeat.times.eq(fork.coef_job.payload.layer.m),
            repeat.i_valid.eq(fork.coef_job.valid),
            fork.coef_job.ready.eq(repeat.i_ready),
            jobs.payload.eq(fork.coef_job.payload.coef),
            jobs.valid.eq(repeat.o_valid),
            repeat.o_ready.eq(jobs.ready),
        ]
        width = layouts.coefficients(config).size
        gearbox = self._client(
            m, master, "coef", depth=axi.coef_fifo, beats_max=coef_beats_max(config, axi),
            jobs=jobs, width=width,
        )
        gate = ItemGate(config, width=width, walk=vector_walk(config))
        self._gate(m, "coef", gate, gearbox, fork.coef_gate)
        m.d.comb += gearbox.clear.eq(gate.row_done)  # a job is one walk over K

        jobs = stream.Signature(job(axi, weight_beats_max(config, axi))).create()
        m.d.comb += [
            jobs.payload.eq(fork.weight_job.payload.weight),
            jobs.valid.eq(fork.weight_job.valid),
            fork.weight_job.ready.eq(jobs.ready),
        ]
        width = config.weight_beat_bits
        gearbox = self._client(
            m, master, "weight", depth=axi.weight_fifo,
            beats_max=weight_beats_max(config, axi), jobs=jobs, width=whole_bytes(width),
        )
        gate = ItemGate(config, width=width, walk=weight_walk(config))
        self._gate(m, "weight", gate, gearbox, fork.weight_gate)
        m.d.comb += gearbox.clear.eq(gate.done)
        return m

    def _client(self, m, master, name, *, depth, beats_max, jobs, width) -> Gearbox:
        """Place a client of the master and the gearbox behind it; return the gearbox."""
        client = ReadClient(self.axi, depth=depth, beats_max=beats_max)
        gearbox = Gearbox(in_width=self.axi.axi_data_bits, out_width=width)
        m.submodules[f"{name}_client"] = in_core(client)
        m.submodules[f"{name}_gearbox"] = in_core(gearbox)
        wiring.connect(m, client.request, getattr(master, f"{name}_request"))
        wiring.connect(m, client.o, gearbox.i)
        m.d.comb += [
            client.job.payload.eq(jobs.payload),
            client.job.valid.eq(jobs.valid),
            jobs.ready.eq(client.job.ready),
            client.data.eq(master.data),
            client.last.eq(master.last),
            client.valid.eq(getattr(master, f"{name}_valid")),
        ]
        return gearbox

    def _gate(self, m, name, gate, gearbox, branch) -> None:
        """Place a gate between a gearbox and the port `name`."""
        port = getattr(self, name)
        m.submodules[f"{name}_gate"] = in_core(gate)
        m.d.comb += [
            gate.layer.payload.eq(branch.payload.layer),
            gate.layer.valid.eq(branch.valid),
            branch.ready.eq(gate.layer.ready),
            gate.i.payload.eq(gearbox.o.payload),  # without the bits that fill whole bytes
            gate.i.valid.eq(gearbox.o.valid),
            gearbox.o.ready.eq(gate.i.ready),
            port.payload.eq(gate.o.payload),
            port.valid.eq(gate.o.valid),
            gate.o.ready.eq(port.ready),
            getattr(self, f"{name}_starved").eq(gate.starved),
        ]


class _Repeat(wiring.Component):
    """Gives an item several times: the engine takes the coefficients once a token vector."""

    def __init__(self, config: EngineConfig):
        super().__init__(
            {
                "times": In(shape(config)["m"].shape),
                "i_valid": In(1),
                "i_ready": Out(1),
                "o_valid": Out(1),
                "o_ready": In(1),
            }
        )

    def elaborate(self, platform):
        """Build the count of those given."""
        m = Module()
        given = Signal.like(self.times, name="given")
        m.d.comb += [
            self.o_valid.eq(self.i_valid),
            self.i_ready.eq(self.o_ready & (given + 1 == self.times)),
        ]
        with m.If(self.i_valid & self.o_ready):
            with m.If(self.i_ready):
                m.d.sync += given.eq(0)
            with m.Else():
                m.d.sync += given.eq(given + 1)
        return m
