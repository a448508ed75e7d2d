"""The step in one launch as a library for the CPU (grid.hpp), in place of the GPU's."""

import ctypes
import functools
from pathlib import Path

from signacc.baseline import step
from signacc.baseline.step import SOURCES

from .stand_in import build

RUN = """
extern "C" int run_step(int blocks, unsigned seed, const long long *token, const Model *model,
                        const Cache *cache, const Buffers *to) {
    return run_blocks(blocks, seed, [=] { decode_step(token, *model, *cache, *to); });
}
"""


def code():
    """Return the kernel behind its stand-in for the GPU's instructions, and a way to start it."""
    folder = Path(step.__file__).parent
    texts = [Path(__file__).with_name("grid.hpp")]
    texts += [folder / name for name in SOURCES if name not in ("hopper.cuh", "bitplane.cuh")]
    return b"\n".join(path.read_bytes() for path in texts) + RUN.encode()


class GridStandIn:
    """What `nvrtc.Kernel` is to the code that launches it; `seed` draws the order of threads."""

    seed = 0

    def __init__(self, shape, skip=()):
        defines = shape.defines(skip) | {"SHARED_BYTES": shape.shared}
        self.shape, self.run = shape, build("step", code(), defines).run_step

    def launch(self, grid, threads, arguments, stream):
        assert (grid, threads) == ((self.shape.blocks, 1), self.shape.threads)
        token, *structs = arguments
        stood = self.run(grid[0], self.seed, token, *(ctypes.byref(s) for s in structs))
        assert not stood, "no thread of the grid gets on"


def install(monkeypatch):
    """Let the stand-in run in place of the step in one launch."""
    monkeypatch.setattr(step, "kernel_of", functools.cache(GridStandIn))
