from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deeprec_env.recpipe.design_space.pareto import front, hypervolume

POINTS = st.lists(st.tuples(st.integers(0, 9).map(float), st.integers(0, 9).map(float)), max_size=30)


@given(POINTS)
def test_the_front_is_what_nothing_dominates(points: list[tuple[float, float]]) -> None:
    best = [points[index] for index in front(points)]
    undominated = {a for a in points if not any(b != a and b[0] <= a[0] and b[1] <= a[1] for b in points)}
    assert set(best) == undominated
    assert len(best) == len(undominated)
    assert best == sorted(best)


@given(POINTS)
def test_the_volume_is_the_area_counted_in_squares(points: list[tuple[float, float]]) -> None:
    squares = sum(any(a <= x and b <= y for a, b in points) for x in range(8) for y in range(8))
    assert hypervolume(points, (8.0, 8.0)) == squares
