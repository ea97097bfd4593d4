from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from deeprec_env.scenario.parts import Floats
from deeprec_env.simulation.ascending import sort_times

DRAWS: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "lognormal": lambda rng, count: rng.lognormal(-5.0, 0.7, count),
    "far apart": lambda rng, count: 10.0 ** rng.uniform(-12.0, 12.0, count),
    "one far away": lambda rng, count: np.where(np.arange(count) == count // 2, 1e9, rng.random(count)),
    "ties": lambda rng, count: rng.integers(0, 5, count) / 7.0,
    "equal": lambda rng, count: np.full(count, 0.3),
    "nearly equal": lambda rng, count: 1.0 + rng.integers(0, 3, count).astype(np.float64) * 2.0**-52,
    "tiny": lambda rng, count: rng.random(count) * 5e-324 * 1e3,
    "descending": lambda rng, count: np.arange(count, 0.0, -1.0),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_times_are_sorted_as_numpy_does(draw: Callable[[np.random.Generator, int], Floats]) -> None:
    rng = np.random.default_rng(0)
    for count in (0, 1, 2, 31, 32, 33, 200, 5000):
        times_s = draw(rng, count)
        expected = np.sort(times_s)
        sort_times(times_s)
        assert times_s.tobytes() == expected.tobytes()
