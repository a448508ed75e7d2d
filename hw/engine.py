"""The engine: front end, quantizer, buffers, sequencer, array and drain, joined by queues."""

from __future__ import annotations

from collections.abc import Callable

from amaranth import Module, Signal
from amaranth.hdl import Value
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from . import layouts
from .array import Array, Row
from .buffers import ActivationBuffer, ProductBuffer
from .config import (
    BANKS,
    INPUT_QUEUE_DEPTH,
    RESULT_QUEUE_DEPTH,
    VECTORS_AHEAD,
    ConfigError,
    EngineConfig,
)
from .drain import Drain
from .frontend import FrontEnd
from .quantizer import Quantizer
from .sequencer import Sequencer


class Engine(wiring.Component):
    """Sign-accumulate matrix-vector engine for FBI-linears.

    Every port is a native Amaranth stream: a transfer happens in a cycle in which both valid and
    ready are high; backpressure is legal on every port in every cycle.

    Parameters
    ----------
    config : EngineConfig
    row : callable
        See :class:`hw.array.Array`.

    Members
    -------
    cmd : In stream of {k, n}
        One token vector through one layer.
    act : In stream of act_par float16
        ceil(k / act_par) chunks for each command.
    coef : In stream of act_par {scale, shift}
        Alpha and beta of the same inputs, in step with `act`.
    weight : In stream of k_par * n_par bits
        ``config.beats(k, n)`` beats for each command; bit ``r*k_par + c`` is output r, input c of
        the tile; 1 = +1.
    result : Out stream of {data, keep, last}
        Outputs in order.
    busy : Out
        A vector is in the engine.
    error : Out
        Sticky until reset: a command with k or n out of range was dropped.

    Raises
    ------
    ConfigError
        If `config` is not an EngineConfig.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        row: Callable[[EngineConfig], Row] = Row,
    ):
        if not isinstance(config, EngineConfig):
            raise ConfigError(f"config must be an EngineConfig, not {type(config).__name__}")
        self.config = config
        self._row = row
        super().__init__(
            {
                "cmd": In(stream.Signature(layouts.command(config))),
                "act": In(stream.Signature(layouts.activations(config))),
                "coef": In(stream.Signature(layouts.coefficients(config))),
                "weight": In(stream.Signature(config.weight_beat_bits)),
                "result": Out(stream.Signature(layouts.results(config))),
                "busy": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform):
        """Join the blocks."""
        m = Module()
        config = self.config
        m.submodules.front_end = front_end = FrontEnd(config)
        m.submodules.product_buffer = product_buffer = ProductBuffer(config)
        m.submodules.quantizer = quantizer = Quantizer(config)
        m.submodules.activation_buffer = activation_buffer = ActivationBuffer(config)
        m.submodules.sequencer = sequencer = Sequencer(config)
        m.submodules.array = array = Array(config, row=self._row)
        m.submodules.drain = drain = Drain(config)

        # ---- register slices on the input ports -----------------------------------------
        for port, sink in (
            ("cmd", front_end.command),
            ("act", front_end.act),
            ("coef", front_end.coef),
            ("weight", sequencer.weight),
        ):
            source = getattr(self, port)
            width = len(Value.cast(source.payload))
            queue = fifo.SyncFIFO(width=width, depth=INPUT_QUEUE_DEPTH)
            m.submodules[f"{port}_queue"] = queue
            m.d.comb += [
                queue.w_data.eq(source.payload),
                queue.w_en.eq(source.valid),
                source.ready.eq(queue.w_rdy),
                sink.payload.eq(queue.r_data),
                sink.valid.eq(queue.r_rdy),
                queue.r_en.eq(sink.ready),
            ]

        # ---- front end to quantizer ----------------------------------------------------
        shapes = fifo.SyncFIFO(width=layouts.command(config).size, depth=VECTORS_AHEAD)
        summaries = fifo.SyncFIFO(width=layouts.summary(config).size, depth=VECTORS_AHEAD)
        m.submodules.shapes, m.submodules.summaries = shapes, summaries
        m.d.comb += [
            product_buffer.write_data.eq(front_end.product),
            product_buffer.write_valid.eq(front_end.product_valid),
            product_buffer.read_next.eq(quantizer.chunk_freed),
            quantizer.product.eq(product_buffer.read_data),
            front_end.chunk_freed.eq(quantizer.chunk_freed),
            shapes.w_data.eq(front_end.layer),
            shapes.w_en.eq(front_end.layer_valid),
            shapes.r_en.eq(quantizer.source_taken),
            summaries.w_data.eq(front_end.summary),
            summaries.w_en.eq(front_end.summary_valid),
            summaries.r_en.eq(quantizer.source_taken),
            quantizer.source.layer.eq(shapes.r_data),
            quantizer.source.summary.eq(summaries.r_data),
            quantizer.source_valid.eq(summaries.r_rdy),  # its shape came long before
            front_end.vector_taken.eq(quantizer.source_taken),
        ]

        # ---- quantizer to sequencer ----------------------------------------------------
        vectors = fifo.SyncFIFO(width=layouts.vector(config).size, depth=BANKS)
        m.submodules.vectors = vectors
        m.d.comb += [
            activation_buffer.write_addr.eq(quantizer.write_addr),
            activation_buffer.write_slot.eq(quantizer.write_slot),
            activation_buffer.write_data.eq(quantizer.write_data),
            activation_buffer.write_valid.eq(quantizer.write_valid),
            vectors.w_data.eq(quantizer.vector),
            vectors.w_en.eq(quantizer.vector_valid),
            sequencer.vector.payload.eq(vectors.r_data),
            sequencer.vector.valid.eq(vectors.r_rdy),
            vectors.r_en.eq(sequencer.vector.ready),
            quantizer.bank_freed.eq(sequencer.bank_freed),
        ]

        # ---- sequencer to array: the buffer takes one cycle, so do the weights and tags -----
        weights = Signal(config.weight_beat_bits, reset_less=True)
        issue, first, last = Signal(), Signal(), Signal()
        m.d.sync += [
            weights.eq(sequencer.weight.payload),
            issue.eq(sequencer.issue),
            first.eq(sequencer.first),
            last.eq(sequencer.last),
        ]
        m.d.comb += [
            activation_buffer.read_addr.eq(sequencer.read_addr),
            array.word.eq(activation_buffer.read_data),
            array.weights.eq(weights),
            array.valid.eq(issue),
            array.first.eq(first),
            array.last.eq(last),
        ]

        # ---- array to drain ------------------------------------------------------------
        m.d.comb += [
            drain.sums.eq(array.sums),
            drain.load.eq(array.load),
            drain.tile.eq(sequencer.tile),
            sequencer.hold_freed.eq(drain.hold_freed),
        ]
        wiring.connect(m, drain.result, wiring.flipped(self.result))

        # ---- status --------------------------------------------------------------------
        # At most: ahead of the quantizer, in the banks, in the hold register, and one for every
        # chunk on its way through the result queue.
        most = VECTORS_AHEAD + BANKS + 1 + RESULT_QUEUE_DEPTH
        inside = Signal(range(most + 1))
        entered = front_end.layer_valid
        left = self.result.valid & self.result.ready & self.result.payload.last
        m.d.sync += inside.eq(inside + entered - left)
        m.d.comb += [self.busy.eq(inside != 0), self.error.eq(front_end.error)]
        return m
