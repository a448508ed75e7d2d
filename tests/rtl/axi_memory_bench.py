"""cocotb tests of the engine with the AXI4 read master: lists of layers from memory.

Not named test_*: pytest must not collect it; test_axi.py runs it on several engines and buses.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import cocotb
from axi_tools import (
    AXI,
    CONFIG,
    OFFSET,
    WIDTHS,
    Channel,
    Core,
    act_bytes,
    bit,
    check_power_up,
    group_words,
    scale_bytes,
    start,
    weight_bytes,
    wrong_lengths,
)
from cocotb.queue import Queue
from cocotbext.axi import AxiRamRead, AxiReadBus, AxiResp

from hw.axi.descriptors import (
    DESCRIPTOR_BYTES,
    FLAG_LOAD,
    Descriptor,
    list_alignment,
    list_bytes,
)
from hw.axi.registers import REGISTERS
from signacc.cosim.job import LayerJob

BUS = AXI.data_bytes
FETCHED = ("coef", "weight", *(["scale"] if CONFIG.scales else []))
KIB4 = 4096


class Memory(AxiRamRead):
    """A RAM with a latency, that can answer some beats with an error."""

    def __init__(self, core: Core, dut):
        self._core = core
        self._arrived: Queue = Queue()
        self.latency = 0
        self.bad: dict[int, AxiResp] = {}
        self.misfit: tuple[int, int] | None = None  # a beat's address; how many beats more
        self._dropping = False
        super().__init__(
            AxiReadBus.from_prefix(dut, "m_axi"),
            dut.aclk,
            dut.aresetn,
            reset_active_level=False,
            size=2**62,
        )
        self.log.setLevel("WARNING")
        self.ar_channel.queue_occupancy_limit = 64
        self._receive = self.ar_channel.recv
        self.ar_channel.recv = self._delayed
        self._send = self.r_channel.send
        self.r_channel.send = self._answer
        self._response = AxiResp.OKAY
        cocotb.start_soon(self._arrive())

    def _handle_reset(self, state: bool) -> None:
        super()._handle_reset(state)
        while state and not self._arrived.empty():
            self._arrived.get_nowait()

    async def _arrive(self) -> None:
        while True:
            request = await self._receive()
            self._arrived.put_nowait((self._core.cycle, request))

    async def _delayed(self):
        cycle, request = await self._arrived.get()
        while self._core.cycle < cycle + self.latency:
            await self._core.edge
        return request

    async def _read(self, address: int, length: int) -> bytes:
        self._address = address
        self._response = self.bad.get(address, AxiResp.OKAY)
        return await super()._read(address, length)

    async def _answer(self, beat) -> None:
        beat.rresp = self._response
        whole = bool(beat.rlast)
        if self._dropping:  # the rest of a burst that ended early
            self._dropping = not whole
            return
        address, more = self.misfit or (None, 0)
        if whole and more > 0 and self._address == address:
            self.misfit = None
            beat.rlast = False
            for i in reversed(range(more)):
                await self._send(beat)
                beat = copy(beat)
                beat.rlast = i == 0
        elif more < 0 and self._address == address:
            self.misfit = None
            beat.rlast = self._dropping = True
        await self._send(beat)


class MemoryCore(Core):
    """The core, and a memory on its read master."""

    def __init__(self, dut, seed: int):
        super().__init__(dut, seed)
        self.memory = Memory(self, dut)
        self.requests = Channel(
            dut, "m_axi_ar", "m_axi_ar", ("addr", "len", "size", "burst", "id")
        )
        self.channels.append(self.requests)
        self.answers = Channel(dut, "m_axi_r", "m_axi_r", ("last",))
        self._cursor = int(self.random.integers(1, 2**49)) * KIB4
        self.regions: list[tuple[int, int]] = []

    def paused_models(self) -> list:
        return [*super().paused_models(), self.memory.ar_channel, self.memory.r_channel]

    def place(self, kind: str, data: bytes, alignment: int = BUS) -> int:
        """Write `data` somewhere, often across a multiple of 4096; return its address."""
        before = alignment * int(self.random.integers(0, 4)) * int(self.random.integers(0, 9))
        address = (self._cursor - before) // alignment * alignment
        self._cursor = (address + len(data)) // KIB4 * KIB4 + 3 * KIB4
        self.memory.write(address, data)
        self.regions.append((kind, address, address + -(-len(data) // BUS) * BUS))
        return address

    def place_list(self, descriptors: list[Descriptor]) -> int:
        """Write a list; return its address."""
        return self.place("list", list_bytes(descriptors), list_alignment(AXI))

    def describe(self, layer: LayerJob, place: int = 0) -> list[Descriptor]:
        """Place the data of a layer; coefficients without any padding.

        A layer whose weights stay in the core, from `place` on, has a load before it.
        """
        coefs = b"".join(
            scale.tobytes() + shift.tobytes()
            for scale, shift in zip(layer.scale_in, layer.shift_in, strict=True)
        )
        one = Descriptor(k=layer.k, n=layer.n, m=layer.m, coef_address=self.place("coef", coefs))
        if CONFIG.scales:
            scales = scale_bytes(layer)
            if CONFIG.scale_out == "row":  # those past N need not be there
                scales = scales[: 2 * layer.n]
            one = replace(
                one, scale_address=self.place("scale", scales), s=group_words(layer)
            )
        weights = self.place("weight", weight_bytes(layer))
        if not CONFIG.resident:
            return [replace(one, weight_address=weights)]
        load = Descriptor(
            k=layer.k, n=layer.n, m=0, flags=FLAG_LOAD, weight_address=weights, w=place
        )
        return [load, replace(one, w=place)]

    def describe_all(self, layers: list[LayerJob]) -> list[Descriptor]:
        """Place the data of several layers."""
        return [
            descriptor
            for layer in layers
            for descriptor in self.describe(
                layer, self.random_place(layer) if CONFIG.resident else 0
            )
        ]

    def layers(self, count: int, k: int | None = None, n: int | None = None) -> list[LayerJob]:
        """Random layers."""
        return [self.random_layer(k, n) for _ in range(count)]

    def regions_of(self, kind: str) -> list[tuple[int, int]]:
        """Beginning and end of what was placed of a kind."""
        return [(low, high) for name, low, high in self.regions if name == kind]

    async def point_at(self, address: int, count: int) -> None:
        """Write the registers of the list."""
        await self.write("LIST_LO", address & 0xFFFFFFFF)
        await self.write("LIST_HI", address >> 32)
        await self.write("LIST_COUNT", count)

    async def prepare(self, layers: list[LayerJob]) -> list[Descriptor]:
        """Place a list and queue its activations."""
        self.regions = []
        descriptors = self.describe_all(layers)
        await self.point_at(self.place_list(descriptors), len(descriptors))
        for layer in layers:
            self.send("act", act_bytes(layer))
        return descriptors

    async def run(self, layers: list[LayerJob]) -> None:
        """Run a list; results must be golden's, and reads exactly those that are needed."""
        beats = len(self.answers.transfers)
        bursts = len(self.requests.transfers)
        descriptors = await self.prepare(layers)
        await self.command("start")
        for layer in layers:
            await self.check_results(layer)
        await self.wait_idle()
        await self.check_nothing_left()
        once = sum(high - low for kind, low, high in self.regions if kind != "coef") // BUS
        need = once + sum(-(-4 * layer.k // BUS) * layer.m for layer in layers)
        assert len(self.answers.transfers) - beats == need
        self.check_requests(bursts)
        assert await self.read("ERROR") == 0
        assert await self.read("LAYERS_STARTED") == len(descriptors)
        assert await self.read("VECTORS_DONE") == sum(layer.m for layer in layers)
        assert await self.read("ACT_FRAMES") == len(layers)
        assert await self.read_wide("WEIGHT_BEATS") == sum(
            CONFIG.beats(layer.k, layer.n) for layer in layers
        )

    def check_requests(self, since: int) -> None:
        """Bursts are as AXI demands, and ask for nothing outside the regions of the list."""
        for address, length, size, burst, identity in self.requests.transfers[since:]:
            end = address + (length + 1) * BUS
            assert (size, burst, identity) == (BUS.bit_length() - 1, 1, 0)
            assert length < AXI.max_burst
            assert address % BUS == 0
            assert address // KIB4 == (end - 1) // KIB4, "a burst crosses 4096 bytes"
            assert any(low <= address and end <= high for _, low, high in self.regions)

    def on_their_way(self) -> int:
        """Beats that were asked for and have not come."""
        asked = sum(request[1] + 1 for request in self.requests.transfers)
        return asked - len(self.answers.transfers)

    async def recover(self, layers: list[LayerJob]) -> int:
        """Discard the frames that a stopped run left; return how many results had come out."""
        assert self.on_their_way() == 0
        await self.check_whole_frames()
        for _ in range(len(layers) - await self.read("ACT_FRAMES")):
            await self.command("flush_act")
            await self.wait_idle()
        assert await self.read("ACT_FRAMES") == len(layers)
        count = await self.check_what_came(layers)
        await self.check_nothing_left()
        return count


async def begin(dut, seed: int) -> MemoryCore:
    core = await start(dut, seed, MemoryCore)
    core.channels.append(core.answers)
    return core


@cocotb.test()
async def power_up(dut) -> None:
    await check_power_up(MemoryCore(dut, 215))


@cocotb.test()
async def lists_with_pauses(dut) -> None:
    """Lists of one to seven layers, whatever pauses on whatever channel."""
    core = await begin(dut, 201)
    for i in range(8):
        core.memory.latency = [0, 5, 60][i % 3]
        core.pause([0.0, 0.3, 0.8][i % 3])
        await core.run(core.layers([7, 1, 5, 6][i % 4]))
        assert await core.read("IRQ_STATUS") == bit("IRQ_STATUS", "done")
        await core.write("IRQ_STATUS", bit("IRQ_STATUS", "done"))


@cocotb.test()
async def largest_and_smallest_layers(dut) -> None:
    """K and N of 1 and of the maximum, in one list."""
    core = await begin(dut, 202)
    core.pause(0.2)
    sizes = [(1, 1), (CONFIG.k_max, 1), (1, CONFIG.n_max), (CONFIG.k_max, CONFIG.n_max), (1, 1)]
    await core.run([core.layers(1, k, n)[0] for k, n in sizes])


@cocotb.test()
async def latency_does_not_starve_the_engine(dut) -> None:
    """Behind 40 cycles of latency the bus brings a beat in at least 99.5 % of cycles.

    For a bus as wide as a weight beat: the engine can take all that it brings.
    """
    core = await begin(dut, 203)
    core.memory.latency = 40
    (layer,) = core.layers(1, CONFIG.k_max, CONFIG.n_max)
    await core.run([layer])
    beats = -(-len(weight_bytes(layer)) // BUS)
    assert AXI.weight_fifo >= core.memory.latency + AXI.max_burst
    steady = core.answers.cycles[-(beats - 2 * AXI.weight_fifo) :]
    cycles = steady[-1] - steady[0] + 1
    assert len(steady) > 200
    assert len(steady) >= 0.995 * cycles


@cocotb.test()
async def busy_cycles_and_stalls(dut) -> None:
    """Counters against the bench's own counts; irq tells the end."""
    core = await begin(dut, 204)
    await core.write("IRQ_ENABLE", bit("IRQ_ENABLE", "done"))
    for i in range(3):
        core.pause(0.4 * i)
        layers = core.layers(3)
        await core.prepare(layers)
        starved, stalls = core.streams["act"].starved, core.result.stalls
        await core.until(lambda: dut.s_axi_bvalid.value == 0, "the last answer to go")
        started = cocotb.start_soon(core.command("start"))
        await core.until(lambda: dut.s_axi_bvalid.value == 1, "the answer to start")
        first = core.cycle
        await core.until(lambda: dut.irq.value == 1, "irq")
        last = core.cycle
        await started
        assert await core.read_wide("BUSY_CYCLES") == last - first
        assert await core.read_wide("STALL_ACT") == core.streams["act"].starved - starved
        assert await core.read_wide("STALL_OUT") == core.result.stalls - stalls
        for layer in layers:
            await core.check_results(layer)
        await core.write("IRQ_STATUS", bit("IRQ_STATUS", "done"))
        assert dut.irq.value == 0


@cocotb.test()
async def a_memory_that_waits(dut) -> None:
    """While nothing comes of what a layer needs, its counter counts every cycle."""
    core = await begin(dut, 205)
    for silent in FETCHED:
        layers = core.layers(1, 3 * CONFIG.k_par, 2 * CONFIG.n_par)
        await core.prepare(layers)
        ((held, _),) = core.regions_of(silent)
        released = []
        async def slow(address, length, held=held, released=released):
            while address // KIB4 == held // KIB4 and not released:
                await core.edge
            return core.memory.read(address, length)

        core.memory._read = slow
        await core.command("start")
        for _ in range(300):
            await core.edge
        seen = []
        for _ in range(2):
            low = await core.read(f"STALL_{silent.upper()}_LO")
            seen.append((core.cycle, low))
            for _ in range(50):
                await core.edge
        assert seen[1][1] - seen[0][1] == seen[1][0] - seen[0][0]
        released.append(True)
        del core.memory._read
        await core.check_results(layers[0])
        await core.wait_idle()


@cocotb.test()
async def reads_answered_with_errors(dut) -> None:
    """SLVERR and DECERR on the list and on all that is fetched, at any beat, and afterwards."""
    core = await begin(dut, 206)
    await core.write("IRQ_ENABLE", bit("IRQ_ENABLE", "error"))
    kinds = ("list", *FETCHED)
    for i in range(4 * len(kinds)):
        core.pause(0.4 * (i % 2))
        core.memory.latency = 10 * (i % 3)
        layers = core.layers(3, 2 * CONFIG.k_par + 1, 2 * CONFIG.n_par + 1)
        await core.prepare(layers)
        regions = core.regions_of(kinds[i // 4])
        low, high = regions[int(core.random.integers(0, len(regions)))]
        victim = low + BUS * int(core.random.integers(0, (high - low) // BUS))
        slverr = i // 2 % 2
        core.memory.bad[victim] = AxiResp.SLVERR if slverr else AxiResp.DECERR
        await core.command("start")
        await core.until(lambda: dut.irq.value == 1, "irq")
        await core.wait_idle()
        await core.take_error("read_slverr" if slverr else "read_decerr")
        assert await core.recover(layers) < sum(layer.n * layer.m for layer in layers)
        core.memory.bad.clear()
        await core.run(core.layers(2))


@cocotb.test()
async def bursts_of_wrong_length(dut) -> None:
    """A burst ends before its last beat, or after it: by one, by five, by a whole burst."""
    core = await begin(dut, 216)
    await core.write("IRQ_ENABLE", bit("IRQ_ENABLE", "error"))
    early = (-1,) if AXI.max_burst > 1 else ()  # a burst of one beat cannot end before it
    ended_early = 0
    for i, more in enumerate((*early, 1, 5, AXI.max_burst)):
        for kind in ("list", *FETCHED):
            core.pause(0.4 * (i % 2))
            core.memory.latency = 10 * (i % 3)
            layers = core.layers(2, 3 * CONFIG.k_par + 1, 3 * CONFIG.n_par + 1)
            await core.prepare(layers)
            low, high = core.regions_of(kind)[0]
            # The first beat of a burst of at least two; or the region's last burst.
            bursts = [at for at in range(low, high - BUS, BUS) if at // BUS % AXI.max_burst != (
                AXI.max_burst - 1)]
            # What one beat holds comes in a burst that cannot end before it: one beat more.
            kept = more if more > 0 or bursts else 1
            ended_early += kept < 0
            core.memory.misfit = (bursts[0] if kept < 0 else high - BUS, kept)
            await core.command("start")
            await core.until(lambda: dut.irq.value == 1, "irq")
            await core.wait_idle()
            assert core.memory.misfit is None
            await core.take_error("read_misfit")
            for name in core.inputs:
                while await core.read(f"{name.upper()}_FRAMES") < len(layers):
                    await core.command(f"flush_{name}")
                    await core.wait_idle()
            await core.check_what_came(layers)
            await core.check_nothing_left()
            core.answers.transfers.clear()
            core.requests.transfers.clear()
            await core.run(core.layers(2))
    # A list of two descriptors is four beats of a bus that is narrower than one.
    assert ended_early or not early or BUS >= DESCRIPTOR_BYTES


BAD_LAYERS = [
    ("bad_k", {"k": 0}),
    ("bad_k", {"k": CONFIG.k_max + 1}),
    ("bad_k", {"k": 2**32 - 1}),
    ("bad_n", {"n": 0}),
    ("bad_n", {"n": CONFIG.n_max + 1}),
    ("bad_n", {"n": 2**31}),
    ("bad_m", {"m": 0}),
    ("bad_m", {"m": CONFIG.m_par + 1}),
    ("bad_m", {"m": 2**16}),
    ("bad_flags", {"flags": 2}),
    ("bad_flags", {"flags": 2**31}),
    ("bad_address", {"coef_address": 2**20 + BUS // 2}),
]
BAD_LOADS = []
if CONFIG.resident:
    BAD_LAYERS += [("bad_w", {"w": CONFIG.weight_words}), ("bad_w", {"w": 2**31})]
    BAD_LOADS = [(field, {**fault, "flags": FLAG_LOAD | fault.get("flags", 0)})
                 for field, fault in BAD_LAYERS if field not in ("bad_m", "bad_address")]
    BAD_LOADS.append(("bad_address", {"weight_address": 2**20 + 1}))
    # One word too far.
    last = CONFIG.weight_words - CONFIG.beats(
        min(CONFIG.k_par + 1, CONFIG.k_max), min(CONFIG.n_par + 1, CONFIG.n_max)
    )
    BAD_LOADS.append(("bad_w", {"w": last + 1}))
else:
    BAD_LAYERS += [("bad_address", {"weight_address": 2**20 + 1}), ("bad_flags", {"flags": 1})]
if CONFIG.scales:
    BAD_LAYERS.append(("bad_address", {"scale_address": 2**20 + BUS // 2}))
if CONFIG.scale_out == "groups":
    BAD_LAYERS += [
        ("bad_s", {"s": wrong}) for wrong in (0, CONFIG.words_max + 1, 2**16, 2**31)
    ]


@cocotb.test()
async def bad_descriptors(dut) -> None:
    """Each fault has its bit, in whatever place of the list; the next run is right."""
    core = await begin(dut, 207)
    faults = [(0, *fault) for fault in BAD_LAYERS] + [(FLAG_LOAD, *fault) for fault in BAD_LOADS]
    for i, (flags, field, changes) in enumerate(faults):
        core.pause(0.3 * (i % 2))
        layers = core.layers(3, CONFIG.k_par + 1, CONFIG.n_par + 1)
        core.regions = []
        descriptors = core.describe_all(layers)
        fitting = [j for j, one in enumerate(descriptors) if one.flags == flags]
        place = fitting[i % 3]
        descriptors[place] = replace(descriptors[place], **changes)
        await core.point_at(core.place_list(descriptors), len(descriptors))
        for layer in layers:
            core.send("act", act_bytes(layer))
        await core.command("start")
        await core.wait_idle()
        await core.take_error(field)
        assert await core.read("LAYERS_STARTED") == place
        await core.recover(layers)
        await core.run(core.layers(1))


@cocotb.test()
async def bad_lists(dut) -> None:
    """No descriptors, too many, or an address that is not aligned: nothing is read."""
    core = await begin(dut, 208)
    address = core.place("list", bytes(DESCRIPTOR_BYTES), list_alignment(AXI))
    for field, place, count in (
        ("bad_count", address, 0),
        ("bad_count", address, 65536),
        ("bad_count", address, 2**31),
        ("bad_address", address + list_alignment(AXI) // 2, 1),
        ("bad_address", address + 1, 1),
    ):
        await core.point_at(place, count)
        await core.command("start")
        await core.wait_idle(200)
        await core.take_error(field)
        assert not core.requests.transfers
    await core.run(core.layers(1))


@cocotb.test()
async def frames_of_wrong_length(dut) -> None:
    """Activations of some layer of a list end early or run long."""
    core = await begin(dut, 209)
    size = WIDTHS["act"] // 8
    for i in range(6):
        core.pause(0.4 * (i % 2))
        layers = core.layers(3, 2 * CONFIG.k_par + 1, CONFIG.n_par + 1)
        victim = i % 3
        core.regions = []
        descriptors = core.describe_all(layers)
        await core.point_at(core.place_list(descriptors), len(descriptors))
        for j, layer in enumerate(layers):
            frame = act_bytes(layer)
            if j == victim:
                wrong = wrong_lengths(frame, size)
                frame, field = wrong[2 if i < 3 and len(wrong) > 2 else 0]
            core.send("act", frame)
        await core.command("start")
        await core.until(lambda: dut.s_axi_bvalid.value == 0, "the answer to start to go")
        await core.wait_idle()
        await core.take_error(f"act_{field}")
        done = await core.recover(layers)
        assert done < sum(layer.n * layer.m for layer in layers[: victim + 1])
        await core.run(core.layers(1))


@cocotb.test()
async def soft_reset_at_many_moments(dut) -> None:
    """Reads on their way are drained before the core is idle; no trace is left."""
    core = await begin(dut, 210)
    for i in range(24):
        core.pause(0.4 * (i % 2))
        core.memory.latency = 15 * (i % 3)
        layers = core.layers(3, 2 * CONFIG.k_par + 1, 2 * CONFIG.n_par + 1)
        await core.prepare(layers)
        await core.command("start")
        for _ in range(7 * i):
            await core.edge
        await core.command("reset")
        await core.wait_idle()
        assert await core.read("ERROR") == 0
        await core.recover(layers)
        await core.write("IRQ_STATUS", bit("IRQ_STATUS", "done"))
        if i % 4 == 0:
            await core.run(core.layers(1))
            await core.write("IRQ_STATUS", bit("IRQ_STATUS", "done"))


@cocotb.test()
async def hardware_reset_in_mid_run(dut) -> None:
    """aresetn, to core and memory: everything begins anew."""
    core = await begin(dut, 211)
    for i in range(16):
        layers = core.layers(2, 2 * CONFIG.k_par + 1, 2 * CONFIG.n_par + 1)
        await core.prepare(layers)
        await core.command("start")
        for _ in range(9 * i):
            await core.edge
        asked = len(core.requests.transfers)
        await core.reset(cycles=1 + i % 2)
        for model in (*core.sources.values(), core.sink):
            model.clear()
        for _ in range(20):
            assert dut.m_axi_arvalid.value == 0, "a read after the reset"
            assert dut.s_axis_act_tready.value == 0
            assert dut.m_axis_result_tvalid.value == 0
            await core.edge
        assert len(core.requests.transfers) == asked
        core.requests.transfers.clear()
        core.answers.transfers.clear()
        assert await core.read("ERROR") == 0
        assert await core.read("STATUS") == 0
        assert await core.read("LIST_LO") == 0
        if i % 3 == 0:
            await core.run(core.layers(2))


@cocotb.test()
async def start_while_busy(dut) -> None:
    """The second start is refused, the first list goes on."""
    core = await begin(dut, 212)
    layers = core.layers(2, CONFIG.k_max, CONFIG.n_max)
    await core.prepare(layers)
    core.sink.pause = True  # with results to give away the core is busy, however small
    await core.command("start")
    await core.point_at(0, 0)
    await core.command("start")
    await core.take_error("start_busy")
    core.sink.pause = False
    for layer in layers:
        await core.check_results(layer)
    await core.wait_idle()
    await core.check_nothing_left()
    assert await core.read("ERROR") == 0


@cocotb.test()
async def registers_of_the_other_kind(dut) -> None:
    """K, N, M and the counts of streams that are not there are refused."""
    core = await begin(dut, 213)
    others = [one for one in REGISTERS if one.only and not one.only.test(CONFIG, AXI)]
    assert {"K", "N", "M", "S", "W", "COEF_FRAMES"} <= {register.name for register in others}
    for register in others:
        for name, _ in register.words:
            assert (await core.host.read(OFFSET[name], 4)).resp == AxiResp.SLVERR
            assert (await core.host.write(OFFSET[name], bytes(4))).resp == AxiResp.SLVERR
    assert await core.read("AXI_DATA_BITS") == AXI.axi_data_bits


@cocotb.test()
async def loads_between_layers(dut) -> None:
    """A load into words that the layers around it use: none of them sees half of it."""
    core = await begin(dut, 214)
    for i in range(4):
        core.pause(0.4 * (i % 2))
        core.memory.latency = 20 * (i // 2)
        # All at place 0; then one at the end that stays, run again by a list without a load.
        layers = core.layers(4, 3 * CONFIG.k_par, 2 * CONFIG.n_par)
        core.regions = []
        descriptors = [one for layer in layers[:3] for one in core.describe(layer)]
        last = CONFIG.weight_words - CONFIG.beats(layers[3].k, layers[3].n)
        load, again = core.describe(layers[3], last)
        for chain, run in (
            ([load, *descriptors, again], layers),
            ([again, again], [layers[3]] * 2),
        ):
            await core.point_at(core.place_list(chain), len(chain))
            for layer in run:
                core.send("act", act_bytes(layer))
            await core.command("start")
            for layer in run:
                await core.check_results(layer)
            await core.wait_idle()
            await core.check_nothing_left()
            assert await core.read("LAYERS_STARTED") == len(chain)
