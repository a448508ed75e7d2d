"""What the AXI benches share: buses, a watch over the protocol, layers as frames, registers.

Not named test_*: pytest must not collect it.
"""

from __future__ import annotations

import json
import os
import random as random_module
import warnings
from collections import deque
from collections.abc import Iterator

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)
from generators import golden_output, random_layer, random_size, with_scales

from hw.axi.config import AxiConfig, scale_item_bytes, weight_item_bytes, whole_bytes
from hw.axi.registers import REGISTERS, describe
from hw.config import EngineConfig
from hw.streams import scale_chunks, weight_beats
from signacc.cosim.job import LayerJob

CONFIG = EngineConfig.from_dict(json.loads(os.environ["SIGNACC_AXI_ENGINE"]))
AXI = AxiConfig(**json.loads(os.environ["SIGNACC_AXI_BUSES"]))

# As in the other tests, a warning is an error; the bus models lag behind cocotb's newest names.
warnings.simplefilter("error")
warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"cocotbext\.axi\.")

OFFSET = {name: offset for register in REGISTERS for name, offset in register.words}
BIT = {
    (register.name, field.name): field.mask for register in REGISTERS for field in register.fields
}
NAN = 0x7FFF
LIMIT = 20_000
"""Cycles after which a bench that waits has failed."""


def bit(register: str, *fields: str) -> int:
    """Return the mask of some fields."""
    return sum(BIT[register, field] for field in fields)


# ---- layers as bytes ---------------------------------------------------------------------


def act_bytes(layer: LayerJob, padding: int = NAN) -> bytes:
    """The frame of s_axis_act: every vector padded to whole chunks."""
    chunks = -(-layer.k // CONFIG.act_par) * CONFIG.act_par
    padded = np.full((layer.m, chunks), padding, dtype="<u2")
    padded[:, : layer.k] = layer.x.view(np.uint16)
    return padded.tobytes()


def coef_bytes(layer: LayerJob, padding: int = NAN) -> bytes:
    """The frame of s_axis_coef: scale and shift of every input, once a vector."""
    chunks = -(-layer.k // CONFIG.act_par) * CONFIG.act_par
    padded = np.full((chunks, 2), padding, dtype="<u2")
    padded[: layer.k, 0] = layer.scale_in.view(np.uint16)
    padded[: layer.k, 1] = layer.shift_in.view(np.uint16)
    return padded.tobytes() * layer.m


def weight_bytes(layer: LayerJob) -> bytes:
    """The frame of s_axis_weight, and the weights in memory; spare bits are ones."""
    beats = weight_beats(CONFIG, layer.signs, layer.k, mask=layer.mask, padding=1)
    spare = 8 * weight_item_bytes(CONFIG) - CONFIG.weight_beat_bits
    if spare:
        beats = beats.copy()
        beats[:, -1] |= (0xFF << (8 - spare)) & 0xFF
    return beats.tobytes()


def scale_bytes(layer: LayerJob) -> bytes:
    """The frame of s_axis_scale, and the scales in memory: those of a token vector."""
    size = scale_item_bytes(CONFIG)
    items = scale_chunks(CONFIG, layer.scale_out, padding=NAN)
    return b"".join(item.to_bytes(size, "little") for item in items)


def group_words(layer: LayerJob) -> int:
    """What S says of a layer."""
    return CONFIG.group_words(layer.k, layer.group_size or layer.k)


def expected(layer: LayerJob) -> list[list[int]]:
    """Golden's results, a list of patterns a vector."""
    return golden_output(CONFIG, layer).view(np.uint16).tolist()


WIDTHS = {
    "act": 16 * CONFIG.act_par,
    "coef": 32 * CONFIG.act_par,
    "weight": whole_bytes(CONFIG.weight_beat_bits),
    "scale": 16 * CONFIG.out_par,
}
FRAMES = {"act": act_bytes, "coef": coef_bytes, "weight": weight_bytes, "scale": scale_bytes}


def wrong_lengths(frame: bytes, size: int) -> list[tuple[bytes, str]]:
    """A frame of beats of `size` bytes made too long and, if it has several, too short.

    By one beat and by a whole frame; by one beat and to one beat. With each what ERROR says of it.
    """
    wrong = [(frame + frame[:size], "long"), (frame * 2, "long")]
    if len(frame) > size:
        wrong += [(frame[:-size], "short"), (frame[:size], "short")]
    return wrong


# ---- watch over the protocol -----------------------------------------------------------------


class Channel:
    """A valid/ready channel out of the core: what is offered stays until it is taken."""

    def __init__(self, dut, name: str, prefix: str, payload: tuple[str, ...]):
        self.name = name
        self._valid = getattr(dut, f"{prefix}valid")
        self._ready = getattr(dut, f"{prefix}ready")
        self._payload = [getattr(dut, f"{prefix}{part}") for part in payload]
        self._held = None
        self.transfers: list[tuple[int, ...]] = []
        self.cycles: list[int] = []
        self.stalls = 0

    def forget(self) -> None:
        """Begin anew, after a hardware reset."""
        self._held = None

    def sample(self, cycle: int) -> None:
        """Look at the cycle that ends with this edge."""
        if self._valid.value != 1:
            assert self._held is None, f"{self.name} withdrew what it offered"
            return
        payload = tuple(int(signal.value) for signal in self._payload)
        assert self._held in (None, payload), f"{self.name} changed what it offered"
        if self._ready.value == 1:
            self.transfers.append(payload)
            self.cycles.append(cycle)
            self._held = None
        else:
            self._held = payload
            self.stalls += 1


class Results(Channel):
    """m_axis_result: gathers frames. Those of several token vectors interleave, told by tid."""

    def __init__(self, dut):
        parts = ("data", "keep", "last", *(["id"] if CONFIG.m_par > 1 else []))
        super().__init__(dut, "m_axis_result", "m_axis_result_t", parts)
        self.frames: deque[tuple[int, list[int]]] = deque()
        self._open: dict[int, list[int]] = {}

    def forget(self) -> None:
        super().forget()
        self._open = {}
        self.frames.clear()

    def sample(self, cycle: int) -> None:
        known = len(self.transfers)
        super().sample(cycle)
        for data, keep, last, *identity in self.transfers[known:]:
            vector = identity[0] if identity else 0
            count = keep.bit_count() // 2
            assert keep == (1 << 2 * count) - 1, f"keep must be whole results, not {keep:b}"
            values = [data >> 16 * lane & 0xFFFF for lane in range(count)]
            assert data >> 16 * count == 0, "lanes without a result must be zero"
            self._open.setdefault(vector, []).extend(values)
            if last:
                self.frames.append((vector, self._open.pop(vector)))
            else:
                assert count, "only the end of a frame may be empty"

    @property
    def is_quiet(self) -> bool:
        """No frame is open, and all were looked at."""
        return not self._open and not self.frames


class Input:
    """Counts what passes an input stream, and the cycles in which it is ready and nothing comes."""

    def __init__(self, dut, prefix: str):
        self._valid = getattr(dut, f"{prefix}_tvalid")
        self._ready = getattr(dut, f"{prefix}_tready")
        self.transfers = self.starved = 0

    def sample(self, cycle: int) -> None:
        """Look at the cycle that ends with this edge."""
        if self._ready.value == 1:
            if self._valid.value == 1:
                self.transfers += 1
            else:
                self.starved += 1


class Core:
    """The core and everything on its buses.

    Attributes
    ----------
    inputs
        Its input streams.
    of_layer
        Those that a layer has a frame on; weights that stay in the core come with a load.
    """

    inputs = ("act",) if AXI.memory else (
        "act", "coef", "weight", *(["scale"] if CONFIG.scales else [])
    )
    of_layer = tuple(name for name in inputs if name != "weight" or not CONFIG.resident)

    def __init__(self, dut, seed: int):
        print(f"seed {seed}")
        self.dut = dut
        self.random = np.random.default_rng(seed)
        self._pauses = random_module.Random(seed)
        self.edge = RisingEdge(dut.aclk)
        dut.aresetn.value = 0
        Clock(dut.aclk, 10, unit="ns").start()
        reset = {"reset": dut.aresetn, "reset_active_level": False}
        self.host = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.aclk, **reset)
        self.sources = {
            name: AxiStreamSource(
                AxiStreamBus.from_prefix(dut, f"s_axis_{name}"),
                dut.aclk,
                byte_lanes=WIDTHS[name] // 8,
                **reset,
            )
            for name in self.inputs
        }
        self.sink = AxiStreamSink(
            AxiStreamBus.from_prefix(dut, "m_axis_result"), dut.aclk, **reset
        )
        self.streams = {name: Input(dut, f"s_axis_{name}") for name in self.inputs}
        self.result = Results(dut)
        self.channels = [
            self.result,
            Channel(dut, "s_axi_b", "s_axi_b", ("resp",)),
            Channel(dut, "s_axi_r", "s_axi_r", ("data", "resp")),
        ]
        self.cycle = 0
        self.watching = True
        self.mark()
        for model in (self.host.write_if, self.host.read_if, *self.sources.values(), self.sink):
            model.log.setLevel("WARNING")
        self._task = cocotb.start_soon(self._watch())

    async def _watch(self) -> None:
        while True:
            await self.edge
            self.cycle += 1
            if self.watching:
                for channel in (*self.channels, *self.streams.values()):
                    channel.sample(self.cycle)

    async def reset(self, cycles: int = 3) -> None:
        """Reset the core and the models on its buses."""
        self.watching = False
        self.dut.aresetn.value = 0
        for _ in range(cycles):
            await self.edge
        self.dut.aresetn.value = 1
        await self.edge
        for channel in self.channels:
            channel.forget()
        self.watching = True
        self.mark()

    # ---- pauses ----------------------------------------------------------------------------

    def _pause(self, chance: float) -> Iterator[bool]:
        while True:
            yield self._pauses.random() < chance

    def paused_models(self) -> list:
        """Every model that can pause."""
        return [
            *self.sources.values(),
            self.sink,
            self.host.write_if.aw_channel,
            self.host.write_if.w_channel,
            self.host.write_if.b_channel,
            self.host.read_if.ar_channel,
            self.host.read_if.r_channel,
        ]

    def pause(self, most: float) -> None:
        """Let every channel pause, each with its own chance up to `most`."""
        for model in self.paused_models():
            chance = self._pauses.choice([0.0, most / 2, most])
            model.set_pause_generator(self._pause(chance) if chance else None)
            if not chance:
                model.pause = False

    # ---- registers -------------------------------------------------------------------------

    async def read(self, name: str) -> int:
        """Read a word."""
        return await self.host.read_dword(OFFSET[name])

    async def read_wide(self, name: str) -> int:
        """Read a counter: low, then high."""
        low = await self.read(f"{name}_LO")
        return low | await self.read(f"{name}_HI") << 32

    async def write(self, name: str, value: int) -> None:
        """Write a word."""
        await self.host.write_dword(OFFSET[name], value)

    async def command(self, *fields: str) -> None:
        """Write CTRL."""
        await self.write("CTRL", bit("CTRL", *fields))

    async def wait_idle(self, limit: int = LIMIT) -> None:
        """Poll STATUS until the core is idle."""
        end = self.cycle + limit
        while await self.read("STATUS"):
            assert self.cycle < end, f"busy for {limit} cycles: hang"

    async def until(self, condition, what: str, limit: int = LIMIT) -> None:
        """Wait for a condition, a cycle at a time."""
        end = self.cycle + limit
        while not condition():
            assert self.cycle < end, f"{what}: not within {limit} cycles"
            await self.edge

    async def take_error(self, *fields: str) -> None:
        """Check that ERROR says exactly `fields`, and clear it, bit by bit, and the interrupt."""
        assert await self.read("ERROR") == bit("ERROR", *fields)
        assert await self.read("IRQ_STATUS") & bit("IRQ_STATUS", "error")
        for field in fields:
            await self.write("ERROR", bit("ERROR", field))
        assert await self.read("ERROR") == 0
        await self.write("IRQ_STATUS", bit("IRQ_STATUS", "error"))
        assert await self.read("IRQ_STATUS") & bit("IRQ_STATUS", "error") == 0

    # ---- frames ----------------------------------------------------------------------------

    def send(self, name: str, data: bytes) -> None:
        """Queue one frame on an input."""
        self.sources[name].send_nowait(AxiStreamFrame(data))
        self._sent[name].append(len(data) // (WIDTHS[name] // 8))

    def mark(self) -> None:
        """From here on, count frames and beats anew."""
        self._sent: dict[str, list[int]] = {name: [] for name in self.inputs}
        self._marks = {name: stream.transfers for name, stream in self.streams.items()}

    async def check_whole_frames(self) -> None:
        """What was taken of every input since the mark is as many whole frames as the core says."""
        for name in self.inputs:
            frames = await self.read(f"{name.upper()}_FRAMES")
            taken = self.streams[name].transfers - self._marks[name]
            assert taken == sum(self._sent[name][:frames]), f"{name}: a frame was left half taken"

    def send_layer(self, layer: LayerJob) -> None:
        """Queue all frames of a layer."""
        for name in self.of_layer:
            self.send(name, FRAMES[name](layer))

    def random_layer(self, k: int | None = None, n: int | None = None) -> LayerJob:
        """A random layer that the engine can take: of `k` inputs and `n` outputs, or of its largest
        if these are more; of a random size, if none is given."""
        m = int(self.random.integers(1, CONFIG.m_par + 1))
        k = k or random_size(self.random, CONFIG.k_max, CONFIG.k_par)
        n = n or random_size(self.random, CONFIG.n_max, CONFIG.n_par)
        layer = random_layer(
            self.random,
            m,
            min(k, CONFIG.k_max),
            min(n, CONFIG.n_max),
            ternary=CONFIG.ternary,
            act_format=CONFIG.act_format,
        )
        return with_scales(self.random, CONFIG, layer) if CONFIG.scales else layer

    def random_place(self, layer: LayerJob) -> int:
        """Where in the core the weights of a layer may begin."""
        room = CONFIG.weight_words - CONFIG.beats(layer.k, layer.n)
        return int(self.random.choice([0, room, self.random.integers(0, room + 1)]))

    async def receive(self, limit: int = LIMIT) -> tuple[int, list[int]]:
        """Return the next frame of results: token vector, patterns."""
        await self.until(lambda: self.result.frames, "a frame of results", limit)
        return self.result.frames.popleft()

    async def check_results(self, layer: LayerJob) -> None:
        """Receive the results of a layer; they must equal golden's."""
        for vector, values in enumerate(expected(layer)):
            assert await self.receive() == (vector, values), layer.name

    async def check_what_came(self, layers: list[LayerJob]) -> int:
        """After a run that was stopped: all that came is right, was ended, and is counted.

        Returns how many results came. Those of the last layer may be cut short.
        """
        count = whole = 0
        rest = list(layers)
        while self.result.frames:
            layer = rest.pop(0)
            want = expected(layer)
            for _ in range(min(len(want), len(self.result.frames))):
                vector, values = self.result.frames.popleft()
                assert values == want[vector][: len(values)], layer.name
                count += len(values)
                whole += len(values) == len(want[vector])
                want[vector] = want[vector][len(values) :]
            if any(want):
                assert not self.result.frames, "frames after one that was cut short"
        assert await self.read("VECTORS_DONE") == whole
        return count

    async def check_nothing_left(self) -> None:
        """After a run: nothing more comes out, nothing is left in the inputs."""
        for _ in range(3):
            await self.edge
        assert self.result.is_quiet
        for name, source in self.sources.items():
            assert source.idle(), f"{name} was not taken to its end"
        self.mark()


async def check_power_up(core: Core) -> None:
    """Before anything was configured nothing is driven valid; registers read as documented.

    `core` is still in reset, with random values in its registers.
    """
    outputs = ["irq", "s_axi_bvalid", "s_axi_rvalid", "m_axis_result_tvalid"]
    outputs += [f"s_axis_{name}_tready" for name in core.inputs]
    outputs += ["m_axi_arvalid"] if AXI.memory else []
    core.watching = False
    await core.edge  # the reset is synchronous
    for cycle in range(100):
        await core.edge
        if cycle == 3:
            core.dut.aresetn.value = 1
        for name in outputs:
            assert getattr(core.dut, name).value == 0, f"{name} in cycle {cycle}"
    for word in describe(CONFIG, AXI):
        reset = sum(field["reset"] << field["low"] for field in word["fields"])
        assert await core.host.read_dword(word["offset"]) == reset, word["name"]


async def start(dut, seed: int, kind: type[Core] = Core) -> Core:
    """Return the core after a reset."""
    core = kind(dut, seed)
    await core.reset()
    return core


