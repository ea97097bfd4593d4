"""What a pool's measured service times say: its profile in operation, contention, slow phases, and what dispatch costs.

A request of n items that starts when k servers are busy takes m(n) x g(k) x F x noise: m is the mean of the profile
times a correction at each of its batches, g the slow-down (1 for one busy server), F the factor of the phase. The three
are found in turn, each from what the others leave, until they stand still. Means are least squares of ratios to the
profile's expectation, so that the simulator's means are those that were measured, rare long services included.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from deeprec_env.latency.table import FURTHER, LEVELS
from deeprec_env.live.calibration_phases import Interval, Phases, Residuals, fit_phases
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.simulation.intervals import t_quantile

ROUNDS = 4
BLOCKS = 20
"""Parts of the runs, one after the other, that are left out in turn for the intervals (jackknife)."""

_STEEPEST = 10.0  # slow-down of a full pool, over that of one request
_OWN_SHAPE = 300  # requests that the noise of a batch size is told from
_DRAW = 1e-2  # towards the correction of the neighbouring batch, where nothing was measured: of one request


@dataclass(frozen=True)
class ServiceLog:
    """One run's requests on a pool, in the order of their starts; of a batch the one that carries it. (requests,) each.

    `free_s` is from when a server was free, and `entry_s` when the query was there (NaN: not known); `busy` counts the
    servers that were at work, the request's own among them.
    """

    start_s: Floats
    end_s: Floats
    entry_s: Floats
    items: Ints
    free_s: Floats
    busy: Ints

    @classmethod
    def of(cls, start_s: Floats, end_s: Floats, entry_s: Floats, items: Ints, servers: int) -> ServiceLog:
        """From times in any order."""
        order = np.argsort(start_s, kind="stable")
        start_s, end_s, entry_s = start_s[order], end_s[order], entry_s[order]
        ended = np.searchsorted(np.sort(end_s), start_s, side="right")
        free = [-math.inf] * servers
        free_s = np.array([heapq.heapreplace(free, end) for end in end_s.tolist()])
        busy = np.clip(np.arange(1, len(start_s) + 1) - ended, 1, servers)
        return cls(start_s, end_s, entry_s, items[order], free_s, busy)

    def __len__(self) -> int:
        return len(self.start_s)


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class PoolFit:
    """What a pool's services are in operation.

    `corrections`: of the profile's means, by its batches; `shapes`: the noise of each, as quantiles at the profile's
    levels over the mean. `contention` is linear in the share of servers that are busy, (c0, c1, c2) of the scenario.
    """

    batches: tuple[int, ...]
    corrections: tuple[Estimate, ...]
    shapes: Floats
    slope: Estimate
    contention: tuple[float, float, float]
    phases: Phases | None
    requests: int


def fit_pool(
    logs: Sequence[ServiceLog], mean_s: Callable[[Ints], Floats], batches: Sequence[int], servers: int
) -> PoolFit:
    """Fit a pool's runs; `mean_s` is its profile's expectation by items, `batches` those that the profile holds."""
    ratio = np.concatenate([(log.end_s - log.start_s) / mean_s(log.items) for log in logs])
    weights = _weights(np.concatenate([log.items for log in logs]), np.array(batches, dtype=np.float64))
    more_busy = (np.concatenate([log.busy for log in logs]) - 1) / servers
    factors, phases = np.ones(len(ratio)), None
    ends = np.cumsum([len(log) for log in logs])[:-1]

    def means(kept: slice | Ints) -> tuple[Floats, float]:
        """Corrections by batch, and the slope of the slow-down over the share of servers that are busy."""
        return _means(weights[kept], more_busy[kept], ratio[kept] / factors[kept])

    for _ in range(ROUNDS):
        corrections, slope = means(slice(None))
        left = ratio / ((weights @ corrections) * (1.0 + slope * more_busy))
        runs = zip(logs, np.split(left, ends), strict=True)
        phases, slow = fit_phases([Residuals(log.start_s, of_run) for log, of_run in runs], phases)
        if phases is None:
            break
        before, factors = factors, 1.0 + np.concatenate(slow) * (phases.factor - 1.0)
        if np.abs(factors / before - 1.0).mean() < 1e-3:
            break
    corrections, slope = means(slice(None))
    spread = _jackknife(len(ratio), lambda kept: np.append(*means(kept)))
    estimates = [_around(value, error) for value, error in zip([*corrections, slope], spread, strict=True)]
    noise = ratio / (factors * (weights @ corrections) * (1.0 + slope * more_busy))
    return PoolFit(
        batches=tuple(batches),
        corrections=tuple(estimates[:-1]),
        shapes=_shapes(weights, noise),
        slope=estimates[-1],
        contention=(1.0 - slope / servers, slope, 0.0) if slope < servers else (0.0, slope, 0.0),
        phases=phases,
        requests=len(ratio),
    )


def fit_dispatch(logs: Sequence[ServiceLog]) -> tuple[Estimate, Estimate]:
    """What dispatch costs: a query before it can start at all, and every request while its server waits for it.

    The second is the mean time from an answer to the next hand-over, the first how much longer it takes from the entry
    of a query to the hand-over of its first request to an idle server. Pauses of the machine are in both means.
    """
    there_s = np.concatenate([log.entry_s for log in logs])
    free_s = np.concatenate([log.free_s for log in logs])
    gap_s = np.concatenate([log.start_s for log in logs]) - np.maximum(there_s, free_s)
    waited = free_s > there_s
    first = ~waited & np.concatenate([np.diff(log.entry_s, prepend=-math.inf) > 0.0 for log in logs])
    if not np.isfinite(gap_s).all():
        return Estimate(0.0, (0.0, 0.0)), Estimate(0.0, (0.0, 0.0))

    def costs(kept: slice | Ints) -> Floats:
        gaps, on_waiting, on_first = np.maximum(gap_s[kept], 0.0), waited[kept], first[kept]
        each = float(gaps[on_waiting if on_waiting.any() else on_first].mean())
        return np.array([max(0.0, float(gaps[on_first].mean()) - each) if on_first.any() else 0.0, each])

    query_s, request_s = (
        _around(value, error) for value, error in zip(costs(slice(None)), _jackknife(len(gap_s), costs), strict=True)
    )
    return query_s, request_s


def _weights(items: Ints, batches: Floats) -> Floats:
    """How much each batch's row has to say of each request, (requests, batches): linear between, the nearest beyond."""
    weights = np.zeros((len(items), len(batches)))
    if len(batches) == 1:
        return weights + 1.0
    below = np.clip(np.searchsorted(batches, items, side="right") - 1, 0, len(batches) - 2)
    along = np.clip((items - batches[below]) / (batches[below + 1] - batches[below]), 0.0, 1.0)
    rows = np.arange(len(items))
    weights[rows, below], weights[rows, below + 1] = 1.0 - along, along
    return weights


def _means(weights: Floats, more_busy: Floats, ratio: Floats) -> tuple[Floats, float]:
    """Least squares of ratios by corrections of each batch times the slow-down, 1 + slope x share of servers more.

    A batch that nothing was measured near is corrected as its neighbours are. For a given slope the corrections are
    linear, so that the slope alone is searched for, at 0 or above.
    """
    from scipy.optimize import minimize_scalar  # loaded when it is needed

    count = weights.shape[1]
    apart = (np.eye(count)[1:] - np.eye(count)[:-1]) * math.sqrt(_DRAW)
    busier = weights * more_busy[:, None]
    squares = weights.T @ weights + apart.T @ apart, weights.T @ busier, busier.T @ busier
    products = weights.T @ ratio, busier.T @ ratio

    def corrections(slope: float) -> tuple[Floats, float]:
        normal = squares[0] + 2.0 * slope * squares[1] + slope * slope * squares[2]
        product = products[0] + slope * products[1]
        found = np.linalg.solve(normal, product)
        return np.asarray(np.maximum(found, 1e-3), dtype=np.float64), -float(product @ found)

    slope = 0.0
    if more_busy.any():
        searched = minimize_scalar(
            lambda slope: corrections(float(slope))[1], bounds=(0.0, _STEEPEST), method="bounded"
        )
        slope = float(searched.x) if searched.fun < corrections(0.0)[1] else 0.0
    return corrections(slope)[0], slope


def _shapes(weights: Floats, noise: Floats) -> Floats:
    """Quantiles of the noise near each batch over its mean, (batches, levels); of all requests where few are near."""
    levels = (*LEVELS, FURTHER)
    nearest = weights.argmax(axis=1)
    shapes = np.empty((weights.shape[1], len(levels)))
    for batch in range(len(shapes)):
        near = noise[nearest == batch]
        chosen = near if len(near) >= _OWN_SHAPE else noise
        shapes[batch] = np.quantile(chosen, levels) / chosen.mean()
    return shapes


def _jackknife(count: int, estimate: Callable[[Ints], Floats]) -> Floats:
    """Standard errors of estimates, leaving consecutive blocks out in turn: what is near in time is alike."""
    places = np.arange(count)
    blocks = np.minimum(places * BLOCKS // max(count, 1), BLOCKS - 1)
    found = np.array([estimate(places[blocks != block]) for block in range(BLOCKS)])
    squares = ((found - found.mean(axis=0)) ** 2).sum(axis=0)
    return np.asarray(np.sqrt((BLOCKS - 1) / BLOCKS * squares))


def _around(value: float, error: float) -> Estimate:
    half = t_quantile(BLOCKS - 1) * float(error)
    return Estimate(float(value), (float(value) - half, float(value) + half))
