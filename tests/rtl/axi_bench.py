"""cocotb tests of the engine behind AXI4-Stream and AXI4-Lite, weights by stream.

Not named test_*: pytest must not collect it; test_axi.py runs it on several engines.
"""

from __future__ import annotations

from itertools import pairwise

import cocotb
from axi_tools import (
    AXI,
    CONFIG,
    FRAMES,
    LIMIT,
    OFFSET,
    WIDTHS,
    Core,
    bit,
    check_power_up,
    group_words,
    start,
    wrong_lengths,
)
from cocotbext.axi import AxiResp

from hw.axi.registers import describe
from signacc.cosim.job import LayerJob


async def shape(core: Core, **numbers: int) -> None:
    """Write the registers of a layer, by name."""
    for name, value in numbers.items():
        await core.write(name.upper(), value)


def numbers(layer: LayerJob) -> dict[str, int]:
    """What describes a layer, but for its place."""
    groups = {"s": group_words(layer)} if CONFIG.scale_out == "groups" else {}
    return {"k": layer.k, "n": layer.n, "m": layer.m} | groups


async def load(core: Core, layer: LayerJob, place: int) -> None:
    """Write a layer's weights into the core, by a load of its own."""
    await shape(core, k=layer.k, n=layer.n, w=place)
    core.send("weight", FRAMES["weight"](layer))
    await core.command("load")
    await core.wait_idle()
    assert await core.read("ERROR") == 0
    assert await core.read("WEIGHT_FRAMES") == 1
    assert await core.read("LAYERS_STARTED") == 1
    assert await core.read_wide("WEIGHT_BEATS") == CONFIG.beats(layer.k, layer.n)
    await core.write("IRQ_STATUS", bit("IRQ_STATUS", "done"))
    await core.check_nothing_left()


async def describe_layer(core: Core, layer: LayerJob) -> None:
    """Write the registers of a layer; weights that stay in the core are loaded before."""
    if CONFIG.resident:
        await load(core, layer, core.random_place(layer))
    await shape(core, **numbers(layer))


async def run(core: Core, layer: LayerJob, *, send: bool = True) -> None:
    """Run one layer and check its results."""
    await describe_layer(core, layer)
    await run_described(core, layer, send=send)


async def run_described(core: Core, layer: LayerJob, *, send: bool = True) -> None:
    """Run the layer of the registers and check its results."""
    if send:
        core.send_layer(layer)
    await core.command("start")
    await core.check_results(layer)
    await core.wait_idle()
    await core.check_nothing_left()


def result_beats(layer: LayerJob) -> int:
    """Beats of m_axis_result of a layer: a tile of outputs begins a new one."""
    tiles = [min(CONFIG.n_par, layer.n - at) for at in range(0, layer.n, CONFIG.n_par)]
    return layer.m * sum(-(-outputs // CONFIG.out_par) for outputs in tiles)


def counts(core: Core) -> dict[str, int]:
    """What the bench saw so far, by the name of the counter that should say the same."""
    return {
        **{f"STALL_{name.upper()}": core.streams[name].starved for name in core.inputs},
        "STALL_OUT": core.result.stalls,
        "WEIGHT_BEATS": core.streams["weight"].transfers,
    }


@cocotb.test()
async def power_up(dut) -> None:
    await check_power_up(Core(dut, 118))


@cocotb.test()
async def random_layers_with_pauses(dut) -> None:
    """Values equal golden's and counters the bench's own counts, whatever pauses."""
    core = await start(dut, 101)
    for i in range(14):
        core.pause([0.0, 0.3, 0.8][i % 3])
        layer = core.random_layer()
        await describe_layer(core, layer)
        before = counts(core)
        await run_described(core, layer)
        seen = {name: value - before[name] for name, value in counts(core).items()}
        for name, value in seen.items():
            assert await core.read_wide(name) == value, name
        beats = 0 if CONFIG.resident else CONFIG.beats(layer.k, layer.n)
        assert seen["WEIGHT_BEATS"] == beats
        assert await core.read("LAYERS_STARTED") == 1
        assert await core.read("VECTORS_DONE") == layer.m
        for name in core.inputs:
            assert await core.read(f"{name.upper()}_FRAMES") == (name in core.of_layer)
        assert await core.read("ERROR") == 0
        assert await core.read("IRQ_STATUS") == bit("IRQ_STATUS", "done")
        await core.write("IRQ_STATUS", bit("IRQ_STATUS", "done"))
        assert await core.read("IRQ_STATUS") == 0


@cocotb.test()
async def busy_cycles_and_interrupt(dut) -> None:
    """irq rises in the cycle after the last result; BUSY_CYCLES counts from start to there."""
    core = await start(dut, 102)
    await core.write("IRQ_ENABLE", bit("IRQ_ENABLE", "done"))
    for i in range(4):
        core.pause(0.3 if i else 0.0)
        layer = core.random_layer()
        await describe_layer(core, layer)
        core.send_layer(layer)
        assert dut.irq.value == 0
        await core.until(lambda: dut.s_axi_bvalid.value == 0, "the last answer to go")
        started = cocotb.start_soon(core.command("start"))
        # The write takes place in the cycle before its answer is first offered.
        await core.until(lambda: dut.s_axi_bvalid.value == 1, "the answer to start")
        begin = core.cycle
        await core.until(lambda: dut.irq.value == 1, "irq")
        end = core.cycle
        await started
        assert await core.read_wide("BUSY_CYCLES") == end - begin
        await core.check_results(layer)
        assert await core.read("STATUS") == 0
        await core.write("IRQ_STATUS", bit("IRQ_STATUS", "done"))
        assert dut.irq.value == 0


@cocotb.test()
async def registers(dut) -> None:
    """Every word of the map does what its description says; every other one is refused."""
    core = await start(dut, 103)
    host = core.host
    known = {}
    for word in describe(CONFIG, AXI):
        known.setdefault(word["offset"], (word["name"], word["fields"]))
    for pause in (0.0, 0.6):
        core.pause(pause)
        for offset in range(0, 256, 4):
            if offset not in known:
                assert (await host.read(offset, 4)).resp == AxiResp.SLVERR, hex(offset)
                assert (await host.write(offset, b"\xff" * 4)).resp == AxiResp.SLVERR, hex(offset)
                continue
            name, fields = known[offset]
            access = {field["access"] for field in fields}
            answer = await host.read(offset, 4)
            assert answer.resp == AxiResp.OKAY, name
            if access <= {"RO", "RW"}:
                value = sum(field["reset"] << field["low"] for field in fields)
                assert int.from_bytes(answer.data, "little") == value, name
            if access == {"RO"}:
                assert (await host.write(offset, b"\xff" * 4)).resp == AxiResp.SLVERR, name
            if access != {"RW"}:
                continue
            mask = sum(((1 << field["width"]) - 1) << field["low"] for field in fields)
            reset = answer.data
            model = int.from_bytes(reset, "little")
            for _ in range(6):  # byte strobes: any run of bytes of the word
                first = int(core.random.integers(0, 4))
                size = int(core.random.integers(1, 5 - first))
                data = core.random.bytes(size)
                assert (await host.write(offset + first, data)).resp == AxiResp.OKAY
                keep = ~(((1 << 8 * size) - 1) << 8 * first)
                model = (model & keep | int.from_bytes(data, "little") << 8 * first) & mask
                assert await host.read_dword(offset) == model, name
            await host.write(offset, reset)
    # A command whose byte is not strobed does nothing.
    await host.write(OFFSET["CTRL"] + 1, b"\xff\xff\xff")
    assert await core.read("STATUS") == 0
    assert await core.read("CTRL") == 0


@cocotb.test()
async def reads_and_writes_at_once(dut) -> None:
    """Address before data, data before address, both, and reads in between."""
    core = await start(dut, 104)
    write, read = core.host.write_if, core.host.read_if
    for late in (write.aw_channel, write.w_channel, write.b_channel, read.r_channel, None):
        if late is not None:
            late.pause = True
        value = int(core.random.integers(0, 2**32))
        other = int(core.random.integers(0, 2**32))
        writes = [
            cocotb.start_soon(core.write("K", value)), cocotb.start_soon(core.write("N", other))
        ]
        reads = [cocotb.start_soon(core.read("ID")), cocotb.start_soon(core.read("VERSION"))]
        for _ in range(20):
            await core.edge
        if late is read.r_channel:
            assert all(task.done() for task in writes)
            assert not any(task.done() for task in reads)
        elif late is not None:
            assert not any(task.done() for task in writes)
            assert all(task.done() for task in reads)
        if late is not None:
            late.pause = False
        for task in writes:
            await task
        words = {word["name"]: word for word in describe(CONFIG, AXI)}
        for task, name in zip(reads, ("ID", "VERSION"), strict=True):
            assert await task == words[name]["fields"][0]["reset"]
        assert await core.read("K") == value
        assert await core.read("N") == other


@cocotb.test()
async def shapes_that_the_engine_cannot_hold(dut) -> None:
    """K, N, M of zero and beyond the maximum: each its own bit; nothing is taken, nothing hangs."""
    core = await start(dut, 105)
    waiting = core.random_layer(5, 3)
    good = {"k": min(3, waiting.k), "n": min(2, waiting.n), "m": 1}
    bad = {
        "k": (0, CONFIG.k_max + 1, 1 << 16, 1 << 31),
        "n": (0, CONFIG.n_max + 1, 1 << 24, 2**32 - 1),
        "m": (0, CONFIG.m_par + 1, 256, 1 << 31),
    }
    if CONFIG.scale_out == "groups":
        good["s"] = 1
        bad["s"] = (0, CONFIG.words_max + 1, 1 << 20, 1 << 31)
    if CONFIG.resident:
        good["w"] = 0
        words = CONFIG.weight_words
        bad["w"] = (words - CONFIG.beats(good["k"], good["n"]) + 1, words, 1 << 20, 1 << 31)
        await load(core, waiting, 0)
    taken = {name: stream.transfers for name, stream in core.streams.items()}
    core.send_layer(waiting)  # stays in front of the core until a run wants it
    commands = [("start", bad)]
    if CONFIG.resident:
        core.send("weight", FRAMES["weight"](waiting))
        commands.append(("load", {name: bad[name] for name in ("k", "n", "w")}))
    for command, wrong in commands:
        for name, values in wrong.items():
            for value in values:
                await shape(core, **{**good, name: value})
                await core.command(command)
                await core.wait_idle(400)
                await core.take_error(f"bad_{name}")
                assert await core.read("LAYERS_STARTED") == 0
                assert await core.read("IRQ_STATUS") == 0
    zeros = [name for name in bad if name != "w"]
    await shape(core, **dict.fromkeys(zeros, 0))
    await core.command("start")
    await core.wait_idle(200)
    await core.take_error(*(f"bad_{name}" for name in zeros))
    assert taken == {name: stream.transfers for name, stream in core.streams.items()}
    if CONFIG.resident:  # M and S say nothing of a load
        await shape(core, k=waiting.k, n=waiting.n, w=1)
        await core.command("load")
        await core.wait_idle()
        assert await core.read("ERROR") == 0
    await shape(core, **numbers(waiting))
    await run_described(core, waiting, send=False)


@cocotb.test()
async def start_while_busy(dut) -> None:
    """The second start is refused, the first run goes on, with its own shape."""
    core = await start(dut, 106)
    await core.write("IRQ_ENABLE", bit("IRQ_ENABLE", "error"))
    for again in ("start", "flush_act", *(["load"] if CONFIG.resident else [])):
        layer = core.random_layer(CONFIG.k_max, CONFIG.n_max)
        await describe_layer(core, layer)
        core.send_layer(layer)
        core.sink.pause = True  # with results to give away the core is busy, however small
        await core.command("start")
        await shape(core, k=1, n=1)
        await core.command(again)
        assert dut.irq.value == 1
        assert await core.read("STATUS") == bit("STATUS", "busy")
        await core.take_error("start_busy")
        assert dut.irq.value == 0
        core.sink.pause = False
        await core.check_results(layer)
        await core.wait_idle()
        await core.check_nothing_left()
        assert await core.read("ERROR") == 0
    layer = core.random_layer()
    await run(core, layer)
    # Beside a reset a start is refused as well; counts stay until one is not.
    await core.command("start", "reset")
    await core.wait_idle()
    await core.take_error("start_busy")
    if not CONFIG.resident:
        await core.command("load")
        assert await core.read("STATUS") == await core.read("ERROR") == 0
    beats = 0 if CONFIG.resident else CONFIG.beats(layer.k, layer.n)
    assert await core.read_wide("WEIGHT_BEATS") == beats
    assert await core.read("ACT_FRAMES") == await core.read("LAYERS_STARTED") == 1
    await core.write("IRQ_STATUS", bit("IRQ_STATUS", "done"))
    await shape(core, k=0)
    await core.command("start")
    await core.wait_idle()
    await core.take_error("bad_k")
    assert await core.read_wide("WEIGHT_BEATS") == 0
    assert await core.read("ACT_FRAMES") == await core.read("LAYERS_STARTED") == 0
    assert await core.read("IRQ_STATUS") == 0  # not done
    await run(core, core.random_layer())


async def broken_frame(core: Core, name: str, data: bytes, layer: LayerJob) -> None:
    """Run `layer` with `data` instead of its own frame on the stream `name`."""
    await describe_layer(core, layer)
    for other in core.of_layer:
        if other != name:
            core.send(other, FRAMES[other](layer))
    core.send(name, data)
    await core.command("start")
    await core.until(lambda: core.dut.irq.value == 1, "irq")
    await core.wait_idle()


async def recover(core: Core, layer: LayerJob) -> int:
    """Discard the frames of the failed run that it left; return how many results had come out.

    These must be right, and their frame must have been ended.
    """
    await core.check_whole_frames()
    for name in core.of_layer:
        if await core.read(f"{name.upper()}_FRAMES") == 0:
            await core.command(f"flush_{name}")
            await core.wait_idle()
    for name in core.of_layer:
        assert await core.read(f"{name.upper()}_FRAMES") == 1, name
    count = await core.check_what_came([layer])
    await core.check_nothing_left()
    return count


async def frames_of_wrong_length(dut, name: str, seed: int) -> None:
    """Too short by one beat, to one beat; too long by one beat, by a whole frame."""
    core = await start(dut, seed)
    await core.write("IRQ_ENABLE", bit("IRQ_ENABLE", "error"))
    for i in range(8):
        core.pause(0.5 * (i % 2))
        k = 2 * CONFIG.k_par + int(core.random.integers(1, CONFIG.k_par + 1))
        layer = core.random_layer(k, 2 * CONFIG.n_par + 1)
        wrong = wrong_lengths(FRAMES[name](layer), WIDTHS[name] // 8)
        data, field = wrong[i // 2 % len(wrong)]
        await broken_frame(core, name, data, layer)
        await core.take_error(f"{name}_{field}")
        assert await recover(core, layer) < layer.n * layer.m
        await run(core, core.random_layer())


@cocotb.test()
async def act_frames_of_wrong_length(dut) -> None:
    await frames_of_wrong_length(dut, "act", 107)


@cocotb.test()
async def coef_frames_of_wrong_length(dut) -> None:
    await frames_of_wrong_length(dut, "coef", 108)


@cocotb.test()
async def weight_frames_of_wrong_length(dut) -> None:
    await frames_of_wrong_length(dut, "weight", 109)


@cocotb.test()
async def scale_frames_of_wrong_length(dut) -> None:
    await frames_of_wrong_length(dut, "scale", 114)


@cocotb.test()
async def loads_of_wrong_length(dut) -> None:
    """As frames_of_wrong_length; the weights of other layers stay as they are."""
    core = await start(dut, 115)
    await core.write("IRQ_ENABLE", bit("IRQ_ENABLE", "error"))
    kept = core.random_layer(CONFIG.k_par + 1, CONFIG.n_par + 1)
    words = CONFIG.beats(kept.k, kept.n)
    await load(core, kept, 0)
    for i in range(8):
        core.pause(0.5 * (i % 2))
        layer = core.random_layer(2 * CONFIG.k_par, 2 * CONFIG.n_par + 1)
        wrong = wrong_lengths(FRAMES["weight"](layer), WIDTHS["weight"] // 8)
        data, field = wrong[i // 2 % len(wrong)]
        await shape(core, k=layer.k, n=layer.n, w=words)
        core.send("weight", data)
        await core.command("load")
        await core.until(lambda: dut.irq.value == 1, "irq")
        await core.wait_idle()
        await core.take_error(f"weight_{field}")
        await core.check_whole_frames()
        await core.check_nothing_left()
        await shape(core, **numbers(kept), w=0)
        await run_described(core, kept)
        await run_loaded(core, layer, words)


async def run_loaded(core: Core, layer: LayerJob, place: int) -> None:
    """Load a layer to a place, then run it from there, twice."""
    await load(core, layer, place)
    await shape(core, **numbers(layer))
    for _ in range(2):
        await run_described(core, layer)


@cocotb.test()
async def loads_stopped_at_many_moments(dut) -> None:
    """A stopped load is flushed to its end; the next load and run are right."""
    core = await start(dut, 116)
    for i in range(12):
        core.pause(0.4 * (i % 2))
        layer = core.random_layer(2 * CONFIG.k_par, 3 * CONFIG.n_par)
        await shape(core, k=layer.k, n=layer.n, w=0)
        core.send("weight", FRAMES["weight"](layer))
        await core.command("load")
        for _ in range(3 * i):
            await core.edge
        await core.command("reset")
        await core.wait_idle()
        assert await core.read("ERROR") == 0
        if await core.read("WEIGHT_FRAMES") == 0:
            await core.command("flush_weight")
            await core.wait_idle()
        await core.check_nothing_left()
        await core.write("IRQ_STATUS", bit("IRQ_STATUS", "done"))
        await run_loaded(core, layer, core.random_place(layer))
        await core.write("IRQ_STATUS", bit("IRQ_STATUS", "done"))


@cocotb.test()
async def many_layers_in_the_core(dut) -> None:
    """Layers that lie side by side are run in any order, without another load."""
    core = await start(dut, 117)
    core.pause(0.3)
    layers, place = [], 0
    while len(layers) < 4:
        layer = core.random_layer(2 * CONFIG.k_par - 1, 2 * CONFIG.n_par)
        words = CONFIG.beats(layer.k, layer.n)
        if place + words > CONFIG.weight_words:
            break
        await load(core, layer, place)
        layers.append((layer, place))
        place += words
    assert len(layers) > 1
    for i in core.random.permutation(2 * len(layers)):
        layer, place = layers[i % len(layers)]
        await shape(core, **numbers(layer), w=place)
        await run_described(core, layer)


@cocotb.test()
async def soft_reset_at_many_moments(dut) -> None:
    """A stopped run leaves no trace in the next one; frames in flight are flushed to their end."""
    core = await start(dut, 110)
    for i in range(24):
        core.pause(0.4 * (i % 2))
        layer = core.random_layer(3 * CONFIG.k_par - 1, 3 * CONFIG.n_par - 1)
        await describe_layer(core, layer)
        core.send_layer(layer)
        await core.command("start")
        for _ in range(5 * i):
            await core.edge
        done_before = await core.read("IRQ_STATUS")
        await core.command("reset")
        await core.wait_idle()
        assert await core.read("ERROR") == 0
        if done_before or await core.read("IRQ_STATUS"):  # the run was over before the reset
            await core.check_results(layer)
        else:
            await recover(core, layer)
        await core.write("IRQ_STATUS", bit("IRQ_STATUS", "done"))
        await run(core, core.random_layer(2 * CONFIG.k_par, CONFIG.n_par + 1))
        await core.write("IRQ_STATUS", bit("IRQ_STATUS", "done"))


@cocotb.test()
async def soft_reset_between_results(dut) -> None:
    """A frame of results that is cut short is ended; its vector does not count as done."""
    core = await start(dut, 119)
    cut = 0
    for i in range(1, 13):
        core.pause(0.4 * (i % 2))
        layer = core.random_layer(CONFIG.k_par, CONFIG.n_max)
        whole = result_beats(layer)
        beats = 1 + (i - 1) % whole
        # Few results would all have left before the reset: they wait for it, but for up to two
        # that are taken before the pause is seen.
        hold = beats + 2 < whole <= 12
        await describe_layer(core, layer)
        core.send_layer(layer)
        await core.command("start")
        end = core.cycle + LIMIT
        while beats:
            beats -= dut.m_axis_result_tvalid.value == 1 and dut.m_axis_result_tready.value == 1
            if hold and not beats:
                core.sink.set_pause_generator(None)
                core.sink.pause = True
            await core.edge
            assert core.cycle < end, "no results: hang"
        await core.command("reset")
        core.sink.pause = False
        await core.wait_idle()
        short = 0 < await recover(core, layer) < layer.n * layer.m
        assert short or not hold
        cut += short
        await core.write("IRQ_STATUS", bit("IRQ_STATUS", "done"))
    assert cut >= 4 or result_beats(layer) <= 12, "too few frames were cut short"


@cocotb.test()
async def second_reset_ends_flushing(dut) -> None:
    """A frame whose tlast never comes keeps the core busy, until software says otherwise."""
    core = await start(dut, 111)
    layer = core.random_layer(2 * CONFIG.k_par, CONFIG.n_par)
    await describe_layer(core, layer)
    for name in core.of_layer[1:]:
        core.send(name, FRAMES[name](layer))
    await core.command("start")
    dut.s_axis_act_tvalid.value = 1  # beats without end
    dut.s_axis_act_tlast.value = 0
    end = core.cycle + LIMIT
    while not await core.read("ERROR"):  # the layer's own beats are taken at the engine's pace
        assert core.cycle < end, "a frame without end is never found too long"
    for _ in range(20):  # what is too much is discarded, a beat a cycle
        await core.edge
        assert dut.s_axis_act_tready.value == 1
    dut.s_axis_act_tvalid.value = 0
    assert await core.read("ERROR") == bit("ERROR", "act_long")
    for _ in range(20):
        assert await core.read("STATUS") == bit("STATUS", "busy", "recovering")
    await core.command("reset")
    await core.wait_idle(100)
    await core.take_error("act_long")
    assert await core.read("ACT_FRAMES") == 0
    for name in core.of_layer[1:]:
        if await core.read(f"{name.upper()}_FRAMES") == 0:
            await core.command(f"flush_{name}")
            await core.wait_idle()
    await core.check_nothing_left()
    await run(core, core.random_layer())


@cocotb.test()
async def reset_before_a_frame_came(dut) -> None:
    """A frame of which nothing was taken is neither waited for nor, when it comes, discarded."""
    core = await start(dut, 118)
    for late in core.of_layer:
        layer = core.random_layer(2 * CONFIG.k_par, CONFIG.n_par)
        await describe_layer(core, layer)
        others = [name for name in core.of_layer if name != late]
        for name in others:
            core.send(name, FRAMES[name](layer))
        await core.command("start")
        for _ in range(60):
            await core.edge
        await core.command("reset")
        await core.wait_idle(200)
        assert await core.read("ERROR") == 0
        for name in others:
            if await core.read(f"{name.upper()}_FRAMES") == 0:
                await core.command(f"flush_{name}")
                await core.wait_idle()
        await core.check_nothing_left()
        await run(core, core.random_layer(2 * CONFIG.k_par, CONFIG.n_par + 1))
        await core.write("IRQ_STATUS", bit("IRQ_STATUS", "done"))


@cocotb.test()
async def hardware_reset_in_mid_run(dut) -> None:
    """aresetn, for one cycle or more, leaves no trace: registers, streams and engine begin anew."""
    core = await start(dut, 112)
    for i in range(40):
        layer = core.random_layer(3 * CONFIG.k_par - 1, 3 * CONFIG.n_par - 1)
        await describe_layer(core, layer)
        core.send_layer(layer)
        await core.command("start")
        for _ in range(3 * i):
            await core.edge
        await core.reset(cycles=1 + i % 2)
        for model in (*core.sources.values(), core.sink):
            model.clear()
        for _ in range(20):
            assert dut.m_axis_result_tvalid.value == 0
            assert not any(getattr(dut, f"s_axis_{name}_tready").value for name in core.inputs)
            await core.edge
        assert await core.read("STATUS") == 0
        assert await core.read("K") == 0
        assert await core.read_wide("BUSY_CYCLES") == 0
        if i % 8 == 0:
            await run(core, core.random_layer())


@cocotb.test()
async def counters_can_be_read_during_a_run(dut) -> None:
    """They go up between two reads, and the run that follows is right."""
    core = await start(dut, 113)
    layer = core.random_layer(CONFIG.k_max, CONFIG.n_max)
    await describe_layer(core, layer)
    await core.command("start")
    await core.until(lambda: dut.s_axis_act_tready.value == 1, "the core to want activations")
    seen = [await core.read_wide("STALL_ACT") for _ in range(20)]
    assert all(a < b < a + LIMIT for a, b in pairwise(seen))
    core.send_layer(layer)
    await core.check_results(layer)
    await core.wait_idle()
