"""Engines known by their tile: cycles by hand, and what a system makes of them."""

from dataclasses import replace

import pytest

from golden.config import ModelConfig
from sim.energy import ASIC45, on_chip_energy_j
from sim.errors import InputError
from sim.generic import ARITHMETICS, GenericEngine, generic_run_ends
from sim.system import Machine, MemoryPorts, estimate, named_system, operator_events
from sim.workload import Formats

MODEL = ModelConfig(
    hidden_size=256, intermediate_size=512, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=4, vocab_size=1000,
)
WEIGHTS = 3 * (4 * 256 * 256 + 3 * 256 * 512)
ENGINE = GenericEngine(k_par=32, n_par=4, clock_mhz=300, weight_bits=4.125)
SYSTEM = replace(
    named_system("kv260"), engine=ENGINE, vector_lanes=128, weight_buffer_bytes=1 << 20
)


def test_cycles_by_hand():
    engine = replace(ENGINE, m_par=2, latency_cycles=7)
    # 33 inputs are 2 tiles, 9 outputs 3, 5 vectors 3
    assert generic_run_ends(engine, ((33, 9, 5, 33),)) == (2 * 3 * 3 + 7,)
    assert generic_run_ends(engine, ((32, 4, 1, 32), (64, 4, 2, 64))) == (8, 8 + 9)


def test_bits_of_a_beat():
    assert ENGINE.weight_beat_bits == 528  # 128 weights of 4 bits and their scale
    assert replace(ENGINE, k_par=80, n_par=1, weight_bits=1.6).weight_beat_bits == 128
    assert replace(ENGINE, k_par=3, n_par=1, weight_bits=1.6).weight_beat_bits == 5  # rounded up
    assert (ENGINE.lanes, replace(ENGINE, m_par=4).lanes) == (128, 512)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k_par": 0}, "k_par of a generic engine must be an integer from 1 to"),
        ({"act_bits": 3}, "act_bits of a generic engine must be an integer from 4 to 32, not 3"),
        ({"latency_cycles": True}, "latency_cycles of a generic engine must be an integer"),
        ({"clock_mhz": 0}, "clock_mhz of a generic engine must be a number above 0"),
        ({"weight_bits": 65}, "weight_bits of a generic engine must be .* at most 64, not 65"),
        ({"weight_bits": float("nan")}, "weight_bits of a generic engine must be a number"),
        ({"name": ""}, "name of a generic engine must be a text, not ''"),
        ({"arithmetic": "mul"}, "arithmetic of a generic engine must be one of add, float-add"),
    ],
)
def test_bad_engines_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(ENGINE, **change)


def test_a_model_on_it_is_bound_by_bytes_over_bandwidth():
    result = estimate(MODEL, SYSTEM, context=1, formats=Formats(head="binary"))
    linears = [e for e in result.operators if e.operator.kind == "fbi-linear"]
    assert {e.cycles_mark for e in linears} == {"modelled"}
    whole = sum(e.bytes_by_category["packed_weights"] for e in linears)
    assert whole == (WEIGHTS + 256 * 1000) * 4.125 / 8  # every size is whole tiles, no coefficients
    assert not any(e.bytes_by_category["coefficients"] for e in linears)
    seconds = whole / SYSTEM.memory.bandwidth_bytes_s.nominal
    assert sum(e.time_s.nominal for e in linears) == pytest.approx(seconds)
    report = result.to_json()["provenance"]
    assert report["marks"]["cycles of fbi-linear"] == "modelled"
    assert report["engine"]["kind"] == "generic"


def test_lanes_bind_when_memory_does_not():
    slow = replace(SYSTEM, engine=replace(ENGINE, k_par=1, n_par=1))
    result = estimate(MODEL, slow, context=1, formats=Formats(head="binary"))
    linears = [e for e in result.operators if e.operator.kind == "fbi-linear"]
    assert sum(e.cycles for e in linears) == WEIGHTS + 256 * 1000
    assert {e.bound_by for e in linears} == {"array"}


def test_ports_cap_what_memory_gives():
    rate = SYSTEM.memory.bandwidth_bytes_s
    ports = MemoryPorts(count=2, bits=128, clock_mhz=100)
    assert ports.gb_s == 3.2
    narrow = Machine(MODEL, replace(SYSTEM, memory_ports=ports)).timer.seconds_per_byte
    assert set(narrow.values()) == {(1 / 3.2e9,) * 3}
    own = replace(SYSTEM, memory_ports=ports, vector_bandwidth_gb_s=1.5)
    each = Machine(MODEL, own).timer.seconds_per_byte
    assert each["packed_weights"] == each["coefficients"] == (1 / 3.2e9,) * 3
    assert each["head"] == each["kv_read"] == (1 / 1.5e9,) * 3
    wide = replace(ports, bits=1024)  # 25.6 GB/s: above the memory's best
    free = Machine(MODEL, replace(SYSTEM, memory_ports=wide)).timer.seconds_per_byte
    assert free["packed_weights"] == pytest.approx((1 / rate.high, 1 / rate.nominal, 1 / rate.low))


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_energy_of_a_linear_by_hand(arithmetic):
    engine = replace(ENGINE, arithmetic=arithmetic, act_bits=8)
    machine = Machine(MODEL, replace(SYSTEM, engine=engine))
    operator = machine.shard.linear("q_proj", 1)
    events = operator_events(operator, machine.system)
    lanes, beats = 256 * 256, 256 * 256 // 128
    floats = arithmetic != "add"
    assert events.array_float_adds == lanes * floats
    assert events.array_float_muls == lanes * (arithmetic == "float-mac")
    assert events.vector_beats == events.weight_beats == beats * (not floats)
    assert events.sram_read_bits == lanes * 4.125 + beats * 32 * 8
    assert events.sram_write_bits == lanes * 4.125 + 256 * (8 + 16)
    assert events.front_end_muls == events.wide_adds == 0
    array = on_chip_energy_j(ASIC45, engine, events)["array"].nominal
    if floats:  # 0.4 pJ an addition, 1.1 a multiplication
        assert array == pytest.approx(lanes * (0.4 + 1.1 * (arithmetic == "float-mac")) * 1e-12)
    else:
        assert array > lanes * 0.03e-12  # above 8-bit additions alone


def test_a_prompt_shares_weights_among_m_par_vectors():
    four = replace(SYSTEM, engine=replace(ENGINE, m_par=4), weight_buffer_bytes=0)
    one, shared = (
        Machine(MODEL, system).shard.linear("q_proj", 8)
        for system in (replace(SYSTEM, weight_buffer_bytes=0), four)
    )
    assert one.weight_beats == 4 * shared.weight_beats
    assert one.bytes_by_category["packed_weights"] == 4 * shared.bytes_by_category["packed_weights"]
