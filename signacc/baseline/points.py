"""What is measured, and what comes out."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Point:
    """What is measured; `energy` asks for a steady state long enough for the energy counter."""

    model: str
    path: str
    phase: str
    batch: int
    context: int
    energy: bool = False


@dataclass(frozen=True)
class Result:
    """One measured point; None where memory did not suffice.

    Attributes
    ----------
    tokens_per_second
        Decoded or prefilled tokens of the whole batch.
    spread
        (max − min) / median of the repeats.
    bandwidth_share, compute_share
        Bytes and operations that the step must do, over its time and the ceiling of this run.
    limit_share
        The step's shortest possible time by either ceiling, over its time.
    early
        Which of :data:`.plan.EARLY` was the fastest, and is what was timed.
    """

    point: Point
    tokens_per_second: float
    spread: float
    repeats: int
    bandwidth_share: float
    compute_share: float
    limit_share: float
    joule_per_token: float | None = None
    watts: float | None = None
    energy_seconds: float | None = None
    energy_source: str | None = None
    early: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Return a flat dictionary."""
        data = asdict(self)
        return data.pop("point") | data
