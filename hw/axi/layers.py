"""Where layers come from: from registers, one a run. (From memory: :mod:`hw.axi.descriptor_list`.)

And how one is given to everything that works on it, and where its weights go if they stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from amaranth import Cat, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .. import layouts
from ..arith import bind
from ..config import EngineConfig
from .frames import shape
from .sizes import WeightTotal

NOT_OF_LOADS = ("m", "s")
"""Numbers of a layer that say nothing about its weights."""


def shape_limits(config: EngineConfig) -> dict[str, int]:
    """Return the largest value of each number that describes a layer, but of where it lies."""
    limits = {"k": config.k_max, "n": config.n_max, "m": config.m_par}
    return limits | ({"s": config.words_max} if config.scale_out == "groups" else {})


def shape_errors(config: EngineConfig) -> tuple[str, ...]:
    """Return the names of the numbers of a layer that can be out of range."""
    return (*shape_limits(config), *(["w"] if config.resident else []))


def check_shape(m: Module, config: EngineConfig, values: Mapping[str, Value]) -> dict[str, Value]:
    """Return, by name, whether a value is 0 or beyond its limit. Values may be of any width."""
    limits = shape_limits(config)
    return {
        name: bind(m, ~value.any() | (value > limits[name]), f"{name}_wrong")
        for name, value in values.items()
    }


class SingleLayer(wiring.Component):
    """Offers the layer that the registers describe, if the engine can hold it, or its load.

    With weights in the engine, the layer's end in its memory is worked out first, which takes
    ceil(K / k_par) + ceil(N / n_par) cycles.

    Members
    -------
    start : In
        Pulse, with `k`, `n`, `m` and, if commands have them, `s` and `w`.
    is_load : In, with weights in the engine
        With `start`: the layer is not to be run but loaded; M and S are not looked at.
    layer : Out stream
    load : Out stream, with weights in the engine
    load_start, load_at : Out, with weights in the engine
        Pulse: a load is taken, from this place on.
    finished : Out
        Nothing is waiting.
    bad_<name> : Out, for each of shape_errors
        Pulse: the value is out of range; there will be no layer.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        self._errors = shape_errors(config)
        layer = stream.Signature(shape(config))
        super().__init__(
            {"start": In(1)}
            | {name: In(32) for name in self._errors}
            | {"layer": Out(layer), "finished": Out(1)}
            | {f"bad_{name}": Out(1) for name in self._errors}
            | (
                {
                    "is_load": In(1),
                    "load": Out(layer),
                    "load_start": Out(1),
                    "load_at": Out(shape(config)["w"].shape),
                }
                if config.resident
                else {}
            )
        )

    def elaborate(self, platform):
        """Build the check and the register."""
        m = Module()
        config = self.config
        wrong = check_shape(
            m, config, {name: getattr(self, name) for name in shape_limits(config)}
        )
        if config.resident:
            for name in [name for name in wrong if name in NOT_OF_LOADS]:
                wrong[name] = bind(m, wrong[name] & ~self.is_load, f"{name}_wrong_here")
        legal = bind(m, ~Cat(*wrong.values()).any(), "legal")
        layer = self.layer.payload
        waiting, sizing = Signal(), Signal()
        m.d.comb += self.finished.eq(~waiting & ~sizing)
        for name, value in wrong.items():
            m.d.sync += getattr(self, f"bad_{name}").eq(value & self.start)
        taken = self.layer.ready
        if not config.resident:
            m.d.comb += self.layer.valid.eq(waiting)
        else:
            loads = Signal()
            m.d.comb += [
                self.layer.valid.eq(waiting & ~loads),
                self.load.valid.eq(waiting & loads),
                self.load.payload.eq(layer),
                self.load_start.eq(self.load.valid & self.load.ready),
                self.load_at.eq(layer.w),
            ]
            taken = bind(m, Mux(loads, self.load.ready, self.layer.ready), "taken")
            m.submodules.total = total = WeightTotal(config, {"beats": 1})
            m.d.comb += [
                total.start.eq(self.start & legal), total.k.eq(self.k), total.n.eq(self.n),
            ]
            # W as a whole: its low bits alone may be in range.
            beyond = Signal()
            end = bind(m, layer.w + total.beats, "end")
            sized = bind(m, sizing & ~total.busy, "sized")
            outside = bind(m, beyond | (end > config.weight_words), "outside")
            m.d.sync += self.bad_w.eq(sized & outside)
            with m.If(sized):
                m.d.sync += [sizing.eq(0), waiting.eq(~outside)]
            with m.If(self.start):
                m.d.sync += [
                    loads.eq(self.is_load), beyond.eq(self.w >= config.weight_words),
                ]
        with m.If(self.start):
            m.d.sync += (sizing if config.resident else waiting).eq(legal)
            m.d.sync += [layer[name].eq(getattr(self, name)) for name in self._errors]
        with m.Elif(waiting & taken):
            m.d.sync += waiting.eq(0)
        return m


class Placer(wiring.Component):
    """Gives weight beats their places in the engine's memory, one after the other.

    Members
    -------
    start : In
        Pulse, with the place `at` of the next beat.
    i : In stream of weight beats
    o : Out stream of layouts.load
    """

    def __init__(self, config: EngineConfig):
        target = layouts.load(config)
        super().__init__(
            {
                "start": In(1),
                "at": In(target["addr"].shape),
                "i": In(stream.Signature(config.weight_beat_bits)),
                "o": Out(stream.Signature(target)),
            }
        )

    def elaborate(self, platform):
        """Build the counter."""
        m = Module()
        place = Signal.like(self.at, name="place")
        m.d.comb += [
            self.o.valid.eq(self.i.valid),
            self.o.payload.data.eq(self.i.payload),
            self.o.payload.addr.eq(place),
            self.i.ready.eq(self.o.ready),
        ]
        with m.If(self.start):
            m.d.sync += place.eq(self.at)
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += place.eq(place + 1)
        return m


class Fork(wiring.Component):
    """Gives every item of `i` to each of several takers, whenever each is ready for it.

    An item leaves `i` when the last of them has taken it; the payload must be stable until then,
    as that of any stream is.

    Parameters
    ----------
    layout
        Of the payload.
    names
        Names of the outputs.
    """

    def __init__(self, layout: data.StructLayout, names: Sequence[str]):
        self._names = tuple(names)
        super().__init__(
            {"i": In(stream.Signature(layout))}
            | {name: Out(stream.Signature(layout)) for name in self._names}
        )

    def elaborate(self, platform):
        """Build one bit per taker that already has the item."""
        m = Module()
        complete = []
        for name in self._names:
            output = getattr(self, name)
            has = Signal(name=f"{name}_has")
            m.d.comb += [
                output.payload.eq(self.i.payload),
                output.valid.eq(self.i.valid & ~has),
            ]
            complete.append(bind(m, has | output.ready, f"{name}_complete"))
            with m.If(self.i.valid):
                m.d.sync += has.eq(complete[-1] & ~self.i.ready)
        m.d.comb += self.i.ready.eq(Cat(*complete).all())
        return m
