"""Descriptors: how a list of layers stands in memory. Imports no Amaranth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..config import ConfigError
from .config import AxiConfig

DESCRIPTOR_BYTES = 64
ITEM_BYTES = 16
"""Bytes that the core looks at together; no field crosses a multiple of this."""
LIST_COUNT_MAX = 65535
FLAG_LOAD = 1
"""Not a layer to run: fetch the weights of such a layer into the core, from `w` on."""


@dataclass(frozen=True)
class Slot:
    """A field of a descriptor: little-endian, `bytes` long, at byte `offset`."""

    name: str
    offset: int
    bytes: int
    text: str


SLOTS: tuple[Slot, ...] = (
    Slot("k", 0x00, 4, "inputs"),
    Slot("n", 0x04, 4, "outputs"),
    Slot("m", 0x08, 4, "token vectors, 1 to M_PAR"),
    Slot("flags", 0x0C, 4, "bit 0: load weights into a core that holds them; else 0"),
    Slot("weight_address", 0x10, 8, "first weight beat"),
    Slot("coef_address", 0x18, 8, "first coefficient: K times scale, shift (2 bytes each)"),
    Slot("scale_address", 0x20, 8, "first output-axis scale"),
    Slot("s", 0x28, 4, "words of K_PAR inputs that share a scale of an output"),
    Slot("w", 0x2C, 4, "where the weight beats begin in a core that holds them"),
    Slot("reserved", 0x30, 16, "0; the core does not look at it"),
)
"""The fields, in order; together they fill DESCRIPTOR_BYTES."""


@dataclass(frozen=True)
class Descriptor:
    """One layer, or a load of its weights: see SLOTS. A core does not look at what it needs not."""

    k: int
    n: int
    weight_address: int = 0
    coef_address: int = 0
    m: int = 1
    flags: int = 0
    scale_address: int = 0
    s: int = 0
    w: int = 0

    def to_bytes(self) -> bytes:
        """Return the 64 bytes.

        Raises
        ------
        ConfigError
            If a value does not fit its field.
        """
        result = b""
        for slot in SLOTS:
            value = getattr(self, slot.name, 0)
            if not 0 <= value < 1 << (8 * slot.bytes):
                raise ConfigError(
                    f"{slot.name} of a descriptor must be from 0 to 2**{8 * slot.bytes} - 1, "
                    f"not {value}"
                )
            result += value.to_bytes(slot.bytes, "little")
        return result


def list_bytes(descriptors: Sequence[Descriptor]) -> bytes:
    """Return a list of descriptors as it must stand in memory.

    Raises
    ------
    ConfigError
        If there are none or too many, or a value does not fit.
    """
    if not 1 <= len(descriptors) <= LIST_COUNT_MAX:
        raise ConfigError(
            f"a list must have from 1 to {LIST_COUNT_MAX} descriptors, not {len(descriptors)}"
        )
    return b"".join(descriptor.to_bytes() for descriptor in descriptors)


def list_alignment(axi: AxiConfig) -> int:
    """Return what the address of a list must be a multiple of, in bytes."""
    return max(DESCRIPTOR_BYTES, axi.data_bytes)
