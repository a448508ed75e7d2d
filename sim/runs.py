"""Cycles of an engine that applies linears to many token vectors, exact and fast.

A linear over T token vectors is ``ceil(T / m_par)`` equal commands back to back. The engine's
control is a marked graph (docs/design/0002), so equal commands soon take as many cycles each.
Once every event of a command has followed the same event of the command P before by the same number
of cycles for several periods, the rest is one multiplication.
"""

from __future__ import annotations

from functools import lru_cache

from hw.config import EngineConfig

Run = tuple[int, int, int, int]
"""(K, N, tokens, S) of a linear; S inputs share a scale on the output axis, K if all do."""

_WARM_UP = 16  # commands followed before a steady state is looked for
_PERIODS = (1, 2, 3, 4)
_REPEATS = 4  # periods that must agree


@lru_cache(maxsize=4096)
def run_ends(config: EngineConfig, runs: tuple[Run, ...]) -> tuple[int, ...]:
    """Return after how many cycles each of `runs`, sent back to back to an idle engine, has ended.

    Weights never stall. Equal to ``sim.engine.simulate`` of all commands, which tests compare.

    Parameters
    ----------
    config
        Engine configuration.
    runs
        (K, N, tokens, S) of each linear; tokens are taken ``m_par`` at a time, the rest last.

    Raises
    ------
    hw.config.ConfigError
        If a layer does not fit the engine.
    """
    from .engine import simulate

    full = [tokens // config.m_par for _, _, tokens, _ in runs]
    followed = [min(count, _WARM_UP) for count in full]
    while True:
        shapes = []
        for (k, n, tokens, size), count in zip(runs, followed, strict=True):
            shapes += [(k, n, config.m_par, size)] * count
            if tokens % config.m_par:
                shapes.append((k, n, tokens % config.m_par, size))
        events = [
            (v.command, v.quantize, v.first_beat, v.last_beat, v.last_result)
            for v in simulate(config, shapes).vectors
        ]
        ends: list[int] = []
        position = left_out = 0
        for index, (_, _, tokens, _) in enumerate(runs):
            mine = events[position : position + followed[index]]
            position += followed[index] + (tokens % config.m_par > 0)
            missing = full[index] - followed[index]
            if missing:
                steady = _steady(mine)
                if steady is None or missing % steady[0]:
                    followed[index] = min(full[index], _longer(followed[index], missing, steady))
                    break
                left_out += missing // steady[0] * steady[1]
            ends.append(events[position - 1][-1] + 1 + left_out)
        else:
            return tuple(ends)


def _longer(followed: int, missing: int, steady: tuple[int, int] | None) -> int:
    """Return how many commands to follow next: whole periods must be missing."""
    return 2 * followed if steady is None else followed + missing % steady[0]


def _steady(events: list[tuple[int, ...]]) -> tuple[int, int] | None:
    """Return (commands, cycles) of the period in which the last events repeat, if they do."""
    for period in _PERIODS:
        span = period * _REPEATS
        if len(events) < span + period:
            break
        step = events[-1][-1] - events[-1 - period][-1]
        if all(
            later - earlier == step
            for i in range(len(events) - span, len(events))
            for later, earlier in zip(events[i], events[i - period], strict=True)
        ):
            return period, step
    return None
