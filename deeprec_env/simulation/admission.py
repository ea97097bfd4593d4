"""Queries into a compiled node from Python: whole traffics, and latencies that only Python can tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deeprec_env.scenario.schema import Scenario, Stage, Threshold
from deeprec_env.simulation.arrays import (
    ADMITTED,
    HELD,
    NodeArrays,
    NodeState,
    all_rows,
    as_float,
    with_room,
)
from deeprec_env.simulation.node import admit, enter, requests_needed, take
from deeprec_env.simulation.plan import plan_stages
from deeprec_env.simulation.settings import warn_beyond
from deeprec_env.workload.stream import Traffic


def admit_all(scenario: Scenario, node: NodeArrays, state: NodeState, traffic: Traffic) -> NodeState:
    """Let all queries of a traffic arrive, under the scenario's settings; the state, with room for them."""
    batch_size, threshold = scenario.control.batch_size, scenario.control.threshold
    warn_beyond(scenario, int(traffic.items.max(initial=0)), batch_size, threshold)
    requests = requests_needed(node, state, traffic.items, batch_size, as_float(threshold))
    state = with_room(state, int(state.counts[HELD]) + len(traffic.items), requests)
    if all_rows(scenario):
        key = np.uint64(traffic.noise_key)
        admit(node, state, key, traffic.arrival_s, traffic.items, batch_size, as_float(threshold))
    else:
        admit_in_python(node, state, scenario.stages, traffic, batch_size, threshold)
    return state


def admit_in_python(
    node: NodeArrays,
    state: NodeState,
    stages: Sequence[Stage],
    traffic: Traffic,
    batch_size: int,
    threshold: Threshold,
) -> None:
    """`node.admit` of all queries of `traffic`, for latencies that have to be asked in Python."""
    held = int(state.counts[HELD])
    plans = plan_stages(stages, traffic.noise_key, int(state.counts[ADMITTED]), traffic.items, batch_size, threshold)
    for stage, plan in enumerate(plans):
        begin = int(state.first[stage, held])
        state.base_s[stage, begin : begin + len(plan.base_s)] = plan.base_s
        take(state, stage, plan.offloaded, plan.first)
    enter(node, state, traffic.arrival_s, traffic.items, batch_size, as_float(threshold))
