"""The compiled loop over arrivals of a fleet whose router follows state (rule 18).

What a query meets at its node is decided when it enters (rules 4 to 9): so the loop asks the router, draws the query's
service times, and lets the node's own recursion serve it. There is no event for a request, and none for an answer,
which is listed at the arrival by which the router knows of it.
"""

from __future__ import annotations

import numpy as np

from deeprec_env.fleet.answers import NONE, Answers, in_order, send_back
from deeprec_env.fleet.choosing import PROBING, RouterArrays, RouterMemory, answered, choose, probe, sent
from deeprec_env.fleet.swift_nodes import NodeMemory, Rules, Served, SwiftNodes, serve_query
from deeprec_env.jit import uncounted
from deeprec_env.scenario.parts import Floats, Ints


@uncounted
def route(
    router: RouterArrays,
    memory: RouterMemory,
    nodes: SwiftNodes,
    rules: Rules,
    state: NodeMemory,
    answers: Answers,
    noise_key: np.uint64,
    arrival_s: Floats,
    items: Ints,
    query: Ints,
    served: Served,
) -> None:
    """Route the next queries and serve them, in the order of arrival; there has to be room for their requests."""
    waiting = len(answers.after) - len(arrival_s)  # answers to earlier queries
    for i in range(len(arrival_s)):
        now_s, n = arrival_s[i], items[i]
        probe(router, memory, noise_key, now_s, query[i])
        known = answers.newest[i]  # what the router has got to know by now
        if router.choice == PROBING:
            known = in_order(known, answers.after, answers.known_s)
        while known != NONE:
            answered(router, memory, answers.node[known], answers.items[known], answers.latency_s[known])
            known = answers.after[known]
        node = choose(router, memory)
        sent(router, memory, node, n)
        leave_s = serve_query(
            nodes, rules, state, noise_key, node, now_s + router.network_s, n, query[i], served, i
        )  # fmt: skip
        answered_s = leave_s + router.network_s
        send_back(
            answers, waiting + i, node, n, answered_s - now_s, answered_s + router.age_s, i + 1, arrival_s
        )  # fmt: skip
