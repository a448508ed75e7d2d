"""One accelerator, one iteration after the other: what the fast simulator is held to.

It shares no code with sim.serving but the rounding of a step's time to picoseconds: sequences are
listed one by one, every iteration is costed by Machine.step, nothing is jumped or kept in tables.
"""

from dataclasses import dataclass

from sim.serving.steps import pass_ps
from sim.workload import Pass


@dataclass
class Sequence:
    number: int
    prompt: int
    output: int
    read: int = 0
    written: int = 0
    token_at: int = 0


def reference(machine, scheduler, blocks, requests, case="nominal"):
    """Return first and finish times, iterations as (start, end, pass, sequences), and gaps."""
    coming = [
        Sequence(i, *lengths)
        for i, lengths in enumerate(
            zip(requests.prompt.tolist(), requests.output.tolist(), strict=True)
        )
    ]
    arrival = requests.arrival.tolist()
    need = [-(-(s.prompt + s.output - 1) // scheduler.block) for s in coming]
    first, finish = [None] * len(coming), [None] * len(coming)
    waiting, running, iterations, gaps = [], [], [], []
    now = 0
    while coming or waiting or running:
        while coming and arrival[coming[0].number] <= now:
            waiting.append(coming.pop(0))
        if not waiting and not running:
            now = arrival[coming[0].number]
            continue
        writing = [s for s in running if s.read == s.prompt]
        room = scheduler.token_budget
        if scheduler.policy == "chunked":
            room -= len(writing)
        chunks = []
        for s in running:
            if s.read < s.prompt and room:
                chunks.append((s, min(room, s.prompt - s.read)))
                room -= chunks[-1][1]
        while waiting and room and len(running) < scheduler.max_batch:
            free = blocks - sum(need[s.number] for s in running)
            if need[waiting[0].number] > free:
                break
            s = waiting.pop(0)
            running.append(s)
            chunks.append((s, min(room, s.prompt)))
            room -= chunks[-1][1]
        if scheduler.policy == "prefill-first" and chunks:
            writing = []
        parts = [(new, s.read, int(s.read + new == s.prompt)) for s, new in chunks]
        parts += [(1, s.prompt + s.written - 1, 1) for s in writing]
        work = Pass.of(parts)
        end = now + pass_ps(machine, work, case)
        iterations.append((now, end, work, len(parts)))
        for s in writing:
            gaps.append(end - s.token_at)
            s.written, s.token_at = s.written + 1, end
        for s, new in chunks:
            s.read += new
            if s.read == s.prompt:
                first[s.number] = s.token_at = end
                s.written = 1
        for s in list(running):
            if s.written == s.output:
                finish[s.number] = end
                running.remove(s)
        now = end
    return first, finish, iterations, gaps
