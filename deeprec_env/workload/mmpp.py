"""Bursty arrivals: a Poisson process whose rate jumps between two levels."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from deeprec_env.scenario.bounds import HIGHEST
from deeprec_env.scenario.parts import ARRIVALS, ArrivalTimes, Floats, RateOverTime
from deeprec_env.workload.arrivals import RunningSum, Stationary

_CYCLES = 64
"""Calm and burst phases drawn at once."""

PhaseSeconds = Annotated[float, Field(ge=1e-6, le=HIGHEST)]


@ARRIVALS.register("mmpp")
class MMPP(Stationary):
    """Markov-modulated Poisson arrivals of mean rate `qps`: calm and burst phases take turns.

    Phases last exponential times of mean `calm_s` and `burst_s`; in a burst the rate is `burst_factor` times that of a
    calm. The first phase is a burst with the probability that a random moment is in one.
    At another rate (`at_rate`) both rates change alike and the phases stay as long as they were, in seconds.
    """

    burst_factor: Annotated[float, Field(gt=1, le=HIGHEST)] = 4.0
    burst_s: PhaseSeconds
    calm_s: PhaseSeconds

    @property
    def dispersion(self) -> float:
        """As 1 + 2 t p (1 - p) d^2 / qps: p the share of the time in bursts, d the rates' difference in queries/s.

        t = 1 / (1 / burst_s + 1 / calm_s) is the time in which the phase is forgotten (Fischer and Meier-Hellstern, The
        Markov-modulated Poisson process cookbook, 1993).
        """
        length_s = self.burst_s + self.calm_s
        in_bursts, forgotten_s = self.burst_s / length_s, self.burst_s * self.calm_s / length_s
        jump_qps = (self.burst_factor - 1.0) * self.calm_qps
        return 1.0 + 2.0 * forgotten_s * in_bursts * (1.0 - in_bursts) * jump_qps**2 / self.qps

    @property
    def calm_qps(self) -> float:
        """Rate between bursts."""
        return self.qps * (self.calm_s + self.burst_s) / (self.calm_s + self.burst_factor * self.burst_s)

    def open(self, gaps: np.random.Generator, bursts: np.random.Generator) -> ArrivalTimes:
        unit, phases = RunningSum(gaps.standard_exponential), _Phases(self, bursts)
        return lambda count: phases.times(unit.next(count))

    def rate(self, bursts: np.random.Generator) -> RateOverTime:
        return _Phases(self, bursts).rate_qps


class _Phases:
    """Inverse of the cumulative rate, drawn some phases at a time."""

    def __init__(self, process: MMPP, rng: np.random.Generator) -> None:
        self._process, self._rng = process, rng
        self._bursts_first = bool(rng.random() < process.burst_s / (process.burst_s + process.calm_s))
        self._begin_s: Floats = np.zeros(1)  # of each phase, and the end of the last
        self._expected: Floats = np.zeros(1)  # queries until then
        self._rates: Floats = np.zeros(0)

    def times(self, work: Floats) -> Floats:
        """When so much work has been expected."""
        while work.size and self._expected[-1] <= work[-1]:
            self._add()
        phase = np.searchsorted(self._expected, work, side="right") - 1
        return np.asarray(self._begin_s[phase] + (work - self._expected[phase]) / self._rates[phase])

    def rate_qps(self, times_s: Floats) -> Floats:
        """Rates at some times."""
        while times_s.size and self._begin_s[-1] <= times_s.max():
            self._add()
        return np.asarray(self._rates[np.searchsorted(self._begin_s, times_s, side="right") - 1])

    def _add(self) -> None:
        process = self._process
        calm, burst = (process.calm_s, process.calm_qps), (process.burst_s, process.burst_factor * process.calm_qps)
        turns = (burst, calm) if self._bursts_first else (calm, burst)
        means_s, rates = (np.tile(values, _CYCLES) for values in zip(*turns, strict=True))
        lengths_s = self._rng.standard_exponential(len(means_s)) * means_s
        self._begin_s = np.concatenate([self._begin_s, self._begin_s[-1] + np.cumsum(lengths_s)])
        self._expected = np.concatenate([self._expected, self._expected[-1] + np.cumsum(lengths_s * rates)])
        self._rates = np.concatenate([self._rates, rates])
