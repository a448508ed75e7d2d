"""The engine: front end, quantizer, buffers, sequencer, array and drain, joined by queues."""

from __future__ import annotations

from amaranth import Cat, Module, Signal
from amaranth.hdl import Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .arith import bind, up_down
from .array import Array, Parts
from .buffers import ActivationBuffer, ProductBuffer
from .config import (
    BANKS,
    MEMORY_LATENCY,
    TABLE_BANKS,
    VECTORS_AHEAD,
    ConfigError,
    EngineConfig,
)
from .drain import Drain
from .frontend import FrontEnd
from .memories import BlockMemory, TileHold, TileQueue
from .quantizer import Quantizer
from .queues import InputRegister, KeptQueue, ShiftQueue
from .sequencer import Sequencer, TableSequencer
from .tables import TableArray, TableControl
from .tree import delay


class Engine(wiring.Component):
    """Sign-accumulate matrix engine for FBI-linears.

    Every port is a native Amaranth stream: a transfer happens in a cycle in which both valid and
    ready are high; backpressure is legal on every port in every cycle.

    Parameters
    ----------
    config : EngineConfig
    parts : Parts or None
        How the array's clusters are made; None builds them in place.

    Members
    -------
    cmd : In stream of {k, n} or, with m_par > 1, {k, n, m}
        m token vectors through one layer.
    act : In stream of act_par floats of act_format
        ceil(k / act_par) chunks for each vector.
    coef : In stream of act_par {scale, shift}
        Alpha and beta of the same inputs, in step with `act`.
    weight : In stream of weight_beat_bits
        ``config.beats(k, n)`` beats for each command, in the code of :mod:`hw.streams`. Not with
        weights from memory, where there is instead
    load : In stream of {data, addr}
        A beat and its place. Whoever loads sees to it that no command in the engine needs the
        place; what a command's layer reads beyond the memory is unspecified.
    scale : In stream of out_par float16, only with scales on the output axis
        For each tile, group, vector and chunk of outputs, in this order.
    result : Out stream of {data, keep, last} and, with m_par > 1, {vector}
        Outputs in order: tiles of n_par outside, vectors of the command inside.
    busy : Out
        A vector is in the engine.
    error : Out
        Sticky until reset: a command with k, n or m out of range was dropped.

    Raises
    ------
    ConfigError
        If `config` is not an EngineConfig.
    """

    def __init__(self, config: EngineConfig, *, parts: Parts | None = None):
        if not isinstance(config, EngineConfig):
            raise ConfigError(f"config must be an EngineConfig, not {type(config).__name__}")
        self.config = config
        self._parts = parts
        super().__init__(
            {
                "cmd": In(stream.Signature(layouts.command(config))),
                "act": In(stream.Signature(layouts.activations(config))),
                "coef": In(stream.Signature(layouts.coefficients(config))),
                "result": Out(stream.Signature(layouts.results(config))),
                "busy": Out(1),
                "error": Out(1),
            }
            | ({"scale": In(stream.Signature(layouts.scales(config)))} if config.scales else {})
            | (
                {"load": In(stream.Signature(layouts.load(config)))}
                if config.resident
                else {"weight": In(stream.Signature(config.weight_beat_bits))}
            )
        )

    def elaborate(self, platform):
        """Join the blocks."""
        m = Module()
        config = self.config
        m.submodules.front_end = front_end = FrontEnd(config)
        m.submodules.product_buffer = product_buffer = ProductBuffer(config)
        m.submodules.quantizer = quantizer = Quantizer(config)
        buffers = [ActivationBuffer(config) for _ in range(config.m_par)]
        for i, buffer in enumerate(buffers):
            m.submodules[f"activation_buffer_{i}"] = buffer
        m.submodules.drain = drain = Drain(config)
        if config.words_outer:
            m.submodules.sequencer = sequencer = TableSequencer(config)
            self._with_tables(m, quantizer, buffers, sequencer, drain)
        else:
            m.submodules.sequencer = sequencer = Sequencer(config)
            self._stationary(m, quantizer, buffers, sequencer, drain)

        # ---- registers on the input ports ------------------------------------------------
        sinks = {
            "cmd": front_end.command,
            "act": front_end.act,
            "coef": front_end.coef,
        }
        if not config.resident:
            sinks["weight"] = sequencer.weight
        if config.scales:
            sinks["scale"] = drain.scale
        for port, sink in sinks.items():
            source = getattr(self, port)
            width = len(Value.cast(source.payload))
            m.submodules[f"{port}_register"] = slot = InputRegister(width)
            m.d.comb += [
                slot.i.payload.eq(source.payload),
                slot.i.valid.eq(source.valid),
                source.ready.eq(slot.i.ready),
                sink.payload.eq(slot.o.payload),
                sink.valid.eq(slot.o.valid),
                slot.o.ready.eq(sink.ready),
            ]

        # ---- front end to quantizer ----------------------------------------------------
        m.submodules.shapes = shapes = ShiftQueue(layouts.command(config).size, VECTORS_AHEAD)
        # The front end keeps a summary until the next vector's last chunk, which has to wait while
        # VECTORS_AHEAD = 2 are not taken.
        m.submodules.summaries = summaries = KeptQueue(layouts.summary(config).size)
        m.d.comb += [
            product_buffer.write_data.eq(front_end.product),
            product_buffer.write_valid.eq(front_end.product_valid),
            product_buffer.read_next.eq(quantizer.chunk_freed),
            quantizer.product.eq(product_buffer.read_data),
            front_end.chunk_freed.eq(quantizer.chunk_freed),
            front_end.slots_freed.eq(drain.slots_freed),
            drain.window.eq(front_end.window),
            drain.window_valid.eq(front_end.window_valid),
            shapes.w_data.eq(front_end.layer),
            shapes.w_en.eq(front_end.layer_valid),
            shapes.r_en.eq(quantizer.source_taken),
            summaries.w_data.eq(front_end.summary),
            summaries.w_en.eq(front_end.summary_valid),
            summaries.r_en.eq(quantizer.source_taken),
            quantizer.source.layer.eq(shapes.r_data),
            quantizer.source.summary.eq(summaries.r_data),
            quantizer.source_valid.eq(summaries.r_valid),  # its shape came long before
            front_end.vector_taken.eq(quantizer.source_taken),
        ]

        # ---- quantizer to activation buffers --------------------------------------------
        for i, buffer in enumerate(buffers):
            m.d.comb += [
                buffer.write_addr.eq(quantizer.write_addr),
                buffer.write_slot.eq(quantizer.write_slot),
                buffer.write_data.eq(quantizer.write_data),
                buffer.write_valid.eq(quantizer.write_valid[i]),
            ]

        # ---- status --------------------------------------------------------------------
        # A vector has a slot from the cycle after it began until its last chunk is in the drain.
        m.d.comb += [
            self.busy.eq(front_end.layer_valid | front_end.inside | drain.pending),
            self.error.eq(front_end.error),
        ]
        return m

    def _batches(self, m: Module, quantizer: Quantizer, name: str, depth: int, sink) -> None:
        """Queue quantized batches for `sink`, which sees them once they are written.

        They have moved through the queue by then.
        """
        queue = ShiftQueue(layouts.batch(self.config).size, depth)
        m.submodules[name] = queue
        written = Signal(range(depth + 1), name=f"{name}_written")
        valid = bind(m, written != 0, f"{name}_valid")
        m.d.sync += written.eq(
            up_down(written, quantizer.batch_written, valid & sink.ready)
        )
        m.d.comb += [
            queue.w_data.eq(quantizer.batch),
            queue.w_en.eq(quantizer.batch_valid),
            queue.r_en.eq(valid & sink.ready),
            sink.valid.eq(valid),
            sink.payload.eq(queue.r_data),
        ]

    def _weights(self, m: Module, sequencer) -> Value:
        """Return the weights of a beat, beat_latency cycles after it was taken."""
        config = self.config
        if not config.resident:
            return delay(m, sequencer.weight.payload, config.beat_latency, "weights")
        m.submodules.weight_memory = storage = BlockMemory(
            config.weight_beat_bits, config.weight_words
        )
        m.d.comb += [
            storage.write_addr.eq(self.load.payload.addr),
            storage.write_data.eq(self.load.payload.data),
            storage.write_en.eq(self.load.valid),
            storage.read_addr.eq(sequencer.weight_addr),
            self.load.ready.eq(1),
        ]
        return storage.read_data

    def _stationary(self, m, quantizer, buffers, sequencer, drain) -> None:
        """Join quantizer, sequencer, arrays and drain: sums stay, activations come again."""
        config = self.config
        self._batches(m, quantizer, "batches", BANKS, sequencer.batch)
        m.submodules.hold = hold = TileHold(
            len(drain.part_sums), drain.parts, config.select_stages
        )
        # The buffers take MEMORY_LATENCY cycles, so do the weights and tags.
        weights = self._weights(m, sequencer)
        valid = delay(m, sequencer.issue, MEMORY_LATENCY, "valid", reset_less=False)
        last = delay(m, sequencer.last, MEMORY_LATENCY, "last")
        m.d.comb += [
            quantizer.bank_freed.eq(sequencer.bank_freed),
            sequencer.tile_freed.eq(drain.tile_taken),
            drain.tile.eq(sequencer.tile),
            drain.tile_valid.eq(hold.tile_valid),
            hold.part.eq(drain.part),
            drain.part_sums.eq(hold.part_sums),
            hold.tile_taken.eq(drain.tile_taken),
        ]
        arrays = [Array(config, parts=self._parts) for _ in buffers]
        for i, (array, buffer) in enumerate(zip(arrays, buffers, strict=True)):
            m.submodules[f"array_{i}"] = array
            m.d.comb += [
                buffer.read_addr.eq(sequencer.read_addr),
                array.word.eq(buffer.read_data),
                array.weights.eq(weights),
                array.valid.eq(valid),
                array.last.eq(last),
            ]
        m.d.comb += [
            hold.sums.eq(Cat(array.sums for array in arrays)),
            hold.sums_valid.eq(arrays[0].load),
        ]
        wiring.connect(m, drain.result, wiring.flipped(self.result))

    def _with_tables(self, m, quantizer, buffers, sequencer, drain) -> None:
        """Join quantizer, table maker, sequencer, arrays and drain: activations stay."""
        config = self.config
        m.submodules.table_control = control = TableControl(config)
        self._batches(m, quantizer, "to_tables", BANKS, control.batch)
        # Behind the table maker: at most one batch for every table that waits.
        self._batches(m, quantizer, "batches", BANKS + TABLE_BANKS, sequencer.batch)
        m.submodules.tiles = tiles = TileQueue(
            layouts.tile(config).size, len(drain.part_sums), drain.parts, config.tile_slots
        )
        made = delay(
            m, control.made, config.table_latency - 1, "made", reset_less=False
        )
        m.d.comb += [
            quantizer.bank_freed.eq(control.bank_freed),
            control.table_freed.eq(sequencer.table_freed),
            sequencer.table_made.eq(made),
            sequencer.table_last.eq(
                delay(m, control.bank_freed, config.table_latency - 1, "made_last")
            ),
            sequencer.tile_freed.eq(drain.tile_taken),
            tiles.info.eq(sequencer.tile),
            tiles.info_valid.eq(sequencer.tile_valid),
            tiles.tile_taken.eq(drain.tile_taken),
            drain.tile.eq(tiles.tile_info),
            drain.tile_valid.eq(tiles.tile_valid),
            tiles.part.eq(drain.part),
            drain.part_sums.eq(
                delay(m, tiles.part_sums, config.select_stages - MEMORY_LATENCY, "part_sums")
            ),
        ]
        # An entry's place travels with it, from the step to the write.
        write_delay = MEMORY_LATENCY + config.generator_stages
        write_en = delay(m, control.step, write_delay, "write_en", reset_less=False)
        write_addr = delay(m, Cat(control.entry, control.bank), write_delay, "write_addr")
        index = delay(m, control.index, MEMORY_LATENCY - 1, "index")
        beat = {
            "bank": sequencer.bank,
            "first": sequencer.first,
            "last": sequencer.last,
            "tile": sequencer.tile_index,
        }
        before = config.beat_latency
        beat = {name: delay(m, value, before, name) for name, value in beat.items()}
        beat["weights"] = self._weights(m, sequencer)
        beat["valid"] = delay(m, sequencer.issue, before, "valid", reset_less=False)
        arrays = [TableArray(config, parts=self._parts) for _ in buffers]
        for i, (array, buffer) in enumerate(zip(arrays, buffers, strict=True)):
            m.submodules[f"array_{i}"] = array
            m.d.comb += [
                buffer.read_addr.eq(control.read_addr),
                array.word.eq(buffer.read_data),
                array.index.eq(index),
                array.write_en.eq(write_en),
                array.write_addr.eq(write_addr),
            ]
            m.d.comb += [getattr(array, name).eq(value) for name, value in beat.items()]
        m.d.comb += [
            tiles.sums.eq(Cat(array.sums for array in arrays)),
            tiles.sums_valid.eq(arrays[0].load),
        ]
        wiring.connect(m, drain.result, wiring.flipped(self.result))
