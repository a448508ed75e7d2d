"""Predictions against bounds counted by hand."""

from dataclasses import replace

import pytest

from sim.system import MemoryPorts, estimate
from sim.validation import load_designs, predict
from sim.validation.convolutions import Convolution, image_cost

DESIGNS = {design.name: design for design in load_designs()}


def run_of(name, run="decode"):
    design = DESIGNS[name]
    return design, next(each for each in design.runs if each.name == run)


def bytes_of(name, category, run="decode", **parts):
    design, what = run_of(name, run)
    result = estimate(what.model, design.system, context=what.positions, formats=what.formats)
    return sum(
        entry.bytes_by_category.get(category, 0)
        for entry in result.operators
        if parts.get("only") in (None, entry.operator.name)
    )


def test_ternary_bytes_are_those_that_the_authors_count():
    # bitnet-kv260, docs/how-it-works.md: 13,918,208 bytes a layer, 30 layers; head 65,667,072
    layers = 30 * 13_918_208
    assert bytes_of("bitnet-kv260", "packed_weights") == layers + 65_667_072
    assert bytes_of("bitnet-kv260", "packed_weights", only="lm_head") == 65_667_072
    assert bytes_of("bitnet-kv260", "packed_weights", only="o_proj") == 30 * 2560 * 32 * 16


def test_their_floor_at_the_beat_rate_is_a_bound():
    # Four ports of 16 bytes at 250 MHz: 16.0 GB/s, below what the DRAM gives
    floor = (30 * 13_918_208 + 65_667_072) / 16.0e9
    found = predict(DESIGNS["bitnet-kv260"])["decode", "tokens_per_second"]
    assert 0.9 / floor < found.nominal < 1 / floor == pytest.approx(33.1, abs=0.05)


@pytest.mark.parametrize(
    ("name", "weights", "mib"),
    # 32 layers of q, k, v, o and gate, up, down, and the head
    [
        ("li-kv260", 32 * (4 * 4096**2 + 3 * 4096 * 11008) + 4096 * 32000, 3249),
        (
            "hummingbird-kv260",
            32 * (2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336) + 4096 * 128256, 3690,
        ),
    ],
)
def test_four_bit_weights_over_bandwidth_by_hand(name, weights, mib):
    amount = weights * 4.125 / 8
    assert bytes_of(name, "packed_weights") == amount
    assert amount / (1 << 20) == pytest.approx(mib, rel=3e-4)  # as the authors state
    # DDR4-2400 x64, refresh of 350 ns every 7.8 us and an activation: 95.1 % of 19.2 GB/s
    bound = 0.951 * 19.2e9 / amount
    found = predict(DESIGNS[name])["decode", "tokens_per_second"]
    assert 0.93 * bound < found.nominal < bound


def test_lanes_bound_by_hand():
    # ternfpga: 2.41 G weights at 8 a cycle of 100 MHz are 3.02 s
    weights = 30 * (2 * 2560**2 + 2 * 2560 * 640 + 3 * 2560 * 6912) + 128256 * 2560
    seconds = weights / 8 / 100e6
    found = predict(DESIGNS["ternfpga"])["decode", "tokens_per_second"]
    assert 0.95 / seconds < found.nominal < 1 / seconds == pytest.approx(0.332, abs=1e-3)


@pytest.mark.parametrize("name", ["li-kv260", "edgellm-vcu128", "bitnet-kv260"])
def test_bandwidth_decides(name):
    design, run = run_of(name)

    def rate(clock):
        ports = replace(design.system.memory_ports, clock_mhz=clock)
        system = replace(design.system, memory_ports=ports)
        result = estimate(run.model, system, context=run.positions, formats=run.formats)
        return result.tokens_per_second.nominal

    now = design.system.memory_ports.clock_mhz
    slow = rate(now / 10)
    assert 0.09 * rate(now) < slow < 0.2 * rate(now)
    assert rate(now / 20) == pytest.approx(slow / 2, rel=0.05)


def test_ports_are_no_limit_above_the_memory():
    design, run = run_of("li-kv260")
    wide = replace(design.system, memory_ports=MemoryPorts(count=64, bits=512, clock_mhz=300))
    free = replace(design.system, memory_ports=None)
    first, second = (
        estimate(run.model, system, context=9, formats=run.formats).main.time_s
        for system in (wide, free)
    )
    assert (first.low, first.nominal, first.high) == (second.low, second.nominal, second.high)


def test_the_range_holds_every_corner():
    design = DESIGNS["tellme-v2"]
    found = predict(design)
    corners = list(design.corners())
    assert len(corners) == 8
    for corner in corners:
        for run in corner.runs:
            if run.phase == "decode":
                rate = estimate(
                    run.model, corner.system, context=run.positions, formats=run.formats
                ).tokens_per_second
                whole = found["decode", "tokens_per_second"]
                assert whole.low <= rate.low <= rate.high <= whole.high


def test_power_is_static_plus_energy_over_time():
    design, run = run_of("hummingbird-u250")
    result = estimate(run.model, design.system, context=run.positions, formats=run.formats)
    watts = result.main.energy_j.nominal / result.main.time_s.nominal
    assert predict(design)["decode", "power_w"].nominal == pytest.approx(watts)


def test_resnet_34_by_hand():
    design, run = run_of("hyperdrive", "resnet34")
    stages = 6 * 64 * 64 * 9 * 56**2
    stages += (64 * 128 * 9 + 7 * 128 * 128 * 9 + 64 * 128) * 28**2
    stages += (128 * 256 * 9 + 11 * 256 * 256 * 9 + 128 * 256) * 14**2
    stages += (256 * 512 * 9 + 5 * 512 * 512 * 9 + 256 * 512) * 7**2
    cost = image_cost(run.convolutions, design.system)
    assert cost.macs == stages == pytest.approx(3.54e9, rel=0.01)  # 3.66 G with first layer and end
    # 784 lanes, every size is whole tiles of 16 channels and 7 x 7 pixels
    assert cost.time_s.nominal == pytest.approx(stages / 784 / 58e6)
    weights = sum(c.inputs * c.outputs * c.kernel**2 * c.repeat for c in run.convolutions)
    pins = weights * 8e-12  # one bit each at 8 pJ
    adds = stages * design.system.technology.fp16_add.value.nominal * 1e-12
    assert cost.energy_j.nominal > pins + adds


def test_weights_that_memory_cannot_keep_up_with():
    design, _ = run_of("hyperdrive", "resnet34")
    slow = replace(design.system, memory=replace(design.system.memory, peak_gb_s=0.001))
    layer = Convolution(inputs=16, outputs=16, kernel=3, size=7)
    cost = image_cost([layer], slow)
    assert cost.time_s.nominal == pytest.approx(16 * 16 * 9 / 8 / 1e6)
    assert image_cost([layer, layer], slow).time_s.nominal == 2 * cost.time_s.nominal
