"""Whole-model estimates, held against arithmetic from the architecture and against physics."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.config import MODELS, ModelConfig, named_model
from sim.energy import ENERGY_PARTS
from sim.engine import vector_cycles
from sim.errors import InputError
from sim.interval import Interval, total
from sim.memory import MEMORIES
from sim.system import estimate, named_link, named_system, simulate
from sim.workload import BYTE_CATEGORIES, STEPS, Formats

KV260 = named_system("kv260")
# Efficiency of the KV260's memory: 350 + 7.5 + 2 * 14.16 ns lost of every 7800 (test_config.py)
SHARE = 1 - (350 + 7.5 + 2 * 14.16) / 7800


def one(name="fbi-7b", system=KV260, **options):
    return estimate(named_model(name), system, **options)


def by_name(result, phase=-1):
    return {entry.operator.name: entry for entry in result.phases[phase].operators}


# ---- a decoded token, by hand -----------------------------------------------------------------


def test_a_memory_bound_group_by_hand():
    # gate and up of 7B: 2 * (4096 * 11008 / 8 + 4 * 4096) bytes at 19.2 GB/s * 95.05 % take longer
    # than 2 * 128 * 344 beats at 150 MHz. While the array takes no weights, DRAM fills the weight
    # buffer of 128 KiB, once for each of the two commands.
    entries = by_name(one())
    rate = 19.2e9 * SHARE
    memory = 2 * (4096 * 11008 / 8 + 4 * 4096) / rate
    stream = 2 * 128 * 344 / 150e6
    idle = vector_cycles(KV260.engine, [(4096, 11008), (4096, 11008)]) / 150e6 - stream
    ahead = 2 * 128 * 1024 / rate
    assert ahead < idle
    assert stream < memory - ahead
    together = entries["gate_proj"].time_s.nominal + entries["up_proj"].time_s.nominal
    assert together == pytest.approx(32 * (idle + memory - ahead))
    assert entries["gate_proj"].bound_by == entries["up_proj"].bound_by == "memory"
    assert entries["gate_proj"].time_s.nominal == pytest.approx(together / 2)


def test_an_array_bound_group_by_hand():
    # A memory ten times as fast: the same group takes its cycles, at every bound of efficiency
    entries = by_name(one(system=named_system("kv260", memory="hbm2-u280")))
    cycles = vector_cycles(KV260.engine, [(4096, 11008), (4096, 11008)])
    assert entries["gate_proj"].bound_by == "array"
    assert entries["gate_proj"].cycles + entries["up_proj"].cycles == 32 * cycles
    together = entries["gate_proj"].time_s + entries["up_proj"].time_s
    assert together.low == pytest.approx(32 * cycles / 150e6)
    assert together.high == pytest.approx(32 * cycles / 150e6)


def test_vector_operators_by_hand():
    entries = by_name(one())
    # SwiGLU: 5 operations on 11008 elements, 64 a cycle = 860 cycles, and 32 of latency; no DRAM
    assert entries["swiglu"].cycles == 32 * (5 * 11008 // 64 + 32)
    assert entries["swiglu"].bound_by == "vector"
    assert entries["swiglu"].time_s.nominal == pytest.approx(32 * (860 + 32) / 150e6)
    # head: 4096 * 32000 MACs, 64 a cycle; 2 bytes each from DRAM take longer
    assert entries["lm_head"].cycles == 4096 * 32000 // 64 + 32
    assert entries["lm_head"].bound_by == "memory"
    assert entries["lm_head"].time_s.nominal == pytest.approx(
        4096 * 32000 * 2 / (19.2e9 * SHARE)
    )
    assert entries["embedding"].cycles == 0


def test_fbi_7b_bytes_by_hand():
    amounts = one().main.bytes_by_category()
    # 32 layers; 4 attention linears of 4096 * 4096, 3 of 4096 * 11008; nothing to pad to 32 * 32
    assert amounts == {
        "packed_weights": 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008) // 8,
        "coefficients": 32 * 4 * (6 * 4096 + 11008),
        "head": 4096 * 32000 * 2,
        "kv_read": 32 * 2 * 511 * 4096 * 2,
        "kv_write": 32 * 2 * 4096 * 2,
        "norms": 65 * 4096 * 2,
        "embedding": 4096 * 2,
    }
    # attention at 512 positions, norms, head
    macs = sum(entry.counts["macs"] for entry in one().operators)
    assert macs == 32 * (2 * 512 * 4096) + 65 * 4096 + 4096 * 32000


def test_dram_and_static_energy_by_hand():
    result = one()
    # every byte of the step, 8 bits, 20.3 pJ
    moved = sum(result.main.bytes_by_category().values())
    assert result.energy_parts_j["dram"].nominal == pytest.approx(moved * 8 * 20.3e-12)
    seconds = result.main.time_s.nominal
    assert result.energy_parts_j["static"].nominal == pytest.approx(3.6 * seconds)


def test_fbi_7b_on_kv260_by_envelope():
    # 810 MB of sign bits + 262 MB of head + 268 MB of KV cache at 512 positions = 1.34 GB a token;
    # 19.2 GB/s / 1.34 GB = 14.3 tokens/s, 13.6 of them at 95 %, and some time in vector steps
    result = one()
    assert result.bandwidth_limit_tokens_per_second == pytest.approx(14.3, abs=0.1)
    assert 12.5 < result.tokens_per_second.nominal < 13.7
    # 1.34 GB * 8 * 20.3 pJ = 0.22 J of DRAM, 3.6 W * 74 ms = 0.27 J static: about half a joule
    assert 0.4 < result.energy_per_token_j.nominal < 0.6
    # power drawn in all must be that of such a board: above idle, below its 12 V 3 A supply
    watts = result.main.energy_j.nominal / result.main.time_s.nominal
    assert 3.6 < watts < 36


@pytest.mark.parametrize("name", MODELS)
def test_no_model_beats_the_bandwidth_of_its_memory(name):
    result = one(name)
    assert result.tokens_per_second.high < result.bandwidth_limit_tokens_per_second
    # With matched lanes and memory, an estimate far under that limit would be a modelling error; 30
    # layers of 576 wait longer for their vectors than 12 of 768.
    least = 0.67 if name == "fbi-135m" else 0.79
    assert result.tokens_per_second.nominal > least * result.bandwidth_limit_tokens_per_second


@pytest.mark.parametrize("name", MODELS)
def test_engine_cycles_are_those_of_the_engine_model(name):
    model = named_model(name)
    linears = [e for e in one(name).operators if e.operator.kind == "fbi-linear"]
    shapes = {n: tuple(reversed(model.linear_shape(n))) for group in STEPS for n in group}
    assert sum(e.cycles for e in linears) == model.num_hidden_layers * sum(
        vector_cycles(KV260.engine, [shapes[n] for n in group]) for group in STEPS
    )
    assert {(e.operator.kind, e.cycles_mark) for e in one(name).operators} == {
        ("fbi-linear", "rtl-exact"),
        ("dense-linear", "modelled"),
        ("attention", "modelled"),
        ("vector", "modelled"),
    }


# ---- prefill, decode, batch -------------------------------------------------------------------


def test_decode_steps_add_up():
    result = simulate(named_model("fbi-130m"), KV260, prefill=16, decode=5)
    steps = [one("fbi-130m", context=16 + i) for i in range(1, 6)]
    decode = result.phases[1]
    assert decode.time_s.nominal == pytest.approx(sum(s.main.time_s.nominal for s in steps))
    assert decode.energy_j.high == pytest.approx(sum(s.main.energy_j.high for s in steps))
    assert decode.first_step_s == pytest.approx(steps[0].main.time_s.nominal)
    assert decode.last_step_s == pytest.approx(steps[-1].main.time_s.nominal)
    assert decode.bytes_by_category() == {
        category: sum(s.main.bytes_by_category()[category] for s in steps)
        for category in BYTE_CATEGORIES
    }
    assert result.tokens_per_second.nominal == pytest.approx(5 / decode.time_s.nominal)


def test_a_prefill_by_hand():
    # fbi-130m, 40 tokens. A token vector needs (768 + 768 + 2 * 2048) * 2 = 11,264 bytes, so that
    # 1 MiB holds 93: one pass. One vector a command: all weights 40 times, unless they stay in the
    # weight buffer of 128 KiB: q, k, v, o of 768 * 768 / 8 = 73,728 bytes do, ffn's 196,608 do not
    result = simulate(named_model("fbi-130m"), KV260, prefill=40, decode=0)
    phase = result.main
    assert (phase.name, phase.passes, phase.tokens) == ("prefill", 1, 40)
    amounts = phase.bytes_by_category()
    assert amounts["packed_weights"] == 12 * (4 * 73_728 + 3 * 40 * 196_608)
    assert amounts["kv_read"] == 0  # one pass: all keys and values are still on chip
    assert amounts["kv_write"] == 12 * 40 * 2 * 768 * 2
    assert amounts["head"] == 768 * 32000 * 2  # the last token alone
    # a token attends to itself and those before: 40 * 41 / 2
    assert by_name(result)["attention_scores"].counts["macs"] == 12 * 768 * 820


def test_sharing_weights_makes_a_prefill_faster():
    slow = simulate(named_model("fbi-1.3b"), KV260, prefill=64, decode=0)
    wide = replace(KV260, engine=replace(KV260.engine, m_par=8))
    fast = simulate(named_model("fbi-1.3b"), wide, prefill=64, decode=0)
    assert fast.main.time_s.nominal < slow.main.time_s.nominal / 3
    # both did the same work
    for name in ("q_proj", "down_proj"):
        assert (
            by_name(fast)[name].counts["sign_accumulates"]
            == by_name(slow)[name].counts["sign_accumulates"]
        )


def test_a_batch_shares_the_head_and_not_the_cache():
    alone, eight = one("fbi-130m").main, one("fbi-130m", batch=8).main
    assert eight.tokens == 8
    assert eight.bytes_by_category()["head"] == alone.bytes_by_category()["head"]
    assert eight.bytes_by_category()["kv_read"] == 8 * alone.bytes_by_category()["kv_read"]
    assert alone.time_s.nominal < eight.time_s.nominal < 8 * alone.time_s.nominal


def test_a_smaller_cache_and_head_are_faster():
    times = [
        one("fbi-7b", context=2048, formats=formats).main.time_s.nominal
        for formats in (
            Formats(), Formats(kv_bits=8), Formats(kv_bits=8, head="int8"),
            Formats(kv_bits=8, head="binary"),
        )
    ]
    assert times == sorted(times, reverse=True)


def test_a_binary_head_runs_on_the_array():
    head = by_name(one("fbi-130m", formats=Formats(head="binary")))["lm_head"]
    assert head.operator.kind == "fbi-linear"
    assert head.cycles_mark == "rtl-exact"
    # 32,000 outputs are commands of 11,264, 11,264 and 9,472
    assert head.cycles == vector_cycles(
        KV260.engine, [(768, 11264), (768, 11264), (768, 9472)]
    )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("options", [{}, {"batch": 3}, {"formats": Formats(kv_bits=8)}])
def test_totals_are_the_sums_of_their_parts(name, options):
    result = simulate(named_model(name), KV260, prefill=9, decode=3, **options)
    for phase in result.phases:
        for bound in ("low", "nominal", "high"):
            assert getattr(total(e.time_s for e in phase.operators), bound) == pytest.approx(
                getattr(phase.time_s, bound)
            )
        dynamic = total(e.energy_j for e in phase.operators)
        for bound in ("low", "nominal", "high"):
            assert getattr(phase.energy_j, bound) == pytest.approx(
                getattr(dynamic, bound) + getattr(phase.energy_parts_j["static"], bound)
            )
        assert sum(phase.time_by_bound().values()) == pytest.approx(phase.time_s.nominal)
        assert tuple(phase.energy_parts_j) == ENERGY_PARTS


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(["fbi-43m", "fbi-130m"]),
    memory=st.sampled_from(sorted(MEMORIES)),
    shares=st.lists(st.integers(1, 512), min_size=2, max_size=2),
    batch=st.integers(1, 5),
)
def test_more_context_is_never_cheaper_and_intervals_hold(name, memory, shares, batch):
    system = replace(KV260, memory=replace(MEMORIES[memory], capacity_bytes=1 << 34))
    short, long = (one(name, system, context=c, batch=batch).main for c in sorted(shares))
    for bound in ("low", "nominal", "high"):
        assert getattr(short.time_s, bound) <= getattr(long.time_s, bound)
        assert getattr(short.energy_j, bound) <= getattr(long.energy_j, bound)
    for entry in long.operators:
        if entry.operator.kind != "fbi-linear":  # those share their group's time
            assert entry.time_s.nominal * (1 + 1e-9) >= entry.cycles / 150e6


def test_faster_memory_is_never_slower():
    times = [
        one(system=replace(KV260, memory=replace(KV260.memory, peak_gb_s=peak))).main.time_s.nominal
        for peak in (4.8, 9.6, 19.2, 38.4, 1e4)
    ]
    assert times == sorted(times, reverse=True)


def test_narrow_activations_cost_less_array_energy():
    wide, narrow = one(), one(system=named_system("kv260_a8"))
    assert narrow.energy_parts_j["array"].nominal < wide.energy_parts_j["array"].nominal
    assert narrow.main.time_s == wide.main.time_s  # same lanes, same bytes


def test_static_power_alone_scales_energy():
    hot = replace(KV260, static_power_w=Interval(10, 10, 10))
    extra = one(system=hot).main.energy_j.nominal - one().main.energy_j.nominal
    assert extra == pytest.approx((10 - 3.6) * one().main.time_s.nominal)


# ---- several chips ----------------------------------------------------------------------------


def chips(count, parallel, **changes):
    return replace(
        KV260, chips=count, parallel=parallel, link=named_link("pcie4-x16"), **changes
    )


def test_tensor_parallel_chips_share_the_bytes():
    alone, four = one().main, one(system=chips(4, "tensor")).main
    mine, whole = four.bytes_by_category(), alone.bytes_by_category()
    shares = {category: mine[category] / whole[category] for category in BYTE_CATEGORIES}
    assert shares["packed_weights"] == shares["head"] == shares["kv_read"] == 0.25
    assert shares["norms"] == 1  # every chip has its own
    assert alone.time_s.nominal / 4 < four.time_s.nominal < alone.time_s.nominal / 3
    # per layer 2 rings of 6 messages of 8192 / 4 bytes: 12,288 bytes at 31.5 GB/s and 6 us each
    links = sum(e.time_s.nominal for e in four.operators if e.operator.kind == "link")
    ring = 6 * 2048 / 31.5e9 + 6e-6
    gather = 3 * 8 / 31.5e9 + 3e-6
    assert links == pytest.approx(32 * 2 * ring + gather)
    # the whole machine: every chip's bits, and its static power
    moved = sum(four.bytes_by_category().values())
    assert four.energy_parts_j["dram"].nominal == pytest.approx(4 * moved * 8 * 20.3e-12)
    assert four.energy_parts_j["static"].nominal == pytest.approx(4 * 3.6 * four.time_s.nominal)
    sent = 4 * 8 * (32 * 2 * 12_288 + 24)
    assert four.energy_parts_j["link"].nominal == pytest.approx(sent * 7e-12)


def test_a_pipeline_is_no_faster_for_one_sequence():
    alone, four = one().main, one(system=chips(4, "pipeline")).main
    # three hops of 8192 bytes and 1 us
    hops = 3 * (8192 / 31.5e9 + 1e-6)
    assert four.time_s.nominal == pytest.approx(alone.time_s.nominal + hops)
    assert four.energy_parts_j["dram"].nominal == pytest.approx(
        alone.energy_parts_j["dram"].nominal
    )


def test_a_pipeline_works_on_as_many_sequences_as_it_has_stages():
    four = one(batch=4, system=chips(4, "pipeline")).main
    alone = one().main
    assert four.passes == 4
    # four passes: the first all the way, three more slots of the slowest stage (the last: the head)
    assert four.time_s.nominal < 2.2 * alone.time_s.nominal
    assert four.tokens_per_second.nominal > 1.8 * alone.tokens_per_second.nominal


# ---- refusals ---------------------------------------------------------------------------------


def test_positions_beyond_the_model_are_refused():
    with pytest.raises(InputError, match="max_position_embeddings = 2048, not 2049"):
        one(context=2049)
    with pytest.raises(InputError, match=r"prefill \+ decode must be from 1 to .*, not 2049"):
        simulate(named_model("fbi-7b"), KV260, prefill=2000, decode=49)
    with pytest.raises(InputError, match=r"prefill \+ decode must be from 1"):
        simulate(named_model("fbi-7b"), KV260, prefill=0, decode=0)


@pytest.mark.parametrize("name", ["prefill", "decode", "batch"])
@pytest.mark.parametrize("bad", [-1, 1.5, True])
def test_bad_counts_are_refused(name, bad):
    counts = {"prefill": 4, "decode": 4, "batch": 1, name: bad}
    with pytest.raises(InputError, match=f"{name} must be an integer of at least"):
        simulate(named_model("fbi-130m"), KV260, **counts)


def test_the_largest_batch():
    most = replace(KV260, memory=replace(KV260.memory, capacity_bytes=2**60))
    model = named_model("fbi-130m")
    assert estimate(model, most, context=1, batch=65536).batch == 65536
    for run in (
        lambda: estimate(model, most, context=1, batch=65537),
        lambda: simulate(model, most, prefill=1, decode=0, batch=65537),
    ):
        with pytest.raises(InputError, match=r"batch must be at most 65,536 sequences, .* 65537"):
            run()


def test_a_model_not_among_the_named_ones():
    model = ModelConfig(
        hidden_size=20, intermediate_size=50, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, head_dim=6, vocab_size=100, tie_word_embeddings=True,
    )
    assert simulate(model, KV260, prefill=3, decode=2, batch=2).main.time_s.nominal > 0


def test_json_has_the_keys_that_scripts_rely_on():
    result = simulate(named_model("fbi-130m"), KV260, prefill=8, decode=2, batch=2)
    data = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert set(data["energy_per_token_j"]) == {"low", "nominal", "high"}
    assert data["tokens_per_second"] * data["time_per_token_s"] == pytest.approx(1)
    ranges = data["time_per_token_range_s"]
    assert ranges["low"] < data["time_per_token_s"] == ranges["nominal"] < ranges["high"]
    for phase in data["phases"]:
        mine = [entry for entry in data["operators"] if entry["phase"] == phase["name"]]
        assert [entry["name"] for entry in mine][:4] == [
            "embedding", "input_norm", "q_proj", "k_proj",
        ]
        assert sum(entry["time_s"] for entry in mine) == pytest.approx(phase["time_s"])
        assert sum(sum(e["bytes"].values()) for e in mine) == sum(phase["bytes"].values())
    assert data["time_to_first_token_s"] == data["phases"][0]["time_s"]
    provenance = data["provenance"]
    assert provenance["engine"]["name"] == "kv260"
    assert provenance["marks"]["cycles of fbi-linear"] == "rtl-exact"
    assert provenance["marks"]["energy_per_token_j"] == "modelled"
    assert all(c["source"] for c in provenance["technology"]["constants"].values())


def test_the_simulator_starts_without_heavy_packages():
    script = (
        "import sys, sim.system, sim.baselines\n"
        "from golden.config import named_model\n"
        "system = sim.system.named_system('kv260')\n"
        "sim.system.simulate(named_model('fbi-43m'), system, prefill=2, decode=1).to_json()\n"
        "heavy = {'torch', 'amaranth', 'pandas', 'scipy', 'numpy', 'matplotlib'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_handing_over_between_stages_takes_energy_for_every_pass():
    """Three sequences in a pipeline of three: each hands 768 values of 16 bits over twice."""
    link = named_link("die-to-die")
    system = replace(KV260, chips=3, parallel="pipeline", link=link)
    (phase,) = one("fbi-130m", system, batch=3, context=128).phases
    assert phase.passes == 3
    expected = 3 * 2 * 768 * 16 * 0.5e-12
    assert phase.energy_parts_j["link"].nominal == pytest.approx(expected)
