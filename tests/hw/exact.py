"""Vectors as the reducer and the drain meet them, and what they must make of them, exactly."""

from __future__ import annotations

from fractions import Fraction

from golden.reference import bf16_value, fp16_value, round_to_bf16, round_to_fp16
from hw.config import SMALLEST_STEP, EngineConfig, clog2


def value_of(config: EngineConfig, bits: int) -> Fraction | None:
    """Return the value of an activation's bit pattern; None if it is not finite."""
    return (fp16_value if config.act_format == "fp16" else bf16_value)(bits)


def rounded(config: EngineConfig, value: Fraction) -> int:
    """Return the bit pattern of the result nearest to `value`."""
    return (round_to_fp16 if config.act_format == "fp16" else round_to_bf16)(value)


def sum_limit(config: EngineConfig) -> int:
    """Return the largest magnitude of what the drain adds to a window."""
    limit = config.k_max * (2 ** (config.act_bits - 1) - 1)
    return limit * (2047 << 29) if config.scales else limit


def exact_output(config: EngineConfig, value: int, exponent: int, total: int) -> int:
    """Return RN(value * 2**exponent + total), in units of products; scaled sums are smaller."""
    unit = Fraction(2) ** (exponent - config.sum_lsb_bits)
    return rounded(config, (value * unit + total) * Fraction(2) ** config.product_lsb_exp)


def random_exponent(config: EngineConfig, source) -> int:
    """Return a block exponent: the corners and what lies around the smallest results."""
    largest = config.product_bits - config.act_bits + 1
    # A unit of the sums is half a smallest result, one, or two.
    smallest = SMALLEST_STEP + config.sum_lsb_bits
    near = [min(smallest + d, largest) for d in (-1, 0, 1)]
    return source.choice(
        [0, 1, 5, largest, min(largest, 34), *near, *(source.randint(0, largest) for _ in range(3))]
    )


def random_total(config: EngineConfig, source, exponent: int) -> int:
    """Return a shift sum around the places where the window changes, or beside a cut of it."""
    p, bound = config.float.significand, config.window_bound
    lowest = exponent - config.sum_lsb_bits
    bits = config.product_bits + clog2(config.k_max)
    size = source.choice(
        [
            0, 3, lowest, lowest + 4, lowest + bound, *(lowest + bound + p + d for d in range(9)),
            bits, source.randint(0, bits),
        ]
    )  # fmt: skip
    size = min(max(size, 0), bits)
    total = source.getrandbits(size) if size else 0
    if source.random() < 0.3 and size:
        total |= 1 << (size - 1)
    if source.random() < 0.5 and size > 12:  # next to a multiple of what rounding cuts at
        near = max(0, size - source.randint(p - 2, p + 3))
        total = (total >> near << near) + source.randint(-3, 4) * source.choice(
            [1, 1 << max(lowest, 0)]
        )
    if source.random() < 0.1:
        total = source.choice([0, 1 << size, (1 << size) - 1])
    if source.random() < 0.15:  # whole units of the sums, so few that a sum can cancel them
        total = source.randint(0, 9) << max(lowest, 0)
    most = (1 << bits) - 1
    return source.choice([-1, 1]) * min(max(total, -most), most)


def random_sums(config: EngineConfig, source, exponent: int, total: int, count: int) -> list[int]:
    """Return sums: the extremes, zero, any, and those that nearly cancel `total`."""
    limit = sum_limit(config)
    lowest = exponent - config.sum_lsb_bits
    cancels = -(total >> lowest) if lowest >= 0 else -(total << -lowest)
    sums = []
    for _ in range(count):
        value = source.choice(
            [
                limit, -limit, 0, source.randint(-limit, limit),
                *(cancels + source.randint(-2, 2) for _ in range(2)),
                source.choice([-1, 1]) * source.getrandbits(source.randint(1, limit.bit_length())),
            ]
        )  # fmt: skip
        sums.append(min(max(value, -limit), limit))
    return sums
