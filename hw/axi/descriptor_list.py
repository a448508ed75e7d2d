"""A list of layers in memory: reads descriptors, checks them, works out what to fetch for them."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..arith import bind
from ..config import EngineConfig, clog2
from .config import AxiConfig, weight_item_bytes
from .descriptors import DESCRIPTOR_BYTES, ITEM_BYTES, LIST_COUNT_MAX, SLOTS, list_alignment
from .frames import shape
from .layers import check_shape
from .reader import ADDRESS_BITS, job

ITEM_BITS = 8 * ITEM_BYTES
_ITEMS = DESCRIPTOR_BYTES // ITEM_BYTES
COEF_BYTES = 4
"""Bytes of a coefficient: scale and shift."""


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


def layer_job(config: EngineConfig, axi: AxiConfig) -> data.StructLayout:
    """A layer, and what to fetch for it."""
    return data.StructLayout(
        {
            "layer": shape(config),
            "weight": job(axi, weight_beats_max(config, axi)),
            "coef": job(axi, coef_beats_max(config, axi)),
        }
    )


class DescriptorList(wiring.Component):
    """Offers the layers of a list, one by one.

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
    finished : Out
        No layer is waiting, and none will come.
    bad : Out(3)
        Pulse: K, N, M of a descriptor are out of range.
    bad_count, bad_address, bad_flags : Out
        Pulse: the list's count; an address that is not aligned; flags that are not 0.
    """

    def __init__(self, config: EngineConfig, axi: AxiConfig):
        self.config, self.axi = config, axi
        super().__init__(
            {
                "start": In(1),
                "address": In(ADDRESS_BITS),
                "count": In(32),
                "list": Out(stream.Signature(job(axi, list_beats_max(axi)))),
                "i": In(stream.Signature(ITEM_BITS)),
                "clear": Out(1),
                "layer": Out(stream.Signature(layer_job(config, axi))),
                "finished": Out(1),
                "bad": Out(3),
                "bad_count": Out(1),
                "bad_address": Out(1),
                "bad_flags": Out(1),
            }
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
        shape_wrong = check_shape(m, config, k=field["k"], n=field["n"], vectors=field["m"])
        flags_wrong = bind(m, field["flags"].any(), "flags_wrong")
        unaligned = bind(
            m, (field["weight_address"][:size] | field["coef_address"][:size]).any(), "unaligned"
        )
        first, second = here[item_of["k"]], here[item_of["weight_address"]]
        start = self.start
        m.d.sync += [
            self.bad.eq(shape_wrong & first.replicate(len(shape_wrong))),
            self.bad_flags.eq(first & flags_wrong),
            self.bad_count.eq(start & count_wrong),
            self.bad_address.eq((start & misplaced) | (second & unaligned)),
        ]
        with m.If(start):
            m.d.sync += [
                rest.eq(self.count),
                unread.eq(1),
                self.list.payload.address.eq(self.address >> size),
                broken.eq(0),
            ]
        with m.If(start & (count_wrong | misplaced)):
            m.d.sync += [rest.eq(0), unread.eq(0)]
        with m.If(first):
            m.d.sync += [
                layer.layer.k.eq(field["k"]),
                layer.layer.n.eq(field["n"]),
                layer.layer.m.eq(field["m"]),
                layer.coef.beats.eq((field["k"] * COEF_BYTES + (axi.data_bytes - 1)) >> size),
                broken.eq(shape_wrong.any() | flags_wrong),
            ]
        with m.If(second):
            m.d.sync += [
                layer.weight.address.eq(field["weight_address"] >> size),
                layer.coef.address.eq(field["coef_address"] >> size),
                broken.eq(unaligned),
            ]
        with m.If(take):
            m.d.sync += item.eq(item + 1)  # wraps
        with m.If(here[-1]):
            m.d.sync += [rest.eq(rest - 1), sizing.eq(1)]
        # The list's last beat may hold more than the last descriptor.
        m.d.comb += self.clear.eq(here[-1] & ~rest[1:].any())

        # ---- how many bytes of weights --------------------------------------------------------
        k_rest = Signal.like(layer.layer.k, name="k_rest")
        n_rest = Signal.like(layer.layer.n, name="n_rest")
        total_bits = weight_bytes_max(config).bit_length()
        row_bytes = Signal(total_bits)
        total = Signal(total_bits)
        with m.If(here[-1]):
            m.d.sync += [
                k_rest.eq(layer.layer.k),
                n_rest.eq(layer.layer.n),
                row_bytes.eq(0),
                total.eq(0),
            ]
        with m.If(sizing):
            with m.If(k_rest.any()):
                m.d.sync += [
                    row_bytes.eq(row_bytes + weight_item_bytes(config)),
                    k_rest.eq(_less(m, k_rest, config.k_par, "k_less")),
                ]
            with m.Elif(n_rest.any()):
                m.d.sync += [
                    total.eq(total + row_bytes),
                    n_rest.eq(_less(m, n_rest, config.n_par, "n_less")),
                ]
            with m.Else():
                m.d.sync += [sizing.eq(0), offering.eq(1)]
        m.d.comb += [
            layer.weight.beats.eq((total + (axi.data_bytes - 1)) >> size),
            self.layer.valid.eq(offering),
        ]
        with m.If(offering & self.layer.ready):
            m.d.sync += offering.eq(0)
        return m


def _less(m: Module, value: Signal, step: int, name: str) -> Signal:
    """Return ``max(value - step, 0)``."""
    difference = bind(m, value - step, name)
    return bind(m, Mux(difference[-1], 0, difference)[: len(value)], f"{name}_0")
