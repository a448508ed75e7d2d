"""The command-level replay, on traces short enough to time by hand."""

from dataclasses import replace

import pytest

from sim.memory import named_channel
from sim.memory.commands import Channel, Request, address, chunks, mixed, replay, sequential

DDR4 = replace(named_channel("ddr4-3200"), t_refi=1e9)  # 2.5 ns a burst


def time_ns(trace, timing=DDR4, **options):
    return len(trace) * timing.burst_ns / replay(timing, trace, **options)


def test_one_burst_by_hand():
    # activate at 0, read at 13.75, data from 27.5 to 30
    assert time_ns([Request(0, 0, 0, 0)]) == pytest.approx(30)


def test_row_hits_follow_by_column_spacing():
    # the second read 5 ns later in the same bank group
    assert time_ns([Request(0, 0, 0, 0)] * 2) == pytest.approx(35)
    # another group: activated 2.5 ns later, so its read may follow 2.5 ns later
    assert time_ns([Request(0, 0, 0, 0), Request(0, 1, 0, 0)]) == pytest.approx(32.5)


def test_a_row_conflict_waits_for_the_row_cycle():
    # the other row of the bank: precharge at 32.5 (tRAS), activate at 46.25, read 60, data to 76.25
    conflict = [Request(0, 0, 0, 0), Request(0, 0, 0, 1)]
    assert time_ns(conflict) == pytest.approx(76.25)


def test_the_fifth_activation_waits_for_the_window():
    # activations at 0, 2.5, 5, 7.5 (tRRD_S) and 21.25 (tFAW); its data to 21.25 + 27.5 + 2.5
    trace = [Request(0, group, bank, 0) for bank in (0, 1) for group in range(4)][:5]
    assert time_ns(trace) == pytest.approx(21.25 + 30)


def test_a_read_after_a_write_waits_for_the_turn():
    # write at 13.75, its data to 26.25; read at 33.75 (tWTR 7.5), data to 50
    trace = [Request(0, 0, 0, 0, True), Request(0, 0, 0, 0)]
    assert time_ns(trace, drain=1) == pytest.approx(50)


def test_a_hit_overtakes_a_conflict():
    # the third request hits the open row: it goes before the conflicting second
    trace = [Request(0, 0, 0, 0), Request(0, 0, 0, 1), Request(0, 0, 0, 0)]
    # reads at 13.75 and 18.75; tRTP is over by 26.25, tRAS at 32.5: as above
    assert time_ns(trace) == pytest.approx(76.25)
    assert time_ns(trace, queue=1) > 100  # without looking ahead: two conflicts


def test_refresh_takes_its_time():
    # rows of 128 bursts are read for 5 us; one refresh falls into it
    often = replace(DDR4, t_refi=4000.0)
    trace = sequential(DDR4, 2000)
    lost = time_ns(trace, often) - time_ns(trace)
    assert lost == pytest.approx(350 + DDR4.reopen_ns, abs=20)


@pytest.mark.parametrize(
    ("start", "data_end"),
    [
        # due at 1000: precharge at once (tRP 13.75), refresh (350), activate, read, data: 30
        (0.0, 1000 + 13.75 + 350 + 30),
        # activated at 990: precharge at 1022.5 (tRAS)
        (990.0, 1022.5 + 13.75 + 350 + 30),
    ],
)
@pytest.mark.parametrize("group", [0, 1])  # tRRD is of no weight: tRFC is longer
def test_a_refresh_closes_the_row_first(start, data_end, group):
    channel, request = Channel(replace(DDR4, t_refi=1000.0)), Request(0, 0, 0, 0)
    channel.now = start
    channel.open_row(request)
    channel.issue(request)
    channel.refresh_if_due()
    assert (channel.open_row_of(request) is None) == (start > 0)  # not due before
    channel.now = max(channel.now, 1000.0)
    channel.refresh_if_due()
    assert channel.open_row_of(request) is None
    other = Request(0, group, 0, 0)
    channel.open_row(other)
    channel.issue(other)
    assert channel.data_end == pytest.approx(data_end)


def test_addresses():
    # interleaved: the four groups in turn, then the next column; 128 bursts a row
    places = [address(DDR4, burst) for burst in range(4 * 128 + 1)]
    assert [p.group for p in places[:5]] == [0, 1, 2, 3, 0]
    assert {p.bank for p in places[:-1]} == {0}
    assert places[-1].bank == 1
    plain = [address(DDR4, burst, interleaved=False) for burst in range(129)]
    assert {p.place for p in plain[:-1]} == {(0, 0, 0)}
    assert plain[-1].place == (0, 0, 1)


def test_traces_are_reproducible():
    assert chunks(DDR4, 256, 64, seed=1) == chunks(DDR4, 256, 64, seed=1)
    assert chunks(DDR4, 256, 64, seed=1) != chunks(DDR4, 256, 64, seed=2)
    assert sum(r.write for r in mixed(DDR4, 80, 8)) == 10


def test_a_conflict_after_a_write_waits_for_its_recovery():
    # write at 13.75, its data to 26.25; precharge at 41.25 (tWR 15), activate 55, read 68.75
    trace = [Request(0, 0, 0, 0, True), Request(0, 0, 0, 1)]
    assert time_ns(trace, drain=1) == pytest.approx(68.75 + 13.75 + 2.5)


def test_a_write_after_a_read_waits_for_the_turn():
    # read at 13.75, its data to 30; the bus turns in 10, for 2 clocks of 5; data to 42.5
    slow = replace(DDR4, t_ck=5.0)
    trace = [Request(0, 0, 0, 0), Request(0, 1, 0, 0, True)]
    assert time_ns(trace, slow) == pytest.approx(30 + 10 + 2.5)


def test_a_switch_of_ranks_leaves_the_bus_idle():
    # each rank is activated at 0; the first's data to 30, the second's 10 later
    two = replace(DDR4, ranks=2, t_rtrs=10.0)
    trace = [Request(0, 0, 0, 0), Request(1, 0, 0, 0)]
    assert time_ns(trace, two) == pytest.approx(30 + 10 + 2.5)
