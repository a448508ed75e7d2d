from hypothesis import given
from hypothesis import strategies as st

from sim.system import array_time_s, named_system, vector_cycles
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
