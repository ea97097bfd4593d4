"""What a pool's measured service times say: its profile in operation, contention, slow phases, and what dispatch costs.

A request of n items that starts when k servers are busy takes m(n) x g(k) x F x noise: m is the mean of the profile
times a correction at each of its batches, g the slow-down (1 for one busy server), F the factor of the phase. The three
are found in turn, each from what the others leave, until they stand still. Means are least squares of ratios to the
profile's expectation, so that the simulator's means are those that were measured, rare long services included.

The first requests after a server was idle take longer: the worker has to wake up, with cold caches. How often that is
met follows from the load, and how much it is from how long the server was idle. So it is no part of a size's mean, but
told apart, as a delay of the query that comes to an idle server. Where it matters, phases and noise are those of the
other requests. What is left follows the load, too: a server that has much to do is the faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeprec_env.latency.table import FURTHER, LEVELS
from deeprec_env.live.calibration_means import Means, fit_means, weights_of
from deeprec_env.live.calibration_phases import Interval, Phases, Residuals, fit_phases
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.simulation.intervals import t_quantile

ROUNDS = 4
COLD = 4
"""Requests on a server that was idle, until its caches are warm."""

LEAST_WARM = 1000
"""With fewer warm requests there is nothing to hold the others against: they are taken for the same."""

BLOCKS = 20
"""Parts of the runs, one after the other, that are left out in turn for the intervals (jackknife)."""

_OWN_SHAPE = 300  # requests that the noise of a batch size is told from
_MATTERS = 0.02  # of the expected service: what a request takes longer on an idle server
_FEWEST_RUNS, _APART = 4, 0.1  # that tell what load does: so many runs, over such a range of loads
_BEYOND = 0.2  # the range of loads
_IDLE_PARTS = 12  # equally many starts on idle servers in each
_CYCLES = 20.0  # of phases, in a run whose own share of slow ones is half believed


@dataclass(frozen=True)
class ServiceLog:
    """One run's requests on a pool, in the order of their starts; of a batch the one that carries it. (requests,) each.

    `free_s` is from when a request's server was free, and `entry_s` when the query was there (NaN: not known); `busy`
    counts the servers that were at work, the request's own among them; `since_idle` the requests that its server has
    served since it was idle.
    """

    start_s: Floats
    end_s: Floats
    entry_s: Floats
    items: Ints
    free_s: Floats
    busy: Ints
    since_idle: Ints

    @classmethod
    def of(
        cls, start_s: Floats, end_s: Floats, entry_s: Floats, items: Ints, servers: int, server: Ints | None = None
    ) -> ServiceLog:
        """From times in any order. `server`: who served each; None: of the free ones the one that was at work last."""
        order = np.argsort(start_s, kind="stable")
        start_s, end_s, entry_s = start_s[order], end_s[order], entry_s[order]
        ended = np.searchsorted(np.sort(end_s), start_s, side="right")
        busy = np.clip(np.arange(1, len(start_s) + 1) - ended, 1, servers)
        free_s, since_idle = np.empty(len(start_s)), np.zeros(len(start_s), dtype=np.int64)
        free, served = dict.fromkeys(range(servers), -math.inf), dict.fromkeys(range(servers), 0)
        known = [None] * len(order) if server is None else server[order].tolist()
        times = zip(known, start_s.tolist(), end_s.tolist(), entry_s.tolist(), strict=True)
        for request, (who, begin_s, until_s, there_s) in enumerate(times):
            if who is None:
                idle = [each for each, since_s in free.items() if since_s <= begin_s]
                who = max(idle, key=free.__getitem__) if idle else min(free, key=free.__getitem__)
            free_s[request] = free.get(who, -math.inf)
            served[who] = 0 if free_s[request] <= there_s else served.get(who, 0) + 1
            since_idle[request], free[who] = served[who], until_s
        return cls(start_s, end_s, entry_s, items[order], free_s, busy, since_idle)

    def __len__(self) -> int:
        return len(self.start_s)

    @property
    def idle_s(self) -> Floats:
        """How long its server was idle before each request, infinite for a server's first; NaN: it was not."""
        return np.where(self.since_idle == 0, self.entry_s - self.free_s, np.nan)


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    interval: Interval

    @classmethod
    def of(cls, value: float, error: float) -> Estimate:
        """From a standard error of a jackknife."""
        half = t_quantile(BLOCKS - 1) * float(error)
        return cls(float(value), (float(value) - half, float(value) + half))


@dataclass(frozen=True)
class Idleness:
    """How much longer requests take that find their server idle, in all, by how long it was."""

    idle_s: tuple[float, ...]
    longer_s: tuple[Estimate, ...]

    def mean_s(self, log: ServiceLog) -> float:
        """The mean over the queries of a run that come to an idle server."""
        idle_s = log.idle_s[log.since_idle == 0]
        if not self.idle_s or not idle_s.size:
            return 0.0
        return float(np.interp(idle_s, self.idle_s, [each.value for each in self.longer_s]).mean())


@dataclass(frozen=True)
class LoadEffect:
    """How much longer services are at a load: 1 at the mean one of the runs, by `slope` more for a load of 1 more.

    Loads are the profile's: its expected work over what the servers can do.
    """

    loads: tuple[float, float]
    mean: float
    slope: Estimate

    def factor(self, load: float) -> float:
        """At a load; beyond the loads of the runs as at the nearest, or a little further."""
        lowest, highest = self.loads
        within = min(max(load, lowest - _BEYOND), highest + _BEYOND)
        return 1.0 + self.slope.value * (within - self.mean)


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
    idleness: Idleness
    load_effect: LoadEffect


def fit_pool(
    logs: Sequence[ServiceLog], mean_s: Callable[[Ints], Floats], batches: Sequence[int], servers: int
) -> PoolFit:
    """Fit a pool's runs; `mean_s` is its profile's expectation by items, `batches` those that the profile holds."""
    start_s = np.concatenate([log.start_s for log in logs])
    expected_s = np.concatenate([mean_s(log.items) for log in logs])
    ratio = np.concatenate([log.end_s - log.start_s for log in logs]) / expected_s
    weights = weights_of(np.concatenate([log.items for log in logs]), np.array(batches, dtype=np.float64))
    more_busy = (np.concatenate([log.busy for log in logs]) - 1) / servers
    since_idle = np.concatenate([log.since_idle for log in logs])
    warm = since_idle >= COLD
    runs = np.split(np.arange(len(ratio)), np.cumsum([len(log) for log in logs])[:-1])
    factors, phases = np.ones(len(ratio)), None

    def means(kept: Ints) -> Means:
        return fit_means(weights[kept], more_busy[kept], ratio[kept] / factors[kept])

    first = since_idle == 0
    matters = warm.sum() >= LEAST_WARM and first.any()
    if matters:
        longer = ratio[first] / means(np.flatnonzero(warm)).usual(weights[first], more_busy[first])
        matters = longer.mean() > 1.0 + _MATTERS
    warm |= not matters
    usual_ones = np.flatnonzero(warm)
    telling = [(run, run[warm[run]]) for run in runs if warm[run].any()]
    for _ in range(ROUNDS):
        found = means(usual_ones)
        left = ratio / found.usual(weights, more_busy)
        phases, slow = fit_phases([Residuals(start_s[told], left[told]) for _, told in telling], phases)
        if phases is None:
            break
        before, is_slow = factors, np.full(len(ratio), np.concatenate(slow).mean())
        for (run, told), of_told in zip(telling, slow, strict=True):  # others are as their neighbours in time
            is_slow[run] = np.interp(start_s[run], start_s[told], of_told)
        factors = _in_share(1.0 + is_slow * (phases.factor - 1.0), phases, runs, start_s)
        if np.abs(factors / before - 1.0).mean() < 1e-3:
            break
    found = means(usual_ones)
    spread = _jackknife(len(usual_ones), lambda kept: np.append(*means(usual_ones[kept])))
    *corrections, slope = map(Estimate.of, [*found.corrections, found.slope], spread)
    usual = factors * found.usual(weights, more_busy)
    longer_s = (ratio - usual) * expected_s
    return PoolFit(
        batches=tuple(batches),
        corrections=tuple(corrections),
        shapes=_shapes(weights[warm], (ratio / usual)[warm]),
        slope=slope,
        contention=(1.0 - found.slope / servers, found.slope, 0.0)
        if found.slope < servers
        else (0.0, found.slope, 0.0),
        phases=phases,
        requests=len(ratio),
        idleness=_idleness(logs, np.split(longer_s, [run[0] for run in runs[1:]])) if matters else Idleness((), ()),
        load_effect=_load_effect(runs, warm, start_s, expected_s / servers, usual * expected_s, ratio * expected_s),
    )


def _in_share(factors: Floats, phases: Phases, runs: Sequence[Ints], start_s: Floats) -> Floats:
    """Factors of requests whose means, run by run, are what phases come to in the long run, as far as a run is long.

    A run of another batch size whose services are all a little longer is else taken for slow from end to end, its size
    for the faster, which the next round sees as slower still.
    """
    cycle_s = phases.mean_slow_s + phases.mean_normal_s
    in_the_long_run = 1.0 + (phases.factor - 1.0) * phases.mean_slow_s / cycle_s
    scaled = factors.copy()
    for run in runs:
        cycles = float(np.ptp(start_s[run])) / cycle_s
        scaled[run] *= 1.0 + cycles / (cycles + _CYCLES) * (in_the_long_run / factors[run].mean() - 1.0)
    return scaled


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

    query_s, request_s = map(Estimate.of, costs(slice(None)), _jackknife(len(gap_s), costs))
    return query_s, request_s


def _idleness(logs: Sequence[ServiceLog], longer_s: Sequence[Floats]) -> Idleness:
    """From how much longer than usual each request took, by run: what the cold ones took together."""
    idle_s, in_all_s = [], []
    for log, longer in zip(logs, longer_s, strict=True):
        begun = np.cumsum(log.since_idle == 0) - 1
        cold = (log.since_idle < COLD) & (begun >= 0)
        in_all = np.bincount(begun[cold], longer[cold], minlength=int(begun[-1]) + 1)
        known = np.isfinite(log.idle_s[log.since_idle == 0])
        idle_s.append(log.idle_s[log.since_idle == 0][known])
        in_all_s.append(in_all[known])
    order = np.argsort(np.concatenate(idle_s))
    idle, longer = np.concatenate(idle_s)[order], np.concatenate(in_all_s)[order]
    parts = [part for part in np.array_split(np.arange(len(idle)), _IDLE_PARTS) if len(part) > 1]
    return Idleness(
        tuple(float(idle[part].mean()) for part in parts),
        tuple(
            Estimate.of(max(0.0, float(longer[part].mean())), float(longer[part].std()) / math.sqrt(len(part)))
            for part in parts
        ),
    )


def _load_effect(
    runs: Sequence[Ints], warm: NDArray[np.bool_], start_s: Floats, work_s: Floats, usual_s: Floats, took_s: Floats
) -> LoadEffect:
    """From the runs: the line through what warm requests took over what is usual, by load.

    Less steep by as much of it as may be chance (Stein), since runs differ without any load.
    """
    telling = [(run, run[warm[run]]) for run in runs if np.count_nonzero(warm[run]) > _OWN_SHAPE]
    load = np.array([work_s[run].sum() / np.ptp(start_s[run]) for run, _ in telling])
    took = np.array([took_s[told].sum() / usual_s[told].sum() for _, told in telling])
    none = LoadEffect((0.0, 1.0), 0.5, Estimate(0.0, (0.0, 0.0)))
    if len(telling) < _FEWEST_RUNS or np.ptp(load) < _APART:
        return none
    away = load - load.mean()
    slope = float(away @ took / (away @ away))
    left = took - took.mean() - slope * away
    error = math.sqrt(float(left @ left) / (len(load) - 2) / float(away @ away))
    if abs(slope) <= error:
        return none
    slope *= 1.0 - (error / slope) ** 2
    half = t_quantile(len(load) - 2) * error
    return LoadEffect(
        (float(load.min()), float(load.max())), float(load.mean()), Estimate(slope, (slope - half, slope + half))
    )


def _shapes(weights: Floats, noise: Floats) -> Floats:
    """Quantiles of the noise near each batch over its mean, (batches, levels); of all requests where few are near.

    The last two batches have one: beyond them each level of a profile goes on along its line through both, which must
    not fall because rare long services happened to be at the smaller one.
    """
    levels = (*LEVELS, FURTHER)
    last_pair = max(weights.shape[1] - 2, 0)
    nearest = np.minimum(weights.argmax(axis=1), last_pair)
    shapes = np.empty((weights.shape[1], len(levels)))
    for batch in range(len(shapes)):
        near = noise[nearest == min(batch, last_pair)]
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
