"""Latencies by formulas: p95 and p99 of a node's queries at any rate from the moments of its service times.

A pool is a queue G/G/c by Allen and Cunneen's formula with Sakasegawa's probability of waiting (Kingman's bound for one
server): mean wait = P(wait) E[S] / (c (1 - rho)) x (I + C^2) / 2, P(wait) = rho^(sqrt(2 (c + 1)) - 1). C^2 is the
squared coefficient of variation of a request's service; queries come as Poisson, each with K requests at once, so that
I, the index of dispersion of the requests' arrivals, is E[K^2] / E[K] (on an accelerator, where a query is one request,
1: the formula for one server is then Pollaczek and Khinchine's). The wait is taken as exponential beside an atom at 0,
and a query's own time as that of its slowest request, with what does not fit on the idle servers after the others.
Stages in series add up their percentiles, which is pessimistic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deeprec_env.latency import checked
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.pools import PoolSpec, Stage
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.workload.checked import size_probabilities

ATOMS = np.concatenate([np.linspace(0.0, 0.9, 33), np.linspace(0.9, 1.0, 33)[1:]])
"""Levels between which sizes are replaced by one: finer for the large ones, which make the tail and are offloaded."""

_EDGES = np.concatenate([np.linspace(0.0, 0.9, 19), np.linspace(0.9, 0.99, 10)[1:], np.linspace(0.99, 1.0, 11)[1:]])
NOISE, NOISE_SHARES = 0.5 * (_EDGES[1:] + _EDGES[:-1]), np.diff(_EDGES)
"""Levels of the service noise that stand for its distribution, and the share of each."""

_BISECTIONS = 40
_NEARLY = 0.999
"""Loads above this are taken for it: the formulas know no overload."""


@dataclass(frozen=True)
class _Flow:
    """What one pool of a stage gets of a mean query, by atom: `share` of the queries, `requests` of each, the items of
    the large ones and of the `small` last one (0: none)."""

    pool: PoolSpec
    overhead_s: float
    share: Floats
    requests: Ints
    large: Ints
    small: Ints


class QueueingModel:
    """The node of a scenario under settings of batch size and threshold, in the order of arrival, all admitted."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        sizes, probability = size_probabilities(scenario.workload.sizes)
        order = np.argsort(sizes, kind="stable")
        levels = np.cumsum(probability[order])
        middles = 0.5 * (ATOMS[1:] + ATOMS[:-1]) * levels[-1]
        self._sizes, self._shares = sizes[order][np.searchsorted(levels, middles)], np.diff(ATOMS)
        self._seconds: dict[tuple[int, int], Floats] = {}

    def latencies(self, setting: Setting, qps: float) -> tuple[float, float, float]:
        """p95 and p99 of the latency in seconds, and the share of the queries above the target, at a rate.

        Of several stages the share is that above each one's part of the target, by p95.
        """
        p95_s, p99_s, tails = 0.0, 0.0, []
        most = self._scenario.planned_items[setting.plan]
        for stage, items in zip(self._scenario.planned_stages[setting.plan], most, strict=True):
            if items == 0:
                continue
            flows = self._flows(stage, np.minimum(self._sizes, items), setting)
            tail = _Mixture([self._pool(flow, qps) for flow in flows])
            tails.append((tail, tail.percentile(0.95)))
            p95_s += stage.transfer_s + tails[-1][1]
            p99_s += stage.transfer_s + tail.percentile(0.99)
        late = sum(tail.above(self._scenario.sla_s * of_stage_s / p95_s) for tail, of_stage_s in tails)
        return p95_s, p99_s, min(late, 1.0)

    def _flows(self, stage: Stage, items: Ints, setting: Setting) -> list[_Flow]:
        away = np.zeros(len(items), dtype=bool)
        if stage.cpu is None:
            away[:] = True
        elif stage.accelerator is not None and setting.threshold is not None:
            away = items >= setting.threshold
        flows = []
        if stage.cpu is not None and not away.all():
            here = items[~away]
            largest = np.full(len(here), 10**9 if stage.whole else setting.batch_size)
            full, rest = np.divmod(here, largest)
            flows.append(
                _Flow(
                    stage.cpu,
                    stage.overhead_s,
                    self._shares[~away],
                    full + (rest > 0),
                    np.where(full > 0, largest, rest),
                    np.where(full > 0, rest, 0),
                )
            )
        if stage.accelerator is not None and away.any():
            there = items[away]
            one, none = np.ones_like(there), np.zeros_like(there)
            flows.append(_Flow(stage.accelerator, stage.overhead_s, self._shares[away], one, there, none))
        return flows

    def _pool(self, flow: _Flow, qps: float) -> tuple[_Wait, _Own]:
        """The wait of a pool's queries, and their own times."""
        pool, servers = flow.pool, flow.pool.servers
        share, requests = flow.share / flow.share.sum(), flow.requests.astype(np.float64)
        large_n = requests - (flow.small > 0)
        busy = float(servers)
        for _ in range(3):  # the slow-down depends on the load, and the load on the slow-down
            slow = pool.slowdown(max(1, round(busy)))
            large = self._service_s(pool, flow.large) * slow + flow.overhead_s
            small = (self._service_s(pool, flow.small) * slow + flow.overhead_s) * (flow.small > 0)[:, None]
            work_s = float(share @ (large_n * (large @ NOISE_SHARES) + small @ NOISE_SHARES))
            load = qps * float(flow.share.sum()) * work_s / servers
            busy = min(load, 1.0) * servers
        k, k2 = float(share @ requests), float(share @ requests**2)
        mean_s = work_s / k
        square = float(share @ (large_n * (large**2 @ NOISE_SHARES) + small**2 @ NOISE_SHARES)) / k
        rho = min(load, _NEARLY)
        waits = rho ** (math.sqrt(2.0 * (servers + 1)) - 1.0)
        variability = 0.5 * (k2 / k + square / mean_s**2 - 1.0)
        wait_s = waits * mean_s / (servers * (1.0 - rho)) * variability
        # The slowest of several requests of the same noise levels: its level is a power of one's.
        levels = NOISE[None, :] ** (1.0 / np.maximum(large_n, 1.0))[:, None]
        own_s = np.stack([np.interp(level, NOISE, seconds) for level, seconds in zip(levels, large, strict=True)])
        late = np.maximum(0.0, requests - np.maximum(servers * (1.0 - rho), 1.0))
        own_s = own_s + (late * mean_s / servers)[:, None]
        weights = np.outer(flow.share, NOISE_SHARES).ravel()
        return _Wait(waits, wait_s / waits if waits > 0.0 else 0.0), _Own(own_s.ravel(), weights)

    def _service_s(self, pool: PoolSpec, items: Ints) -> Floats:
        """Seconds of a request by its items and the level of its noise, ascending in that: (n, levels)."""
        rows = [self._quantiles_s(pool, max(1, int(n))) for n in items]
        return np.stack(rows)

    def _quantiles_s(self, pool: PoolSpec, items: int) -> Floats:
        known = self._seconds.get((id(pool), items))
        if known is None:
            drawn = np.sort(checked.base_s(pool.latency, np.full(len(NOISE), items), NOISE))
            mean_s = float(checked.mean_s(pool.latency, np.array([items]))[0])
            of_levels_s = float(drawn @ NOISE_SHARES)
            known = drawn * (mean_s / of_levels_s) if of_levels_s > 0.0 else drawn
            self._seconds[id(pool), items] = known
        return known


@dataclass(frozen=True)
class _Wait:
    """A wait: none at all, or with this chance exponential with this mean."""

    chance: float
    mean_s: float


@dataclass(frozen=True)
class _Own:
    """Times without waiting, and how many of all queries have each."""

    seconds: Floats
    weights: Floats


class _Mixture:
    """The latencies of all queries of a stage: those of its pools."""

    def __init__(self, parts: Sequence[tuple[_Wait, _Own]]) -> None:
        self._parts = parts

    def above(self, seconds: float) -> float:
        """The share of the latencies above so many seconds."""
        share = 0.0
        for wait, own in self._parts:
            left_s = np.maximum(seconds - own.seconds, 0.0)
            waiting = wait.chance * np.exp(-left_s / wait.mean_s) if wait.mean_s > 0.0 else 0.0
            share += float(own.weights @ np.where(own.seconds > seconds, 1.0, waiting))
        return share

    def percentile(self, level: float) -> float:
        """The latency that a share `level` is within, in seconds."""
        low, high = 0.0, max(float(own.seconds.max()) for _, own in self._parts)
        while self.above(high) > 1.0 - level:
            low, high = high, 2.0 * high
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self.above(middle) > 1.0 - level else (low, middle)
        return high
