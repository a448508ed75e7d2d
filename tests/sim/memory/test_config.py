from dataclasses import replace

import pytest

from sim.errors import InputError
from sim.interval import Interval
from sim.memory import MEMORIES, named_channel, named_memory
from sim.memory.config import MemoryConfig

DDR4 = named_memory("ddr4-2400-x64")


@pytest.mark.parametrize(
    ("name", "transfers_per_second", "bytes_per_transfer"),
    [
        ("ddr4-2400-x64", 2.4e9, 8),
        ("ddr4-3200-x64", 3.2e9, 8),
        ("lpddr5-6400-x32", 6.4e9, 4),
        ("lpddr4x-4266-x32", 4.266e9, 4),
        ("lpddr5-6400-x128", 6.4e9, 16),
        ("gddr6-14000-x256", 14e9, 32),
        ("hbm2", 2e9, 128),
        ("hbm2e", 3.2e9, 128),
        ("hbm3", 6.4e9, 128),  # 32 pseudo-channels of 32 bits
        ("hbm2-u280", 1.8e9, 256),  # two stacks
        ("sdram-133-x16", 133e6, 2),
        ("ddr3-800-x16", 0.8e9, 2),
    ],
)
def test_peak_is_rate_times_width(name, transfers_per_second, bytes_per_transfer):
    assert MEMORIES[name].peak_gb_s * 1e9 == pytest.approx(
        transfers_per_second * bytes_per_transfer
    )


def test_a_second_of_stream():
    # 350 ns of refresh, 7.5 + 14.16 + 14.16 to close and reopen rows, of every 7800: 95.05 %
    share = 1 - (350 + 7.5 + 2 * 14.16) / 7800
    assert DDR4.bandwidth_bytes_s.nominal == pytest.approx(19.2e9 * share)
    assert DDR4.transfer_time_s(19.2e9 * share).nominal == pytest.approx(1)
    assert DDR4.transfer_time_s(19.2e9).low > 1  # never faster than the peak
    assert DDR4.transfer_time_s(0) == Interval(0, 0, 0)


def test_the_low_share_is_that_of_a_poor_address_mapping():
    # in one bank group a burst of 3.33 ns every tCCD_L: slower by just that
    timing = DDR4.timing
    slower = timing.burst_ns / timing.t_ccd_l
    assert slower < 0.8
    assert DDR4.efficiency.low == pytest.approx(DDR4.efficiency.nominal * slower)


def test_small_chunks_arrive_slower_than_a_stream():
    shares = [DDR4.share(size).nominal for size in (64, 256, 4096)]
    assert shares == sorted(shares)
    assert shares[0] < DDR4.share().nominal
    assert DDR4.transfer_time_s(1e6, 64).nominal > DDR4.transfer_time_s(1e6).nominal


def test_without_timing_every_pattern_gets_the_same_share():
    flat = replace(DDR4, timing=None)
    assert flat.share(64) == flat.share() == flat.efficiency


def test_channels_add_up():
    two = MemoryConfig.of_channels(
        name="two", timing=named_channel("hbm3-6400"), channels=2, capacity_bytes=1,
        energy_pj_per_bit=Interval(1, 1, 1), energy_source="test",
    )
    assert two.peak_gb_s == pytest.approx(51.2)
    assert two.efficiency == named_memory("hbm3").efficiency
    with pytest.raises(InputError, match="channels must be an integer of at least 1, not 0"):
        MemoryConfig.of_channels(
            name="none", timing=named_channel("hbm3-6400"), channels=0, capacity_bytes=1,
            energy_pj_per_bit=Interval(1, 1, 1), energy_source="test",
        )


def test_energy_of_a_gigabyte():
    # 1e9 bytes * 8 bits * 20.3 pJ = 0.1624 J
    assert DDR4.transfer_energy_j(1e9).nominal == pytest.approx(0.1624)
    # At full speed that is 3.1 W for a 64-bit DDR4 channel: the order of a module's power
    assert 2 < DDR4.transfer_energy_j(19.2e9).nominal < 5


@pytest.mark.parametrize("memory", MEMORIES.values(), ids=str)
def test_every_preset_has_sources_and_is_found_by_its_name(memory):
    assert named_memory(memory.name) is memory
    assert memory.efficiency_source
    assert memory.energy_source
    assert memory.efficiency.low <= memory.efficiency.nominal < memory.efficiency.high <= 1


def test_newer_memories_cost_less_per_bit():
    nominal = {name: memory.energy_pj_per_bit.nominal for name, memory in MEMORIES.items()}
    assert nominal["hbm3"] < nominal["hbm2-u280"] < nominal["ddr4-2400-x64"]
    assert nominal["lpddr5-6400-x32"] < nominal["ddr4-2400-x64"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peak_gb_s": 0}, "peak_gb_s must be a finite number above 0, not 0"),
        ({"peak_gb_s": float("inf")}, "peak_gb_s must be a finite number above 0, not inf"),
        ({"peak_gb_s": True}, "peak_gb_s must be .* not True"),
        ({"capacity_bytes": 0}, "capacity_bytes must be a positive integer, not 0"),
        ({"capacity_bytes": 1.5}, "capacity_bytes must be a positive integer, not 1.5"),
        ({"efficiency": Interval(0, 0.5, 1)}, "efficiency must be above 0 and at most 1, not"),
        ({"efficiency": Interval(0.5, 1, 1.1)}, "efficiency must be .* to 1.1"),
    ],
)
def test_bad_memories_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(DDR4, **change)


def test_unknown_name_lists_the_known():
    with pytest.raises(InputError, match=r"a memory is one of ddr4-2400-x64, .*, not 'ddr9'"):
        named_memory("ddr9")
