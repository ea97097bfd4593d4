"""Queries into a compiled node from Python: whole traffics, and latencies that only Python can tell."""

from __future__ import annotations

import numpy as np

from deeprec_env.scenario.bounds import Threshold
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.arrays import (
    ADMITTED,
    HELD,
    NodeArrays,
    NodeState,
    all_rows,
    compiled_setting,
    with_room,
)
from deeprec_env.simulation.dispatch import dispatch
from deeprec_env.simulation.node import admit, enter, requests_needed, take
from deeprec_env.simulation.settings import warn_beyond
from deeprec_env.workload.stream import Traffic


def admit_all(scenario: Scenario, node: NodeArrays, state: NodeState, traffic: Traffic) -> NodeState:
    """Let all queries of a traffic arrive, under the scenario's settings; the state, with room for them."""
    control = scenario.control
    setting = (control.batch_size, control.threshold, scenario.plan)
    warn_beyond(scenario, int(traffic.items.max(initial=0)), *setting)
    requests = requests_needed(node, state, traffic.items, compiled_setting(*setting))
    state = with_room(node, state, int(state.counts[HELD]) + len(traffic.items), requests)
    if all_rows(scenario):
        key = np.uint64(traffic.noise_key)
        admit(node, state, key, traffic.arrival_s, traffic.items, compiled_setting(*setting))
    else:
        admit_in_python(scenario, node, state, traffic, *setting)
    return state


def admit_in_python(
    scenario: Scenario,
    node: NodeArrays,
    state: NodeState,
    traffic: Traffic,
    batch_size: int,
    threshold: Threshold,
    plan: int,
) -> None:
    """`node.admit` of all queries of `traffic`, for latencies that have to be asked in Python."""
    held = int(state.counts[HELD])
    number = int(state.counts[ADMITTED])
    dispatched = dispatch(scenario, traffic.noise_key, number, traffic.items, batch_size, threshold, plan)
    for stage, requests in enumerate(dispatched):
        begin = int(state.first[stage, held * node.sub_batches])
        state.base_s[stage, begin : begin + len(requests.base_s)] = requests.base_s
        take(node, state, stage, requests.offloaded, requests.first)
    enter(node, state, traffic.arrival_s, traffic.items, compiled_setting(batch_size, threshold, plan))
