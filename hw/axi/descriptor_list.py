"""A list of layers in memory: reads descriptors, checks them, works out what to fetch for them."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..arith import bind
from ..config import EngineConfig, clog2
from .config import AxiConfig, weight_item_bytes
from .descriptors import (
    DESCRIPTOR_BYTES,
    FLAG_LOAD,
    ITEM_BYTES,
    LIST_COUNT_MAX,
    SLOTS,
    list_alignment,
)
from .frames import shape
from .layers import NOT_OF_LOADS, check_shape, shape_errors, shape_limits
from .reader import ADDRESS_BITS, job
from .sizes import GroupTotal, WeightTotal, scale_bytes_max

ITEM_BITS = 8 * ITEM_BYTES
_ITEMS = DESCRIPTOR_BYTES // ITEM_BYTES
COEF_BYTES = 4
"""Bytes of a coefficient: scale and shift."""
SCALE_BYTES = 2
"""Bytes of an output-axis scale."""


def list_beats_max(axi: AxiConfig) -> int:
    """Beats of the longest list."""
    return -(-LIST_COUNT_MAX * DESCRIPTOR_BYTES // axi.data_bytes)


def weight_bytes_max(config: EngineConfig) -> int:
    """Bytes of the weights of the largest layer."""
    return config.beats(config.k_max, config.n_max) * weight_item_bytes(config)


def weight_beats_max(config: EngineConfig, axi: AxiConfig) -> int:
    """Beats of the bus for the weights of the largest layer."""
    return -(-weight_bytes_max(config) // axi.data_bytes)


def coef_beats_max(config: EngineConfig, axi: AxiConfig) -> int:
    """Beats of the bus for the coefficients of the longest layer."""
    return -(-COEF_BYTES * config.k_max // axi.data_bytes)


def scale_beats_max(config: EngineConfig, axi: AxiConfig) -> int:
    """Beats of the bus for the output-axis scales of the largest layer."""
    return -(-scale_bytes_max(config) // axi.data_bytes)


def layer_job(config: EngineConfig, axi: AxiConfig) -> data.StructLayout:
    """A layer, and what to fetch for it. If the engine holds weights, only loads fetch them."""
    fields = {
        "layer": shape(config),
        "weight": job(axi, weight_beats_max(config, axi)),
        "coef": job(axi, coef_beats_max(config, axi)),
    }
    if config.scales:
        fields["scale"] = job(axi, scale_beats_max(config, axi))
    return data.StructLayout(fields)


class DescriptorList(wiring.Component):
    """Offers the layers and loads of a list, one by one.

    The bytes of a layer's weights are added up, a word and then a tile a cycle, rather than
    multiplied: ceil(K / k_par) + ceil(N / n_par) cycles, while the layer before is still at work.
    After an error it does nothing until it is reset.

    Members
    -------
    start : In
        Pulse, with `address` and `count` of the list.
    list : Out stream
        The one job of reading the list.
    i : In stream
        The list, ITEM_BITS at a time; ``clear`` pulses with the last that is wanted.
    layer : Out stream
    load : Out stream, with weights in the engine
    through : In, with weights in the engine
        The engine is done with every layer that was offered: only then a load is.
    loading : In, with weights in the engine
        A load is under way: no layer is offered, nor the next load.
    finished : Out
        Nothing is waiting, and nothing will come.
    bad_<name> : Out, for each of shape_errors
        Pulse: the value of a descriptor is out of range.
    bad_count, bad_address, bad_flags : Out
        Pulse: the list's count; an address that is not aligned; flags that are not 0.
    """

    def __init__(self, config: EngineConfig, axi: AxiConfig):
        self.config, self.axi = config, axi
        jobs = stream.Signature(layer_job(config, axi))
        causes = (*shape_errors(config), "count", "address", "flags")
        super().__init__(
            {
                "start": In(1),
                "address": In(ADDRESS_BITS),
                "count": In(32),
                "list": Out(stream.Signature(job(axi, list_beats_max(axi)))),
                "i": In(stream.Signature(ITEM_BITS)),
                "clear": Out(1),
                "layer": Out(jobs),
                "finished": Out(1),
            }
            | {f"bad_{name}": Out(1) for name in causes}
            | (
                {"load": Out(jobs), "through": In(1), "loading": In(1)}
                if config.resident
                else {}
            )
        )

    def elaborate(self, platform):
        """Build the three steps: read, add up, offer."""
        m = Module()
        config, axi = self.config, self.axi
        size = clog2(axi.data_bytes)
        field = {
            slot.name: self.i.payload[8 * (slot.offset % ITEM_BYTES) :][: 8 * slot.bytes]
            for slot in SLOTS
        }
        item_of = {slot.name: slot.offset // ITEM_BYTES for slot in SLOTS}
        layer = self.layer.payload
        rest = Signal(range(LIST_COUNT_MAX + 1))  # descriptors that are not read yet
        item = Signal(range(_ITEMS))
        sizing, offering = Signal(), Signal()
        broken = Signal()
        loads = Signal()  # this descriptor is a load

        # ---- the list -----------------------------------------------------------------------
        count_wrong = bind(m, ~self.count.any() | (self.count > LIST_COUNT_MAX), "count_wrong")
        misplaced = bind(m, self.address[: clog2(list_alignment(axi))].any(), "misplaced")
        list_bytes = bind(m, rest << clog2(DESCRIPTOR_BYTES), "list_bytes")
        unread = Signal()  # the list's job is still to be given away
        m.d.comb += [
            self.list.valid.eq(unread),
            self.list.payload.beats.eq((list_bytes + (axi.data_bytes - 1)) >> size),
            self.finished.eq(~rest.any() & ~sizing & ~offering),
        ]
        with m.If(unread & self.list.ready):
            m.d.sync += unread.eq(0)

        # ---- a descriptor ---------------------------------------------------------------------
        m.d.comb += self.i.ready.eq(rest.any() & ~unread & ~sizing & ~offering & ~broken)
        take = bind(m, self.i.valid & self.i.ready, "take")
        here = [
            bind(m, take & (item == i if i else ~item.any()), f"item_{i}") for i in range(_ITEMS)
        ]
        first, third = here[item_of["k"]], here[item_of["s"]]
        loads_now = loads
        if config.resident:
            loads_now = bind(
                m, Mux(first, (field["flags"] & FLAG_LOAD).any(), loads), "loads_now"
            )
            with m.If(first):
                m.d.sync += loads.eq(loads_now)
        flags = (field["flags"] & ~(FLAG_LOAD if config.resident else 0)).any()
        shape_wrong = {
            name: value & ~loads_now if name in NOT_OF_LOADS else value
            for name, value in check_shape(
                m, config, {name: field[name] for name in shape_limits(config)}
            ).items()
        }
        # An address counts if something is fetched from there.
        wanted = {"coef_address": ~loads_now}
        if config.scales:
            wanted["scale_address"] = ~loads_now
        wanted["weight_address"] = loads_now if config.resident else Const(1)
        unaligned = {name: field[name][:size].any() & want for name, want in wanted.items()}
        pulses: dict[str, list[Value]] = {"count": [self.start & count_wrong]}
        pulses["address"] = [self.start & misplaced]
        for i, arrives in enumerate(here):
            faults = [
                (cause, bind(m, value, f"{name}_here_wrong"))
                for cause, name, value in (
                    *(("address", name, value) for name, value in unaligned.items()),
                    *((name, name, value) for name, value in shape_wrong.items()),
                    ("flags", "flags", flags),
                )
                if item_of[name] == i
            ]
            for cause, value in faults:
                pulses.setdefault(cause, []).append(arrives & value)
            if faults:
                with m.If(arrives):
                    m.d.sync += broken.eq(Cat(value for _, value in faults).any())
        for cause, values in pulses.items():
            m.d.sync += getattr(self, f"bad_{cause}").eq(Cat(*values).any())
        with m.If(self.start):
            m.d.sync += [
                rest.eq(self.count),
                unread.eq(1),
                self.list.payload.address.eq(self.address >> size),
                broken.eq(0),
            ]
        with m.If(self.start & (count_wrong | misplaced)):
            m.d.sync += [rest.eq(0), unread.eq(0)]
        with m.If(take):
            m.d.sync += item.eq(item + 1)  # wraps
        for i, arrives in enumerate(here):
            with m.If(arrives):
                m.d.sync += [
                    layer.layer[name].eq(field[name])
                    for name in layer.layer.shape().members
                    if item_of[name] == i
                ]
                m.d.sync += [
                    layer[name].address.eq(field[f"{name}_address"] >> size)
                    for name in ("weight", "coef", "scale")
                    if name in layer.shape().members and item_of[f"{name}_address"] == i
                ]
        with m.If(here[-1]):
            m.d.sync += [rest.eq(rest - 1), sizing.eq(1)]
        # The list's last beat may hold more than the last descriptor.
        m.d.comb += self.clear.eq(here[-1] & ~rest[1:].any())

        # ---- how much to fetch, and where its weights would end ---------------------------------
        def beats_of(value: Value) -> Value:
            return (value + (axi.data_bytes - 1)) >> size

        units = {"bytes": weight_item_bytes(config)} | ({"beats": 1} if config.resident else {})
        m.submodules.weight_total = weights = WeightTotal(config, units)
        m.d.comb += [
            weights.start.eq(here[-1]),
            weights.k.eq(layer.layer.k),
            weights.n.eq(layer.layer.n),
            layer.weight.beats.eq(beats_of(weights.bytes)),
            layer.coef.beats.eq(beats_of(layer.layer.k * COEF_BYTES)),
        ]
        busy = weights.busy
        if config.scale_out == "row":
            m.d.comb += layer.scale.beats.eq(beats_of(layer.layer.n * SCALE_BYTES))
        elif config.scales:
            m.submodules.group_total = groups = GroupTotal(config)
            m.d.comb += groups.start.eq(here[-1] & ~loads)  # a load need not say S
            m.d.comb += [getattr(groups, name).eq(layer.layer[name]) for name in ("k", "n", "s")]
            m.d.comb += layer.scale.beats.eq(beats_of(groups.bytes))
            busy = bind(m, weights.busy | groups.busy, "sizes_busy")
        sized = bind(m, sizing & ~busy, "sized")
        with m.If(sized):
            m.d.sync += [sizing.eq(0), offering.eq(1)]
        taken = self.layer.valid & self.layer.ready
        if not config.resident:
            m.d.comb += self.layer.valid.eq(offering)
        else:
            beyond = Signal()  # W as a whole: its low bits alone may be in range
            end = bind(m, layer.layer.w + weights.beats, "end")
            outside = bind(m, beyond | (end > config.weight_words), "outside")
            m.d.sync += self.bad_w.eq(sized & outside)
            with m.If(third):
                m.d.sync += beyond.eq(field["w"] >= config.weight_words)
            with m.If(sized & outside):
                m.d.sync += [offering.eq(0), broken.eq(1)]
            m.d.comb += [
                self.layer.valid.eq(offering & ~loads & ~self.loading),
                self.load.valid.eq(offering & loads & ~self.loading & self.through),
                self.load.payload.eq(layer),
            ]
            taken |= self.load.valid & self.load.ready
        with m.If(bind(m, taken, "taken")):
            m.d.sync += offering.eq(0)
        return m
