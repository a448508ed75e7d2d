"""Convolutional networks on a generic engine: every layer as a matrix multiplication.

A convolution of ``kernel`` x ``kernel`` over ``inputs`` channels into ``outputs`` channels, with
``size`` x ``size`` pixels at its output, is a linear of ``inputs * kernel^2`` inputs and
``outputs`` outputs, applied to ``size^2`` vectors. Feature maps stay on chip; weights are read once
an image.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..checks import check_integer
from ..energy import on_chip_energy_j
from ..interval import Interval, total
from ..system import SystemConfig, generic_events
from ..system.timing import NO_TIME, OperatorTimer, add_times
from ..workload import Operator, packed_bytes, weight_beats


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """One layer, `repeat` times.

    Raises
    ------
    InputError
        If a value is not an integer of at least 1.
    """

    inputs: int
    outputs: int
    kernel: int
    size: int
    repeat: int = 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_integer(name, value, 1)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all repeats."""
        return self.inputs * self.kernel**2 * self.outputs * self.size**2 * self.repeat


@dataclass(frozen=True)
class ImageCost:
    """Time of an image, s; dynamic and static energy, J; multiply-accumulates."""

    time_s: Interval
    energy_j: Interval
    macs: int


def image_cost(layers: Iterable[Convolution], system: SystemConfig) -> ImageCost:
    """Return what an image costs; the layers run one after another."""
    layers = tuple(layers)
    timer, times, energies = OperatorTimer(system, {}), [], []
    for index, layer in enumerate(layers):
        operator = _operator(f"conv{index}", layer, system)
        (cost,), _ = timer.costs([operator], NO_TIME)
        times += [cost.time_s] * layer.repeat
        events = generic_events(operator, system.engine, system.engines)
        parts = on_chip_energy_j(system.technology, system.engine, events, system.switching)
        dram = system.memory.transfer_energy_j(operator.bytes)
        energies += [total((*parts.values(), dram))] * layer.repeat
    time = Interval(*add_times(times))
    return ImageCost(
        time, total(energies) + system.power_w * time, sum(layer.macs for layer in layers)
    )


def _operator(name: str, layer: Convolution, system: SystemConfig) -> Operator:
    engine = system.engine
    k, n, vectors = layer.inputs * layer.kernel**2, layer.outputs, layer.size**2
    share = -(-n // system.engines)
    beats = weight_beats(k, share, engine)
    return Operator(
        name=name,
        kind="fbi-linear",
        step=name,
        shape=(k, share),
        runs=((k, share, vectors, k),),
        sign_accumulates=k * share * vectors,
        weight_beats=beats * -(-vectors // engine.m_par),
        vector_beats=beats * vectors,
        bytes_by_category={
            "packed_weights": system.engines * packed_bytes(k, share, engine), "coefficients": 0,
        },
    )
