"""Dispatch: which requests a query becomes under a setting, and how long each takes alone (rules 3, 4, 7 and 9).

Decided for many queries at once, before they arrive: nothing here depends on the state of the node. Every engine takes
its requests from here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.schema import MOST_ITEMS, Scenario, Stage, Threshold
from deeprec_env.simulation.kernels import split
from deeprec_env.workload.noise import Keys, query_keys


@dataclass(frozen=True)
class StageRequests:
    """Requests of consecutive queries at one stage, in (query, part) order.

    Query i has the requests `first[i]` to `first[i + 1]`, all on the accelerator if `offloaded[i]`, else on the CPU;
    none where the plan skips the stage. `base_s` holds each request's service time without contention.
    """

    offloaded: NDArray[np.bool_]
    first: Ints
    base_s: Floats


def dispatch(
    scenario: Scenario,
    noise_key: int,
    first_query: int,
    items: Ints,
    batch_size: int,
    threshold: Threshold,
    plan: int = 0,
) -> list[StageRequests]:
    """The requests at every stage of the queries `first_query`, `first_query + 1`, ... of `items` items each."""
    queries = np.arange(first_query, first_query + len(items), dtype=np.int64)
    ways = zip(scenario.planned_stages[plan], scenario.planned_items[plan], strict=True)
    return [
        _dispatch(stage, query_keys(noise_key, position, queries), np.minimum(items, most), batch_size, threshold)
        for position, (stage, most) in enumerate(ways)
    ]


def _dispatch(stage: Stage, keys: Keys, items: Ints, batch_size: int, threshold: Threshold) -> StageRequests:
    limit = 0 if stage.accelerator is None or threshold is None else threshold
    offloaded, first, request_items, noise = split(
        items, keys, MOST_ITEMS if stage.whole else batch_size, 1 if stage.cpu is None else limit
    )
    whole = np.repeat(offloaded, np.diff(first))
    base_s = np.empty(len(request_items))
    for pool, chosen in ((stage.cpu, ~whole), (stage.accelerator, whole)):
        if pool is not None and chosen.any():
            base_s[chosen] = pool.latency.base_s(request_items[chosen], noise[chosen])
    return StageRequests(offloaded, first, base_s)
