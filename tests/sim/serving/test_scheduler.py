"""Rules of batching, and the room for keys and values."""

from dataclasses import replace

import pytest

from golden.config import named_model
from sim.errors import InputError
from sim.serving.scheduler import Scheduler, kv_cache
from sim.system import Machine, kv_positions

from .machines import KV260, machine


def test_blocks_are_whole():
    scheduler = Scheduler(block=16)
    assert [scheduler.blocks(n) for n in (1, 16, 17)] == [1, 1, 2]
    cache = kv_cache(machine(), Scheduler(block=1000))
    assert cache.positions == kv_positions(machine())
    assert cache.blocks == cache.positions // 1000
    assert kv_cache(machine(), Scheduler(block=cache.positions)).blocks == 1


def test_a_cache_smaller_than_a_block_is_refused():
    weights = 2**20
    while True:  # to just above the weights, by steps of less than a block
        small = replace(KV260, memory=replace(KV260.memory, capacity_bytes=weights))
        held = Machine(named_model("fbi-43m"), small)
        try:
            positions = kv_positions(held)
            break
        except InputError:
            weights += 2**17
    assert positions < 16
    with pytest.raises(InputError, match=f"at least a block of 16 positions .* not {positions} "):
        kv_cache(held, Scheduler())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"policy": "lifo"}, "policy must be one of chunked, prefill-first, not 'lifo'"),
        ({"max_batch": 0}, "max_batch must be an integer of at least 1, not 0"),
        ({"token_budget": 2.5}, "token_budget must be an integer of at least 1, not 2.5"),
        ({"block": True}, "block must be an integer of at least 1, not True"),
        ({"max_batch": 9, "token_budget": 8}, "token_budget must be at least max_batch = 9, not 8"),
    ],
)
def test_refusals(values, message):
    with pytest.raises(InputError, match=message):
        Scheduler(**values)


def test_an_iteration_is_one_pass():
    most = machine().most_tokens
    Scheduler(max_batch=most, token_budget=most).check(machine())
    with pytest.raises(InputError, match=rf"token_budget must be at most the {most} tokens"):
        Scheduler(max_batch=1, token_budget=most + 1).check(machine())
