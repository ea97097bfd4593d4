"""Dispatch: which requests a query becomes under a setting, and how long each takes alone (rules 3, 4, 7 and 9).

Decided for many queries at once, before they arrive: nothing here depends on the state of the node. Every engine takes
its requests from here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeprec_env.scenario.bounds import MOST_ITEMS, Threshold
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.pools import Stage
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.kernels import split
from deeprec_env.workload.noise import query_keys


@dataclass(frozen=True)
class StageRequests:
    """Requests of the sub-batches of consecutive queries at one stage, in (query, part) order.

    Sub-batch i has the requests `first[i]` to `first[i + 1]`, all on the accelerator if `offloaded[i]`, else on the
    CPU; none where it is empty or the plan skips the stage. Every query has the scenario's number of sub-batches, one
    after the other. `base_s` holds each request's service time without contention.
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
    dispatched = []
    for position, (stage, most) in enumerate(
        zip(scenario.planned_stages[plan], scenario.planned_items[plan], strict=True)
    ):
        largest = MOST_ITEMS if stage.whole else batch_size
        limit = 0 if stage.accelerator is None or threshold is None else threshold
        limit = 1 if stage.cpu is None else limit
        keys = query_keys(noise_key, position, queries)
        parts = split(np.minimum(items, most), keys, largest, limit, scenario.sub_batches, scenario.fewest_items[plan])
        dispatched.append(_timed(stage, *parts))
    return dispatched


def _timed(
    stage: Stage, offloaded: NDArray[np.bool_], first: Ints, request_items: Ints, noise: Floats
) -> StageRequests:
    whole = np.repeat(offloaded, np.diff(first))
    base_s = np.empty(len(request_items))
    for pool, chosen in ((stage.cpu, ~whole), (stage.accelerator, whole)):
        if pool is not None and chosen.any():
            base_s[chosen] = pool.latency.base_s(request_items[chosen], noise[chosen])
    return StageRequests(offloaded, first, base_s)
