"""The randomness of routers: keyed by the query, so that it is the same whatever else happens (rule 18)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.workload.noise import key_of, query_keys, uniform, uniforms

ROUTING = 1 << 32
"""The place of a stage in the noise: no pipeline has so many."""


def draws_of(noise_key: int, query: int) -> Callable[[int], float]:
    """The U number j of one query."""
    key = key_of(np.uint64(noise_key), np.uint64(ROUTING), query)
    return lambda j: uniform(np.uint64(key), j)


def draws_of_all(noise_key: int, query: Ints) -> Callable[[int], Floats]:
    """The U number j of many queries."""
    keys = query_keys(noise_key, ROUTING, query)
    return lambda j: uniforms(keys, np.full(len(query), j, dtype=np.int64))
