"""AxiConfig: how the engine is joined to buses. Imports no Amaranth."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ..config import ConfigError, EngineConfig

BOUNDARY_BYTES = 4096
"""No AXI burst may cross a multiple of this (AXI4 specification, A3.4.1)."""

_LIMITS = {
    "axi_data_bits": (32, 1024),
    "max_burst": (1, 256),
    "outstanding": (1, 64),
    "weight_fifo": (1, 4096),
    "coef_fifo": (1, 4096),
}
_POWERS = ("axi_data_bits", "max_burst")


@dataclass(frozen=True, kw_only=True)
class AxiConfig:
    """How weights and coefficients reach the engine.

    Parameters
    ----------
    memory
        False: weights and coefficients come by AXI4-Stream, and registers give the shape of one
        layer. True: a read master fetches them from memory, for a list of layers.
    axi_data_bits
        Width of the read master's data, a power of two from 32 to 1024.
    max_burst
        Beats of the longest read burst, a power of two from 1 to 256.
    outstanding
        Read bursts that may be on their way at a time.
    weight_fifo, coef_fifo
        Beats of ``axi_data_bits`` that are held for the engine; reads are only asked for when
        there is room for what they bring. To bear a latency of L cycles, `weight_fifo` must hold
        L + `max_burst` beats. Scales on the output axis have a queue like that of the coefficients.

    Raises
    ------
    ConfigError
        If a value breaks its rule; the message names the rule and the value.
    """

    memory: bool = False
    axi_data_bits: int = 128
    max_burst: int = 16
    outstanding: int = 8
    weight_fifo: int = 64
    coef_fifo: int = 32

    def __post_init__(self) -> None:
        if not isinstance(self.memory, bool):
            raise ConfigError(f"memory must be true or false, not {self.memory!r}")
        for field, (low, high) in _LIMITS.items():
            value = getattr(self, field)
            if not isinstance(value, int) or isinstance(value, bool):
                raise ConfigError(f"{field} must be an integer, not {value!r}")
            if not low <= value <= high:
                raise ConfigError(f"{field} must be from {low} to {high}, not {value}")
        for field in _POWERS:
            value = getattr(self, field)
            if value & (value - 1):
                raise ConfigError(f"{field} must be a power of two, not {value}")
        if self.max_burst * self.data_bytes > BOUNDARY_BYTES:
            raise ConfigError(
                f"a burst must not be longer than {BOUNDARY_BYTES} bytes, not max_burst "
                f"{self.max_burst} of {self.data_bytes} bytes"
            )
        for field in ("weight_fifo", "coef_fifo"):
            if getattr(self, field) < self.max_burst:
                raise ConfigError(
                    f"{field} must hold a burst of max_burst = {self.max_burst} beats, "
                    f"not {getattr(self, field)}"
                )

    @property
    def data_bytes(self) -> int:
        """Bytes of a beat of the read master."""
        return self.axi_data_bits // 8

    def to_dict(self) -> dict[str, object]:
        """Return the fields as a dictionary."""
        return asdict(self)


def whole_bytes(bits: int) -> int:
    """Return `bits` rounded up to a multiple of 8."""
    return -(-bits // 8) * 8


def weight_item_bytes(config: EngineConfig) -> int:
    """Bytes that a weight beat occupies in memory and in ``s_axis_weight_tdata``."""
    return whole_bytes(config.weight_beat_bits) // 8


def scale_item_bytes(config: EngineConfig) -> int:
    """Bytes of the output-axis scales of a chunk of out_par outputs."""
    return 2 * config.out_par
