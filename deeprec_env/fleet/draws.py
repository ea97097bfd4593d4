"""The randomness of routers: keyed by the query, so that it is the same whatever else happens (rule 18)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.workload.noise import key_of, uniform

ROUTING = 1 << 32
"""The place of a stage in the noise: no pipeline has so many."""


def draws_of(noise_key: int, query: int) -> Callable[[int], float]:
    """The U number j of one query."""
    key = key_of(np.uint64(noise_key), np.uint64(ROUTING), query)
    return lambda j: uniform(np.uint64(key), j)


def draws_of_all(noise_key: int, query: Ints) -> Callable[[int], Floats]:
    """The U number j of many queries."""
    return lambda j: np.asarray(_draws(np.uint64(noise_key), query, j))


@compiled
def _draws(noise_key: np.uint64, query: Ints, j: int) -> Floats:
    drawn = np.empty(len(query))
    for i in range(len(query)):
        drawn[i] = uniform(key_of(noise_key, np.uint64(ROUTING), query[i]), j)
    return drawn
