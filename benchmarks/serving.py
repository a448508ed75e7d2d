"""What simulating a fleet takes: 100,000 requests a second, and one accelerator against SimPy.

    python benchmarks/serving.py --out benchmarks/results/serving.json

The comparison has three simulators of one accelerator and the same requests: sim.serving, a plain
loop and a SimPy process that go through every iteration. All take step times from the same
StepTimes, whose tables are warm, and must agree on every finish to the picosecond. SimPy is not a
dependency (pip install simpy).
"""

from __future__ import annotations

import os
import resource
import time
from collections import deque
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from program import OutputFile, Program
from record import write_record

from golden.config import named_model
from golden.errors import InputError
from sim.serving import Fleet, Lengths, Requests, Scheduler, StepTimes, Workload, capacity, point
from sim.serving.accelerator import NEVER, Accelerator
from sim.system import Machine, named_system

if TYPE_CHECKING:
    import simpy

MODEL, SYSTEM, RATE = "fbi-130m", "asic7", 100_000
SCHEDULER = Scheduler(policy="prefill-first", max_batch=32, token_budget=256)
SOURCE = Workload(
    prompt=Lengths(kind="geometric", mean=128, high=512),
    output=Lengths(kind="geometric", mean=64, high=512),
)


class PerIteration:
    """Continuous batching, prefill first, one iteration at a time; blocks never run short."""

    def __init__(self, steps: StepTimes, requests: Requests) -> None:
        self.steps = steps
        self.prompt, self.output = requests.prompt.tolist(), requests.output.tolist()
        self.waiting: deque[int] = deque()
        self.reading: deque[list[int]] = deque()
        self.writing: list[list[int]] = []
        self.finish = [0] * len(requests)
        self.iterations = 0

    def begin(self) -> int:
        """Begin an iteration; return its time, 0 if there is nothing to do."""
        room, tokens, attended, cached = SCHEDULER.token_budget, 0, 0, 0
        self.done: list[int] = []
        while room:
            if not self.reading:
                if not self.waiting or len(self.writing) + len(self.done) == SCHEDULER.max_batch:
                    break
                self.reading.append([self.waiting.popleft(), 0])
            request, before = self.reading[0]
            new = min(room, self.prompt[request] - before)
            tokens, attended = tokens + new, attended + new * before + new * (new + 1) // 2
            cached, room = cached + before, room - new
            self.reading[0][1] += new
            if before + new == self.prompt[request]:
                self.done.append(request)
                self.reading.popleft()
        self.prompts = bool(tokens)
        if tokens:
            return self.steps.time(tokens, attended, cached, len(self.done))
        batch = len(self.writing)
        if not batch:
            return 0
        attended = sum(context for _, _, context in self.writing)
        return self.steps.time(batch, attended, attended - batch, batch)

    def end(self, now: int) -> None:
        """End it."""
        self.iterations += 1
        if self.prompts:
            for request in self.done:
                if self.output[request] == 1:
                    self.finish[request] = now
                else:
                    self.writing.append(
                        [request, self.output[request] - 1, self.prompt[request] + 1]
                    )
            return
        for sequence in self.writing:
            sequence[1] -= 1
            sequence[2] += 1
            if not sequence[1]:
                self.finish[sequence[0]] = now
        self.writing = [sequence for sequence in self.writing if sequence[1]]


def plain(steps: StepTimes, requests: Requests) -> tuple[list[int], int]:
    """Serve by a loop."""
    state, arrivals = PerIteration(steps, requests), requests.arrival.tolist()
    now = coming = 0
    while True:
        while coming < len(arrivals) and arrivals[coming] <= now:
            state.waiting.append(coming)
            coming += 1
        took = state.begin()
        if took:
            now += took
            state.end(now)
        elif coming == len(arrivals):
            return state.finish, state.iterations
        else:
            now = arrivals[coming]


def with_simpy(steps: StepTimes, requests: Requests) -> tuple[list[int], int]:
    """Serve by a process of the accelerator and one of the arrivals."""
    import simpy

    environment, state = simpy.Environment(), PerIteration(steps, requests)
    idle = [environment.event()]

    def arrive() -> Iterator[simpy.Event]:
        for request, when in enumerate(requests.arrival.tolist()):
            if when > environment.now:
                yield environment.timeout(when - environment.now)
            state.waiting.append(request)
            if not idle[0].triggered:
                idle[0].succeed()

    def work() -> Iterator[simpy.Event]:
        while True:
            took = state.begin()
            if took:
                yield environment.timeout(took)
                state.end(environment.now)
            else:
                idle[0] = environment.event()
                yield idle[0]

    environment.process(arrive())
    environment.process(work())
    environment.run()
    return state.finish, state.iterations


def jumping(steps: StepTimes, requests: Requests) -> tuple[list[int], int]:
    """Serve by sim.serving."""
    first, finish = [0] * len(requests), [0] * len(requests)
    accelerator = Accelerator(
        steps, SCHEDULER, 1 << 40, prompt=requests.prompt.tolist(),
        output=requests.output.tolist(), need=[1] * len(requests), first=first, finish=finish,
    )
    for request, when in enumerate(requests.arrival.tolist()):
        accelerator.advance(when)
        accelerator.arrive(request, when)
    accelerator.advance(NEVER)
    return finish, accelerator.tally.iterations


def compare(fleet: Fleet, share: float, count: int) -> dict[str, object]:
    """Time the three simulators, processor time, the best of three turns."""
    limit = capacity(fleet, SOURCE)
    requests = SOURCE.requests(share * limit, count / (share * limit), 1)
    steps = StepTimes(fleet.machine, fleet.cache.positions)
    expected, iterations = jumping(steps, requests)
    plain(steps, requests)  # tables and costs are there for all
    seconds = {}
    for name, simulator in (
        ("sim.serving", jumping), ("plain loop", plain), ("simpy", with_simpy)
    ):
        turns = []
        for _ in range(3):
            began = time.process_time()
            finish, passed = simulator(steps, requests)
            turns.append(time.process_time() - began)
            if finish != expected or passed != iterations:
                raise SystemExit(f"{name} disagrees with sim.serving")
        seconds[name] = min(turns)
    return {
        "load": share, "requests": len(requests), "iterations": iterations,
        "processor_s": seconds,
        "requests_per_processor_s": {n: len(requests) / s for n, s in seconds.items()},
        "times_sim_serving": {n: s / seconds["sim.serving"] for n, s in seconds.items()},
    }


def processor_s() -> float:
    """Return the processor time of this process and of its children that have ended, s."""
    return sum(os.times()[:4])


def whole_fleet(machine: Machine, router: str, seconds: float, workers: int) -> dict[str, object]:
    """Simulate RATE requests a second on as many accelerators as are 80 % busy."""
    one = Fleet(machine=machine, scheduler=SCHEDULER, router=router)
    each = capacity(one, SOURCE)
    count = int(np.ceil(RATE / (0.8 * each)))
    fleet = Fleet(machine=machine, scheduler=SCHEDULER, accelerators=count, router=router)
    load, wall, used = os.getloadavg()[0], time.perf_counter(), processor_s()
    result = point(
        fleet, SOURCE, RATE, duration_s=seconds, warm_up_s=seconds / 4, workers=workers,
        limit=each * count,
    )
    wall, used = time.perf_counter() - wall, processor_s() - used
    simulated = RATE * seconds * 1.25
    peaks = [resource.getrusage(who).ru_maxrss / 1024
             for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "router": router, "accelerators": count, "workers": workers,
        "load_average_before": load, "requests": simulated, "simulated_s": 1.25 * seconds,
        "wall_s": wall, "processor_s": used,
        "requests_per_processor_s": simulated / used,
        "peak_memory_mb_so_far": {"this": peaks[0], "largest_child": peaks[1]},
        "result": {name: result[name] for name in (
            "utilisation", "mean_batch", "output_tokens_per_second", "saturated", "ttft_s",
            "end_to_end_s",
        )},
    }


@click.command(cls=Program)
@click.option("--minute", default=48.0, show_default=True,
              help="Measured time of the first fleet; a quarter of it comes before.")
@click.option("--seconds", default=8.0, show_default=True, help="The same of the others.")
@click.option("--count", default=20_000, show_default=True, help="Requests of the comparison.")
@click.option("--out", required=True, type=OutputFile())
def main(minute: float, seconds: float, count: int, out: Path) -> None:
    if find_spec("simpy") is None:
        raise InputError("the comparison needs simpy: pip install simpy")
    machine = Machine(named_model(MODEL), named_system(SYSTEM))
    one = Fleet(machine=machine, scheduler=SCHEDULER)
    result = {
        "model": MODEL, "system": SYSTEM, "workload": SOURCE.to_dict(),
        "fleets": [
            whole_fleet(machine, "round-robin", minute, 2),
            whole_fleet(machine, "round-robin", seconds, 1),
            whole_fleet(machine, "two-choices", seconds, 1),
            whole_fleet(machine, "least-outstanding", seconds, 1),
        ],
        "one_accelerator": [compare(one, share, count) for share in (0.3, 0.6, 0.9)],
    }
    write_record(out, result, ("signacc", "numpy", "simpy"))


if __name__ == "__main__":
    main()
