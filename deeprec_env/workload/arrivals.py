"""Stationary arrival processes: Poisson, Poisson in whole milliseconds, and gamma."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np
from pydantic import Field

from deeprec_env.scenario.parts import ARRIVALS, ArrivalProcess, ArrivalTimes, Floats
from deeprec_env.scenario.schema import HIGHEST_QPS, LOWEST_QPS

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


@ARRIVALS.register("poisson")
class Poisson(ArrivalProcess):
    """Poisson arrivals: independent exponential gaps of mean 1 / qps."""

    qps: Rate

    @property
    def mean_qps(self) -> float:
        return self.qps

    def open(self, gaps: np.random.Generator, bursts: np.random.Generator) -> ArrivalTimes:
        unit = RunningSum(gaps.standard_exponential)
        return lambda count: unit.next(count) / self.qps


@ARRIVALS.register("gamma")
class Gamma(ArrivalProcess):
    """Independent gamma gaps of mean 1 / qps and coefficient of variation `cv` (1: Poisson; above: bursty)."""

    qps: Rate
    cv: Annotated[float, Field(gt=0)]

    @property
    def mean_qps(self) -> float:
        return self.qps

    def open(self, gaps: np.random.Generator, bursts: np.random.Generator) -> ArrivalTimes:
        shape = 1.0 / (self.cv * self.cv)
        unit = RunningSum(lambda count: gaps.standard_gamma(shape, count) / shape)
        return lambda count: unit.next(count) / self.qps


@ARRIVALS.register("poisson-ms")
class PoissonMs(ArrivalProcess):
    """Gaps of a whole number of milliseconds, drawn from a Poisson distribution of mean 1000 / qps.

    What DeepRecSys's and RecPipe's code does. It is no Poisson process: the squared coefficient of variation of a gap
    is 1 / mean gap in milliseconds, so that slow arrivals are nearly regular. It is here to reproduce old numbers.
    """

    qps: Rate

    @property
    def mean_qps(self) -> float:
        return self.qps

    def open(self, gaps: np.random.Generator, bursts: np.random.Generator) -> ArrivalTimes:
        milliseconds = RunningSum(lambda count: gaps.poisson(1e3 / self.qps, count).astype(np.float64))
        return lambda count: milliseconds.next(count) * 1e-3
