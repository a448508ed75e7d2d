"""Public facts about machines that no baselines file gives: peaks and prices, with sources."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class MachineFacts:
    """What is publicly known of machines whose name begins with the word `prefix`; None if nothing.

    ``peak_gb_s`` is in 1e9 bytes/s; ``peak_tera_operations_s`` in 1e12 dense 16-bit operations/s,
    a multiply-accumulate counting as two. ``cost_mark`` is a key of `figures.MARKS`.
    """

    prefix: str
    peak_gb_s: float | None
    peak_tera_operations_s: float | None
    peak_source: str | None
    cost: str | None
    cost_mark: str | None
    cost_source: str | None


@lru_cache(maxsize=1)
def _all() -> tuple[MachineFacts, ...]:
    path = Path(__file__).with_name("machines.json")
    data = json.loads(path.read_text(encoding="utf-8"))
    return tuple(MachineFacts(**entry) for entry in data["machines"])


def facts_of(machine: str) -> MachineFacts | None:
    """Return the facts of the longest prefix that `machine` begins with; None if there is none.

    The prefix is a whole word: ``h200x8`` and ``h2000`` are no H200.
    """
    found = [
        entry for entry in _all()
        if machine.startswith(entry.prefix) and not machine[len(entry.prefix):][:1].isalnum()
    ]  # fmt: skip
    return max(found, key=lambda entry: len(entry.prefix), default=None)
