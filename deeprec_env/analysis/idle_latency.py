"""Latencies of queries on an idle node, and percentiles of them with a wait on top: without any simulation."""

from __future__ import annotations

import numpy as np

from deeprec_env.latency import checked
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.pools import PoolSpec

_EDGES = np.array([0, 0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.86, 0.91, 0.94, 0.96, 0.975, 0.985, 0.9925, 1.0])
LEVELS, WEIGHTS = 0.5 * (_EDGES[1:] + _EDGES[:-1]), np.diff(_EDGES)
"""Quantile levels that stand for a distribution, closer towards its tail, and the share that each stands for."""

_NOISE = (np.arange(8) + 0.5) / 8
_STEPS = 16  # of the bisections for percentiles


def idle_cpu_s(pool: PoolSpec, items: Ints, batch: int) -> Floats:
    """Latencies of split queries on an idle node, (sizes, noise): the slowest request's, in waves where needed."""
    requests = -(-items // batch)
    largest = np.minimum(items, batch)
    busy = [pool.slowdown(min(int(count), pool.servers)) for count in requests]
    level = _NOISE[None, :] ** (1.0 / np.minimum(requests, pool.servers))[:, None]
    slowest = checked.base_s(pool.latency, np.repeat(largest, len(_NOISE)), level.ravel()).reshape(level.shape)
    waves = -(-requests // pool.servers) - 1
    found: Floats = (slowest + (waves * checked.mean_s(pool.latency, largest))[:, None]) * np.array(busy)[:, None]
    return found


def idle_accelerator_s(pool: PoolSpec, items: Ints) -> Floats:
    """Latencies of offloaded queries on an idle node, (sizes, noise)."""
    levels = np.tile(_NOISE, len(items))
    seconds = checked.base_s(pool.latency, np.repeat(items, len(_NOISE)), levels) * pool.slowdown(1)
    return np.asarray(seconds).reshape(len(items), len(_NOISE))


def noise_scv(pool: PoolSpec, items: int) -> float:
    """Squared coefficient of variation of a request's noise."""
    seconds = checked.base_s(pool.latency, np.full(len(_NOISE), max(items, 1)), _NOISE)
    return float(np.var(seconds) / max(float(np.mean(seconds)) ** 2, 1e-300))


def quantiles(seconds: Floats, weights: Floats, cut: Ints, *, below: bool) -> Floats:
    """Quantiles at `LEVELS` of the latencies of the sizes before (or from) each place in `cut`, (places, levels)."""
    order = np.argsort(seconds, axis=None, kind="stable")
    values, size = seconds.ravel()[order], order // seconds.shape[1]
    chosen = (size < cut[:, None]) if below else (size >= cut[:, None])
    summed = np.cumsum(chosen * weights[size], axis=-1)
    total = summed[:, -1:]
    place = (summed[:, None, :] < LEVELS[None, :, None] * total[:, :, None]).sum(axis=-1)
    return np.asarray(values[np.minimum(place, len(values) - 1)])


def mixed_quantiles(points_s: Floats, weights: Floats, shares: tuple[float, ...]) -> Floats:
    """Quantiles of weighted points, (settings, shares), linear between their middles."""
    flat, mass = points_s.reshape(len(points_s), -1), weights.reshape(len(points_s), -1)
    order = np.argsort(flat, axis=-1, kind="stable")
    flat, mass = np.take_along_axis(flat, order, axis=-1), np.take_along_axis(mass, order, axis=-1)
    middle = np.cumsum(mass, axis=-1) - 0.5 * mass
    found = np.empty((len(flat), len(shares)))
    for row in range(len(flat)):
        kept = mass[row] > 0.0
        found[row] = np.interp(shares, middle[row, kept], flat[row, kept])
    return np.maximum(found, 1e-15)


def tail_s(points_s: Floats, weights: Floats, waits: Floats, mean_wait_s: Floats, share: float) -> Floats:
    """The percentile of an idle node's latency plus a wait: exponential, and by chance; (rates, settings)."""
    low = np.zeros(waits.shape[:2])
    high = points_s.max(axis=(1, 2)) - np.log(1.0 - share) * mean_wait_s.max(axis=-1)
    rate = 1.0 / np.maximum(mean_wait_s, 1e-15)
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        beyond = np.zeros(middle.shape)
        for pool in range(2):
            left = middle[..., None] - points_s[:, pool]
            chance = np.where(left < 0.0, 1.0, waits[..., pool, None] * np.exp(-left.clip(0.0) * rate[..., pool, None]))
            beyond += (chance * weights[:, pool]).sum(axis=-1)
        low, high = np.where(beyond > 1.0 - share, middle, low), np.where(beyond > 1.0 - share, high, middle)
    return np.asarray(0.5 * (low + high))
