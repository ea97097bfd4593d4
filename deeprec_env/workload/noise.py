"""Service noise as a pure function of where it is used: a counter hash instead of a generator (rule 3).

U(seed, stage, query, part) depends on nothing that a policy does, so that two policies meet the same noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats, Ints

Keys = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_ONE = np.uint64(1)
_BELOW_ONE = 1.0 - 2.0**-53


@compiled
def mix(z: np.uint64) -> np.uint64:
    """Finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) of a 64-bit word."""
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


@compiled
def uniform(key: np.uint64, part: int) -> float:
    """U in (0, 1) for request `part` of the query with hash `key`: (53 high bits + 0.5) * 2^-53.

    The largest of these rounds to 1 in double precision, where quantile functions are infinite: it is held below.
    """
    high = mix(key + (np.uint64(part) + _ONE) * _GOLDEN) >> np.uint64(11)
    return min((np.float64(high) + 0.5) * 2.0**-53, _BELOW_ONE)


@compiled
def key_of(noise_key: np.uint64, stage: np.uint64, query: int) -> np.uint64:
    """The hash of a query number at a stage; `noise_key` and `stage` as 64-bit words."""
    stage_key = mix(noise_key + (stage + _ONE) * _GOLDEN)
    return mix(stage_key + (np.uint64(query) + _ONE) * _GOLDEN)


@compiled
def keys_of(noise_key: np.uint64, stage: np.uint64, queries: Ints) -> Keys:
    """`key_of` of many queries."""
    keys = np.empty(len(queries), dtype=np.uint64)
    for i in range(len(queries)):
        keys[i] = key_of(noise_key, stage, queries[i])
    return keys


@compiled
def _uniforms(keys: Keys, parts: Ints) -> Floats:
    drawn = np.empty(len(keys))
    for i in range(len(keys)):
        drawn[i] = uniform(keys[i], parts[i])
    return drawn


def query_keys(noise_key: int, stage: int, queries: Ints) -> Keys:
    """One hash for each query number at a stage."""
    return np.asarray(keys_of(np.uint64(noise_key), np.uint64(stage), queries))


def uniforms(keys: Keys, parts: Ints) -> Floats:
    """`uniform(keys[i], parts[i])` for every i."""
    return np.asarray(_uniforms(keys, parts))
