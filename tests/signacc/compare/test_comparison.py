"""Verdicts against hand arithmetic, and that nothing absent turns into a figure."""

from dataclasses import replace

import pytest

from golden.config import FBI_LINEARS, named_model
from signacc.compare.baselines import step_bytes
from signacc.compare.comparison import ENERGY, SPEED, Verdict, compare
from signacc.compare.estimates import our_entry
from sim.generic import GenericEngine
from sim.interval import Interval
from sim.system import estimate, named_link, named_system
from sim.system.config import OnChipMemory
from sim.workload import BYTE_CATEGORIES

from .conftest import MODEL, baseline, write


def test_ours_are_the_simulator_s_figures(result):
    for entry in result.ours:
        own = estimate(named_model(MODEL), named_system("kv260"), batch=entry.batch, context=128)
        assert entry.tokens_per_second.value == own.tokens_per_second
        assert entry.joule_per_token.value == own.energy_per_token_j
        assert entry.linear_cycles.mark == "rtl-exact"


def test_cycles_of_a_generic_engine_are_modelled():
    """Its linears take ceil(K / k_par) * ceil(N / n_par) + latency cycles; no RTL is behind it."""
    model = named_model(MODEL)
    engine = GenericEngine(
        name="other", k_par=32, n_par=16, clock_mhz=150.0, weight_bits=1.0, latency_cycles=7
    )
    system = replace(named_system("kv260"), engine=engine)
    shapes = [model.linear_shape(name) for name in FBI_LINEARS]
    layer = sum(-(-k // 32) * -(-n // 16) + 7 for n, k in shapes)
    entry = our_entry(model, system, batch=1, context=128)
    assert entry.linear_cycles.mark == "modelled"
    assert entry.linear_cycles.value.nominal == layer * model.num_hidden_layers


def test_a_machine_that_needs_no_dram_has_no_share_of_its_limit():
    """All of the model on chip: before, the share was of one byte a step, 0 %."""
    everything = OnChipMemory(
        capacity_bytes=1 << 26, ports=600, port_bits=72, holds=BYTE_CATEGORIES
    )
    system = replace(named_system("kv260"), on_chip=everything)
    entry = our_entry(named_model(MODEL), system, batch=1, context=128)
    assert entry.roof is None
    assert entry.limit_share is None
    assert entry.reason("limit_share") == "nothing of a step lies in its DRAM"
    partly = replace(everything, holds=("packed_weights",))
    entry = our_entry(
        named_model(MODEL), replace(system, on_chip=partly), batch=1, context=128
    )
    alone = our_entry(named_model(MODEL), named_system("kv260"), batch=1, context=128)
    assert alone.roof.bytes - entry.roof.bytes == 38_535_168 // 8  # all its weights, a bit each


def test_a_baseline_s_points_stand_together(tmp_path):
    points = [("b", 1), ("a", 4), ("b", 4), ("a", 1)]
    entries = [baseline(name=name, model="other", batch=batch) for name, batch in points]
    found = compare(
        "other", named_model(MODEL), [], batches=(1, 4), contexts=(128,),
        files=[write(tmp_path / "own.json", entries)],
    )
    assert [(e.machine, e.batch) for e in found.baselines] == [
        ("b", 1), ("b", 4), ("a", 1), ("a", 4)
    ]


@pytest.mark.parametrize(("batch", "times"), [(1, 1), (4, 2.8)])
def test_the_limit_of_ours_reads_weights_once_as_that_of_baselines(batch, times):
    """kv260 takes one vector at a time and reads the weights for each: no excuse for its limit."""
    model, system = named_model("fbi-7b"), named_system("kv260")
    own = estimate(model, system, batch=batch, context=128)
    entry = our_entry(model, system, batch=batch, context=128)
    least = entry.roof.bytes
    assert least == pytest.approx(step_bytes(model, 1, batch, 128), rel=0.005)  # padding, norms
    moved = sum(own.main.bytes_by_category().values())
    assert moved / least == pytest.approx(times, rel=0.01)
    share = own.tokens_per_second.nominal * least / (batch * system.memory.peak_gb_s * 1e9)
    assert entry.limit_share.value.nominal == pytest.approx(share)


def test_the_roofs_of_chips_are_those_of_one_times_their_number():
    model, system = named_model(MODEL), named_system("kv260")
    alone = our_entry(model, system, batch=1, context=128).roof
    two = replace(system, chips=2, link=named_link("pcie4-x16"))
    both = our_entry(model, two, batch=1, context=128).roof
    assert alone.bytes_per_second == 19.2e9
    assert both.bytes_per_second == 2 * alone.bytes_per_second
    assert alone.operations_per_second == 2 * system.engine.lanes * system.clock_hz
    assert both.operations_per_second == 2 * alone.operations_per_second
    assert both.operations == alone.operations
    assert both.bytes == pytest.approx(alone.bytes, rel=0.05)  # each a half; alpha, beta twice


def test_a_gap_that_is_on_record_gives_its_own_reason(tmp_path):
    path = write(tmp_path / "own.json", [baseline(name="noisy", batch=4, spread=3.0)])
    found = compare(MODEL, named_model(MODEL), [], batches=(1, 4), contexts=(128,), files=[path])
    reasons = {entry.batch: entry.reason for entry in found.absent if entry.machine == "noisy"}
    assert reasons[4].startswith("its repeats spread by 300%")
    assert reasons[1] == "no baseline for this point"


def test_speed_meets_the_fastest_and_energy_the_most_frugal(result):
    ours = result.ours[0]
    assert ours.point == (1, 128)
    speed = result.verdict(SPEED, "kv260", 1, 128)
    assert speed.against == "gpu"
    assert speed.gain.nominal == pytest.approx(ours.tokens_per_second.value.nominal / 5000)
    energy = result.verdict(ENERGY, "kv260", 1, 128)
    assert energy.against == "frugal"
    assert energy.gain.low == pytest.approx(1e-6 / ours.joule_per_token.value.high)
    assert energy.winner == "baseline"


def test_a_baseline_without_energy_gives_no_energy_verdict(result):
    """At batch 4 the gpu has an energy, the published one has not and is the faster one."""
    assert result.verdict(SPEED, "kv260", 4, 128).against == "silent"
    assert result.verdict(ENERGY, "kv260", 4, 128).against == "gpu"


def test_absent_is_absent(result):
    reasons = {(a.machine, a.batch): a.reason for a in result.absent}
    assert reasons["frugal", 4] == "no baseline for this point"
    assert "K must be from 1 to 256 on engine tiny" in reasons["tiny", 1]
    assert {entry.machine for entry in result.at(4, 128)} == {"kv260", "gpu", "silent"}
    assert result.verdict(SPEED, "tiny", 1, 128) is None


def test_a_crossover_names_the_two_batches_and_interpolates_nothing(tmp_path):
    path = write(tmp_path / "own.json",
                 [baseline(batch=1, tokens_per_second=1e6),
                  baseline(batch=8, tokens_per_second=1.0)])  # fmt: skip
    result = compare(
        MODEL, named_model(MODEL), [named_system("kv260")], batches=(1, 2, 8), contexts=(128,),
        files=[path],
    )
    (found,) = [c for c in result.crossovers() if c.aspect == SPEED]
    assert found.batches == (1, 8)
    assert found.before == "baseline"


@pytest.mark.parametrize(
    ("gain", "winner"),
    [((1.1, 2, 3), "ours"), ((0.1, 0.2, 0.9), "baseline"), ((0.9, 2, 3), "open"),
     ((1, 2, 3), "open"), ((0.1, 0.2, 1), "open")],
)
def test_an_interval_that_holds_1_is_open(gain, winner):
    assert Verdict(SPEED, "a", "b", 1, 1, Interval(*gain)).winner == winner
