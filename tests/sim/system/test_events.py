"""Events of an operator, by hand."""

from dataclasses import replace

import pytest

from golden.config import named_model
from sim.generic import GenericEngine
from sim.system import Machine, named_system, operator_events
from sim.workload import Operator

KV260 = named_system("kv260")
SMALL = named_model("fbi-130m")



def test_events_of_an_fbi_linear_by_hand():
    machine = Machine(SMALL, KV260)
    events = operator_events(machine.shard.linear("down_proj", 1), machine.system)
    k, n = 2048, 768
    beats = (2048 // 32) * (768 // 32)
    stream = 8 * (beats * 128 + 4 * k)
    assert events.weight_beats == events.vector_beats == beats
    assert events.front_end_muls == 2 * k
    assert events.wide_adds == k + KV260.engine.reduce_cycles + n
    # all are priced as wide as the widest of them, the drain's
    assert events.wide_bits == KV260.engine.wide_bits > KV260.engine.bin_bits
    # Tables of 4 inputs: 8 groups of 18-bit sums. A word is read and 8 entries are made for each of
    # 32 outputs; a beat looks up 8 sums and adds to a partial sum of 16 + 14 bits for each.
    steps, entry, partial = (2048 // 32) * 8, 8 * 18, 30
    made, looked_up, summed = steps * 32 * entry, beats * 32 * entry, beats * 32 * partial
    stored = stream + 32 * k + 16 * n
    assert events.sram_read_bits == stored + steps * 32 * 16 + looked_up + summed
    assert events.sram_write_bits == stored + 16 * k + made + summed


def test_tables_that_one_adder_per_group_fills_read_a_lane_of_every_group_a_step():
    engine = replace(KV260.engine, act_par=1, out_par=1)
    machines = [Machine(SMALL, replace(KV260, engine=e)) for e in (KV260.engine, engine)]
    tree, serial = (operator_events(m.shard.linear("down_proj", 1), m.system) for m in machines)
    # 64 words: 8 reads of 32 inputs each, or 12 reads of the same lane of 8 groups.
    assert tree.sram_read_bits - serial.sram_read_bits == 64 * (8 * 32 - 12 * 8) * 16
    assert tree.sram_write_bits == serial.sram_write_bits


def test_events_without_tables_read_a_word_per_beat():
    direct = replace(KV260, engine=replace(KV260.engine, structure="direct", group=1))
    machine = Machine(SMALL, direct)
    events = operator_events(machine.shard.linear("down_proj", 1), machine.system)
    k, n, beats = 2048, 768, 64 * 24
    stored = 8 * (beats * 128 + 4 * k) + 32 * k + 16 * n
    assert events.sram_read_bits == stored + beats * 32 * 16
    assert events.sram_write_bits == stored + 16 * k


def test_a_kept_stream_is_written_once_and_read_for_every_command():
    machine = Machine(SMALL, KV260)
    one, ten = (
        operator_events(machine.shard.linear("q_proj", tokens), KV260) for tokens in (1, 10)
    )
    # q of fbi-130m: 589,824 bits stay in the weight buffer
    bits = 768 * 768
    others_read, others_written = one.sram_read_bits - bits, one.sram_write_bits - bits
    coefficients = 8 * 4 * 768  # once a pass
    assert ten.sram_read_bits == 10 * bits + 10 * (others_read - coefficients) + coefficients
    assert ten.sram_write_bits == bits + 10 * (others_written - coefficients) + coefficients
    assert ten.weight_beats == 10 * one.weight_beats


def test_several_engines_do_the_same_work():
    machine = Machine(SMALL, replace(KV260, engines=2))
    alone = Machine(SMALL, KV260)
    two, one = (
        operator_events(m.shard.linear("down_proj", 1), m.system) for m in (machine, alone)
    )
    assert two.vector_beats == one.vector_beats  # 768 outputs are 2 * 12 tiles of 32
    assert two.front_end_muls == 2 * one.front_end_muls  # each has a front end of its own
    # and sums beta*x, reducer included; half of the outputs are drained on each
    assert two.wide_adds - one.wide_adds == 2048 + KV260.engine.reduce_cycles


def test_tables_are_made_again_for_every_part_of_the_outputs():
    """Of 768 outputs an engine of at most 384 makes two parts: tables twice, the same beats."""
    half = replace(KV260, engine=replace(KV260.engine, n_max=384))
    whole, split = (
        operator_events(m.shard.linear("down_proj", 1), m.system)
        for m in (Machine(SMALL, KV260), Machine(SMALL, half))
    )
    steps = (2048 // 32) * 8  # as above
    assert split.vector_beats == whole.vector_beats
    assert split.sram_read_bits - whole.sram_read_bits == steps * 32 * 16
    assert split.sram_write_bits - whole.sram_write_bits == steps * 32 * 8 * 18


def test_events_of_a_generic_engine_by_hand():
    engine = GenericEngine(k_par=32, n_par=4, clock_mhz=300, weight_bits=4.125, act_bits=12,
                           arithmetic="float-mac")  # fmt: skip
    machine = Machine(SMALL, replace(KV260, engine=engine))
    linear = machine.shard.linear("down_proj", 1)
    events = operator_events(linear, machine.system)
    k, n = 2048, 768
    beats = (k // 32) * (n // 4)
    assert (events.weight_beats, events.vector_beats) == (0, 0)
    assert events.array_float_adds == events.array_float_muls == k * n
    # from memory 4.125 bits a weight; a word of 32 activations a beat, results of 16 bits
    stream = 8 * linear.bytes
    assert stream == pytest.approx(4.125 * k * n)
    assert events.sram_read_bits == stream + beats * 32 * 12
    assert events.sram_write_bits == stream + 12 * k + 16 * n
    adds = replace(KV260, engine=replace(engine, arithmetic="float-add"))
    machine = Machine(SMALL, adds)
    events = operator_events(machine.shard.linear("down_proj", 1), machine.system)
    assert (events.array_float_adds, events.array_float_muls) == (k * n, 0)


def test_events_of_the_vector_unit_by_hand():
    """A MAC reads one operand from on-chip memory, an elementwise operation two; it writes one."""
    work = Operator(name="x", kind="vector", step="x", macs=7, vector_ops=5)
    events = operator_events(work, KV260)
    assert (events.macs, events.vector_ops) == (7, 5)
    assert events.sram_read_bits == 16 * (7 + 2 * 5)
    assert events.sram_write_bits == 16 * 5
