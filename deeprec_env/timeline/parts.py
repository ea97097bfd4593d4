"""The parts of a latency, stage by stage, on the path of the request that came last."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.pools import KINDS
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.records import Records
from deeprec_env.timeline.requests import RunRequests

PARTS = ("transfer", "waiting", "service", "contention", "slow_down", "overhead")
"""In the order in which they come about: on the way to the stage, in its queue, and on the server the service without
slow-down, what busy neighbours add to it, what a slow phase adds, and the stage's overhead."""

TRANSFER, WAITING, SERVICE, CONTENTION, SLOW_DOWN, OVERHEAD = range(len(PARTS))

MENDED = 2
"""Parts that take up what rounding leaves: the second is at most half of the latency, hence finer than it."""

_ROUNDING = 1e-9
"""Of a service: what is less is no slow-down but the rounding of the clock."""


@dataclass(frozen=True)
class LatencyParts:
    """Of every query of a run, where its latency went.

    `request`, (stages, queries): the request of each stage that ended last, of the sub-batch that did so in the last
    stage; -1 where a query does not visit the stage, or was shed. `seconds`, (stages, PARTS, queries): its times.
    """

    request: Ints
    seconds: Floats

    def of_query(self, query: int, latency_s: float) -> Floats:
        """The parts of one query, (stages, PARTS), seconds; `math.fsum` of them is its latency."""
        return mended(self.seconds[:, :, query], latency_s)


def mended(parts: Floats, latency_s: float) -> Floats:
    """Parts of a latency of which `math.fsum` is that latency.

    Differences of times are rounded. What that leaves, some units in the last place, goes to the largest part, and what
    the rounding of that one leaves, to the next.
    """
    parts = parts.copy()
    for place in np.argsort(parts, axis=None)[: -1 - MENDED : -1]:
        parts.flat[place] += math.fsum([latency_s, *(-parts.ravel())])
    return parts


def latency_parts(records: Records, scenario: Scenario, stages: list[RunRequests]) -> LatencyParts:
    """The parts of all latencies of a drained run, of which `stages` are the requests."""
    each, queries = scenario.sub_batches, len(records)
    leave_s = np.repeat(records.arrival_s, each)
    last = np.full((len(stages), queries * each), -1)
    for position, requests in enumerate(stages):
        counts = np.diff(requests.first)
        works = counts > 0
        if works.any():
            leave_s[works] = np.maximum.reduceat(requests.end_s, requests.first[:-1][works])
        ends_last = np.flatnonzero(requests.end_s == np.repeat(leave_s, counts))
        last[position, np.repeat(np.arange(len(counts)), counts)[ends_last]] = ends_last  # of several the last
    slowest = np.arange(queries) * each + (each - 1 - np.argmax(leave_s.reshape(queries, each)[:, ::-1], axis=1))
    request = last[:, slowest]
    seconds = np.zeros((len(stages), len(PARTS), queries))
    left_s = records.arrival_s.copy()
    for position, requests in enumerate(stages):
        visits = np.flatnonzero(request[position] >= 0)
        chosen = request[position, visits]
        entry_s, start_s, end_s = requests.entry_s[chosen], requests.start_s[chosen], requests.end_s[chosen]
        base_s, overhead_s = requests.base_s[chosen], scenario.stages[position].overhead_s
        slowed_s = base_s * _slowdown(scenario, position, requests, chosen)
        rest_s = (end_s - start_s) - (slowed_s + overhead_s)
        parts = seconds[position]
        parts[TRANSFER, visits] = entry_s - left_s[visits]
        parts[WAITING, visits] = start_s - entry_s
        parts[SERVICE, visits] = base_s
        parts[CONTENTION, visits] = slowed_s - base_s
        parts[SLOW_DOWN, visits] = np.where(np.abs(rest_s) > _ROUNDING * (end_s - start_s), rest_s, 0.0)
        parts[OVERHEAD, visits] = overhead_s
        left_s[visits] = end_s
    return LatencyParts(request, seconds)


def _slowdown(scenario: Scenario, position: int, requests: RunRequests, chosen: Ints) -> Floats:
    """The factor of busy neighbours on each of some requests."""
    factor = np.ones(len(chosen))
    for kind, pool in scenario.stages[position].pools().items():
        mine = requests.away[chosen] == KINDS.index(kind)
        table = np.array([pool.slowdown(busy) for busy in range(pool.servers + 1)])
        factor[mine] = table[requests.busy[chosen[mine]]]
    return factor
