"""The window's algorithm in Python integers against exact rationals: no RTL here."""

import random
from dataclasses import replace

import pytest

from hw.config import EngineConfig

from .exact import exact_output, random_exponent, random_sums, random_total
from .window_model import drain_output, reduce_shift_sum

BASE = EngineConfig(name="test", k_par=1, n_par=1, n_max=1, k_max=1)
WINDOWS = 700
MORE_WINDOWS = 13_000
"""With --full: 104,000 windows of both formats, with scales and without."""


@pytest.mark.parametrize("scale_out", ["none", "row"])
@pytest.mark.parametrize("act_format", ["fp16", "bf16"])
@pytest.mark.parametrize("seed", range(2))
def test_no_result_differs(act_format, scale_out, seed, pytestconfig):
    source = random.Random(f"{seed} {act_format} {scale_out}")
    cancelled = far = 0
    for _ in range(MORE_WINDOWS if pytestconfig.getoption("--full") else WINDOWS):
        config = replace(
            BASE, act_format=act_format, scale_out=scale_out, act_bits=source.randint(4, 24),
            k_max=source.choice([1, 2, 32, 16384, 65536]),
        )  # fmt: skip
        exponent = random_exponent(config, source)
        total = random_total(config, source, exponent)
        window = reduce_shift_sum(config, total, exponent)
        assert 0 <= window.place < 1 << config.place_bits
        bits = config.window_bits
        assert -1 << (bits - 1) <= window.base < 1 << (bits - 1)
        far += abs(total).bit_length() > exponent + config.window_bound + 16
        for value in random_sums(config, source, exponent, total, 8):
            expected = exact_output(config, value, exponent, total)
            about = f"A{config.act_bits} K{config.k_max} E {exponent} B {total:#x} Z {value:#x}"
            assert drain_output(config, value, window) == expected, about
            whole = value + (window.base >> config.float.significand)
            cancelled += whole in (0, -1)
    assert cancelled > 10
    assert far > 10


@pytest.mark.parametrize("act_format", ["fp16", "bf16"])
def test_a_carry_does_not_cross_what_is_left_out(act_format):
    """Far sums whose low part is nearly a power of two: found by chance in a longer run."""
    config = replace(BASE, act_format=act_format, k_max=16384)
    bound = config.window_bound
    for extra in range(2, 12):
        for low in ((1 << bound + 2) - 1, 1 << bound + 1, (1 << bound + 1) - 1, 0):
            for middle in (0, 1, (1 << extra) - 1, 1 << extra - 1):
                top = 1 << config.float.significand + 1 | 0b101
                total = ((top << extra | middle) << bound + 2 | low) << 1
                for sign in (1, -1):
                    window = reduce_shift_sum(config, sign * total, 1)
                    for value in ((1 << bound) - 1, -(1 << bound) + 1, 0):
                        assert drain_output(config, value, window) == exact_output(
                            config, value, 1, sign * total
                        )
