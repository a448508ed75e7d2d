"""One accelerator with its queue: continuous batching, from one change of its batch to the next."""

from __future__ import annotations

from collections import deque
from collections.abc import MutableSequence, Sequence
from heapq import heappop, heappush

from .scheduler import Scheduler
from .steps import StepTimes, gap_bin
from .tally import Tally

NEVER = 1 << 62
"""A time after every run, ps."""


class Accelerator:
    """A queue and what runs, at the end of an iteration (``now``); times in ps.

    Whoever drives it calls :meth:`advance` up to an arrival, then :meth:`arrive`. An iteration that
    has begun is not interrupted: ``now`` may lie behind the arrival, which then waits for it.

    Parameters
    ----------
    steps, scheduler, blocks
        Times of iterations, how to batch, blocks of the KV cache.
    prompt, output, need
        Prompt tokens, output tokens and KV blocks of every request of the run.
    first, finish
        Where the times of first and last token of a request are written.
    """

    __slots__ = (
        "_attended", "_batch", "_before", "_blocks", "_budget", "_ends", "_finish", "_first",
        "_free", "_gaps", "_mixed", "_need", "_output", "_partial", "_prompt", "_slots", "_step",
        "_steps", "_waiting", "just_left", "now", "outstanding", "tally",
    )  # fmt: skip

    def __init__(
        self, steps: StepTimes, scheduler: Scheduler, blocks: int, *, prompt: Sequence[int],
        output: Sequence[int], need: Sequence[int], first: MutableSequence[int],
        finish: MutableSequence[int],
    ) -> None:
        self._steps, self._budget = steps, scheduler.token_budget
        self._mixed = scheduler.policy == "chunked"
        self._prompt, self._output, self._need = prompt, output, need
        self._first, self._finish = first, finish
        self._free, self._slots = blocks, scheduler.max_batch
        self._waiting: deque[int] = deque()
        self._partial, self._before = -1, 0  # a request whose prompt is read in part, and how far
        self._batch = self._attended = 0  # sequences that write; positions their next step attends
        self._step = 0  # decode steps so far
        self._ends: list[tuple[int, int]] = []  # heap of (decode step that is its last, request)
        self._gaps: list[tuple[int, int]] = []  # (time of last token, sequences) if not all at now
        self.now = 0
        self.outstanding = 0
        self.just_left = 0
        self.tally = Tally()

    def arrive(self, request: int, time: int) -> None:
        """Queue a request; the accelerator has been advanced to its time."""
        if self.now < time:
            self.now = time  # it was idle
        self._waiting.append(request)
        self.outstanding += 1

    def present(self, time: int) -> int:
        """Return the requests here at `time`, up to which the accelerator has been advanced."""
        return self.outstanding + (self.just_left if self.now > time else 0)

    def advance(self, until: int, cut: bool = False) -> None:
        """Run all iterations that start before `until`.

        While the next request in line does not fit, an arrival changes nothing: then a run of
        decode steps goes on to its end, behind `until`, unless `cut` is set.
        """
        while self.now < until and (self._batch or self._waiting or self._partial >= 0):
            if not self._read_prompts():
                self._decode(until, cut)

    def earliest_leaving(self, time: int) -> int:
        """Return a time after `time` before which nobody leaves unless somebody arrives.

        The accelerator has been advanced to `time`.
        """
        if self.now > time and self.just_left:
            return self.now
        if self._batch and self._partial < 0 and not self._fits():
            runs = self._steps.runs(self._batch)
            place = runs.place(self._attended)
            last = place + self._ends[0][0] - self._step
            return max(self.now + runs.sums[last] - runs.sums[place], time + 1)
        if self.outstanding:
            return max(self.now, time + 1)
        return NEVER

    # ---- iterations ----------------------------------------------------------------------

    def _fits(self) -> bool:
        waiting = self._waiting
        return bool(waiting) and self._slots > 0 and self._need[waiting[0]] <= self._free

    def _read_prompts(self) -> bool:
        """Run an iteration with prompt tokens in it; return whether there was any."""
        request, before = self._partial, self._before
        if request < 0 and not self._fits():
            return False
        mixed, batch, prompt = self._mixed, self._batch, self._prompt
        room = self._budget - batch if mixed else self._budget
        tokens = attended = cached = sequences = 0
        done: list[int] = []
        while room:
            if request < 0:
                if not self._fits():
                    break
                request, before = self._waiting.popleft(), 0
                self._free -= self._need[request]
                self._slots -= 1
            left = prompt[request] - before
            new = left if left < room else room
            tokens += new
            attended += new * before + new * (new + 1) // 2
            cached += before
            sequences += 1
            room -= new
            if new == left:
                done.append(request)
                request = -1
            else:
                before += new
        self._partial, self._before = request, before
        outputs = len(done)
        tally = self.tally
        tally.prompt_tokens += tokens
        if mixed and batch:
            tokens += batch
            attended += self._attended
            cached += self._attended - batch
            outputs += batch
            sequences += batch
        start = self.now
        time = self._steps.time(tokens, attended, cached, outputs)
        self.now = start + time
        tally.add(tokens, outputs, attended, cached, sequences, time)
        self.just_left = 0
        if mixed:
            if batch:
                tally.count_gap(gap_bin(time), batch)
                self._step += 1
                self._attended += batch
                if self._ends[0][0] == self._step:
                    self._leave()
        elif batch and not self._gaps:
            self._gaps.append((start, batch))
        if done:
            self._join(done)
        return True

    def _join(self, done: list[int]) -> None:
        """Prompts have been read, so their first tokens are there."""
        now, joined = self.now, 0
        for request in done:
            self._first[request] = now
            steps = self._output[request] - 1
            if steps:
                heappush(self._ends, (self._step + steps, request))
                self._attended += self._prompt[request] + 1
                joined += 1
            else:
                self._gone(request)
        self._batch += joined
        if joined and not self._mixed:
            self._gaps.append((now, joined))

    def _leave(self) -> None:
        """Drop the sequences whose last token was the one just written."""
        ends, step = self._ends, self._step
        while ends and ends[0][0] == step:
            request = heappop(ends)[1]
            self._batch -= 1
            self._attended -= self._prompt[request] + self._output[request]
            self._gone(request)

    def _gone(self, request: int) -> None:
        self._finish[request] = self.now
        self._free += self._need[request]
        self._slots += 1
        self.outstanding -= 1
        self.just_left += 1

    def _decode(self, until: int, cut: bool) -> None:
        """Run decode steps, up to the first sequence's end or the step in which `until` falls."""
        batch, attended = self._batch, self._attended
        runs = self._steps.runs(batch)
        place = runs.place(attended)
        steps = self._ends[0][0] - self._step
        if cut or not self._waiting:
            steps = runs.iterations(place, until - self.now, steps)
        sums = runs.sums
        end = place + steps
        time = sums[end] - sums[place]
        tally = self.tally
        if self._gaps:  # not all wrote their last token at `now`
            first_end = self.now + sums[place + 1] - sums[place]
            for since, count in self._gaps:
                tally.count_gap(gap_bin(first_end - since), count)
            self._gaps.clear()
            place += 1
        if place < end:
            runs.count_gaps(place, end, tally.gaps)
        self.now += time
        self.just_left = 0
        self._step += steps
        grown = batch * steps
        tally.add_decode(batch, steps, steps * attended + batch * (steps * (steps - 1) // 2), time)
        self._attended = attended + grown
        if self._ends[0][0] == self._step:
            self._leave()
