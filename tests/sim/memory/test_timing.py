"""Closed forms of bandwidth: by hand, against the command-level replay, against others' runs."""

from dataclasses import replace

import pytest

from sim.errors import InputError
from sim.memory import CHANNELS, named_channel
from sim.memory.commands import chunks, mixed, replay, sequential

DDR4 = named_channel("ddr4-3200")
BURSTS = 1500


def test_derived_by_hand():
    # 64 bits * 8 transfers = 64 bytes in 8 / 3200 MT/s = 2.5 ns: 25.6 GB/s
    assert (DDR4.burst_bytes, DDR4.burst_ns, DDR4.peak_gb_s) == (64, 2.5, 25.6)
    assert DDR4.banks == 16
    assert DDR4.t_rc == 46.25
    assert DDR4.activate_ns == 21.25 / 4
    assert replace(DDR4, ranks=2).activate_ns == 21.25 / 8  # four a window on each rank
    # 350 + 7.5 + 13.75 + 13.75 of 7800 ns
    assert DDR4.refresh_share() == pytest.approx(1 - 385 / 7800)


def test_streams_by_hand():
    # interleaved: a burst every 2.5 ns; in one bank group every 5 ns
    assert DDR4.sequential_share() == pytest.approx(DDR4.refresh_share())
    assert DDR4.sequential_share(interleaved=False) == pytest.approx(DDR4.refresh_share() / 2)


def test_random_bursts_by_hand():
    # one activation a burst: 5.3125 ns instead of 2.5
    assert DDR4.chunk_share(64) == pytest.approx(2.5 / 5.3125 * DDR4.refresh_share())
    # half of a burst is thrown away
    assert DDR4.chunk_share(32) == pytest.approx(DDR4.chunk_share(64) / 2)
    with pytest.raises(InputError, match="a chunk must be of at least 1 byte, not 0"):
        DDR4.chunk_share(0)


def test_turns_by_hand():
    # 32 writes and 224 reads take 640 ns; the bus turns for 2 * 0.625 + 7.5 + 13.75 ns
    share = 640 / (640 + 22.5) * DDR4.refresh_share()
    assert DDR4.mixed_share(1 / 8) == pytest.approx(share)
    assert DDR4.mixed_share(0) == DDR4.mixed_share(1) == DDR4.sequential_share()
    with pytest.raises(InputError, match="a share of writes must be from 0 to 1, not 2"):
        DDR4.mixed_share(2)


@pytest.mark.parametrize("name", CHANNELS)
def test_streams_against_the_replay(name):
    # without refresh, which a short trace has too few of; a stream in one bank group gains at most
    # a tenth of peak where the scheduler reaches the next row
    timing = replace(CHANNELS[name], t_refi=1e9)
    assert timing.sequential_share() == pytest.approx(
        replay(timing, sequential(timing, BURSTS)), abs=0.03
    )
    poor = replay(timing, sequential(timing, BURSTS, interleaved=False))
    assert -0.01 < poor - timing.sequential_share(interleaved=False) < 0.13


@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("size", [64, 256, 1024, 4096])
def test_chunks_against_the_replay(name, size):
    timing = replace(CHANNELS[name], t_refi=1e9)
    found = replay(timing, chunks(timing, size, BURSTS, seed=7))
    assert timing.chunk_share(size) == pytest.approx(found, abs=0.13)


@pytest.mark.parametrize("name", CHANNELS)
def test_mixed_streams_against_the_replay(name):
    timing = replace(CHANNELS[name], t_refi=1e9)
    found = replay(timing, mixed(timing, BURSTS, 8))
    assert timing.mixed_share(1 / 8) == pytest.approx(found, abs=0.08)


def test_refresh_against_the_replay():
    # thousands of bursts see several refreshes: the loss is that of the closed form
    timing = replace(DDR4, t_refi=1950.0)
    found = replay(timing, sequential(timing, 6000))
    assert timing.sequential_share() == pytest.approx(found, abs=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate_mt_s": 0}, "rate_mt_s of a DRAM must be a finite number above 0, not 0"),
        ({"t_rcd": -1.0}, "t_rcd of a DRAM must be a finite number above 0, not -1.0"),
        ({"t_rfc": 7800}, "tRFC and reopening the rows must take less than tREFI = 7800 ns"),
    ],
)
def test_impossible_channels_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(DDR4, **change)


def test_a_single_burst_is_never_behind_another_of_its_bank_group():
    quick = replace(DDR4, t_rrd_s=2.0, t_faw=8.0)
    # 16 banks and 32 bursts in the queue: 16 * 32 / 47 banks are busy, a row cycle each
    share = 2.5 / (46.25 * 47 / 512) * DDR4.refresh_share()
    for interleaved in (True, False):
        assert quick.chunk_share(64, interleaved=interleaved) == pytest.approx(share)


def test_half_of_the_chunks_change_between_two_ranks():
    two = replace(DDR4, ranks=2, t_rtrs=10.0)
    # 64 bursts in 160 ns, then half of a switch; activations and rows take less
    assert two.chunk_share(4096) == pytest.approx(160 / 165 * DDR4.refresh_share())
    assert replace(two, ranks=1).chunk_share(4096) == pytest.approx(DDR4.refresh_share())


def test_refresh_must_leave_some_time():
    with pytest.raises(InputError, match=r"less than tREFI = 385\.0 ns, not 385\.0 ns"):
        replace(DDR4, t_refi=385.0)  # 350 of refresh, 35 to open the rows again
