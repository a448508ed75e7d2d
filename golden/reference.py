"""The contract once more, in Python integers: slow, plain, and independent of golden.linear.

It shares no arithmetic with :mod:`golden.linear`; tests hold the two (and the RTL) together.
"""

from __future__ import annotations

from fractions import Fraction

_NAN = 0x7E00
_INF = 0x7C00
_BF16_NAN = 0x7FC0
_BF16_INF = 0x7F80


def fp16_value(bits: int) -> Fraction | None:
    """Return the exact value of a float16 bit pattern, or None for NaN and infinities."""
    exponent = (bits >> 10) & 0x1F
    fraction = bits & 0x3FF
    if exponent == 0x1F:
        return None
    if exponent == 0:
        magnitude = Fraction(fraction, 2**24)
    else:
        magnitude = Fraction(1024 + fraction, 1024) * Fraction(2) ** (exponent - 15)
    return -magnitude if bits >> 15 else magnitude


def bf16_value(bits: int) -> Fraction | None:
    """Return the exact value of a bfloat16 bit pattern, or None for NaN and infinities."""
    exponent = (bits >> 7) & 0xFF
    fraction = bits & 0x7F
    if exponent == 0xFF:
        return None
    if exponent == 0:
        magnitude = Fraction(fraction, 2**133)
    else:
        magnitude = Fraction(128 + fraction, 128) * Fraction(2) ** (exponent - 127)
    return -magnitude if bits >> 15 else magnitude


def round_to_even(value: Fraction) -> int:
    """Return the integer nearest to `value`, ties to the even one."""
    return round(value)  # Python's round of a Fraction is exactly that


def round_to_fp16(value: Fraction) -> int:
    """Return the float16 bit pattern nearest to `value`; exact zero is +0, overflow infinite."""
    if value == 0:
        return 0
    sign = 0x8000 if value < 0 else 0
    magnitude = abs(value)
    exponent = -14  # of the smallest normal; subnormals share its spacing
    while exponent < 16 and magnitude >= Fraction(2) ** (exponent + 1):
        exponent += 1
    spacing = Fraction(2) ** (exponent - 10)
    steps = round_to_even(magnitude / spacing)
    if steps * spacing >= 65536:
        return sign | _INF
    if steps == 2048:
        steps, exponent = 1024, exponent + 1
    if steps < 1024:
        return sign | steps
    return sign | ((exponent + 15) << 10) | (steps - 1024)


def round_to_bf16(value: Fraction) -> int:
    """Return the bfloat16 bit pattern nearest to `value`; exact zero is +0, overflow infinite."""
    if value == 0:
        return 0
    sign = 0x8000 if value < 0 else 0
    magnitude = abs(value)
    exponent = min(max(floor_log2(magnitude), -126), 128)
    spacing = Fraction(2) ** (exponent - 7)
    steps = round_to_even(magnitude / spacing)
    if steps * spacing >= 2**128:
        return sign | _BF16_INF
    if steps == 256:
        steps, exponent = 128, exponent + 1
    if steps < 128:
        return sign | steps
    return sign | ((exponent + 127) << 7) | (steps - 128)


def floor_log2(value: Fraction) -> int:
    """Return floor(log2(value)) of a positive value."""
    result = value.numerator.bit_length() - value.denominator.bit_length()
    return result if Fraction(2) ** result <= value else result - 1


def fbi_linear_vector(
    x: list[int],
    signs: list[list[int]],
    scale_in: list[int],
    shift_in: list[int],
    *,
    act_bits: int,
    scale_out: list[int] | list[list[int]] | None = None,
    group_size: int | None = None,
    act_format: str = "fp16",
) -> list[int]:
    """Return the outputs of one token vector, all numbers as bit patterns.

    `x`, `scale_in`, `shift_in` have length K; `signs` is N rows of K values -1, +1 or, for ternary
    weights, 0. `scale_out` is None, or has length N, or, with `group_size` inputs to a group, is N
    rows of one scale per group. x and the outputs are float16, or bfloat16 with
    ``act_format="bf16"``; scales and shifts are float16.
    """
    if act_format == "bf16":
        value_of, rounded, nan, lowest = bf16_value, round_to_bf16, _BF16_NAN, -157
    else:
        value_of, rounded, nan, lowest = fp16_value, round_to_fp16, _NAN, -48
    xs = [value_of(b) for b in x]
    scales, shifts = ([fp16_value(b) for b in v] for v in (scale_in, shift_in))
    if any(v is None for v in (*xs, *scales, *shifts)):
        return [nan] * len(signs)
    products = [c * v for c, v in zip(scales, xs, strict=True)]
    largest = max(abs(p) for p in products)
    exponent = lowest
    if largest > 0:
        exponent = max(exponent, floor_log2(largest) - (act_bits - 2))
    unit = Fraction(2) ** exponent
    limit = 2 ** (act_bits - 1) - 1
    q = [max(-limit, min(limit, round_to_even(p / unit))) for p in products]
    beta_x = sum((b * v for b, v in zip(shifts, xs, strict=True)), Fraction(0))
    outputs = []
    for i, row in enumerate(signs):
        if scale_out is None:
            a = [Fraction(1)]
        elif group_size is None:
            a = [fp16_value(scale_out[i])]
        else:
            a = [fp16_value(b) for b in scale_out[i]]
        if any(v is None for v in a):
            outputs.append(nan)
            continue
        total = Fraction(0)
        for j, (t, v) in enumerate(zip(row, q, strict=True)):
            total += a[j // group_size if group_size is not None else 0] * (t * v)
        outputs.append(rounded(total * unit + beta_x))
    return outputs
