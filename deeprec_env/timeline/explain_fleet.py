"""Why queries of a fleet were slow: the network, then what they met on their node; and what another router had done."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.fleet.records import FleetRecords, of_one_node
from deeprec_env.fleet.result import FleetResult
from deeprec_env.fleet.simulate import run_fleet
from deeprec_env.progress import Progress, Step, silent
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.simulate import MOST_KEPT
from deeprec_env.timeline.explain import (
    Explained,
    ExplainedQuery,
    cause_of,
    check_slowest,
    stages_on_the_way,
    what_helps,
)
from deeprec_env.timeline.parts import latency_parts, mended
from deeprec_env.timeline.requests import run_requests
from deeprec_env.timeline.traffic import drawn_again
from deeprec_env.timeline.what_if import WhatIf, alone_s, p95_s
from deeprec_env.workload.stream import Traffic

ROUTERS = ("random", "round-robin", "power-of-d", "least-requests", "least-work")
"""Kinds that are tried in place of the fleet's."""


@dataclass(frozen=True)
class FleetQuery:
    """A query, explained: its node and group, the network both ways, and its stages there.

    The parts of `on_node` and `network_s` sum to the latency, to the last bit (`math.fsum`).
    """

    node: int
    group: str
    network_s: float
    on_node: ExplainedQuery

    def to_json(self) -> dict[str, Any]:
        """As `deeprec explain --json` has it."""
        told = self.on_node.to_json()
        parts_s = {"network": self.network_s, **told["parts_s"]}
        return {**told, "node": self.node, "group": self.group, "parts_s": parts_s}


class FleetExplanation(Explained):
    """That of a fleet's run; other routers were tried."""

    queries: tuple[FleetQuery, ...]

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "query": query.on_node.query,
                "group": query.group,
                "node": query.node,
                "latency_s": query.on_node.latency_s,
                "network_s": query.network_s,
                **{f"{name}_s": seconds for name, seconds in query.on_node.parts_s.items()},
                "cause": query.on_node.cause,
                "helps": query.on_node.helps,
            }
            for query in self.queries
        ]


def explain_fleet(result: FleetResult, slowest: int = 5, progress: Progress = silent) -> FleetExplanation:
    """Explain the slowest counted queries of a fleet's run, the slowest first; `InputError` for a streamed run.

    What would have helped are other routers, which meet the same traffic.
    """
    slowest, scenario, records = check_slowest(slowest), result.scenario, result.records
    if records is None:
        raise InputError("queries", result.queries, f"must be at most {MOST_KEPT}: longer runs keep no records")
    traffic = drawn_again(result.question, scenario, result.queries, result.streams_sha256)
    assert result.question is not None  # else there were no traffic
    latency_s = records.whole.latency_s
    counted = np.where(np.isnan(latency_s), -math.inf, latency_s)[result.warmup :]
    chosen = (result.warmup + np.argsort(-counted, kind="stable")[:slowest]).tolist()
    chosen = [query for query in chosen if not math.isnan(latency_s[query])]
    p95, tried = p95_s(latency_s, result.warmup), []
    for number, (words, other) in enumerate(others := list(_other_routers(scenario))):
        progress(Step(words, number / len(others)))
        try:
            theirs = run_fleet(other, traffic, result.question.engine).whole.latency_s
        except InputError:  # a router that this engine can't follow on these nodes
            continue
        mine = np.where(np.isnan(theirs[chosen]), math.inf, theirs[chosen])
        tried.append(WhatIf(words, mine, p95_s(theirs, result.warmup)))
    found = tuple(
        _explained(records, scenario, traffic, query, tried, place, p95, result.question.engine)
        for place, query in enumerate(chosen)
    )
    question = replace(result.question, command="explain", arguments={**result.question.arguments, "slowest": slowest})
    return FleetExplanation(result, found, tuple(tried), p95, question)


def _explained(
    records: FleetRecords,
    scenario: Scenario,
    traffic: Traffic,
    query: int,
    tried: list[WhatIf],
    place: int,
    p95: float,
    engine: str,
) -> FleetQuery:
    assert scenario.fleet is not None
    node, network_s = int(records.node[query]), scenario.fleet.network_s
    group = int(records.members.group[node])
    own = of_one_node(records, node, network_s)
    of_group = scenario.group_scenarios[group]
    at = int(np.flatnonzero(own.query == traffic.query[query])[0])
    latency_s = float(records.whole.latency_s[query])
    stages = run_requests(own, of_group, traffic.noise_key)
    parts = latency_parts(own, of_group, stages)
    whole = mended(np.append(parts.seconds[:, :, at].ravel(), 2.0 * network_s), latency_s)
    seconds = whole[:-1].reshape(parts.seconds.shape[:2])
    alone = float(alone_s(of_group, traffic, [query], latency_s, engine)[0]) + 2.0 * network_s
    explained = ExplainedQuery(
        query=int(traffic.query[query]),
        arrival_s=float(traffic.arrival_s[query]),
        items=int(traffic.items[query]),
        latency_s=latency_s,
        stages=stages_on_the_way(own, of_group, stages, parts.request[:, at], at, seconds),
        alone_s=alone,
    )
    network = float(whole[-1])
    largest = max(float(stage.parts_s.max()) for stage in explained.stages)
    cause = f"{network * 1e3:.4g} ms of its {latency_s * 1e3:.4g} ms were the network"
    name = scenario.fleet.groups[group].name
    cause = cause if network > largest else f"on node {node} ({name}) {cause_of(explained)}"
    helps = what_helps(explained, tried, place, p95, "other routers")
    return FleetQuery(node, name, network, replace(explained, cause=cause, helps=helps))


def _other_routers(scenario: Scenario) -> Iterator[tuple[str, Scenario]]:
    assert scenario.fleet is not None
    now = scenario.fleet.router.model_dump(mode="json")["kind"]
    for kind in ROUTERS:
        if kind != now:
            fleet = scenario.fleet.model_dump(mode="json") | {"router": {"kind": kind}}
            yield f"router {kind} (not {now})", scenario.replace(fleet=fleet)
