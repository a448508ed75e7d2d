"""A timeline in the trace-event format that Chrome's and Perfetto's viewers open.

Format: "Trace Event Format" (Chromium project): complete events (``ph: X``) with ``ts`` and ``dur``
in microseconds, metadata events (``ph: M``) that name processes (chips) and threads (units). Every
step is one event; the first pass of a phase and its last step are drawn operator by operator.
All times are nominal and modelled.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..workload import Pass, prefill_passes
from .cost import Machine
from .results import Estimate
from .timing import OperatorCost

Event = dict[str, object]

_UNITS = {"steps": 0, "array": 1, "vector": 2, "memory": 3, "link": 4}
_MICRO = 1e6


def _name(pid: int, tid: int | None, name: str) -> Event:
    kind = "process_name" if tid is None else "thread_name"
    event: Event = {"name": kind, "ph": "M", "pid": pid, "args": {"name": name}}
    return event if tid is None else {**event, "tid": tid}


def _complete(name: str, pid: int, unit: str, start: float, time: float, **args) -> Event:
    return {
        "name": name, "cat": unit, "ph": "X", "pid": pid, "tid": _UNITS[unit],
        "ts": start * _MICRO, "dur": time * _MICRO, "args": args,
    }


def _operators(pid: int, costs: list[tuple[str, OperatorCost]], start: float) -> Iterator[Event]:
    """Yield the operators of one chip's pass, one after another."""
    for where, cost in costs:
        operator, time = cost.operator, cost.time_s[1]
        unit = {"fbi-linear": "array", "link": "link"}.get(operator.kind, "vector")
        yield _complete(
            operator.name, pid, unit, start, time, layer=where, bound_by=cost.bound,
            cycles=cost.cycles,
            cycles_mark="rtl-exact" if operator.kind == "fbi-linear" else "modelled",
        )
        if cost.memory_s[1] > 0:
            yield _complete(
                operator.name, pid, "memory", start, min(time, cost.memory_s[1]),
                bytes=operator.bytes,
            )
        start += time


def _stage_costs(machine: Machine, work: Pass, stage: int) -> list[tuple[str, OperatorCost]]:
    """Return the operators of one stage of a pass in order, each with its layer."""
    fixed = machine.fixed(work.tokens, work.outputs)
    layer = (*fixed.before, *machine.attention(work), *fixed.after)
    first = sum(machine.stage_layers[:stage])
    costs = [("", cost) for cost in fixed.first] if stage == 0 else []
    costs += [
        (str(first + index), cost)
        for index in range(machine.stage_layers[stage])
        for cost in layer
    ]
    if stage == len(machine.stage_layers) - 1:
        costs += [("", cost) for cost in fixed.last]
    return costs


def _step(
    machine: Machine, passes: list[Pass], name: str, start: float, detailed: bool
) -> Iterator[Event]:
    """Yield a step's passes; the first of them operator by operator if `detailed`."""
    for index, (work, spans) in enumerate(zip(passes, machine.schedule(passes), strict=True)):
        title = name if len(passes) == 1 else f"{name}, pass {index + 1}"
        for stage, (begin, end) in enumerate(spans):
            yield _complete(
                title, stage, "steps", start + begin, end - begin, tokens=work.tokens,
                attended=work.attended, cached=work.cached, outputs=work.outputs,
            )
            if detailed and index == 0:
                yield from _operators(stage, _stage_costs(machine, work, stage), start + begin)
            if stage + 1 < len(spans):
                hop = machine.hop_time_s(work.tokens)
                yield _complete("hand over", stage, "link", start + end, hop)


def trace(result: Estimate) -> dict[str, object]:
    """Return a timeline of `result` as the JSON object of a trace file."""
    machine = result.machine
    events: list[Event] = []
    for stage in range(machine.system.stages):
        alike = f" (and {machine.system.tensor_chips - 1} alike)"
        more = alike if machine.system.tensor_chips > 1 else ""
        events.append(_name(stage, None, f"{machine.system.name} chip {stage}{more}"))
        events += [_name(stage, tid, unit) for unit, tid in _UNITS.items()]
    now = 0.0
    for phase in result.phases:
        if phase.name == "prefill":
            steps = [list(prefill_passes(result.batch, result.prefill, machine.most_tokens))]
        else:
            first = result.context - result.decode + 1
            steps = [
                machine.decode_step_passes(result.batch, first + i) for i in range(result.decode)
            ]
        for index, passes in enumerate(steps):
            name = "prefill" if phase.name == "prefill" else f"decode step {index + 1}"
            detailed = index in (0, len(steps) - 1)
            events += _step(machine, passes, name, now, detailed)
            now += machine.passes_time(passes)[1]
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {"system": machine.system.name, "mark": "modelled, nominal"},
    }
