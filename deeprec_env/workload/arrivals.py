"""Stationary arrival processes, which can be had at any rate: Poisson, Poisson in whole milliseconds, and gamma."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import Field

from deeprec_env.errors import InputError
from deeprec_env.scenario.bounds import HIGHEST_QPS, LOWEST_QPS, MOST_CV
from deeprec_env.scenario.parts import ARRIVALS, ArrivalProcess, ArrivalTimes, Floats

Rate = Annotated[float, Field(ge=LOWEST_QPS, le=HIGHEST_QPS)]


class RunningSum:
    """The sums E_1, E_1 + E_2, ... of drawn gaps, added in order across calls whatever the size of the blocks."""

    def __init__(self, draw: Callable[[int], Floats]) -> None:
        self._draw, self._sum = draw, 0.0

    def next(self, count: int) -> Floats:
        """The next `count` sums."""
        gaps = self._draw(count)
        if count:
            gaps[0] += self._sum
            np.cumsum(gaps, out=gaps)
            self._sum = float(gaps[-1])
        return gaps


class Stationary(ArrivalProcess, ABC):
    """An arrival process of the same law at all times, of mean rate `qps`."""

    qps: Rate

    @property
    def mean_qps(self) -> float:
        return self.qps

    @property
    @abstractmethod
    def dispersion(self) -> float:
        """Variance over mean of the arrivals in a long time: for independent gaps their squared CV; Poisson: 1."""

    def at_rate(self, qps: float) -> Self:
        """The same process at another rate, its other parameters kept; the same generators draw the same traffic.

        `InputError` for a rate out of range.
        """
        if not LOWEST_QPS <= qps <= HIGHEST_QPS:
            raise InputError("qps", qps, f"must be between {LOWEST_QPS:g} and {HIGHEST_QPS:g}")
        return self.model_copy(update={"qps": qps})


@ARRIVALS.register("poisson")
class Poisson(Stationary):
    """Poisson arrivals: independent exponential gaps of mean 1 / qps."""

    @property
    def dispersion(self) -> float:
        return 1.0

    def open(self, gaps: np.random.Generator, bursts: np.random.Generator) -> ArrivalTimes:
        unit = RunningSum(gaps.standard_exponential)
        return lambda count: unit.next(count) / self.qps


@ARRIVALS.register("gamma")
class Gamma(Stationary):
    """Independent gamma gaps of mean 1 / qps and coefficient of variation `cv` (1: Poisson; above: bursty)."""

    cv: Annotated[float, Field(gt=0, le=MOST_CV)]

    @property
    def dispersion(self) -> float:
        return self.cv * self.cv

    def open(self, gaps: np.random.Generator, bursts: np.random.Generator) -> ArrivalTimes:
        shape = 1.0 / (self.cv * self.cv)
        unit = RunningSum(lambda count: gaps.standard_gamma(shape, count) / shape)
        return lambda count: unit.next(count) / self.qps


@ARRIVALS.register("poisson-ms")
class PoissonMs(Stationary):
    """Gaps of a whole number of milliseconds, drawn from a Poisson distribution of mean 1000 / qps.

    What DeepRecSys's and RecPipe's code does. It is no Poisson process: the squared coefficient of variation of a gap
    is 1 / mean gap in milliseconds, so that slow arrivals are nearly regular. It is here to reproduce old numbers.

    Gaps are quantiles of uniform numbers: at a higher rate every gap of the same stream is as short or shorter. (Not
    so below `SLOWEST_QPS`, where the quantiles would take too large a table.)
    """

    SLOWEST_QPS: ClassVar[float] = 1e-3

    @property
    def dispersion(self) -> float:
        return 1e-3 * self.qps

    def open(self, gaps: np.random.Generator, bursts: np.random.Generator) -> ArrivalTimes:
        mean_ms = 1e3 / self.qps
        if self.qps < self.SLOWEST_QPS:
            milliseconds = RunningSum(lambda count: gaps.poisson(mean_ms, count).astype(np.float64))
        else:
            lowest, cumulated = _poisson_table(mean_ms)
            milliseconds = RunningSum(
                lambda count: np.asarray(lowest + np.searchsorted(cumulated, gaps.random(count)), dtype=np.float64)
            )
        return lambda count: milliseconds.next(count) * 1e-3


def _poisson_table(mean: float) -> tuple[float, Floats]:
    """The cumulated probabilities of a Poisson distribution where a double tells them from 0 and 1, from a number on.

    Twelve standard deviations to both sides, and the longer upper tail of small means.
    """
    from scipy.special import pdtr  # loaded when it is needed

    spread = 12.0 * math.sqrt(mean)
    lowest = max(math.floor(mean - spread), 0)
    return float(lowest), np.asarray(pdtr(np.arange(lowest, math.ceil(mean + spread) + 60), mean))
