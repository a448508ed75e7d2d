"""A model that does not fit is refused, and by how much."""

from dataclasses import replace

import pytest

from golden.config import named_model
from hw.config import named_preset
from sim.errors import InputError
from sim.system import (
    Machine,
    OnChipMemory,
    estimate,
    kv_positions,
    named_link,
    named_system,
)
from sim.system.fit import held_bytes

KV260 = named_system("kv260")
SEVEN = named_model("fbi-7b")


def holding(memory_bytes, **changes):
    memory = replace(KV260.memory, capacity_bytes=memory_bytes)
    return replace(KV260, memory=memory, **changes)


def test_a_model_beyond_the_memory():
    # fbi-7b: 809,500,672 + 4,554,752 + 262,144,000 * 2 + 532,480 bytes, 512 * 524,288 of cache
    needed = 809_500_672 + 4_554_752 + 2 * 262_144_000 + 532_480 + 512 * 524_288
    estimate(SEVEN, holding(needed))
    with pytest.raises(InputError, match=(
        rf"the weights and the KV cache of 512 positions must fit the memory ddr4-2400-x64 of "
        rf"{needed - 1:,} bytes, not {needed:,} bytes, 1 too many \(packed_weights 809,500,672, "
    )):
        estimate(SEVEN, holding(needed - 1))


def test_a_batch_needs_a_cache_for_each():
    with pytest.raises(InputError, match="of 9 sequences of 1024 positions must fit"):
        estimate(SEVEN, KV260, context=1024, batch=9)


def test_chips_hold_their_share():
    whole = 809_500_672 + 4_554_752 + 2 * 262_144_000 + 532_480 + 512 * 524_288
    link = named_link("pcie4-x16")
    estimate(SEVEN, holding(whole // 4 + (1 << 20) * 4, chips=4, link=link))
    with pytest.raises(InputError, match="of chip 0 of"):
        estimate(SEVEN, holding(whole // 4 - (1 << 20), chips=4, link=link))
    # stages of a pipeline are not equal: the first holds the table, the last the head
    with pytest.raises(InputError, match="of chip 0 of"):
        estimate(SEVEN, holding(whole // 4, chips=4, parallel="pipeline", link=link))


def test_on_chip_memory_holds_what_it_is_told_to():
    # norms of fbi-130m: 25 * 768 * 2 bytes
    room = OnChipMemory(capacity_bytes=38_400, ports=1, port_bits=64, holds=("norms",))
    model = named_model("fbi-130m")
    result = estimate(model, replace(KV260, on_chip=room))
    assert "norms" not in result.machine.dram_categories
    small = replace(room, capacity_bytes=38_399)
    with pytest.raises(InputError, match="must fit the on-chip memory of 38,399 bytes, not 38,400"):
        estimate(model, replace(KV260, on_chip=small))


def test_on_chip_data_cost_neither_dram_time_nor_energy():
    holds = ("packed_weights", "coefficients", "head", "kv_read", "kv_write", "norms", "embedding")
    room = OnChipMemory(capacity_bytes=1 << 31, ports=64, port_bits=1024, holds=holds)
    model = named_model("fbi-130m")
    result = estimate(model, replace(KV260, on_chip=room))
    assert result.energy_parts_j["dram"].high == 0
    assert result.main.time_s.low == result.main.time_s.high  # no DRAM, no range
    assert result.main.time_s.nominal < estimate(model, KV260).main.time_s.nominal
    assert result.bandwidth_limit_tokens_per_second == float("inf")
    assert result.to_json()["bandwidth_limit_tokens_per_second"] is None
    # 64 bits a cycle: 8 * 150e6 bytes a second for the head's 49 MB
    slow = replace(room, ports=1, port_bits=64)
    head = {e.operator.name: e for e in estimate(model, replace(KV260, on_chip=slow)).operators}
    assert head["lm_head"].time_s.nominal == pytest.approx(768 * 32000 * 2 / 1.2e9)
    assert head["lm_head"].bound_by == "memory"


def test_on_chip_weights_come_at_ports_times_width_times_clock():
    # 84,934,656 sign bits of fbi-130m; a beat of the engine takes 1,024 bits a cycle
    model = named_model("fbi-130m")

    def linears(port_bits):
        room = OnChipMemory(
            capacity_bytes=1 << 24, ports=2, port_bits=port_bits, holds=("packed_weights",)
        )
        result = estimate(model, replace(KV260, on_chip=room, weight_buffer_bytes=0))
        return [e for e in result.operators if e.operator.kind == "fbi-linear"]

    for port_bits in (8, 16, 128):
        needed = sum(e.memory_time_s.nominal for e in linears(port_bits))
        coefficients = sum(e.bytes_by_category["coefficients"] for e in linears(port_bits))
        alone = 84_934_656 / (2 * port_bits * 150e6)
        assert alone <= needed <= alone + coefficients / 10e9
    slow, wide = (sum(e.time_s.nominal for e in linears(bits)) for bits in (16, 1 << 14))
    assert {e.bound_by for e in linears(16)} == {"memory"}
    assert slow > 84_934_656 / (32 * 150e6) > 10 * wide


def test_positions_that_fit_beside_the_weights():
    # fbi-7b: 32 layers of two vectors of 4096 in 16 bits, 524,288 bytes a position
    weights = sum(held_bytes(Machine(SEVEN, KV260), positions=0)[0].values())
    for spare, positions in ((524_288, 1), (2 * 524_288 - 1, 1), (100 * 524_288, 100)):
        assert kv_positions(Machine(SEVEN, holding(weights + spare))) == positions
    with pytest.raises(InputError, match="1 too many"):
        kv_positions(Machine(SEVEN, holding(weights + 524_287)))
    on_chip = OnChipMemory(capacity_bytes=7 * 524_288 + 5, ports=1, port_bits=64,
                           holds=("kv_read", "kv_write"))
    assert kv_positions(Machine(SEVEN, replace(KV260, on_chip=on_chip))) == 7


def test_resident_weights_must_fit_their_engine():
    model = named_model("fbi-130m")
    # 12 layers of 84,934,656 / 12 weights in beats of 1,024
    beats = 84_934_656 // 1024
    engine = replace(named_preset("kv260"), weights="memory", weight_words=beats)
    result = estimate(model, replace(KV260, engine=engine))
    entries = {e.operator.name: e for e in result.operators}
    assert entries["gate_proj"].bound_by == "array"
    assert "packed_weights" not in result.machine.dram_categories
    short = replace(engine, weight_words=beats - 1)
    with pytest.raises(InputError, match=(
        f"must fit weight_words = {beats - 1} beats of an engine, not {beats} beats, 1 too many"
    )):
        estimate(model, replace(KV260, engine=short))


def test_activations_of_a_token_must_fit():
    # fbi-7b: (4096 + 4096 + 2 * 11008) * 2 = 60,416 bytes
    estimate(SEVEN, replace(KV260, activation_buffer_bytes=60_416))
    with pytest.raises(InputError, match=r"must fit activation_buffer_bytes = 60415, not 60416"):
        estimate(SEVEN, replace(KV260, activation_buffer_bytes=60_415))


def test_layers_and_chips_that_do_not_go_together():
    tiny = named_system("kv260", engine=named_preset("tiny"))
    with pytest.raises(InputError, match="q_proj of 768 inputs and 768 outputs: K must be from 1"):
        estimate(named_model("fbi-130m"), tiny)
    many = replace(KV260, chips=13, parallel="pipeline", link=named_link("die-to-die"))
    with pytest.raises(InputError, match="at most num_hidden_layers = 12, not 13"):
        estimate(named_model("fbi-130m"), many)
