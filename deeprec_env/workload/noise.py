"""Service noise as a pure function of where it is used: a counter hash instead of a generator.

U(seed, stage, query, part) depends on nothing that a policy does, so that two policies meet the same noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deeprec_env.scenario.parts import Floats, Ints

Keys = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_BELOW_ONE = 1.0 - 2.0**-53


def _mix(z: Keys) -> Keys:
    """Finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def query_keys(noise_key: int, stage: int, queries: Ints) -> Keys:
    """One hash for each query number at a stage."""
    key = np.array([noise_key], dtype=np.uint64)
    stage_key = _mix(key + np.array([stage + 1], dtype=np.uint64) * _GOLDEN)
    return _mix(stage_key + (queries.astype(np.uint64) + np.uint64(1)) * _GOLDEN)


def uniforms(keys: Keys, parts: Ints) -> Floats:
    """U in (0, 1) for request `parts[i]` of the query with hash `keys[i]`: (53 high bits + 0.5) * 2^-53.

    The largest of these rounds to 1 in double precision, where quantile functions are infinite: it is held below.
    """
    high = _mix(keys + (parts.astype(np.uint64) + np.uint64(1)) * _GOLDEN) >> np.uint64(11)
    return np.minimum((high.astype(np.float64) + 0.5) * 2.0**-53, _BELOW_ONE)
