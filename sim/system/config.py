"""A machine: engines, memory, technology, vector unit, links; what a cost is computed for."""

from __future__ import annotations

from dataclasses import dataclass

from ..checks import check_integer, check_number
from ..energy import UNCALIBRATED, Activity, Technology, calibrated, check_data
from ..errors import InputError
from ..generic import Engine, GenericEngine
from ..interval import Interval
from ..memory import MemoryConfig
from ..workload import BYTE_CATEGORIES

PARALLEL = ("tensor", "pipeline")
"""How several chips share a model."""


@dataclass(frozen=True, kw_only=True)
class LinkConfig:
    """A link between neighbouring chips, both directions at once.

    Parameters
    ----------
    name, source
        What reports call it; where its numbers come from.
    bandwidth_gb_s
        Bytes per second one way, 1e9.
    latency_s
        Time of an empty message, s.
    energy_pj_per_bit
        Energy per bit sent, both ends, pJ.

    Raises
    ------
    InputError
        If the bandwidth is not above 0, or the latency negative.
    """

    name: str
    bandwidth_gb_s: float
    latency_s: float
    energy_pj_per_bit: Interval
    source: str

    def __post_init__(self) -> None:
        check_number("link bandwidth_gb_s", self.bandwidth_gb_s, above_zero=True)
        check_number("link latency_s", self.latency_s)

    def time_s(self, amount: float, hops: int) -> float:
        """Return the seconds that `amount` bytes in `hops` messages one after another take."""
        return amount / (self.bandwidth_gb_s * 1e9) + hops * self.latency_s

    def to_dict(self) -> dict[str, object]:
        """Return the link for a report."""
        return {
            "name": self.name,
            "bandwidth_gb_s": self.bandwidth_gb_s,
            "latency_s": self.latency_s,
            "energy_pj_per_bit": self.energy_pj_per_bit.to_dict(),
            "source": self.source,
        }


@dataclass(frozen=True, kw_only=True)
class OnChipMemory:
    """SRAM or block memory in which some of the model's data stay for good.

    Parameters
    ----------
    capacity_bytes
        Bytes of one chip.
    ports, port_bits
        Ports that are read in the same cycle, bits of each.
    holds
        Categories of bytes (``BYTE_CATEGORIES``) that lie here instead of in DRAM; ``kv_read`` and
        ``kv_write`` both or neither.

    Raises
    ------
    InputError
        If a count is not a positive integer, or a category is unknown.
    """

    capacity_bytes: int
    ports: int
    port_bits: int
    holds: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("capacity_bytes", "ports", "port_bits"):
            check_integer(f"on-chip memory {name}", getattr(self, name), 1)
        unknown = sorted(set(self.holds) - set(BYTE_CATEGORIES))
        if unknown:
            raise InputError(
                f"on-chip memory holds categories among {', '.join(BYTE_CATEGORIES)}, not "
                f"{', '.join(map(repr, unknown))}"
            )
        if ("kv_read" in self.holds) != ("kv_write" in self.holds):
            raise InputError(
                f"on-chip memory holds kv_read and kv_write together, not {', '.join(self.holds)}"
            )

    def bytes_per_cycle(self) -> float:
        """Return the bytes that all ports give in a cycle."""
        return self.ports * self.port_bits / 8

    def to_dict(self) -> dict[str, object]:
        """Return the memory for a report."""
        return {
            "capacity_bytes": self.capacity_bytes,
            "ports": self.ports,
            "port_bits": self.port_bits,
            "holds": list(self.holds),
        }


@dataclass(frozen=True, kw_only=True)
class MemoryPorts:
    """Ports through which logic reaches DRAM: what passes is at most count * bits * clock.

    Parameters
    ----------
    count, bits
        Ports, and bits of each.
    clock_mhz
        Clock of the ports, MHz.

    Raises
    ------
    InputError
        If a value is not above 0, or a count no integer.
    """

    count: int
    bits: int
    clock_mhz: float

    def __post_init__(self) -> None:
        for name in ("count", "bits"):
            check_integer(f"memory ports' {name}", getattr(self, name), 1)
        check_number("memory ports' clock_mhz", self.clock_mhz, above_zero=True)

    @property
    def gb_s(self) -> float:
        """Bytes per second of all ports, 1e9."""
        return self.count * self.bits / 8 * self.clock_mhz / 1e3

    def to_dict(self) -> dict[str, object]:
        """Return the ports for a report."""
        return {
            "count": self.count, "bits": self.bits, "clock_mhz": self.clock_mhz,
            "gb_s": self.gb_s,
        }


@dataclass(frozen=True, kw_only=True)
class SystemConfig:
    """A machine of one or more equal chips.

    Parameters
    ----------
    name
        What reports call it.
    engine
        Configuration of the sign-accumulate engine, or a generic one; its ``clock_mhz`` is the
        clock of all logic.
    memory
        DRAM of one chip.
    technology
        Energy constants of the logic.
    vector_lanes
        16-bit float MACs (or elementwise operations) per cycle of a chip's vector unit.
    vector_latency_cycles
        Cycles that a vector operator takes on top of its throughput (pipeline fill and drain).
    weight_buffer_bytes
        On-chip buffer between DRAM and the engines' weight ports.
    activation_buffer_bytes
        On-chip room for the activations of the token vectors of a pass.
    prefetch
        Whether DRAM fills the weight buffer for the next linears while a vector operator leaves it
        idle (double buffering across dependent steps).
    engines
        Engines on a chip; they share its memory and split the outputs of every linear.
    on_chip
        Memory in which some data stay on chip; None if all lie in DRAM.
    memory_ports
        Ports to DRAM, all traffic together; None if they are no limit.
    vector_bandwidth_gb_s
        Most that the vector unit takes from DRAM, 1e9 bytes/s, instead of the ports: for one that
        has a path of its own, such as a host processor. None: the ports'.
    chips, parallel, link
        Equal chips, how they share the model, and what joins them.
    static_power_w, static_power_source
        Power of one chip that flows whether or not there is work, in watts: leakage, clocks,
        processor system, DRAM background, regulators.
    activity
        Data whose switching activity scales the technology's constants: one of
        :data:`sim.energy.ACTIVITIES`, or factors of your own.

    Raises
    ------
    InputError
        If a value is not in its range, chips have no link, or the activity has no name.
    """

    name: str
    engine: Engine
    memory: MemoryConfig
    technology: Technology
    vector_lanes: int
    vector_latency_cycles: int = 32
    weight_buffer_bytes: int = 128 * 1024
    activation_buffer_bytes: int = 1024 * 1024
    prefetch: bool = False
    engines: int = 1
    on_chip: OnChipMemory | None = None
    memory_ports: MemoryPorts | None = None
    vector_bandwidth_gb_s: float | None = None
    chips: int = 1
    parallel: str = "tensor"
    link: LinkConfig | None = None
    static_power_w: Interval
    static_power_source: str
    activity: Activity | str = "real"

    def __post_init__(self) -> None:
        for name, low in (
            ("vector_lanes", 1),
            ("vector_latency_cycles", 0),
            ("weight_buffer_bytes", 0),
            ("activation_buffer_bytes", 1),
            ("engines", 1),
            ("chips", 1),
        ):
            check_integer(name, getattr(self, name), low)
        if self.vector_bandwidth_gb_s is not None:
            check_number("vector_bandwidth_gb_s", self.vector_bandwidth_gb_s, above_zero=True)
        if not isinstance(self.prefetch, bool):
            raise InputError(f"prefetch must be true or false, not {self.prefetch!r}")
        if self.parallel not in PARALLEL:
            raise InputError(
                f"parallel must be one of {', '.join(PARALLEL)}, not {self.parallel!r}"
            )
        if not isinstance(self.activity, Activity):
            check_data(self.activity)
        if self.chips > 1 and self.link is None:
            raise InputError(f"{self.chips} chips need a link between them")

    @property
    def clock_hz(self) -> float:
        """Clock in Hz."""
        return self.engine.clock_mhz * 1e6

    @property
    def switching(self) -> Activity:
        """Factors of the activity on this engine."""
        if isinstance(self.activity, Activity):
            return self.activity
        if isinstance(self.engine, GenericEngine):  # nothing is known of its nets
            return UNCALIBRATED
        return calibrated(self.engine, self.activity)

    @property
    def tensor_chips(self) -> int:
        """Chips that split every linear."""
        return self.chips if self.parallel == "tensor" else 1

    @property
    def stages(self) -> int:
        """Chips that split the layers."""
        return self.chips if self.parallel == "pipeline" else 1

    @property
    def power_w(self) -> Interval:
        """Static power of all chips, W."""
        return self.static_power_w * self.chips
