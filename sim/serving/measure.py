"""What a run's measured stretch says: latencies, throughput, energy, cost, saturation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..interval import Interval
from .cost import Prices, dynamic_energy_j
from .fleet import Fleet, Served
from .requests import PS, picoseconds
from .statistics import BATCHES, gap_percentiles, half_width, spread
from .tally import Tally

GROWTH = 0.05
"""Share of the arrivals by which the requests inside may grow before a run counts as saturated."""


@dataclass(frozen=True)
class Window:
    """The measured part of a run, from `begin` to `end`, ps, in ``BATCHES`` equal parts."""

    begin: int
    end: int

    @classmethod
    def of(cls, warm_up_s: float, measured_s: float) -> Window:
        """Return the window after `warm_up_s` seconds, `measured_s` long.

        Raises
        ------
        InputError
            If the warm-up or the rest is shorter than a nanosecond.
        """
        begin = picoseconds(warm_up_s)
        each = picoseconds(measured_s / BATCHES)
        if begin < 1000 or each < 1000:
            raise InputError(
                f"warm-up and a {BATCHES}th of the measured time must be at least 1e-9 s, not "
                f"{warm_up_s:g} s and {measured_s / BATCHES:g} s"
            )
        return cls(begin, begin + each * BATCHES)

    @property
    def marks(self) -> list[int]:
        """Bounds of the parts, ps."""
        each = (self.end - self.begin) // BATCHES
        return [self.begin + each * index for index in range(BATCHES + 1)]

    @property
    def seconds(self) -> float:
        """How long it is, s."""
        return (self.end - self.begin) / PS


def measured(
    fleet: Fleet, served: Served, window: Window, prices: Prices | None = None,
    load: float | None = None,
) -> dict[str, object]:
    """Return what a run says, as a dictionary that ``json.dumps`` takes.

    Latencies are of the requests that arrive inside the window; tokens, energy and busy time of
    what happens inside it. Times in s.

    Parameters
    ----------
    served
        A run with ``window.marks`` as marks.
    load
        Arrival rate by the fleet's capacity, if known: 1 or more is saturation.
    """
    requests, count = served.requests, fleet.accelerators
    arrival, seconds = requests.arrival, window.seconds
    inside = (arrival >= window.begin) & (arrival < window.end)
    batch = (arrival[inside] - window.begin) // ((window.end - window.begin) // BATCHES)
    end_to_end = (served.finish - arrival)[inside] / PS
    first = (served.first - arrival)[inside] / PS
    several = requests.output[inside] > 1
    per_token = (served.finish - served.first)[inside][several] / PS / (
        requests.output[inside][several] - 1
    )
    parts = served.tallies[1:-1]
    tally = Tally.total(parts)
    busy = [served.busy(index + 1) for index in range(BATCHES)]
    left = (served.finish >= window.begin) & (served.finish < window.end)
    arrivals, departures = int(inside.sum()), int(left.sum())
    present = [int((arrival < mark).sum() - (served.finish < mark).sum()) for mark in
               (window.begin, window.end)]
    overlap = np.minimum(served.finish, window.end) - np.maximum(arrival, window.begin)
    mean_present = float(np.maximum(overlap, 0).sum()) / (window.end - window.begin)
    batch_seconds = seconds / BATCHES
    energy = dynamic_energy_j(fleet.machine, tally) + _static(fleet, seconds)
    result: dict[str, object] = {
        "arrivals": arrivals,
        "rate": arrivals / seconds,
        "completed_per_second": departures / seconds,
        "rejected": served.rejected,
        "ttft_s": spread(first, batch),
        "tpot_s": spread(per_token, batch[several]),
        "gap_s": gap_percentiles(tally.gaps),
        "end_to_end_s": spread(end_to_end, batch),
        "output_tokens_per_second": tally.output_tokens / seconds,
        "output_tokens_per_second_ci95": half_width(
            [part.output_tokens / batch_seconds for part in parts]
        ),
        "prompt_tokens_per_second": tally.prompt_tokens / seconds,
        "utilisation": sum(busy) / count / (window.end - window.begin),
        "mean_batch": tally.sequence_time / tally.busy if tally.busy else 0.0,
        "iterations": tally.iterations,
        "present": {"begin": present[0], "end": present[1], "mean": mean_present},
        "watts": (energy * (1 / seconds)).to_dict(),
        "joules_per_token": None, "tokens_per_joule": None, "usd_per_million_tokens": None,
    }
    tokens = tally.output_tokens
    if tokens:
        each = energy * (1 / tokens)
        result["joules_per_token"] = each.to_dict()
        result["tokens_per_joule"] = each.reciprocal().to_dict() if each.low else None
        if prices is not None:
            usd = prices.usd(count, seconds, energy) * (1e6 / tokens)
            result["usd_per_million_tokens"] = usd.to_dict()
    result["saturated"] = _saturated(result, load)
    result["notes"] = _notes(result, window)
    return result


def _static(fleet: Fleet, seconds: float) -> Interval:
    """Return the static energy of all accelerators, working or idle, J."""
    return fleet.machine.system.power_w * (fleet.accelerators * seconds)


def _saturated(result: dict, load: float | None) -> str | None:
    """Return why a run counts as saturated, or None."""
    if load is not None and load >= 1:
        return f"requests arrive at {load:.4g} times the rate that can be served"
    growth = result["present"]["end"] - result["present"]["begin"]
    if result["arrivals"] and growth > GROWTH * result["arrivals"]:
        return (
            f"the requests inside grew by {growth} while {result['arrivals']} arrived, more than "
            f"{100 * GROWTH:g} %"
        )
    return None


def _notes(result: dict, window: Window) -> list[str]:
    """Return what weakens a run's figures."""
    notes = []
    slowest = result["end_to_end_s"].get("p99", 0.0)
    if window.begin / PS < 3 * slowest:
        notes.append(
            f"the warm-up of {window.begin / PS:.3g} s is less than three times the 99th "
            f"percentile of the latency, {slowest:.3g} s: take more requests or a longer warm-up"
        )
    if result["end_to_end_s"].get("p99_ci95", 0) is None:
        notes.append("too few requests for confidence intervals of all percentiles")
    return notes
