"""Output-axis scales on their way to the engine: how many a layer has, and their repetition."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .. import layouts
from ..arith import bind
from ..config import EngineConfig
from .frames import shape


class ScaleWalk(wiring.Component):
    """Counts the chunks of out_par scales of a layer: in tiles of n_par outputs, in each in groups.

    Parameters
    ----------
    config : EngineConfig
    vectors
        Whether a group's chunks are walked once for every token vector, as the engine asks for
        them, or once, as they stand in memory.

    Members
    -------
    load, layer : In
        Begin with this layer.
    next : In
        The current chunk is done with.
    chunk : Out
        Its number in the tile.
    first : Out
        It is the first vector's.
    row_last, last : Out
        It is the last of the layer.
    """

    def __init__(self, config: EngineConfig, *, vectors: bool = False):
        self.config = config
        self._vectors = vectors
        chunks = config.n_par // config.out_par
        super().__init__(
            {
                "load": In(1),
                "layer": In(shape(config)),
                "next": In(1),
                "chunk": Out(range(max(2, chunks))),
                "first": Out(1),
                "row_last": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform):
        """Build the nested counters."""
        m = Module()
        config = self.config
        layer = Signal.like(self.layer)
        n_rest = Signal.like(layer.n, name="n_rest")  # outputs of this tile and those after it
        outputs = bind(m, Mux(n_rest < config.n_par, n_rest, config.n_par), "outputs")
        taken = Signal.like(outputs, name="taken")  # outputs of this walk over the tile
        chunk_last = bind(m, taken + config.out_par >= outputs, "chunk_last")
        walk_last = chunk_last
        m.d.comb += self.first.eq(1)
        if self._vectors:
            vectors = Signal.like(layer.m, name="vectors")  # that had this group before
            vector_last = bind(m, vectors + 1 == layer.m, "vector_last")
            walk_last = bind(m, chunk_last & vector_last, "walk_last")
            m.d.comb += self.first.eq(~vectors.any())
            with m.If(self.load):
                m.d.sync += vectors.eq(0)
            with m.Elif(self.next & chunk_last):
                m.d.sync += vectors.eq(Mux(vector_last, 0, vectors + 1))
        tile_last = walk_last
        if config.scale_out == "groups":
            k_rest = Signal.like(layer.k, name="k_rest")  # inputs of this group and those after it
            step = Signal(range(config.words_max * config.k_par + 1))  # inputs of a group
            group_last = bind(m, k_rest <= step, "group_last")
            tile_last = bind(m, walk_last & group_last, "tile_last")
            with m.If(self.load):
                m.d.sync += [k_rest.eq(self.layer.k), step.eq(self.layer.s * config.k_par)]
            with m.Elif(self.next & walk_last):
                m.d.sync += k_rest.eq(Mux(group_last, layer.k, k_rest - step))
        last = bind(m, tile_last & (n_rest <= config.n_par), "is_last")
        m.d.comb += [self.row_last.eq(last), self.last.eq(last)]
        with m.If(self.load):
            m.d.sync += [
                layer.eq(self.layer), n_rest.eq(self.layer.n), taken.eq(0), self.chunk.eq(0),
            ]
        with m.Elif(self.next):
            m.d.sync += [taken.eq(taken + config.out_par), self.chunk.eq(self.chunk + 1)]
            with m.If(chunk_last):
                m.d.sync += [taken.eq(0), self.chunk.eq(0)]
            with m.If(tile_last):
                m.d.sync += n_rest.eq(n_rest - config.n_par)
        return m


class ScaleRepeat(wiring.Component):
    """Gives the engine a tile's scales once for every token vector; they come in once.

    Members
    -------
    layer : In stream
    i, o : In / Out stream of out_par scales
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        width = layouts.scales(config).size
        super().__init__(
            {
                "layer": In(stream.Signature(shape(config))),
                "i": In(stream.Signature(width)),
                "o": Out(stream.Signature(width)),
            }
        )

    def elaborate(self, platform):
        """Build a memory of the scales of one tile and group."""
        m = Module()
        config = self.config
        m.submodules.walk = walk = ScaleWalk(config, vectors=True)
        m.submodules.kept = kept = memory.Memory(
            shape=len(self.i.payload), depth=max(2, config.n_par // config.out_par), init=[]
        )
        write, read = kept.write_port(), kept.read_port(domain="comb")
        is_open = Signal()
        given = bind(m, self.o.valid & self.o.ready, "given")
        m.d.comb += [
            walk.layer.eq(self.layer.payload),
            walk.load.eq(self.layer.valid & self.layer.ready),
            walk.next.eq(given),
            self.layer.ready.eq(~is_open),
            read.addr.eq(walk.chunk),
            write.addr.eq(walk.chunk),
            write.data.eq(self.i.payload),
            write.en.eq(given & walk.first),
            self.o.payload.eq(Mux(walk.first, self.i.payload, read.data)),
            self.o.valid.eq(is_open & (self.i.valid | ~walk.first)),
            self.i.ready.eq(is_open & self.o.ready & walk.first),
        ]
        with m.If(walk.load):
            m.d.sync += is_open.eq(1)
        with m.If(given & walk.last):
            m.d.sync += is_open.eq(0)
        return m
