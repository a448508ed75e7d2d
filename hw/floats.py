"""The two 16-bit float formats of activations, as the hardware counts them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FloatFormat:
    """A 16-bit float: a sign, `exponent_bits` and `fraction_bits`, subnormals, NaN, infinities.

    Attributes
    ----------
    nan
        The canonical NaN.
    """

    exponent_bits: int
    fraction_bits: int
    nan: int

    @property
    def significand(self) -> int:
        """Bits of the significand, the leading one included."""
        return self.fraction_bits + 1

    @property
    def exponent_ones(self) -> int:
        """The exponent field of NaN and infinities."""
        return (1 << self.exponent_bits) - 1

    @property
    def infinity(self) -> int:
        """Bit pattern of plus infinity."""
        return self.exponent_ones << self.fraction_bits


FP16 = FloatFormat(exponent_bits=5, fraction_bits=10, nan=0x7E00)
BF16 = FloatFormat(exponent_bits=8, fraction_bits=7, nan=0x7FC0)
FLOATS = {"fp16": FP16, "bf16": BF16}
"""Formats of activations by the names of ``act_format``."""
