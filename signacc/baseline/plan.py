"""Which points a run measures, in which order, and with which decoders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .points import Point

PATHS = ("bf16", "sign-a16", "sign-a8", "int4")
"""Measured number formats: dense bf16, own 1-bit with 16- and 8-bit activations, library INT4."""

GEMMS = ("triton", "warpgroup")
"""1-bit GEMMs for many vectors: for any GPU; for Hopper alone, and the faster there."""

AUTO = "auto"
"""In place of one of :data:`GEMMS`: the faster of those that the device has."""

ONE_LAUNCH = "one launch"
"""A decode step of one vector as a single kernel (docs/design/0019), on Hopper."""

EARLY = ("all", "all but RoPE", "all, at once", ONE_LAUNCH, "none")
"""Which of a step's own kernels start while the one ahead ends, where a device can (Hopper on).

"at once" is of the 1-bit GEMV alone: it lets the next kernel start when it starts itself. With
:data:`ONE_LAUNCH` all of those start early that it does not replace."""

MODELS = ("fbi-130m", "fbi-1.3b", "fbi-7b")
BATCHES = (1, 4, 16, 64, 256)
CONTEXTS = (128, 512, 2048)
PHASES = ("decode", "prefill")

ENERGY_CONTEXT = 512
ENERGY_BATCHES = {"decode": (1, 16, 256), "prefill": (1, 16)}
"""Points whose energy is measured: each takes 5 s or more, so not all of them."""


@dataclass(frozen=True)
class Plan:
    """What to measure, every combination is one point; and the GEMM of the 1-bit paths."""

    models: Sequence[str] = MODELS
    paths: Sequence[str] = PATHS
    phases: Sequence[str] = PHASES
    batches: Sequence[int] = BATCHES
    contexts: Sequence[int] = CONTEXTS
    energy: bool = True
    gemm: str = AUTO

    def points(self, model: str, path: str) -> list[Point]:
        """Return the points of one decoder; phases of one batch and context share a cache."""
        return [
            Point(model, path, phase, batch, context, self._energy(phase, batch, context))
            for batch in self.batches
            for context in self.contexts
            for phase in self.phases
        ]

    def _energy(self, phase: str, batch: int, context: int) -> bool:
        usual = batch in ENERGY_BATCHES[phase] and context == ENERGY_CONTEXT
        alone = len(self.batches) * len(self.contexts) == 1
        return self.energy and (usual or alone)

    def decoders(self) -> Iterable[tuple[str, str]]:
        """Return (model, path) of every decoder, largest models first."""
        return [(model, path) for model in reversed(self.models) for path in self.paths]
