"""The designs that no other design beats."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(points: Sequence[Sequence[float]], maximise: Sequence[bool]) -> list[int]:
    """Return the indices of points that no other dominates, best in the first objective first.

    A point dominates another if it is at least as good in every objective and better in one.
    Points that are equal in all objectives stay together.
    """
    costs = [
        tuple(-value if up else value for value, up in zip(point, maximise, strict=True))
        for point in points
    ]
    front: list[int] = []
    for index in sorted(range(len(costs)), key=lambda i: (costs[i], i)):
        # Whatever dominates a point comes before it in this order.
        mine = costs[index]
        if not any(
            costs[other] != mine and all(a <= b for a, b in zip(costs[other], mine, strict=True))
            for other in front
        ):
            front.append(index)
    return front
