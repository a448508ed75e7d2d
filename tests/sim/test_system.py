"""Whole-model estimates, held against arithmetic from the architecture and against physics."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.config import MODELS, ModelConfig, named_model
from hw.config import named_preset
from sim.energy import ENERGY_PARTS
from sim.engine import vector_cycles
from sim.errors import InputError
from sim.interval import Interval, total
from sim.memory import MEMORIES, named_memory
from sim.system import (
    SYSTEM_NAMES,
    array_step_time_s,
    estimate,
    named_system,
    operator_events,
)

KV260 = named_system("kv260")


def beats_plus_100(config, shapes):
    """Stand in for the engine: one cycle a beat and 100 cycles around a run of layers."""
    return sum(config.beats(k, n) for k, n in shapes) + 100


def exactly(bandwidth_gb_s, **changes):
    """A KV260 whose memory gives `bandwidth_gb_s`, no more and no less."""
    memory = replace(KV260.memory, peak_gb_s=bandwidth_gb_s, efficiency=Interval.exactly(1.0))
    return replace(KV260, memory=memory, **changes)


def run(name="fbi-7b", system=KV260, **kwargs):
    kwargs.setdefault("engine_cycles", beats_plus_100)
    return estimate(named_model(name), system, **kwargs)


def by_name(result):
    return {entry.operator.name: entry for entry in result.operators}


# ---- one operator at a time, by hand ----------------------------------------------------------


def test_a_memory_bound_group_by_hand():
    # gate and up of 7B on 32 * 32 lanes at 150 MHz: 2 * 128 * 344 beats + 100 cycles = 587.8 us.
    # DRAM: 2 * (4096 * 11008 / 8 + 4 * 4096) bytes at 19.2 GB/s * 95.385 % = 617.3 us.
    entries = by_name(run())
    cycles = 2 * 128 * 344 + 100
    seconds = 2 * (4096 * 11008 / 8 + 4 * 4096) / (19.2e9 * (1 - 360 / 7800))
    assert entries["gate_proj"].cycles + entries["up_proj"].cycles == 32 * cycles
    assert cycles / 150e6 < seconds
    together = entries["gate_proj"].time_s.nominal + entries["up_proj"].time_s.nominal
    assert together == pytest.approx(32 * seconds)
    assert entries["gate_proj"].bound_by == entries["up_proj"].bound_by == "memory"
    assert entries["gate_proj"].time_s.nominal == pytest.approx(together / 2)


def test_an_array_bound_group_by_hand():
    # A memory ten times as fast: the same group takes its cycles, at every bound of efficiency
    fast = replace(KV260, memory=named_memory("hbm2-u280"))
    entries = by_name(run(system=fast))
    cycles = 32 * (2 * 128 * 344 + 100)
    assert entries["gate_proj"].bound_by == "array"
    together = entries["gate_proj"].time_s + entries["up_proj"].time_s
    assert together.low == pytest.approx(cycles / 150e6)
    assert together.high == pytest.approx(cycles / 150e6)
    # the 100 cycles around the run are counted once a group, with its first member
    assert entries["gate_proj"].cycles - entries["up_proj"].cycles == 32 * 100


def test_run_ahead_is_limited_by_the_weight_buffer():
    # 15,000 cycles, 12,000 of them beats: 20 us idle and 80 us of beats at 150 MHz.
    # 150,000 bytes at 1 GB/s: 150 us.
    def time_us(buffer, gb_s=1.0):
        system = exactly(gb_s, weight_buffer_bytes=buffer)
        time, bound = array_step_time_s(15_000, 12_000, 150_000, system)
        assert time.low == time.high
        return time.nominal * 1e6, bound

    assert time_us(0) == (pytest.approx(20 + 150), "memory")
    assert time_us(5_000) == (pytest.approx(20 + 150 - 5), "memory")  # 5 us of run-ahead
    assert time_us(20_000) == (pytest.approx(150), "memory")  # all idle time is used
    assert time_us(10**9) == (pytest.approx(150), "memory")
    assert time_us(0, 2.0) == (pytest.approx(20 + 80), "array")  # 75 us of DRAM behind 80 of beats
    assert time_us(10**9, 100.0) == (pytest.approx(100), "array")


@given(
    beats=st.integers(1, 10**6),
    idle=st.integers(0, 10**6),
    amount=st.integers(0, 10**9),
    buffer=st.integers(0, 10**9),
)
def test_step_time_lies_between_full_overlap_and_none(beats, idle, amount, buffer):
    system = replace(KV260, weight_buffer_bytes=buffer)
    time, _ = array_step_time_s(beats + idle, beats, amount, system)
    memory = system.memory.transfer_time_s(amount)
    for bound in ("low", "nominal", "high"):
        own, dram = getattr(time, bound), getattr(memory, bound)
        assert own >= max((beats + idle) / 150e6, dram) * (1 - 1e-9)
        assert own <= (idle / 150e6 + max(beats / 150e6, dram)) * (1 + 1e-9)


def test_vector_operators_by_hand():
    entries = by_name(run())
    # SwiGLU: 5 operations on 11008 elements, 64 a cycle = 860 cycles, and 32 of latency; no DRAM
    assert entries["swiglu"].cycles == 32 * (5 * 11008 // 64 + 32)
    assert entries["swiglu"].bound_by == "vector"
    assert entries["swiglu"].time_s.nominal == pytest.approx(32 * (860 + 32) / 150e6)
    # head: 4096 * 32000 MACs, 64 a cycle; 2 bytes each from DRAM take longer
    assert entries["lm_head"].cycles == 4096 * 32000 // 64 + 32
    assert entries["lm_head"].bound_by == "memory"
    assert entries["lm_head"].time_s.nominal == pytest.approx(
        4096 * 32000 * 2 / (19.2e9 * (1 - 360 / 7800))
    )
    assert entries["embedding"].cycles == 0


def test_events_of_an_fbi_linear_by_hand():
    entry = by_name(run("fbi-130m"))["down_proj"]
    events = operator_events(entry.operator, KV260)
    k, n = 2048, 768
    beats = (2048 // 32) * (768 // 32)
    stream = 8 * (beats * 128 + 4 * k)
    assert events.weight_beats == beats
    assert events.front_end_muls == 2 * k
    assert events.wide_adds == k + 2 * n
    # Tables of 4 inputs: 8 groups of 18-bit sums. A word is read and 8 entries are made for each of
    # 32 outputs; a beat looks up 8 sums and adds to a partial sum of 16 + 14 bits for each.
    steps, entry, partial = (2048 // 32) * 8, 8 * 18, 30
    made, looked_up, summed = steps * 32 * entry, beats * 32 * entry, beats * 32 * partial
    stored = stream + 32 * k + 16 * n
    assert events.sram_read_bits == stored + steps * 32 * 16 + looked_up + summed
    assert events.sram_write_bits == stored + 16 * k + made + summed


def test_events_without_tables_read_a_word_per_beat():
    direct = replace(KV260, engine=replace(KV260.engine, structure="direct", group=1))
    events = operator_events(by_name(run("fbi-130m"))["down_proj"].operator, direct)
    k, n, beats = 2048, 768, 64 * 24
    stored = 8 * (beats * 128 + 4 * k) + 32 * k + 16 * n
    assert events.sram_read_bits == stored + beats * 32 * 16
    assert events.sram_write_bits == stored + 16 * k


def test_dram_energy_by_hand():
    result = run()
    # every byte of the step, 8 bits, 20.3 pJ
    assert result.energy_parts_j["dram"].nominal == pytest.approx(
        result.workload.bytes * 8 * 20.3e-12
    )
    assert result.energy_parts_j["static"].nominal == pytest.approx(3.6 * result.time_s.nominal)


# ---- whole models -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_no_model_beats_the_bandwidth_of_its_memory(name):
    result = run(name)
    speed = result.tokens_per_second
    # everything that a token must read, at peak bandwidth
    assert speed.high < result.bandwidth_limit_tokens_per_second
    assert result.bandwidth_limit_tokens_per_second == pytest.approx(
        19.2e9 / result.workload.bytes
    )
    # with matched lanes and memory, an estimate far under that limit would be a modelling error
    assert speed.nominal > 0.8 * result.bandwidth_limit_tokens_per_second


def test_fbi_7b_on_kv260_by_envelope():
    # 810 MB of sign bits + 262 MB of head + 268 MB of KV cache at 512 positions = 1.34 GB a token;
    # 19.2 GB/s / 1.34 GB = 14.3 tokens/s, 13.7 of them at 95.4 %, and some time in vector steps
    result = run("fbi-7b", context=512)
    assert result.bandwidth_limit_tokens_per_second == pytest.approx(14.3, abs=0.1)
    assert 12.5 < result.tokens_per_second.nominal < 13.7
    # 1.34 GB * 8 * 20.3 pJ = 0.22 J of DRAM, 3.6 W * 74 ms = 0.27 J static: about half a joule
    assert 0.4 < result.energy_j.nominal < 0.6
    # power drawn in all must be that of such a board: above idle, below its 12 V 3 A supply
    watts = result.energy_j.nominal / result.time_s.nominal
    assert 3.6 < watts < 36


@pytest.mark.parametrize("name", MODELS)
def test_totals_are_the_sums_of_their_parts(name):
    result = run(name)
    assert total(e.time_s for e in result.operators).nominal == pytest.approx(
        result.time_s.nominal
    )
    dynamic = total(e.energy_j for e in result.operators)
    for bound in ("low", "nominal", "high"):
        assert getattr(result.energy_j, bound) == pytest.approx(
            getattr(dynamic, bound) + getattr(result.energy_parts_j["static"], bound)
        )
    assert sum(result.time_by_bound().values()) == pytest.approx(result.time_s.nominal)
    assert tuple(result.energy_parts_j) == ENERGY_PARTS


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(MODELS)),
    memory=st.sampled_from(sorted(MEMORIES)),
    shares=st.lists(st.integers(1, 2048), min_size=2, max_size=2),
)
def test_more_context_is_never_cheaper_and_intervals_hold(name, memory, shares):
    limit = MODELS[name].max_position_embeddings
    contexts = [max(1, share * limit // 2048) for share in shares]
    system = named_system("kv260", memory=memory)
    short, long = (run(name, system, context=c) for c in sorted(contexts))
    for bound in ("low", "nominal", "high"):
        assert getattr(short.time_s, bound) <= getattr(long.time_s, bound)
        assert getattr(short.energy_j, bound) <= getattr(long.energy_j, bound)
    for entry in long.operators:
        if entry.operator.kind != "fbi-linear":  # those share their group's time
            assert entry.time_s.nominal * (1 + 1e-9) >= entry.cycles / 150e6


def test_faster_memory_is_never_slower():
    times = [
        run(system=replace(KV260, memory=replace(KV260.memory, peak_gb_s=peak))).time_s.nominal
        for peak in (4.8, 9.6, 19.2, 38.4, 1e4)
    ]
    assert times == sorted(times, reverse=True)


def test_narrow_activations_cost_less_array_energy():
    wide, narrow = run(), run(system=named_system("kv260_a8"))
    assert narrow.energy_parts_j["array"].nominal < wide.energy_parts_j["array"].nominal
    assert narrow.time_s == wide.time_s  # same lanes, same bytes


# ---- report -----------------------------------------------------------------------------------


def test_json_has_the_keys_that_scripts_rely_on():
    data = json.loads(json.dumps(run("fbi-130m").to_json(), allow_nan=False))
    assert set(data["energy_per_token_j"]) == {"low", "nominal", "high"}
    assert isinstance(data["tokens_per_second"], float)
    assert data["tokens_per_second"] * data["time_per_token_s"] == pytest.approx(1)
    ranges = data["time_per_token_range_s"]
    assert ranges["low"] < data["time_per_token_s"] == ranges["nominal"] < ranges["high"]
    assert [entry["name"] for entry in data["operators"]][:4] == [
        "embedding",
        "input_norm",
        "q_proj",
        "k_proj",
    ]
    assert sum(entry["time_s"] for entry in data["operators"]) == pytest.approx(
        data["time_per_token_s"]
    )
    total_bytes = sum(sum(entry["dram_bytes"].values()) for entry in data["operators"])
    assert total_bytes == sum(data["dram_bytes_per_token"].values())
    provenance = data["provenance"]
    assert provenance["engine"]["name"] == "kv260"
    assert provenance["marks"]["cycles of fbi-linear"] == "injected"
    assert provenance["marks"]["energy_per_token_j"] == "modelled"
    assert all(c["source"] for c in provenance["technology"]["constants"].values())


def test_only_what_the_rtl_backs_is_marked_exact():
    result = estimate(named_model("fbi-43m"), KV260)
    marks = {(entry.operator.kind, entry.cycles_mark) for entry in result.operators}
    assert marks == {
        ("fbi-linear", "rtl-exact"),
        ("dense-linear", "modelled"),
        ("attention", "modelled"),
        ("vector", "modelled"),
    }


@pytest.mark.parametrize("name", MODELS)
def test_engine_cycles_take_at_least_a_cycle_a_beat(name):
    model = named_model(name)
    result = estimate(model, KV260)
    linears = [e for e in result.operators if e.operator.kind == "fbi-linear"]
    beats = sum(e.operator.weight_beats * e.operator.count for e in linears)
    cycles = sum(e.cycles for e in linears)
    assert cycles >= beats
    groups = [("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",)]
    shapes = {n: tuple(reversed(model.linear_shape(n))) for group in groups for n in group}
    assert cycles == model.num_hidden_layers * sum(
        vector_cycles(KV260.engine, [shapes[n] for n in group]) for group in groups
    )


# ---- refusals ---------------------------------------------------------------------------------


def test_a_model_beyond_the_memory_is_refused():
    small = replace(KV260, memory=replace(KV260.memory, capacity_bytes=1 << 30))
    with pytest.raises(InputError, match=r"the weights and the KV cache of 512 positions must fit "
                                         r"the memory ddr4-2400-x64 of 1073741824 bytes, not \d+"):
        run("fbi-7b", small)


def test_a_context_beyond_the_model_is_refused():
    with pytest.raises(InputError, match="max_position_embeddings = 2048, not 2049"):
        run(context=2049)


def test_a_layer_beyond_the_engine_is_refused():
    tiny = named_system("kv260", engine=named_preset("tiny"))
    with pytest.raises(InputError, match="q_proj of 768 inputs and 768 outputs: K must be from 1"):
        run("fbi-130m", tiny)


def test_unknown_names_are_refused():
    assert set(SYSTEM_NAMES) == {"kv260", "kv260_a8"}
    with pytest.raises(InputError, match="a system is one of kv260, kv260_a8, not 'nope'"):
        named_system("nope")
    with pytest.raises(InputError, match="a memory is one of"):
        named_system("kv260", memory="nope")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vector_lanes": 0}, "vector_lanes must be an integer of at least 1, not 0"),
        ({"vector_lanes": 2.0}, "vector_lanes must be an integer of at least 1, not 2.0"),
        ({"weight_buffer_bytes": -1}, "weight_buffer_bytes must be an integer of at least 0"),
        ({"vector_latency_cycles": -1}, "vector_latency_cycles must be an integer of at least 0"),
    ],
)
def test_bad_systems_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(KV260, **change)


def test_static_power_alone_scales_energy():
    hot = replace(KV260, static_power_w=Interval(10, 10, 10))
    extra = run(system=hot).energy_j.nominal - run().energy_j.nominal
    assert extra == pytest.approx((10 - 3.6) * run().time_s.nominal)


def test_a_model_not_among_the_named_ones():
    model = ModelConfig(
        hidden_size=20,
        intermediate_size=50,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=6,
        vocab_size=100,
    )
    assert estimate(model, KV260, context=3, engine_cycles=beats_plus_100).time_s.nominal > 0


def test_the_simulator_starts_without_heavy_packages():
    script = (
        "import sys, sim.system, sim.baselines\n"
        "heavy = {'torch', 'amaranth', 'pandas', 'scipy', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
