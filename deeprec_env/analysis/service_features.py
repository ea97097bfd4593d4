"""What is known of a service before any query runs: its settings' work and tails at any rate, and features of them.

From the profile and the sizes alone: the moments of the work that a query brings to each pool, the distribution of its
latency on an idle node, and a queueing estimate of p95 and p99. Everything that a network sees of them is free of
scale: the same service with another unit of time, or ten times the items at a tenth of the cost an item, looks alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deeprec_env.analysis.idle_latency import (
    LEVELS,
    WEIGHTS,
    idle_accelerator_s,
    idle_cpu_s,
    mixed_quantiles,
    noise_scv,
    quantiles,
    tail_s,
)
from deeprec_env.errors import InputError
from deeprec_env.latency import checked
from deeprec_env.latency.profile import Profile
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.pools import PoolSpec
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.workload.checked import size_probabilities

FEATURES = (
    "cpu_load", "accelerator_load", "cpu_room", "accelerator_room", "cpu_servers", "accelerator_servers", "offloaded",
    "requests", "burst_of_requests", "cpu_work_spread", "accelerator_work_spread", "request_spread", "cpu_waits",
    "accelerator_waits", "cpu_wait", "accelerator_wait", "request", "cpu_median", "cpu_tail", "accelerator_median",
    "accelerator_tail", "idle_median", "idle_p99", "queueing_p95", "queueing_p99", "cpu_slowdown",
    "accelerator_slowdown", "late_offloaded",
)  # fmt: skip
"""Names of a row's features; `Service.features` says what each holds."""

SHARES = (0.95, 0.99)
"""The percentiles that are estimated."""

HIGHEST_LOAD = 0.995
"""Queueing formulas are evaluated at most at this load: beyond it nothing is stationary."""

_SIZES = 48  # sizes that an idle node's latencies are taken at
_MOST_SIZES = 1024
_RARE = 1e-6  # a pool with a smaller share of the queries counts as left alone


@dataclass(frozen=True)
class Estimate:
    """Settings at rates: all arrays begin with (rates, settings).

    `rows` are their features, (..., len(FEATURES)); `log_tail_s` the logarithms of the queueing estimates of p95 and
    p99 in seconds, (..., 2); `loads` the offered loads of CPU and accelerator, (..., 2).
    """

    rows: Floats
    log_tail_s: Floats
    loads: Floats


class Service:
    """A node's service under some settings: moments of the work, and latencies on an idle node.

    `items_factor` multiplies all sizes. Raises `InputError` for a scenario that is not one node under batch size and
    threshold alone, or whose profile does not say how latency grows with the items. Arrays are by setting, (settings,):
    `cpu_s` and `accelerator_s` are mean server-seconds a query, of all queries, all servers busy.
    """

    def __init__(self, scenario: Scenario, settings: Sequence[Setting], items_factor: float = 1.0) -> None:
        check_service(scenario)
        assert scenario.node is not None
        cpu, accelerator = scenario.node.cpu, scenario.node.accelerator
        items, probability = _sizes(scenario, items_factor)
        batches = sorted({setting.batch_size for setting in settings})
        never = int(items[-1]) + 1
        offload_from = [
            never if accelerator is None else min(setting.threshold or never, never) for setting in settings
        ]
        thresholds = sorted(set(offload_from))
        b = np.array([batches.index(setting.batch_size) for setting in settings])
        t = np.array([thresholds.index(threshold) for threshold in offload_from])
        first = np.searchsorted(items, thresholds)
        self.settings, self.mean_items = tuple(settings), float(items @ probability)
        self.servers = np.array([cpu.servers, accelerator.servers if accelerator else 1], dtype=np.float64)
        pools = (cpu, accelerator or cpu)
        self.slowdown = np.array([pool.slowdown(pool.servers) / pool.slowdown(1) for pool in pools])
        points, weights = _grouped(items, probability, _SIZES)
        cut = np.searchsorted(points, thresholds)
        moments, idle = [], []
        for batch in batches:
            moments.append(_below(_cpu_moments(cpu, items, batch), probability, first))
            idle.append(quantiles(idle_cpu_s(cpu, points, batch), weights, cut, below=True))
        on_cpu = np.array(moments)[b, :, t].T
        self.visits_cpu, requests, squares, work, squares_s, each_squares, work_items = on_cpu
        kept = np.maximum(self.visits_cpu, 1e-12)
        self.requests = np.maximum(requests, 1e-12) / kept
        self._burst = np.maximum(squares, 1e-12) / np.maximum(requests, 1e-12)
        self.cpu_s = work
        self._request_s = work / np.maximum(requests, 1e-12)
        self._request_squares = each_squares / np.maximum(requests, 1e-12)
        self._idle_cpu_s = np.array(idle)[b, t]
        if accelerator is None:
            self.accelerator_s = self._accelerator_squares = self.visits_accelerator = np.zeros(len(settings))
            accelerator_items = np.zeros(len(settings))
            self._idle_accelerator_s = np.zeros((len(settings), len(LEVELS)))
        else:
            seconds = checked.mean_s(accelerator.latency, items) * accelerator.slowdown(accelerator.servers)
            of_items = np.stack([np.ones(len(items)), seconds, seconds**2, seconds * items])
            above = of_items @ probability
            found = (above[:, None] - _below(of_items, probability, first))[:, t]
            self.visits_accelerator, self.accelerator_s, self._accelerator_squares, accelerator_items = found.clip(0.0)
            spread = 1.0 + noise_scv(accelerator, int(self.mean_items))
            self._accelerator_squares = self._accelerator_squares * spread
            latencies = idle_accelerator_s(accelerator, points)
            self._idle_accelerator_s = quantiles(latencies, weights, cut, below=False)[t]
        self._cpu_squares = squares_s + each_squares * noise_scv(cpu, batches[0])
        variance = max(float((items * items) @ probability) - self.mean_items**2, 1e-12)
        slopes = np.stack(
            [work_items - self.cpu_s * self.mean_items, accelerator_items - self.accelerator_s * self.mean_items]
        )
        self.by_items_s = slopes / variance
        """Server-seconds of CPU and accelerator more for every item more of a mean query, (2, settings)."""
        self.squares_s2 = np.stack([self._cpu_squares, self._accelerator_squares])
        """Mean square of a query's work on CPU and accelerator, in server-seconds squared, (2, settings)."""
        means_s = np.stack([self.cpu_s, self.accelerator_s])
        self.rest_s = np.sqrt(np.maximum(self.squares_s2 - means_s**2 - self.by_items_s**2 * variance, 0.0))
        """Standard deviation of a query's work around that line, likewise."""

    def loads(self, qps: Floats, factors: tuple[float, float] = (1.0, 1.0)) -> Floats:
        """Offered loads of CPU and accelerator, (rates, settings, 2); `factors` are on their service times."""
        seconds = np.stack([self.cpu_s * factors[0], self.accelerator_s * factors[1]], axis=-1)
        return np.asarray(qps)[:, None, None] * (seconds / self.servers)

    def estimate(self, qps: Floats, factors: tuple[float, float] = (1.0, 1.0)) -> Estimate:
        """Features and queueing estimates at rates, (rates,).

        The features: loads, -ln(1 - load), ln servers, the share offloaded; ln of the requests of a query and of their
        burst in that of the servers; squared variation of work and of requests; the chance to wait in each pool and ln
        of the mean wait of who does; ln of a request, of medians and tails on an idle node; the queueing estimates; ln
        of the slow-down when all are busy; the share of the accelerator among the slowest. Times are relative to the
        idle node's p95 under the setting.
        """
        loads = self.loads(qps, factors)
        rates = len(loads)
        bounded = loads.clip(0.0, HIGHEST_LOAD)
        room = 1.0 - bounded
        scale = np.array(factors)
        squares = np.stack([self._cpu_squares * scale[0], self._accelerator_squares * scale[1]], axis=-1)
        means = np.stack([self.cpu_s, self.accelerator_s], axis=-1)
        mean_wait_s = squares / (2.0 * np.maximum(means, 1e-15) * self.servers) / room
        together = np.stack(
            [np.maximum(self.servers[0] / self._burst, 1.0), np.full(len(self.settings), self.servers[1])], axis=-1
        )
        waits = bounded ** (np.sqrt(2.0 * (together + 1.0)) - 1.0)
        shares = np.stack([self.visits_cpu, self.visits_accelerator], axis=-1)
        points_s = np.stack([self._idle_cpu_s * scale[0], self._idle_accelerator_s * scale[1]], axis=1)
        weights = shares[:, :, None] * WEIGHTS
        idle_s = mixed_quantiles(points_s, weights, (0.5, *SHARES))
        queueing_s = np.stack([tail_s(points_s, weights, waits, mean_wait_s, share) for share in SHARES], axis=-1)
        queueing_s = np.maximum(queueing_s, idle_s[None, :, 1:])
        p95_s = idle_s[:, 1]

        def relative(seconds: Floats) -> Floats:
            found: Floats = np.log(np.maximum(seconds, 1e-15) / p95_s).clip(-8.0, 8.0)
            return found

        has = shares > _RARE
        tail = (points_s > p95_s[:, None, None]) * weights
        late = tail[:, 1].sum(axis=-1) / np.maximum(tail.sum(axis=(1, 2)), 1e-12)
        spread = _variation(squares / scale * shares, means)
        middle = len(LEVELS) // 3
        fixed = {
            "cpu_servers": np.full(len(self.settings), np.log(self.servers[0])),
            "accelerator_servers": has[:, 1] * np.log(2.0 * self.servers[1]),
            "offloaded": self.visits_accelerator,
            "requests": has[:, 0] * np.log(self.requests),
            "burst_of_requests": has[:, 0] * np.log(self._burst / self.servers[0]),
            "cpu_work_spread": has[:, 0] * spread[:, 0],
            "accelerator_work_spread": has[:, 1] * spread[:, 1],
            "request_spread": has[:, 0] * _variation(self._request_squares, self._request_s),
            "request": has[:, 0] * relative(self._request_s * scale[0]),
            "cpu_median": has[:, 0] * relative(points_s[:, 0, middle]),
            "cpu_tail": has[:, 0] * relative(points_s[:, 0, -1]),
            "accelerator_median": has[:, 1] * relative(points_s[:, 1, middle]),
            "accelerator_tail": has[:, 1] * relative(points_s[:, 1, -1]),
            "idle_median": relative(idle_s[:, 0]),
            "idle_p99": relative(idle_s[:, 2]),
            "cpu_slowdown": np.full(len(self.settings), np.log(self.slowdown[0])),
            "accelerator_slowdown": has[:, 1] * np.log(self.slowdown[1]),
            "late_offloaded": late,
        }
        by_rate = {
            "cpu_load": bounded[..., 0],
            "accelerator_load": bounded[..., 1],
            "cpu_room": -np.log(room[..., 0]),
            "accelerator_room": -np.log(room[..., 1]),
            "cpu_waits": waits[..., 0],
            "accelerator_waits": waits[..., 1],
            "cpu_wait": has[:, 0] * relative(mean_wait_s[..., 0]),
            "accelerator_wait": has[:, 1] * relative(mean_wait_s[..., 1]),
            "queueing_p95": relative(queueing_s[..., 0]),
            "queueing_p99": relative(queueing_s[..., 1]),
        }
        shape = (rates, len(self.settings))
        named: dict[str, Floats] = {**fixed, **by_rate}
        rows = np.stack([np.broadcast_to(named[name], shape) for name in FEATURES], axis=-1)
        return Estimate(rows, np.log(queueing_s), loads)


def _variation(squares: Floats, means: Floats) -> Floats:
    """Squared coefficient of variation, bounded: of next to nothing it means nothing."""
    return np.asarray((squares / np.maximum(means, 1e-15) ** 2 - 1.0).clip(0.0, 20.0))


def check_service(scenario: Scenario) -> None:
    """Raise `InputError` for a service that can't be described by features."""
    if scenario.node is None:
        raise InputError("scenario", "pipeline", "must be one node: only of that tails are predicted")
    further = [name for name in scenario.controls if name not in ("batch_size", "threshold")]
    if further or scenario.stages[0].batching is not None:
        name = f"control.{further[0]}" if further else "accelerator.batching"
        raise InputError(name, "used", "must be left out: tails are predicted for batch size and threshold alone")
    for kind, pool in scenario.stages[0].pools().items():
        if pool.slowness is not None:
            allowed = "must be left out: tails are predicted for servers that stay as fast as they are"
            raise InputError(f"{kind}.slowness", "used", allowed)
        latency = pool.latency
        if isinstance(latency, Profile) and not latency.knows_growth:
            allowed = (
                f"must hold at least two batches of {latency.model}: how latency grows with the items is not known"
            )
            raise InputError(f"{kind}.latency.profile", latency.label, allowed)


def _sizes(scenario: Scenario, factor: float) -> tuple[Ints, Floats]:
    """Sizes, ascending, and their probabilities; many are put together."""
    items, probability = size_probabilities(scenario.workload.sizes)
    kept = probability > 0.0
    items, probability = items[kept], probability[kept] / probability[kept].sum()
    if len(items) > _MOST_SIZES:
        items, probability = _grouped(items, probability, _MOST_SIZES)
    return np.maximum(np.rint(items * factor), 1).astype(np.int64), probability


def _grouped(items: Ints, probability: Floats, count: int) -> tuple[Ints, Floats]:
    """About as many sizes, with their probabilities, as `count`: half of them are for the largest tenth of all."""
    if len(items) <= count:
        return items, probability
    body, tail = np.linspace(0.0, 0.9, count // 2 + 1), np.linspace(0.9, 1.0, count - count // 2 + 1)[1:]
    group = np.searchsorted(np.concatenate([body, tail])[1:-1], np.cumsum(probability) - 0.5 * probability)
    _, group = np.unique(group, return_inverse=True)
    weights = np.bincount(group, probability)
    means = np.bincount(group, probability * items) / weights
    return np.rint(means).astype(np.int64), np.asarray(weights, dtype=np.float64)


def _cpu_moments(pool: PoolSpec, items: Ints, batch: int) -> Floats:
    """By size: 1, requests, their square, work, its square, the sum of the requests' squares, work x items."""
    full, rest = np.divmod(items, batch)
    largest = min(batch, int(items[-1]))
    slow = pool.slowdown(pool.servers)
    whole_s = checked.mean_s(pool.latency, np.array([largest])) * slow
    rest_s = np.where(rest > 0, checked.mean_s(pool.latency, np.maximum(rest, 1)), 0.0) * slow
    requests, work = full + (rest > 0), full * whole_s + rest_s
    each = full * whole_s**2 + rest_s**2
    return np.stack([np.ones(len(items)), requests, requests**2, work, work**2, each, work * items])


def _below(values: Floats, probability: Floats, first: Ints) -> Floats:
    """Sums over the sizes before each place, (moments, places)."""
    summed = np.cumsum(values * probability, axis=-1)
    return np.concatenate([np.zeros((len(values), 1)), summed], axis=-1)[:, first]
