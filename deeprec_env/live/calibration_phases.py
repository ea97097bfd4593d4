"""Slow phases in measured service times: a two-state hidden Markov model, in continuous time, by maximum likelihood.

What is left of a service time when its expectation is divided out has one distribution in normal phases, and the same
one times the factor in slow phases. In logarithms that is a shift. The distribution is a Student t with a scale for
each side: heavy tails and skewness of the noise are then not taken for short phases. The phases are those of rule 19:
exponential, seen at the starts of requests alone, however these lie in time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deeprec_env.scenario.bounds import SHORTEST_PHASE_S
from deeprec_env.scenario.parts import Floats
from deeprec_env.simulation.phase_likelihood import (
    DEGREES,
    FACTOR,
    LEFT,
    NORMAL,
    RIGHT,
    SLOW,
    filter_phases,
    smooth_phases,
)

Interval = tuple[float, float]

_FACTORS = 1.2, 1.5, 2.0, 3.0
_SHARES = 0.1, 0.4, 0.7
_PHASES = 0.003, 0.03, 0.2  # mean slow phases to begin with, in lengths of a run
_STARTED = 2  # searches from the most likely of the beginnings
_LOOKED_AT = 10_000  # requests that tell which beginnings are likely
_SEARCHED = 20_000  # requests, the first of every run, that tell the most likely parameters
_HIGHEST_FACTOR = 20.0
_LOWEST_DEGREES, _HIGHEST_DEGREES = 1.0, 200.0
_EVIDENCE = 10.0  # by which the logarithm of the likelihood has to be better than without phases that last
_STEP = 1e-2  # of second differences
_NORMAL_QUANTILE = 1.959963985


@dataclass(frozen=True)
class Phases:
    """What rule 19 needs, each with its 95 % interval from the curvature of the likelihood.

    `evidence` is the logarithm of the likelihood over that of the same two speeds drawn anew for every request,
    `parameters` are all that were fitted.
    """

    factor: float
    mean_slow_s: float
    mean_normal_s: float
    factor_ci: Interval
    mean_slow_ci_s: Interval
    mean_normal_ci_s: Interval
    evidence: float
    parameters: Floats


@dataclass(frozen=True)
class Residuals:
    """A run's requests in the order of their starts: these, and measured over expected service, (requests,)."""

    start_s: Floats
    ratio: Floats

    def first(self, count: int) -> Residuals:
        """The first of them."""
        return Residuals(self.start_s[:count], self.ratio[:count])


def fit_phases(runs: Sequence[Residuals], near: Phases | None = None) -> tuple[Phases | None, list[Floats]]:
    """The slow phases of some runs, and for each run how likely each request is to have met one, (requests,).

    None, and zeros, where nothing says that slow requests come in runs. `near`: phases that are known to be there, of
    nearly the same residuals; the search begins at them.
    """
    share = min(1.0, _SEARCHED / sum(len(run.ratio) for run in runs))
    log_ratio, gap_s = _joined([run.first(math.ceil(share * len(run.ratio))) for run in runs])
    longest_s = max(float(run.start_s[-1] - run.start_s[0]) for run in runs)
    if near is None:
        beginnings = _beginnings(log_ratio, longest_s)
        parameters, log_likelihood = _most_likely(log_ratio, gap_s, beginnings, longest_s)
        _, without = _most_likely(log_ratio, np.full(len(gap_s), math.inf), beginnings, longest_s)
        evidence = log_likelihood - without
    else:
        parameters, _ = _most_likely(log_ratio, gap_s, [near.parameters], longest_s)
        evidence = near.evidence
    mean_slow_s, mean_normal_s = (math.exp(parameters[which]) for which in (SLOW, NORMAL))
    lasts = min(mean_slow_s, mean_normal_s) >= SHORTEST_PHASE_S
    if not lasts or evidence < _EVIDENCE + 0.5 * math.log(len(log_ratio)):
        return None, [np.zeros(len(run.ratio)) for run in runs]
    slow = _posterior(*_joined(runs), parameters)
    errors = _standard_errors(log_ratio, gap_s, parameters)

    def interval(which: int) -> Interval:
        half = _NORMAL_QUANTILE * errors[which]
        return math.exp(parameters[which] - half), math.exp(parameters[which] + half)

    phases = Phases(
        factor=math.exp(parameters[FACTOR]),
        mean_slow_s=mean_slow_s,
        mean_normal_s=mean_normal_s,
        factor_ci=interval(FACTOR),
        mean_slow_ci_s=interval(SLOW),
        mean_normal_ci_s=interval(NORMAL),
        evidence=evidence,
        parameters=parameters,
    )
    return phases, np.split(slow, np.cumsum([len(run.ratio) for run in runs])[:-1])


def _joined(runs: Sequence[Residuals]) -> tuple[Floats, Floats]:
    """Logarithms of the ratios, and the time since the request before, infinite for the first of a run.

    That one meets the phases in steady state.
    """
    log_ratio = np.concatenate([np.log(run.ratio) for run in runs])
    return log_ratio, np.concatenate([np.diff(run.start_s, prepend=-math.inf) for run in runs])


def _beginnings(log_ratio: Floats, longest_s: float) -> list[Floats]:
    """Where searches may begin."""
    low, middle, high = np.quantile(log_ratio, (0.16, 0.5, 0.84))
    spread = max(0.5 * float(high - low), 1e-3)
    found = []
    for factor in _FACTORS:
        for share in _SHARES:
            for slow in _PHASES:
                slow_s = slow * longest_s
                place = float(middle) - share * math.log(factor)
                scales = math.log(0.5 * spread), math.log(0.7 * spread)
                normal_s = slow_s * (1.0 - share) / share
                found.append(
                    np.array([math.log(factor), math.log(slow_s), math.log(normal_s), place, *scales, math.log(5.0)])
                )
    return found


def _most_likely(
    log_ratio: Floats, gap_s: Floats, beginnings: Sequence[Floats], longest_s: float
) -> tuple[Floats, float]:
    """The parameters of the highest likelihood, and its logarithm, from the most likely of the beginnings."""
    from scipy.optimize import minimize  # loaded when it is needed

    def loss(parameters: Floats) -> float:
        return -_log_likelihood(log_ratio, gap_s, parameters)

    def soon(parameters: Floats) -> float:
        return -_log_likelihood(log_ratio[:_LOOKED_AT], gap_s[:_LOOKED_AT], parameters)

    phase = math.log(1e-6), math.log(30.0 * longest_s)
    scale, degrees = (math.log(1e-6), math.log(10.0)), (math.log(_LOWEST_DEGREES), math.log(_HIGHEST_DEGREES))
    bounds = [(0.0, math.log(_HIGHEST_FACTOR)), phase, phase, (None, None), scale, scale, degrees]
    found = [
        minimize(loss, start, method="L-BFGS-B", bounds=bounds, options={"eps": 1e-5, "maxiter": 80, "ftol": 1e-8})
        for start in sorted(beginnings, key=soon)[:_STARTED]
    ]
    least = min(found, key=lambda result: float(result.fun))
    return np.asarray(least.x, dtype=np.float64), -float(least.fun)


def _log_likelihood(log_ratio: Floats, gap_s: Floats, parameters: Floats) -> float:
    return float(filter_phases(log_ratio, gap_s, parameters, _log_scale(parameters), np.empty(0)))


def _posterior(log_ratio: Floats, gap_s: Floats, parameters: Floats) -> Floats:
    """How likely each request is to have met a slow phase, from all requests."""
    filtered = np.empty(len(log_ratio))
    filter_phases(log_ratio, gap_s, parameters, _log_scale(parameters), filtered)
    return np.asarray(smooth_phases(gap_s, parameters, filtered))


def _log_scale(parameters: Floats) -> float:
    """Logarithm of what makes the density integrate to 1."""
    degrees = math.exp(parameters[DEGREES])
    width = 0.5 * (math.exp(parameters[LEFT]) + math.exp(parameters[RIGHT]))
    of_t = math.lgamma(0.5 * (degrees + 1.0)) - math.lgamma(0.5 * degrees) - 0.5 * math.log(degrees * math.pi)
    return of_t - math.log(width)


def _standard_errors(log_ratio: Floats, gap_s: Floats, parameters: Floats) -> Floats:
    """Of the parameters, from second differences of the likelihood; infinite where it has no curvature."""
    count = len(parameters)
    steps, second = _STEP * np.eye(count), np.empty((count, count))
    for i in range(count):
        for j in range(i, count):
            corners = [
                sign_i * sign_j * _log_likelihood(log_ratio, gap_s, parameters + sign_i * steps[i] + sign_j * steps[j])
                for sign_i in (-1, 1)
                for sign_j in (-1, 1)
            ]
            second[i, j] = second[j, i] = sum(corners) / (4.0 * _STEP**2)
    try:
        variances = np.diag(np.linalg.inv(-second))
    except np.linalg.LinAlgError:
        return np.full(count, math.inf)
    return np.where(variances > 0.0, np.sqrt(np.maximum(variances, 0.0)), math.inf)
