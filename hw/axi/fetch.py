"""A list of layers from memory, and what each needs, fetched by one master."""

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
    scale_beats_max,
    weight_beats_max,
)
from .frames import ItemGate, Walk, shape, vector_walk, weight_walk
from .gearbox import Gearbox
from .layers import Fork, shape_errors
from .reader import ADDRESS_BITS, ReadClient, ReadMaster, job, read_signature
from .scales import ScaleWalk


class Fetcher(wiring.Component):
    """Runs a list of layers: offers their shapes, and gives the engine what it needs for them.

    What it does for a layer begins while the layer before is still at work, as far as its queues
    have room. A load, which fills the engine's own weights, waits until the engine is through with
    the layers before it, and the layers after it wait for it: no layer ever sees half of a load.
    Everything but the read master is in the domain "core".

    Attributes
    ----------
    streams
        Names of the streams that the engine is given.

    Members
    -------
    start : In
        Pulse, with `address` and `count` of the list.
    stop : In
        The run was stopped.
    layer : Out stream
    load_start, load_at : Out, with weights in the engine
        Pulse: a load begins, at this place.
    through : In, with weights in the engine
        The engine is done with every layer that was given to it.
    coef, weight, scale : Out streams, of the engine's payload widths
        `scale` only with scales on the output axis: once for all token vectors.
    <name>_starved : Out, for each of these
        The engine could take an item of a layer that is begun, and none is there.
    finished : Out
        No layer or load is waiting or under way, and none will come.
    idle : Out
        No read is on its way.
    bad_* : Out
        See DescriptorList.
    slverr, decerr, misfit : Out
        See ReadMaster.
    bus : Out AXI4 read channels
    """

    def __init__(self, config: EngineConfig, axi: AxiConfig):
        self.config, self.axi = config, axi
        self._bad = [f"bad_{name}" for name in (*shape_errors(config), "count", "address", "flags")]
        payloads = {"coef": layouts.coefficients(config).size, "weight": config.weight_beat_bits}
        if config.scales:
            payloads["scale"] = layouts.scales(config).size
        self.streams = tuple(payloads)
        self._payloads = payloads
        ports = {
            "start": In(1),
            "address": In(ADDRESS_BITS),
            "count": In(32),
            "stop": In(1),
            "layer": Out(stream.Signature(shape(config))),
            "finished": Out(1),
            "idle": Out(1),
            "slverr": Out(1),
            "decerr": Out(1),
            "misfit": Out(1),
            "bus": Out(read_signature(axi)),
        }
        ports |= {name: Out(stream.Signature(width)) for name, width in payloads.items()}
        ports |= {f"{name}_starved": Out(1) for name in payloads}
        ports |= {name: Out(1) for name in self._bad}
        if config.resident:
            place = shape(config)["w"].shape
            ports |= {"load_start": Out(1), "load_at": Out(place), "through": In(1)}
        super().__init__(ports)

    def elaborate(self, platform):
        """Join the list, the master with its clients, and a gearbox and a gate for each stream."""
        m = Module()
        config, axi = self.config, self.axi
        layers = DescriptorList(config, axi)
        m.submodules.layers = in_core(layers)
        m.submodules.master = master = ReadMaster(axi, ("list", *self._payloads))
        wiring.connect(m, master.bus, wiring.flipped(self.bus))
        m.d.comb += [
            layers.start.eq(self.start),
            layers.address.eq(self.address),
            layers.count.eq(self.count),
            master.stop.eq(self.stop),
            self.idle.eq(master.idle),
            self.slverr.eq(master.slverr),
            self.decerr.eq(master.decerr),
            self.misfit.eq(master.misfit),
        ]
        for name in self._bad:
            m.d.comb += getattr(self, name).eq(getattr(layers, name))

        # ---- the list ---------------------------------------------------------------------------
        gearbox = self._client(
            m, master, "list", depth=axi.max_burst, beats_max=list_beats_max(axi),
            jobs=layers.list, width=ITEM_BITS,
        )
        wiring.connect(m, gearbox.o, layers.i)
        m.d.comb += gearbox.clear.eq(layers.clear)

        # ---- a layer: its shape goes to the engine and the gates, its jobs to the clients ------
        fetched = [name for name in self._payloads if name != "weight" or not config.resident]
        branches = ["layer"] + [f"{name}_{end}" for name in fetched for end in ("gate", "job")]
        fork = Fork(layer_job(config, axi), branches)
        m.submodules.fork = in_core(fork)
        wiring.connect(m, layers.layer, fork.i)
        m.d.comb += [
            self.layer.payload.eq(fork.layer.payload.layer),
            self.layer.valid.eq(fork.layer.valid),
            fork.layer.ready.eq(self.layer.ready),
        ]
        branch = {name: getattr(fork, name) for name in branches}
        if config.resident:
            loads = Fork(layer_job(config, axi), ["weight_gate", "weight_job"])
            m.submodules.load_fork = in_core(loads)
            wiring.connect(m, layers.load, loads.i)
            branch |= {"weight_gate": loads.weight_gate, "weight_job": loads.weight_job}

        # ---- coefficients: a job for every token vector, which is one walk over K ----------------
        repeat = _Repeat(config)
        m.submodules.repeat = in_core(repeat)
        jobs = stream.Signature(job(axi, coef_beats_max(config, axi))).create()
        m.d.comb += [
            repeat.times.eq(branch["coef_job"].payload.layer.m),
            repeat.i_valid.eq(branch["coef_job"].valid),
            branch["coef_job"].ready.eq(repeat.i_ready),
            jobs.payload.eq(branch["coef_job"].payload.coef),
            jobs.valid.eq(repeat.o_valid),
            repeat.o_ready.eq(jobs.ready),
        ]
        gate, gearbox = self._stream(
            m, master, "coef", jobs, branch["coef_gate"], vector_walk(config),
            depth=axi.coef_fifo, beats_max=coef_beats_max(config, axi),
        )
        m.d.comb += gearbox.clear.eq(gate.row_done)

        # ---- weights and scales: a job for all ---------------------------------------------------
        sizes = {"weight": (axi.weight_fifo, weight_beats_max(config, axi), weight_walk(config))}
        if config.scales:
            sizes["scale"] = (axi.coef_fifo, scale_beats_max(config, axi), ScaleWalk(config))
        for name, (depth, most, walk) in sizes.items():
            jobs = stream.Signature(job(axi, most)).create()
            m.d.comb += [
                jobs.payload.eq(branch[f"{name}_job"].payload[name]),
                jobs.valid.eq(branch[f"{name}_job"].valid),
                branch[f"{name}_job"].ready.eq(jobs.ready),
            ]
            gate, gearbox = self._stream(
                m, master, name, jobs, branch[f"{name}_gate"], walk, depth=depth, beats_max=most
            )
            m.d.comb += gearbox.clear.eq(gate.done)
            if name == "weight" and config.resident:
                self._loads(m, layers, gate)
        if not config.resident:
            m.d.comb += self.finished.eq(layers.finished)
        return m

    def _loads(self, m: Module, layers: DescriptorList, gate: ItemGate) -> None:
        """Keep loads and layers apart."""
        loading = Signal()
        begins = gate.layer.valid & gate.layer.ready
        with m.If(layers.load.valid & layers.load.ready):
            m.d.core += loading.eq(1)
        with m.Elif(gate.done):
            m.d.core += loading.eq(0)
        m.d.comb += [
            self.load_start.eq(begins),
            self.load_at.eq(gate.layer.payload.w),
            layers.through.eq(self.through),
            layers.loading.eq(loading),
            self.finished.eq(layers.finished & ~loading),
        ]

    def _stream(self, m, master, name, jobs, branch, walk: Walk | ScaleWalk, *, depth, beats_max):
        """Place what fetches the stream `name` and lets it through; return gate and gearbox."""
        width = self._payloads[name]
        gearbox = self._client(
            m, master, name, depth=depth, beats_max=beats_max, jobs=jobs,
            width=whole_bytes(width),
        )
        gate = ItemGate(self.config, width=width, walk=walk)
        self._gate(m, name, gate, gearbox, branch)
        return gate, gearbox

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
