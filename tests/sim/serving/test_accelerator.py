"""The accelerator that jumps against the one that does not: equal, to the picosecond."""

from collections import Counter

import numpy as np
import pytest

from sim.serving.accelerator import NEVER, Accelerator
from sim.serving.scheduler import POLICIES, Scheduler
from sim.serving.steps import CASES, StepTimes, gap_bin

from .machines import machine, random_requests
from .reference import reference


def run(scheduler, blocks, requests, *, marks=(), case="nominal", name="kv260"):
    """Serve requests on one accelerator, cut at marks; return it with first and finish times."""
    first, finish = [0] * len(requests), [0] * len(requests)
    positions = blocks * scheduler.block
    accelerator = Accelerator(
        StepTimes(machine(name), positions, case), scheduler, blocks,
        prompt=requests.prompt.tolist(), output=requests.output.tolist(),
        need=(-(-requests.positions // scheduler.block)).tolist(), first=first, finish=finish,
    )
    events = [(time, 1, number) for number, time in enumerate(requests.arrival.tolist())]
    for time, arrives, number in sorted(events + [(mark, 0, 0) for mark in marks]):
        accelerator.advance(time, cut=not arrives)
        if arrives:
            accelerator.arrive(number, time)
    accelerator.advance(NEVER)
    return accelerator, first, finish


def scheduler_of(rng, policy):
    batch = int(rng.integers(1, 6))
    return Scheduler(
        policy=policy, max_batch=batch, token_budget=int(rng.integers(batch, 12)),
        block=int(rng.choice([1, 4, 16])),
    )


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", range(25))
def test_equals_the_reference_event_by_event(policy, seed):
    rng = np.random.default_rng(seed)
    scheduler = scheduler_of(rng, policy)
    requests = random_requests(rng, 60, load=float(rng.choice([0.3, 0.9, 3.0])))
    # from room for hardly more than the longest request to room for all
    blocks = scheduler.blocks(46) * int(rng.integers(1, 6))
    first, finish, iterations, gaps = reference(machine(), scheduler, blocks, requests)
    marks = np.sort(rng.integers(1, max(finish), 5)).tolist() if seed % 2 else ()
    accelerator, mine_first, mine_finish = run(scheduler, blocks, requests, marks=marks)
    assert (mine_first, mine_finish) == (first, finish)
    tally = accelerator.tally
    works = [work for _, _, work, _ in iterations]
    assert tally.iterations == len(iterations)
    assert tally.busy == sum(end - start for start, end, _, _ in iterations)
    assert tally.sequence_time == sum((end - start) * n for start, end, _, n in iterations)
    assert tally.shapes == Counter((work.tokens, work.outputs) for work in works)
    assert tally.attended == sum(work.attended for work in works)
    assert tally.cached == sum(work.cached for work in works)
    assert tally.gaps == Counter(map(gap_bin, gaps))
    assert accelerator.outstanding == 0
    # tokens are neither lost nor made
    assert tally.prompt_tokens == requests.prompt.sum()
    assert tally.output_tokens == requests.output.sum()
    positions = requests.positions
    assert tally.attended == (positions * (positions + 1) // 2).sum()
    # Little's law on the sample path: the integral of the number inside, walked change by change
    changes = sorted([(t, 1) for t in requests.arrival.tolist()] + [(t, -1) for t in finish])
    inside = area = before = 0
    for time, change in changes:
        area += inside * (time - before)
        inside, before = inside + change, time
    assert area == sum(mine_finish) - int(requests.arrival.sum())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["asic7", "eight bit"])
def test_equals_the_reference_on_other_machines(name, case):
    rng = np.random.default_rng(7)
    scheduler = Scheduler(policy="chunked", max_batch=3, token_budget=8)
    requests = random_requests(rng, 30, load=1.0)
    first, finish, _, _ = reference(machine(name), scheduler, 12, requests, case)
    assert run(scheduler, 12, requests, case=case, name=name)[1:] == (first, finish)


def test_a_long_decode_is_a_few_jumps():
    """The tally counts iterations that no loop went through."""
    rng = np.random.default_rng(0)
    requests = random_requests(rng, 1, load=1.0)
    requests.output[:] = 400
    scheduler = Scheduler(max_batch=2, token_budget=64)
    calls = []
    original = Accelerator._decode
    try:
        Accelerator._decode = lambda *arguments: (calls.append(1), original(*arguments))
        accelerator, _, _ = run(scheduler, 200, requests)
    finally:
        Accelerator._decode = original
    assert accelerator.tally.iterations == 400
    assert len(calls) == 1


@pytest.mark.parametrize("policy", POLICIES)
def test_nobody_leaves_before_the_time_that_is_told(policy):
    """`earliest_leaving` is a bound on what happens without further arrivals."""
    rng = np.random.default_rng(3)
    scheduler = Scheduler(policy=policy, max_batch=3, token_budget=5)
    requests = random_requests(rng, 40, load=1.5)
    first, finish = [0] * 40, [0] * 40
    accelerator = Accelerator(
        StepTimes(machine(), 400), scheduler, 9, prompt=requests.prompt.tolist(),
        output=requests.output.tolist(), need=[3] * 40, first=first, finish=finish,
    )
    told = []
    for number, time in enumerate(requests.arrival.tolist()):
        accelerator.advance(time)
        accelerator.arrive(number, time)
        told.append((time, accelerator.earliest_leaving(time)))
    accelerator.advance(NEVER)
    later = 0
    for time, bound in told:
        assert bound > time
        after = [t for t in finish if t > time]
        assert bound <= min(after)
        later += bound == min(after)
    assert later >= 5  # the bound is not an idle one
