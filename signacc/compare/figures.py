"""A machine's figures at one point of model, batch and context, each with interval and mark."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from sim.interval import Interval

MARKS = {
    "measured": "on the machine named, by this project or by the owner of the baselines file",
    "rtl-exact": "equal to the cycles of the RTL",
    "modelled": "by the simulator, from constants with sources and ranges",
    "published": "by the source named",
    "unverified": "said of the source named, but not read there",
    "derived": "computed from measured or published figures by the formula given",
}
"""Marks of figures, and what each says of where a figure comes from."""


@dataclass(frozen=True)
class Figure:
    """A quantity with its interval and its mark (a key of ``MARKS``)."""

    value: Interval
    mark: str

    def __post_init__(self) -> None:
        if self.mark not in MARKS:
            raise ValueError(f"mark must be one of {', '.join(MARKS)}, not {self.mark!r}")

    def computed(self, value: Interval) -> Figure:
        """Return a figure that follows from this one: what is modelled stays so."""
        return Figure(value, "modelled" if self.mark == "modelled" else "derived")

    def to_dict(self) -> dict[str, object]:
        """Return interval and mark."""
        return {**self.value.to_dict(), "mark": self.mark}


@dataclass(frozen=True, kw_only=True)
class Roof:
    """Where a decode step stands under its machine's roofs.

    Parameters
    ----------
    operations, bytes
        Operations of a step (two a weight or cached element used); least bytes of DRAM that it
        must move: weights and head once, keys and values of every sequence.
    bytes_per_second, operations_per_second
        Peak of DRAM, and of the unit that multiplies the weights; None if it is not known.
    mark
        A key of ``MARKS``, of the peaks: ``measured`` are rates of a copy and a matrix product.
    source
        Where the peaks come from.
    """

    operations: int
    bytes: int
    bytes_per_second: float
    operations_per_second: float | None
    mark: str
    source: str

    def to_dict(self) -> dict[str, object]:
        """Return the fields."""
        return {
            "operations": self.operations,
            "bytes": self.bytes,
            "peak_bytes_per_second": self.bytes_per_second,
            "peak_operations_per_second": self.operations_per_second,
            "peak_mark": self.mark,
            "source": self.source,
        }


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A machine at one point.

    Parameters
    ----------
    machine
        What tables call it.
    ours
        Whether it is an estimate of one of our machines; else a baseline.
    phase
        ``decode``: a step for all sequences. ``prefill``: all prompts are read.
    batch, context
        Sequences at once; positions that each decoded token attends to, or tokens of each prompt.
    weights
        Weights of linears and head that a token is multiplied by.
    tokens_per_second
        Tokens a second of the whole batch.
    joule_per_token
        J; None if the source has none.
    linear_cycles
        Cycles of the FBI-linears of a step or prefill; None for baselines.
    roof
        Of a decode step; None if bytes or peaks are not known.
    missing
        Why a figure is None, by its name; what follows from it has the same reason.
    provenance
        Texts by name: source, command, date, notes.
    """

    machine: str
    ours: bool
    phase: str = "decode"
    batch: int
    context: int
    weights: int
    tokens_per_second: Figure
    joule_per_token: Figure | None
    linear_cycles: Figure | None = None
    roof: Roof | None = None
    missing: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, str]

    def reason(self, name: str) -> str | None:
        """Return in words why the figure called `name` is None; None if it is not."""
        if getattr(self, name) is not None:
            return None
        return self.missing.get(_ORIGINS.get(name, name), "not known")

    @cached_property
    def time_to_first_token_s(self) -> Figure | None:
        """Time in which the prompts of the whole batch are read, s; None of a decode step."""
        if self.phase != "prefill":
            return None
        tokens = self.batch * self.context
        return self.tokens_per_second.computed(self.tokens_per_second.value.reciprocal() * tokens)

    @property
    def point(self) -> tuple[int, int]:
        """Batch and context."""
        return self.batch, self.context

    @cached_property
    def tokens_per_second_per_watt(self) -> Figure | None:
        """Tokens a second and watt, the same as tokens per joule."""
        if self.joule_per_token is None:
            return None
        return self.joule_per_token.computed(self.joule_per_token.value.reciprocal())

    @cached_property
    def energy_delay_js(self) -> Figure | None:
        """Energy of a token times the time of the step that makes it, J s."""
        if self.joule_per_token is None:
            return None
        step = self.tokens_per_second.value.reciprocal() * self.batch
        return self.joule_per_token.computed(self.joule_per_token.value * step)

    @cached_property
    def weights_per_joule(self) -> Figure | None:
        """Weights that a token is multiplied by, a joule."""
        if self.joule_per_token is None:
            return None
        return self.joule_per_token.computed(
            self.joule_per_token.value.reciprocal() * self.weights
        )

    @cached_property
    def limit_share(self) -> Figure | None:
        """Tokens a second over those that the bandwidth of the machine's DRAM allows (`roof`)."""
        if self.roof is None:
            return None
        limit = self.roof.bytes_per_second / self.roof.bytes * self.batch
        return self.tokens_per_second.computed(self.tokens_per_second.value * (1 / limit))

    def to_dict(self) -> dict[str, object]:
        """Return the entry for JSON; what is not known is null."""
        return {
            "machine": self.machine,
            "ours": self.ours,
            "phase": self.phase,
            "batch": self.batch,
            "context": self.context,
            **{
                name: None if (figure := getattr(self, name)) is None else figure.to_dict()
                for name in METRICS[self.phase]
            },
            "missing": {
                name: reason for name in METRICS[self.phase] if (reason := self.reason(name))
            },
            "roof": None if self.roof is None else self.roof.to_dict(),
            "provenance": dict(self.provenance),
        }


METRICS = {
    "decode": (
        "tokens_per_second", "joule_per_token", "tokens_per_second_per_watt", "energy_delay_js",
        "weights_per_joule", "limit_share", "linear_cycles",
    ),
    "prefill": (
        "tokens_per_second", "time_to_first_token_s", "joule_per_token",
        "tokens_per_second_per_watt", "linear_cycles",
    ),
}  # fmt: skip
"""Figures of an entry by its phase."""

_ORIGINS = dict.fromkeys(
    ("tokens_per_second_per_watt", "energy_delay_js", "weights_per_joule"), "joule_per_token"
)
"""What a figure follows from, if that may be missing."""


@dataclass(frozen=True, kw_only=True)
class Absent:
    """A machine without figures at one point, and why."""

    machine: str
    ours: bool
    batch: int
    context: int
    reason: str

    def to_dict(self) -> dict[str, object]:
        """Return the fields."""
        return {
            "machine": self.machine, "ours": self.ours, "batch": self.batch,
            "context": self.context, "reason": self.reason,
        }
