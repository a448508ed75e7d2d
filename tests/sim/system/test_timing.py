from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden.config import named_model
from sim.system import Machine, array_time_s, named_system, vector_cycles
from sim.system.config import MemoryPorts
from sim.system.timing import NO_TIME, OperatorTimer
from sim.workload import Operator


def test_run_ahead_is_limited_by_the_weight_buffer():
    # 20 us idle, 80 us of beats, 150 us of memory; the buffer holds so many us of it
    def time(buffer, memory=150.0, **options):
        return array_time_s(20.0, 80.0, memory, buffer, **options)

    assert time(0) == 170
    assert time(5) == 165
    assert time(20) == time(1e9) == 150  # all idle time is used
    assert time(0, memory=75.0) == 100  # memory behind the beats
    assert time(5, commands=3) == 155  # the buffer fills for every command
    assert time(5, credit=100.0) == 160  # and once before the first
    assert time(0, credit=100.0) == 170


@given(
    stream=st.floats(0, 1e6),
    idle=st.floats(0, 1e6),
    memory=st.floats(0, 1e6),
    buffer=st.floats(0, 1e6),
    commands=st.integers(1, 10),
)
def test_array_time_lies_between_full_overlap_and_none(stream, idle, memory, buffer, commands):
    time = array_time_s(idle, stream, memory, buffer, commands)
    assert time >= max(idle + stream, memory) * (1 - 1e-9)
    assert time <= (idle + max(stream, memory)) * (1 + 1e-9)


def test_vector_cycles_by_hand():
    system = named_system("kv260")  # 64 lanes, 32 cycles of latency
    work = Operator(name="x", kind="vector", step="x", macs=65, vector_ops=1)
    assert vector_cycles(work, system) == 2 + 1 + 32
    assert vector_cycles(Operator(name="x", kind="vector", step="x"), system) == 0


def linears(system, count, tokens=1):
    """Return `count` FBI-linears ``q_proj``, each in a step of its own."""
    linear = Machine(named_model("fbi-130m"), system).shard.linear("q_proj", tokens)
    return [replace(linear, step=f"step {index}") for index in range(count)]


def by_hand(system, operator, memory, commands):
    """Return the nominal time of one FBI-linear from its cycles and beats."""
    timer = OperatorTimer(system, {})
    (cost,), _ = timer.costs([operator], NO_TIME)
    beats, clock = operator.weight_beats, system.clock_hz
    buffer = system.weight_buffer_bytes * timer.seconds_per_byte["packed_weights"][1]
    return array_time_s((cost.cycles - beats) / clock, beats / clock, memory, buffer, commands)


SLOW = replace(named_system("kv260"), weight_buffer_bytes=64)
SLOW = replace(SLOW, memory=replace(SLOW.memory, peak_gb_s=2.0))


def test_vectors_that_share_weights_are_one_command():
    """Ahead of each command, memory fills the weight buffer once: of four vectors two times."""
    system = replace(SLOW, engine=replace(SLOW.engine, m_par=2))
    (operator,) = linears(system, 1, tokens=4)
    timer = OperatorTimer(system, {})
    (cost,), _ = timer.costs([operator], NO_TIME)
    memory = cost.memory_s[1]
    assert cost.time_s[1] == pytest.approx(by_hand(system, operator, memory, 2), rel=1e-12)
    assert cost.time_s[1] > by_hand(system, operator, memory, 4)  # else nothing is shown


def test_what_was_fetched_ahead_is_fetched_once():
    """The second of two steps on the array finds no time left over from before the first."""
    first, second = linears(SLOW, 2)
    credit = (1e-6,) * 3
    timer = OperatorTimer(replace(SLOW, prefetch=True), {})
    (one, two), left = timer.costs([first, second], credit)
    (alone,), _ = timer.costs([second], NO_TIME)
    assert one.time_s[1] < alone.time_s[1]
    assert two.time_s == alone.time_s
    assert left == NO_TIME


@pytest.mark.parametrize(("peak_gb_s", "bound"), [(1000.0, "array"), (0.5, "memory")])
def test_a_step_is_shared_by_what_bounds_it(peak_gb_s, bound):
    """Linears that run back to back: by their cycles, or by their times of memory."""
    system = replace(SLOW, memory=replace(SLOW.memory, peak_gb_s=peak_gb_s))
    shard = Machine(named_model("fbi-130m"), system).shard
    group = [replace(shard.linear(name, 1), step="both") for name in ("q_proj", "down_proj")]
    costs, _ = OperatorTimer(system, {}).costs(group, NO_TIME)
    assert [cost.bound for cost in costs] == [bound, bound]
    amounts = [c.cycles if bound == "array" else c.memory_s[1] for c in costs]
    small, large = (cost.time_s[1] for cost in costs)
    assert large / small == pytest.approx(amounts[1] / amounts[0])
    assert large > 1.4 * small  # 2048 * 768 weights and 768 * 768, which fill the pipeline


def test_what_leaves_dram_to_the_vector_unit_has_a_limit_of_its_own():
    """Weights pass the ports, 2 * 64 bits at 100 MHz; keys and values 1 GB/s, both under DRAM's."""
    ports = MemoryPorts(count=2, bits=64, clock_mhz=100.0)
    system = replace(named_system("kv260"), memory_ports=ports, vector_bandwidth_gb_s=1.0)
    each = OperatorTimer(system, {}).seconds_per_byte
    assert each["packed_weights"][1] == pytest.approx(1 / 1.6e9)
    assert each["kv_read"][1] == pytest.approx(1 / 1e9)
    alone = OperatorTimer(replace(system, memory_ports=None), {}).seconds_per_byte
    assert alone["kv_read"] == each["kv_read"]
    assert alone["packed_weights"][1] < each["packed_weights"][1]
