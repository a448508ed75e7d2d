"""Fleets: routing, independence, work conservation, what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from golden.config import named_model
from sim.errors import InputError
from sim.serving.fleet import Fleet, serve
from sim.serving.requests import Requests
from sim.serving.routers import BLIND, ROUTERS
from sim.serving.scheduler import Scheduler
from sim.system import Machine, kv_positions

from .machines import KV260, machine, random_requests
from .reference import reference

SCHEDULER = Scheduler(max_batch=3, token_budget=6)


def fleet(router="round-robin", accelerators=4, **changes):
    values = {"machine": machine(), "scheduler": SCHEDULER} | changes
    return Fleet(router=router, accelerators=accelerators, **values)


def requests(seed=0, count=400, load=3.0):
    return random_requests(np.random.default_rng(seed), count, load)


def same(one, other):
    return all(
        (getattr(one, name) == getattr(other, name)).all()
        for name in ("accelerator", "first", "finish")
    )


def outstanding(served, before, time):
    """Return how many of the first `before` requests each of four accelerators has at `time`."""
    inside = served.finish[:before] > time
    return np.bincount(served.accelerator[:before][inside], minlength=4)


def test_round_robin_is_as_many_runs_of_one():
    all_of, whole = requests(), serve(fleet(), requests())
    for number in range(4):
        alone = serve(fleet(accelerators=1), all_of.select(np.arange(number, 400, 4)))
        assert (alone.first == whole.first[number::4]).all()
        assert (alone.finish == whole.finish[number::4]).all()
    assert (whole.accelerator == np.arange(400) % 4).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_least_outstanding_is_chosen(seed):
    drawn = requests(seed, load=2.0 + 2 * seed)
    served = serve(fleet("least-outstanding"), drawn)
    busy = 0
    for number, time in enumerate(drawn.arrival.tolist()):
        counts = outstanding(served, number, time)
        assert served.accelerator[number] == counts.argmin(), number
        busy += counts.min() > 0
    assert busy > 20


def test_two_choices_take_the_lesser_of_two_drawn():
    drawn = requests(4)
    served = serve(fleet("two-choices"), drawn, seed=5)
    rng = np.random.default_rng([5, 3])
    one, other = rng.integers(4, size=400), rng.integers(3, size=400)
    other = other + (other >= one)
    assert (one != other).all()
    unequal = 0
    for number, time in enumerate(drawn.arrival.tolist()):
        counts = outstanding(served, number, time)
        a, b = int(one[number]), int(other[number])
        assert served.accelerator[number] == (b if counts[b] < counts[a] else a), number
        unequal += counts[a] != counts[b]
    assert unequal > 20
    assert set(np.bincount(other, minlength=4) > 60) == {True}


@pytest.mark.parametrize("router", ROUTERS)
def test_an_accelerator_is_never_idle_while_a_request_is_there(router):
    """Busy time is exactly the time in which an accelerator has a request."""
    drawn = requests(6, load=2.0)
    served = serve(fleet(router), drawn, marks=[10**11, 2 * 10**11])
    covered = 0
    for number in range(4):
        mine = served.accelerator == number
        end = 0
        for begin, finish in sorted(zip(drawn.arrival[mine], served.finish[mine], strict=True)):
            covered += max(0, int(finish) - max(int(begin), end))
            end = max(end, int(finish))
    assert sum(tally.busy for tally in served.tallies) == covered
    assert served.accelerator.max() == 3


@pytest.mark.parametrize("router", ROUTERS)
def test_stretches_between_marks_add_up(router):
    drawn = requests(7)
    last = int(serve(fleet(router), drawn).finish.max())
    marks = [last // 7, last // 3, last // 2, last + 10**12]
    served, free = serve(fleet(router), drawn, marks=marks), serve(fleet(router), drawn)
    assert same(served, free)
    assert sum(served.busy(stretch) for stretch in range(1, 4)) == sum(
        max(0, b - a) for a, b in _busy_pieces(served, marks[0], marks[-1])
    )
    for name in ("output_tokens", "prompt_tokens", "attended", "cached", "iterations", "busy"):
        assert sum(getattr(t, name) for t in served.tallies) == getattr(free.tallies[0], name)
    assert served.over[-1] == 0
    assert served.tallies[-1].iterations == 0


def test_an_iteration_counts_where_it_begins():
    """In every stretch of a queue that never empties, against the reference."""
    drawn = requests(5, count=80, load=20.0)
    one = fleet(accelerators=1)
    _, finish, iterations, _ = reference(machine(), SCHEDULER, one.cache.blocks, drawn)
    marks = np.linspace(0, max(finish), 12)[1:].astype(np.int64).tolist()
    served = serve(one, drawn, marks=marks)
    stretch = np.searchsorted(marks, [start for start, *_ in iterations], side="right")
    for index, tally in enumerate(served.tallies):
        mine = [each for each, at in zip(iterations, stretch, strict=True) if at == index]
        assert tally.iterations == len(mine)
        assert tally.output_tokens == sum(work.outputs for _, _, work, _ in mine)
        assert tally.busy == sum(end - start for start, end, _, _ in mine)
    for mark, over in zip(marks, served.over, strict=True):
        assert over == sum(end - mark for start, end, _, _ in iterations if start < mark < end)


def _busy_pieces(served, begin, end):
    """Yield the pieces of [begin, end) in which each accelerator has requests."""
    for number in range(4):
        mine, until = served.accelerator == number, begin
        for start, finish in sorted(
            zip(served.requests.arrival[mine].tolist(), served.finish[mine].tolist(), strict=True)
        ):
            yield max(start, until), min(finish, end)
            until = max(until, min(finish, end))


@pytest.mark.parametrize("router", BLIND)
def test_processes_change_nothing(router):
    drawn, marks = requests(8, count=80), [10**10, 10**11]
    one = serve(fleet(router), drawn, marks=marks, seed=2)
    two = serve(fleet(router), drawn, marks=marks, seed=2, workers=2)
    assert same(one, two)
    assert one.over == two.over
    for a, b in zip(one.tallies, two.tallies, strict=True):
        assert all(getattr(a, name) == getattr(b, name) for name in type(a).__slots__)


def test_the_seed_decides():
    drawn = requests(9)
    for router in ("random", "two-choices"):
        one, again, other = (serve(fleet(router), drawn, seed=seed) for seed in (1, 1, 2))
        assert same(one, again)
        assert not same(one, other)


def test_what_no_accelerator_can_hold_is_rejected_and_counted():
    tight = replace(KV260, memory=replace(KV260.memory, capacity_bytes=20 * 2**20))
    held = Machine(named_model("fbi-43m"), tight)
    positions = kv_positions(held)
    assert 100 < positions < 512
    most = positions // 16 * 16  # whole blocks
    drawn = Requests(
        np.arange(4, dtype=np.int64) * 10**12, np.array([most - 9, most - 9, 5, most]),
        np.array([10, 11, 5, 2]),
    )
    served = serve(fleet(machine=held, accelerators=1), drawn)
    assert served.rejected == 2
    assert served.requests.prompt.tolist() == [most - 9, 5]
    assert (served.finish > served.requests.arrival).all()
    # beyond the model's positions, 512, on a machine with room
    drawn = Requests(drawn.arrival, np.array([503, 504, 1, 1]), np.array([10, 10, 512, 513]))
    assert serve(fleet(), drawn).requests.prompt.tolist() == [503, 1]


def test_nothing_to_serve():
    none = requests().select(np.zeros(0, dtype=int))
    served = serve(fleet(), none, marks=[5])
    assert len(served.finish) == 0
    assert served.tallies[0].busy == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accelerators": 0}, "accelerators must be an integer of at least 1, not 0"),
        ({"accelerators": 10**400}, r"accelerators must be at most 1,000,000,000, not 10+\.\.\."),
        ({"router": "nearest"}, "router must be one of round-robin, .* not 'nearest'"),
        ({"case": "best"}, "not 'best'"),
        ({"scheduler": Scheduler(max_batch=2, token_budget=5000)},
         "token_budget must be at most the 136 tokens of a pass .* not 5000"),
    ],
)
def test_refusals(changes, message):
    with pytest.raises(InputError, match=message):
        fleet(**changes)


def test_refused_runs():
    with pytest.raises(InputError, match="at most 1,000,000, not 1,000,001"):
        fleet("two-choices", accelerators=10**6 + 1)
    fleet("random", accelerators=10**6 + 1)
    with pytest.raises(InputError, match="marks must be above 0 and increase"):
        serve(fleet(), requests(), marks=[5, 5])
    with pytest.raises(InputError, match="workers must be an integer of at least 1, not 0"):
        serve(fleet(), requests(), workers=0)


def test_a_model_that_does_not_fit_is_refused():
    small = replace(KV260, memory=replace(KV260.memory, capacity_bytes=2**20))
    with pytest.raises(InputError, match="must fit the memory"):
        fleet(machine=Machine(named_model("fbi-43m"), small))


@pytest.mark.parametrize("router", ["round-robin", "two-choices"])
def test_progress_is_told(router):
    told = []
    serve(fleet(router), requests(count=5000), progress=lambda *pair: told.append(pair))
    assert told
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert {total for _, total in told} == {5000}
    assert told[-1][0] > 4000
