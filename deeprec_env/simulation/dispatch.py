"""Dispatch for engines that hold queries in Python: which requests they become, and how long each takes alone.

Decided for many queries at once, before they arrive (rules 3, 4, 7 and 9): nothing here depends on the node's state.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeprec_env.latency import checked
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.pools import Stage
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.splitting import split, stage_rule
from deeprec_env.workload.noise import query_keys
from deeprec_env.workload.stream import Traffic


@dataclass(frozen=True)
class StageRequests:
    """Requests of the sub-batches of consecutive queries at one stage, in (query, part) order.

    Sub-batch i has the requests `first[i]` to `first[i + 1]`, all on the accelerator if `offloaded[i]`, else on the
    CPU; none where it is empty or the plan skips the stage. Every query has the scenario's number of sub-batches, one
    after the other. `items` holds each request's items, `base_s` its service time without contention, `u` its noise.
    """

    offloaded: NDArray[np.bool_]
    first: Ints
    items: Ints
    base_s: Floats
    u: Floats


def dispatch(scenario: Scenario, traffic: Traffic, setting: Setting) -> list[StageRequests]:
    """The requests of a traffic's queries at every stage."""
    dispatched = []
    for position, stage in enumerate(scenario.planned_stages[setting.plan]):
        keys = query_keys(traffic.noise_key, position, traffic.query)
        parts = split(stage_rule(scenario, position, setting), traffic.items, keys, scenario.sub_batches)
        dispatched.append(_timed(stage, *parts))
    return dispatched


def _timed(
    stage: Stage, offloaded: NDArray[np.bool_], first: Ints, request_items: Ints, noise: Floats
) -> StageRequests:
    whole = np.repeat(offloaded, np.diff(first))
    base_s = np.empty(len(request_items))
    for pool, chosen in ((stage.cpu, ~whole), (stage.accelerator, whole)):
        if pool is not None and chosen.any():
            base_s[chosen] = checked.base_s(pool.latency, request_items[chosen], noise[chosen])
    return StageRequests(offloaded, first, request_items, base_s, noise)
