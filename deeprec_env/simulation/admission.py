"""Queries into a compiled node from Python: whole traffics, and latencies that only Python can tell."""

from __future__ import annotations

import numpy as np

from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.arrays import HELD, NodeArrays, NodeState, all_rows, with_room
from deeprec_env.simulation.checks import warn_beyond
from deeprec_env.simulation.dispatch import dispatch
from deeprec_env.simulation.node import admit, enter, requests_needed, take
from deeprec_env.workload.stream import Traffic


def admit_all(scenario: Scenario, node: NodeArrays, state: NodeState, traffic: Traffic) -> NodeState:
    """Let all queries of a traffic arrive, under the scenario's setting; the state, with room for them."""
    setting = scenario.setting
    warn_beyond(scenario, int(traffic.items.max(initial=0)), setting)
    requests = requests_needed(node, state, traffic.items, setting.numbers)
    state = with_room(node, state, int(state.counts[HELD]) + len(traffic.items), requests)
    if all_rows(scenario):
        key = np.uint64(traffic.noise_key)
        admit(node, state, key, traffic.arrival_s, traffic.items, traffic.query, setting.numbers)
    else:
        admit_in_python(scenario, node, state, traffic, setting)
    return state


def admit_in_python(scenario: Scenario, node: NodeArrays, state: NodeState, traffic: Traffic, setting: Setting) -> None:
    """`node.admit` of all queries of `traffic`, for latencies that have to be asked in Python."""
    held = int(state.counts[HELD])
    for stage, requests in enumerate(dispatch(scenario, traffic, setting)):
        begin = int(state.first[stage, held * node.sub_batches])
        state.base_s[stage, begin : begin + len(requests.base_s)] = requests.base_s
        take(node, state, stage, requests.offloaded, requests.first)
    enter(node, state, traffic.arrival_s, traffic.items, traffic.query, setting.numbers)
