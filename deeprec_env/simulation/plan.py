"""Dispatch: which requests a query becomes under a setting, and how long each takes alone (rules 3, 4, 7 and 9).

Decided for many queries at once, before they arrive: nothing here depends on the state of the node. Every engine takes
its requests from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.schema import Stage, Threshold
from deeprec_env.simulation.kernels import split
from deeprec_env.workload.noise import Keys, query_keys


@dataclass(frozen=True)
class StagePlan:
    """Requests of consecutive queries at one stage, in (query, part) order.

    Query i has the requests `first[i]` to `first[i + 1]`, all on the accelerator if `offloaded[i]`, else on the CPU.
    `base_s` holds each request's service time without contention.
    """

    offloaded: NDArray[np.bool_]
    first: Ints
    base_s: Floats


def plan_stages(
    stages: Sequence[Stage], noise_key: int, first_query: int, items: Ints, batch_size: int, threshold: Threshold
) -> list[StagePlan]:
    """The requests at every stage of the queries `first_query`, `first_query + 1`, ... of `items` items each."""
    plans = []
    queries = np.arange(first_query, first_query + len(items), dtype=np.int64)
    for position, stage in enumerate(stages):
        plans.append(_plan(stage, query_keys(noise_key, position, queries), items, batch_size, threshold))
        if stage.keep is not None:
            items = np.minimum(items, stage.keep)
    return plans


def _plan(stage: Stage, keys: Keys, items: Ints, batch_size: int, threshold: Threshold) -> StagePlan:
    never = stage.accelerator is None or threshold is None
    offloaded, first, request_items, noise = split(items, keys, batch_size, 0 if never else threshold)
    if never or not offloaded.any():
        return StagePlan(offloaded, first, stage.cpu.latency.base_s(request_items, noise))
    assert stage.accelerator is not None
    whole = np.repeat(offloaded, np.diff(first))
    base_s = np.empty(len(request_items))
    base_s[~whole] = stage.cpu.latency.base_s(request_items[~whole], noise[~whole])
    base_s[whole] = stage.accelerator.latency.base_s(request_items[whole], noise[whole])
    return StagePlan(offloaded, first, base_s)
