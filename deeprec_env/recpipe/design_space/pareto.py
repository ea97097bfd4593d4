"""Pareto fronts and the volume that they dominate, both of objectives to be made small."""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = tuple[float, float]


def front(points: Sequence[Point]) -> list[int]:
    """Indices of the points that no other dominates, by ascending first objective; of equal points the first."""
    found: list[int] = []
    lowest = math.inf
    for index in sorted(range(len(points)), key=lambda index: (*points[index], index)):
        if points[index][1] < lowest:
            found.append(index)
            lowest = points[index][1]
    return found


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """The area that is dominated by the points and dominates the reference."""
    inside = [point for point in points if point[0] < reference[0] and point[1] < reference[1]]
    area, ceiling = 0.0, reference[1]
    for index in front(inside):
        x, y = inside[index]
        area += (reference[0] - x) * (ceiling - y)
        ceiling = y
    return area
