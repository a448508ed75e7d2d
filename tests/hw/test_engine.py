# amaranth: UnusedElaboratable=no
"""The whole engine in Amaranth's simulator against golden, with stalls on every port.

The Verilog of larger engines is compared in tests/rtl; here are the small corners of the
configuration space, which need no build.
"""

import random
from dataclasses import replace

import numpy as np
import pytest

from golden.linear import fbi_linear
from hw.config import ConfigError, EngineConfig
from hw.drain import Windows
from hw.engine import Engine
from hw.queues import KeptQueue, ShiftQueue
from hw.rounding import ENDS_DELAY
from hw.streams import activation_chunks, coefficient_chunks, payload_integers, weight_beats

from ..simulation import Clock, Source, run

BASE = EngineConfig(
    name="test", k_par=4, n_par=2, act_bits=8, k_max=20, n_max=7, act_par=2, out_par=1
)
CONFIGS = [
    BASE,
    replace(BASE, k_par=1, n_par=1, act_par=1, act_bits=4, k_max=1, n_max=1),
    replace(BASE, k_par=3, n_par=3, act_par=3, out_par=3, act_bits=16, levels_per_stage=1),
    replace(BASE, k_par=4, n_par=1, act_par=4, act_bits=24, k_max=9),
    replace(BASE, m_par=2, ternary=True),
    replace(BASE, k_par=12, structure="triple", m_par=2, levels_per_stage=1),
    replace(BASE, structure="shared", group=2, m_par=3, out_par=2),
    replace(BASE, k_par=3, act_par=1, structure="shared", group=3, ternary=True),
    replace(BASE, structure="tables", group=2, m_par=2, levels_per_stage=1),
    replace(BASE, k_par=2, act_par=1, n_par=7, n_max=7, structure="tables", group=2, ternary=True),
    replace(BASE, act_format="bf16"),
    replace(BASE, act_bits=24, structure="tables", group=2, act_format="bf16"),
    replace(BASE, around="blocks"),
    replace(BASE, k_par=12, act_par=1, structure="tables", group=4, around="blocks"),
]


def label(c) -> str:
    kind = f"{c.structure} {c.group}{' ternary' * c.ternary} {c.around}"
    return f"{kind} {c.k_par}x{c.n_par}x{c.m_par} A{c.act_bits} {c.act_format}"


def problem(config, random_state):
    """Return (x [m, k], signs, scale, shift, mask or None)."""
    k = int(random_state.integers(1, config.k_max + 1))
    n = int(random_state.integers(1, config.n_max + 1))
    m = int(random_state.integers(1, config.m_par + 1))
    kind = int(random_state.integers(4))

    def patterns(ranges, *shape):
        low, high = ranges[kind]
        sign = random_state.integers(0, 2, shape) << 15
        return (random_state.integers(low, high, shape) | sign).astype(np.uint16)

    def halves(*shape):
        ranges = (0, 0x7C00), (0x3000, 0x4400), (0, 0x0400), (0x3C00, 0x7C01)
        return patterns(ranges, *shape).view(np.float16)

    def activations(*shape):
        if config.act_format == "fp16":
            return halves(*shape)
        # All finite; around 1; subnormals; up to infinity.
        return patterns(((0, 0x7F80), (0x3E00, 0x4100), (0, 0x0080), (0x7000, 0x7F81)), *shape)

    def bits():
        rows = random_state.integers(0, 2, (n, k), dtype=np.uint8)
        return np.packbits(rows, axis=1, bitorder="little")

    mask = bits() if config.ternary else None
    return activations(m, k), bits(), halves(k), halves(k), mask


def chunks_of(config, m, n):
    """Yield (vector, first output, outputs, last) of every result chunk: tiles outside."""
    for start in range(0, n, config.n_par):
        end = min(start + config.n_par, n)
        for vector in range(m):
            for first in range(start, end, config.out_par):
                count = min(config.out_par, end - first)
                yield vector, first, count, first + count == n


@pytest.mark.parametrize("chance", [1.0, 0.5])
@pytest.mark.parametrize("config", CONFIGS, ids=label)
def test_equal_to_golden(config, chance):
    seed = config.act_bits
    random_state, source = np.random.default_rng(seed), random.Random(seed)
    problems = [problem(config, random_state) for _ in range(18)]
    want, commands, acts, coefs, weights = [], [], [], [], []
    for x, signs, scale, shift, mask in problems:
        y = fbi_linear(
            x, signs, scale, shift, act_bits=config.act_bits, mask=mask,
            act_format=config.act_format,
        )  # fmt: skip
        y = y.view(np.uint16).tolist()
        (m, k), n = x.shape, len(signs)
        for vector, first, count, last in chunks_of(config, m, n):
            want.append((vector, y[vector][first : first + count], int(last)))
        m_at = config.k_max.bit_length() + config.n_max.bit_length()
        command = k | n << config.k_max.bit_length()
        commands.append(command | (m << m_at if config.m_par > 1 else 0))
        acts += [chunk for row in x for chunk in activation_chunks(config, row)]
        coefs += coefficient_chunks(config, scale, shift) * m
        weights += payload_integers(weight_beats(config, signs, k, mask=mask))
    dut = Engine(config)
    results = []

    async def bench(ctx):
        clock = Clock(ctx)
        ports = ((dut.cmd, commands), (dut.act, acts), (dut.coef, coefs), (dut.weight, weights))
        sources = [
            Source(ctx, port, values, chance=chance, seed=i)
            for i, (port, values) in enumerate(ports)
        ]
        assert not ctx.get(dut.busy)
        while len(results) < len(want):
            for stream in sources:
                stream.offer()
            ready = source.random() < chance
            ctx.set(dut.result.ready, ready)
            for stream in sources:
                stream.settle()
            if ready and ctx.get(dut.result.valid):
                assert ctx.get(dut.busy)
                payload = ctx.get(dut.result.payload)
                vector = payload.vector if config.m_par > 1 else 0
                keep = [i for i in range(config.out_par) if payload.keep >> i & 1]
                results.append((vector, [payload.data[i] for i in keep], payload.last))
            assert not ctx.get(dut.error)
            await clock.tick()
        assert all(stream.done for stream in sources)
        for _ in range(5):
            await clock.tick()
        assert not ctx.get(dut.busy)

    run(dut, bench)
    assert results == want, seed


def test_no_window_is_written_while_it_is_read(monkeypatch):
    """The last chunk of a vector reads its window some cycles after it gave the slot back.

    Results are held back until their queue is full and all slots are taken: the next vector waits.
    """
    config = replace(BASE, structure="tables", group=2, n_max=40)  # tiles enough to take all slots
    made = []

    class Watched(Windows):
        def __init__(self, config, delays):
            made.append((self, delays))
            super().__init__(config, delays)

    monkeypatch.setattr("hw.drain.Windows", Watched)
    dut = Engine(config)
    slots = config.vector_slots
    most = slots + config.result_queue_depth  # one result each
    written, freed = [], []
    before = 0  # windows written before results were taken

    async def bench(ctx):
        nonlocal before
        clock = Clock(ctx)
        for port in (dut.cmd, dut.act, dut.coef, dut.weight):
            ctx.set(port.valid, 1)
        ctx.set(dut.cmd.payload, {"k": 1, "n": 1})
        (windows, _), = made
        while len(written) < most + 3:
            if written and not before and clock.cycle > written[-1] + 3 * config.reduce_cycles:
                before = len(written)
                ctx.set(dut.result.ready, 1)
            if ctx.get(windows.window_valid):
                written.append(clock.cycle)
            if ctx.get(windows.freed):
                freed.append(clock.cycle)
            await clock.tick()

    run(dut, bench)
    assert before == most  # all slots were taken
    (_, delays), = made
    assert max(delays) == delays[2] >= ENDS_DELAY
    for left, after in zip(freed, written[slots:], strict=False):
        assert after > left + max(delays)  # the cycle in which its last part is read


class QueueRule:
    """Holds one ShiftQueue's user to what the queue asks of it."""

    def __init__(self, queue):
        self.queue = queue
        self.read, self.written = [], []  # cycles
        self.most = 0  # entries inside at once

    def check(self, ctx, cycle):
        """Call in every cycle, when all inputs stand."""
        queue, depth = self.queue, self.queue.depth
        if ctx.get(queue.r_en):
            assert ctx.get(queue.r_valid)
            assert not self.read or cycle >= self.read[-1] + 2
        if ctx.get(queue.w_en):
            assert not self.written or cycle >= self.written[-1] + 2
            # An entry that left less than depth - 1 cycles ago has not made room yet.
            left = sum(read + depth - 1 <= cycle for read in self.read)
            assert len(self.written) - left < depth
            self.written.append(cycle)
        if ctx.get(queue.r_en):
            self.read.append(cycle)
        self.most = max(self.most, len(self.written) - len(self.read))


class KeptRule:
    """Holds a KeptQueue's writer to what the queue asks of it."""

    def __init__(self, queue):
        self.queue = queue
        self.inside = self.most = self.taken = 0
        self.kept = None  # the entry that stands at its writer

    def check(self, ctx, cycle):
        """Call in every cycle, when all inputs stand."""
        queue = self.queue
        if self.kept is not None:
            assert ctx.get(queue.w_data) == self.kept
        if ctx.get(queue.w_en):
            assert self.inside < 2
            self.inside += 1
        self.most = max(self.most, self.inside)
        takes = ctx.get(queue.r_en)
        self.kept = ctx.get(queue.w_data) if self.inside == 2 and not takes else None
        self.inside -= takes
        self.taken += takes


@pytest.mark.parametrize("scarce", ["weight", "result", "act"])
@pytest.mark.parametrize("structure", ["direct", "tables"])
def test_queues_of_registers_are_used_as_they_ask(structure, scarce, monkeypatch):
    """The smallest vectors come as fast as they can while one port pauses, for long and short."""
    config = replace(BASE, structure=structure, group=2 if structure == "tables" else 1)
    source = random.Random(f"{structure} {scarce}")
    rules = []

    class Watched(ShiftQueue):
        def __init__(self, width, depth):
            super().__init__(width, depth)
            rules.append(QueueRule(self))

    summaries = []

    class WatchedSummaries(KeptQueue):
        def __init__(self, width):
            super().__init__(width)
            summaries.append(KeptRule(self))

    monkeypatch.setattr("hw.engine.ShiftQueue", Watched)
    monkeypatch.setattr("hw.engine.KeptQueue", WatchedSummaries)
    dut = Engine(config)

    async def bench(ctx):
        clock = Clock(ctx)
        commands = [source.choice([1, 2, 5]) | source.randint(1, 3) << 5 for _ in range(200)]
        command = Source(ctx, dut.cmd, commands, chance=1.0, seed=0)
        change = 0
        for name in ("act", "coef", "weight"):
            ctx.set(getattr(dut, name).valid, 1)
        ctx.set(dut.result.ready, 1)
        while clock.cycle < 12 * config.reduce_cycles:
            if clock.cycle == change:
                port = getattr(dut, scarce)
                gate = port.ready if scarce == "result" else port.valid
                ctx.set(gate, not ctx.get(gate))
                change += source.choice([1, 2, 3, 5, 40, 4 * config.reduce_cycles])
            command.offer()
            command.settle()
            for rule in (*rules, *summaries):
                rule.check(ctx, clock.cycle)
            await clock.tick()

    run(dut, bench)
    assert len(rules) == (3 if structure == "tables" else 2)
    for rule in rules:
        assert len(rule.read) > 5
    (summary,) = summaries
    assert summary.taken > 5
    assert summary.most == 2 or (structure, scarce) != ("tables", "weight")
    if scarce == "weight":  # the queues before and behind the quantizer filled up
        assert sum(rule.most == rule.queue.depth for rule in rules) >= 2


def test_a_configuration_is_asked_for():
    with pytest.raises(ConfigError, match=r"^config must be an EngineConfig, not dict$"):
        Engine({})
