"""A pass on a machine: the fast path against the sums it stands for."""

from dataclasses import replace

import pytest

from golden.config import named_model
from sim.interval import total
from sim.system import Machine, named_link, named_system
from sim.system.timing import NO_TIME
from sim.workload import Formats, Pass

KV260 = named_system("kv260")
SMALL = named_model("fbi-130m")


MACHINES = {
    "plain": (KV260, Formats()),
    "eight bit": (KV260, Formats(kv_bits=8, head="binary")),
    "prefetch": (replace(KV260, prefetch=True), Formats()),
    "tensor": (replace(KV260, chips=2, link=named_link("pcie4-x16")), Formats()),
    "engines": (replace(KV260, engines=2), Formats(head="int8")),
}


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize(
    "work", [Pass.decode(1, 1), Pass.decode(3, 300), Pass.of([(5, 40, 0), (1, 99, 1)])]
)
def test_a_pass_is_the_sum_of_its_operators(name, work):
    system, formats = MACHINES[name]
    machine = Machine(SMALL, system, formats)
    fixed, attention = machine.fixed(work.tokens, work.outputs), machine.attention(work)
    once = (*fixed.first, *fixed.last)
    layer = (*fixed.before, *attention, *fixed.after)
    for case, bound in enumerate(("low", "nominal", "high")):
        seconds = sum(c.time_s[case] for c in once) + 12 * sum(c.time_s[case] for c in layer)
        assert machine.pass_time(work)[case] == pytest.approx(seconds)
        joules = total(
            energy
            for costs, count in ((once, 1), (layer, 12))
            for cost in costs
            for energy in machine.operator_energy(cost.operator, count).values()
        )
        assert machine.pass_energy(work)[case] == pytest.approx(getattr(joules, bound))
    step = machine.step(work)
    assert step.time_s.nominal == machine.pass_time(work)[1]
    static = system.power_w * step.time_s
    assert step.energy_j.high == pytest.approx(machine.pass_energy(work)[2] + static.high)


def test_prefetch_saves_at_most_the_time_that_memory_was_idle():
    slower = replace(KV260, memory=replace(KV260.memory, peak_gb_s=4.8))  # well under the array
    machine, ahead = Machine(SMALL, slower), Machine(SMALL, replace(slower, prefetch=True))
    slow, fast = machine.pass_time(Pass.decode(1, 100)), ahead.pass_time(Pass.decode(1, 100))
    assert fast[1] < slow[1]
    # a weight buffer of 128 KiB saves at most its own fill before each of 4 groups a layer
    fill = 128 * 1024 / machine.system.memory.bandwidth_bytes_s.nominal
    assert slow[1] - fast[1] <= 12 * 4 * fill * (1 + 1e-9)
    # without a buffer there is nothing to fetch into
    none = replace(slower, prefetch=True, weight_buffer_bytes=0)
    assert Machine(SMALL, none).pass_time(Pass.decode(1, 100)) == Machine(
        SMALL, replace(none, prefetch=False)
    ).pass_time(Pass.decode(1, 100))


def test_a_layer_begins_with_what_the_layer_before_left_dram_to_fetch():
    slower = replace(KV260, memory=replace(KV260.memory, peak_gb_s=4.8), prefetch=True)
    machine = Machine(SMALL, slower)
    shard, timer = machine.shard, machine.timer
    _, left = timer.costs(list(shard.after_attention(1)), NO_TIME)
    assert min(left) > 0
    costs, _ = timer.costs(list(shard.before_attention(1)), left)
    fixed = machine.fixed(1, 1)
    assert [c.time_s for c in fixed.before] == [c.time_s for c in costs]
    alone, _ = timer.costs(list(shard.before_attention(1)), NO_TIME)
    assert sum(c.time_s[1] for c in costs) < sum(c.time_s[1] for c in alone)


def test_more_engines_are_faster_where_the_array_is_the_bound():
    fast = named_system("kv260", memory="hbm2-u280")
    one, four = Machine(SMALL, fast), Machine(SMALL, replace(fast, engines=4))
    gate = {c.operator.name: c for c in four.fixed(1, 1).after}["gate_proj"]
    alone = {c.operator.name: c for c in one.fixed(1, 1).after}["gate_proj"]
    assert gate.cycles < alone.cycles
    assert gate.operator.bytes == alone.operator.bytes  # 2048 outputs are 4 * 16 tiles of 32


def test_stages_share_the_layers():
    link = named_link("die-to-die")
    machine = Machine(SMALL, replace(KV260, chips=5, parallel="pipeline", link=link))
    assert machine.stage_layers == (3, 3, 2, 2, 2)
    work = Pass.decode(1, 10)
    # the last stage: two layers, and the head, which takes longer than a layer
    fixed, layer = machine.fixed(1, 1), machine.layer_time(work)
    times = [time[1] for time in machine.stage_times(work)]
    assert times == pytest.approx(
        [3 * layer[1] + fixed.first_s[1], 3 * layer[1], 2 * layer[1], 2 * layer[1],
         2 * layer[1] + fixed.last_s[1]]
    )
    # equal passes: the first all the way, the others by the slowest stage
    assert machine.passes_time([work] * 3)[1] == pytest.approx(
        machine.pass_time(work)[1] + 2 * max(times)
    )


def test_a_schedule_by_hand(monkeypatch):
    # two stages; a hop of 1; passes that take (5, 2) and (3, 4): the second enters stage 0 at 5 and
    # stage 1 at 9, when it has been handed over
    link = named_link("die-to-die")
    machine = Machine(SMALL, replace(KV260, chips=2, parallel="pipeline", link=link))
    spans = {1: ((5.0,) * 3, (2.0,) * 3), 2: ((3.0,) * 3, (4.0,) * 3)}
    monkeypatch.setattr(machine, "stage_times", lambda work: spans[work.tokens])
    monkeypatch.setattr(machine, "hop_time_s", lambda tokens: 1.0)
    passes = [Pass.decode(1, 1), Pass.decode(2, 1)]
    assert machine.schedule(passes) == [[(0, 5), (6, 8)], [(5, 8), (9, 13)]]
    assert machine.passes_time(passes) == (13, 13, 13)
    # the other way round the second waits for the first to leave stage 1
    assert machine.schedule(passes[::-1]) == [[(0, 3), (4, 8)], [(3, 8), (9, 11)]]
