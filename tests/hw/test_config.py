"""EngineConfig: every rule with its message, derived sizes proven by arithmetic, files, presets."""

import json
import math
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.config import (
    FRONT_END_LATENCY,
    PRESETS,
    PRODUCT_BITS,
    PRODUCT_LSB_EXP,
    QUANTIZE_LATENCY,
    RESULT_LATENCY,
    RESULT_QUEUE_DEPTH,
    ConfigError,
    EngineConfig,
    clog2,
    named_preset,
)

REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=300)
GOOD = {"name": "test", "k_par": 8, "n_par": 4, "k_max": 64, "n_max": 32}
LIMITS = {
    "k_par": (1, 512),
    "n_par": (1, 1024),
    "m_par": (1, 1),
    "act_bits": (4, 24),
    "k_max": (1, 65536),
    "n_max": (1, 1048576),
    "act_par": (1, 512),
    "out_par": (1, 64),
    "levels_per_stage": (1, 9),
}


def refusal(**change) -> str:
    with pytest.raises(ConfigError) as error:
        EngineConfig(**(GOOD | change))
    return str(error.value)


# ---- rules ------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", LIMITS)
def test_each_range(field):
    low, high = LIMITS[field]
    for value in (low - 1, high + 1, -1):
        assert refusal(**{field: value}) == f"{field} must be from {low} to {high}, not {value}"


@pytest.mark.parametrize("field", LIMITS)
@pytest.mark.parametrize("value", [1.0, "8", None, True])
def test_each_size_is_an_integer(field, value):
    assert refusal(**{field: value}) == f"{field} must be an integer, not {value!r}"


@pytest.mark.parametrize("name", ["", "a b", "1a", "a-b", "a;", None, 3])
def test_the_name(name):
    assert refusal(name=name) == (
        "name must be ASCII letters, digits and underscores and not start with a digit, "
        f"not {name!r}"
    )


@pytest.mark.parametrize("clock", [0, -1.0, 100001, float("nan"), float("inf"), "100", None, True])
def test_the_clock(clock):
    assert refusal(clock_mhz=clock) == (
        f"clock_mhz must be above 0 and at most 100000, not {clock!r}"
    )


def test_relations():
    assert refusal(act_par=3) == "act_par must divide k_par, not 3 with k_par 8"
    assert refusal(act_par=16) == "act_par must divide k_par, not 16 with k_par 8"
    assert refusal(out_par=3) == "out_par must divide n_par, not 3 with n_par 4"
    assert refusal(out_par=8) == "out_par must divide n_par, not 8 with n_par 4"
    assert refusal(k_max=7) == "k_max must be at least k_par = 8, not 7"
    assert refusal(n_max=3) == "n_max must be at least n_par = 4, not 3"


def test_arguments_have_names_and_fields_stay():
    with pytest.raises(TypeError):
        EngineConfig("test", 8, 4)
    with pytest.raises(FrozenInstanceError):
        EngineConfig(**GOOD).k_par = 16


# ---- derived sizes ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [*range(1, 70), 65535, 65536, 65537])
def test_clog2(value):
    assert 2 ** clog2(value) >= value
    assert clog2(value) == 0 or 2 ** (clog2(value) - 1) < value


def fits_signed(value: int, width: int) -> bool:
    return -(1 << (width - 1)) <= value < 1 << (width - 1)


configs = st.builds(
    lambda k_par, n_par, act_bits, k_max, n_max, act_par, out_par, levels: EngineConfig(
        name="random",
        k_par=k_par * act_par,
        n_par=n_par * out_par,
        act_bits=act_bits,
        k_max=max(k_max, k_par * act_par),
        n_max=max(n_max, n_par * out_par),
        act_par=act_par,
        out_par=out_par,
        levels_per_stage=levels,
    ),
    k_par=st.integers(1, 32),
    n_par=st.integers(1, 32),
    act_bits=st.integers(4, 24),
    k_max=st.integers(1, 65536),
    n_max=st.integers(1, 1 << 20),
    act_par=st.integers(1, 16),
    out_par=st.integers(1, 16),
    levels=st.integers(1, 9),
)


def test_a_product_of_two_halves_fits_its_width():
    largest = Fraction(65504) ** 2 / Fraction(2) ** PRODUCT_LSB_EXP
    assert largest.denominator == 1
    assert 2 ** (PRODUCT_BITS - 1) <= largest < 2**PRODUCT_BITS
    assert Fraction(2) ** PRODUCT_LSB_EXP == Fraction(1, 2**24) ** 2


@given(configs)
@REPEATABLE
def test_the_accumulator_holds_the_extreme_sum(config):
    extreme = config.k_max * (2 ** (config.act_bits - 1) - 1)
    assert fits_signed(extreme, config.acc_bits)
    assert fits_signed(-extreme, config.acc_bits)
    # It is derived, not guessed: at most one bit more than this K_max needs.
    assert not fits_signed(extreme, config.acc_bits - 2)


@given(configs)
@REPEATABLE
def test_the_wide_sum_holds_the_extreme_total(config):
    product = 65504**2 << -PRODUCT_LSB_EXP
    top = product.bit_length() - 1
    exponent = max(top - (config.act_bits - 2), 0)
    assert exponent < 2**config.exponent_bits
    sums = config.k_max * (2 ** (config.act_bits - 1) - 1) << exponent
    shift_sum = config.k_max * product
    for z in (sums, -sums):
        for b in (shift_sum, -shift_sum):
            assert fits_signed(z + b, config.wide_bits)
    assert not fits_signed(sums + shift_sum, config.wide_bits - 2)


@given(configs)
@REPEATABLE
def test_counts(config):
    assert config.lanes == config.weight_beat_bits == config.k_par * config.n_par
    assert config.slots_per_word * config.act_par == config.k_par
    assert (config.chunks_max - 1) * config.act_par < config.k_max
    assert config.k_max <= config.chunks_max * config.act_par
    assert (config.words_max - 1) * config.k_par < config.k_max <= config.words_max * config.k_par
    # The tree is deep enough for k_par terms, and not a stage deeper (but has one at least).
    assert 2 ** (config.tree_stages * config.levels_per_stage) >= config.k_par
    if config.tree_stages > 1:
        assert 2 ** ((config.tree_stages - 1) * config.levels_per_stage) < config.k_par
    assert config.array_latency == config.tree_stages + 2
    assert config.latency_cycles == {
        "front_end": FRONT_END_LATENCY,
        "quantize": QUANTIZE_LATENCY,
        "array": config.array_latency,
        "result": RESULT_LATENCY,
    }


def test_the_result_queue_sustains_a_beat_a_cycle():
    assert RESULT_QUEUE_DEPTH >= RESULT_LATENCY + 1


@given(configs, st.data())
@REPEATABLE
def test_beats(config, data):
    k = data.draw(st.integers(1, config.k_max))
    n = data.draw(st.integers(1, config.n_max))
    assert config.beats(k, n) == math.ceil(k / config.k_par) * math.ceil(n / config.n_par)


def test_a_layer_that_does_not_fit():
    config = EngineConfig(**GOOD)
    assert config.beats(64, 32) == 64
    for k, n, message in (
        (0, 1, "K must be from 1 to 64 on preset test, not 0"),
        (65, 1, "K must be from 1 to 64 on preset test, not 65"),
        (1, 0, "N must be from 1 to 32 on preset test, not 0"),
        (1, 33, "N must be from 1 to 32 on preset test, not 33"),
    ):
        for check in (config.beats, config.check_shape):
            with pytest.raises(ConfigError) as error:
                check(k, n)
            assert str(error.value) == message


# ---- files ------------------------------------------------------------------------------------


@given(configs)
@REPEATABLE
def test_dictionary_round_trip(config):
    assert EngineConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def file_refusal(path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as error:
        EngineConfig.from_file(path)
    assert str(error.value).startswith(str(path))
    return str(error.value)[len(str(path)) :]


def test_a_file_round_trip(tmp_path):
    path = tmp_path / "engine.json"
    path.write_text(json.dumps(PRESETS["kv260"].to_dict()))
    assert EngineConfig.from_file(path) == PRESETS["kv260"]
    assert EngineConfig.from_file(str(path)) == PRESETS["kv260"]


def test_defaults_need_not_be_given(tmp_path):
    path = tmp_path / "engine.json"
    path.write_text(json.dumps(GOOD))
    assert EngineConfig.from_file(path) == EngineConfig(**GOOD)


def test_files_that_break_a_rule(tmp_path):
    path = tmp_path / "engine.json"
    fields = "name, k_par, n_par, m_par, act_bits, k_max, n_max, act_par, out_par, " \
        "levels_per_stage, clock_mhz"
    assert file_refusal(path, "[1]") == " must be a JSON object, not list"
    for raw in ("", "{", "{'a': 1}", b"\xff\xfe", "1" * 5000):
        assert file_refusal(path, raw).startswith(" must be valid JSON: ")
    assert file_refusal(path, json.dumps(GOOD | {"kpar": 1, "a": 2})) == (
        f": keys must be among {fields}, not a, kpar"
    )
    missing = {key: GOOD[key] for key in ("name", "n_par", "k_max")}
    assert file_refusal(path, json.dumps(missing)) == (
        " must give name, k_par, n_par, k_max, n_max; missing: k_par, n_max"
    )
    assert file_refusal(path, json.dumps(GOOD | {"act_bits": 25})) == (
        ": act_bits must be from 4 to 24, not 25"
    )


def test_a_file_that_cannot_be_read(tmp_path):
    for path, reason in ((tmp_path / "none", "No such file or directory"),
                         (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError) as error:
            EngineConfig.from_file(path)
        assert str(error.value) == f"cannot read {path}: {reason}"


# ---- presets ----------------------------------------------------------------------------------


def test_presets_are_named_after_themselves():
    assert {"tiny", "kv260", "kv260_a8"} <= PRESETS.keys()
    for name, config in PRESETS.items():
        assert config.name == name
        assert named_preset(name) is config


def test_the_kv260_presets():
    kv260 = named_preset("kv260")
    # One beat a cycle is what the board's DDR4 gives: 19.2 GB/s.
    assert kv260.weight_beat_bits / 8 * kv260.clock_mhz * 1e6 == 19.2e9
    assert kv260.act_bits == 16
    assert replace(kv260, name="kv260_a8", act_bits=8) == named_preset("kv260_a8")
    kv260.check_shape(11008, 4096)  # the largest layers of the 7B model
    kv260.check_shape(4096, 11008)


def test_an_unknown_preset():
    with pytest.raises(ConfigError) as error:
        named_preset("u9")
    assert str(error.value) == f"a preset is one of {', '.join(PRESETS)}, not 'u9'"


def test_it_loads_without_amaranth_and_numpy():
    code = "import hw.config, sys; print([m for m in ('amaranth', 'numpy') if m in sys.modules])"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
