"""The day: a non-homogeneous Poisson process with a trough, a peak and bursts, compressed in time."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from deeprec_env.scenario.bounds import HIGHEST, Positive
from deeprec_env.scenario.parts import ARRIVALS, ArrivalProcess, ArrivalTimes, Floats, RateOverTime
from deeprec_env.workload.arrivals import Rate, RunningSum

STEPS = 96 * 8
"""Steps of constant rate in a day: eight to a control window of the presets."""

_COSINE = np.cos(2.0 * np.pi * ((np.arange(STEPS) + 0.5) / STEPS))


@ARRIVALS.register("diurnal")
class Diurnal(ArrivalProcess):
    """A day of `day_s` seconds, repeated with fresh bursts, whose mean rate is `qps`, bursts included.

    The shape rises as a cosine from `trough` (at time 0) to `peak` (at mid-day) and back, both in any one unit: the
    presets give them as fractions of capacity. About `bursts` times a day (Poisson) the rate is multiplied by
    `burst_factor` for an exponential time of mean `burst_s`, but never lifted over `ceiling`. Then the day is scaled to
    its mean, which bursts can only lower: no moment exceeds `ceiling` times qps / mean of the burstless shape.
    """

    qps: Rate
    day_s: Positive
    trough: Positive = 0.2
    peak: Positive = 0.9
    ceiling: Positive = 0.95
    bursts: Annotated[float, Field(ge=0, le=1e4)] = 4.0
    burst_factor: Annotated[float, Field(ge=1, le=HIGHEST)] = 1.6
    burst_s: Positive | None = None

    DAY_IN_BURSTS: ClassVar[float] = 96.0
    """Length of the day in mean bursts, where `burst_s` does not say: a burst is a control window of the presets."""

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if not self.trough <= self.peak <= self.ceiling:
            raise ValueError(f"must have trough {self.trough} <= peak {self.peak} <= ceiling {self.ceiling}")
        if self.qps * self.day_s < 1.0:
            raise ValueError(f"a day of {self.day_s} s at {self.qps} qps expects less than one query")
        return self

    @property
    def mean_qps(self) -> float:
        return self.qps

    @property
    def peak_qps(self) -> float:
        """Highest rate of a day without bursts."""
        return self.qps * self.peak / (0.5 * (self.trough + self.peak))

    def shape(self) -> Floats:
        """Rate of each step of a day without bursts, in the unit of trough and peak."""
        return self.trough + (self.peak - self.trough) * 0.5 * (1.0 - _COSINE)

    def day(self, bursts: np.random.Generator) -> Floats:
        """Rate in queries a second of each of the `STEPS` steps of the next day."""
        shape = self.shape()
        lifted = shape.copy()
        mean_steps = STEPS * (self.burst_s or self.day_s / self.DAY_IN_BURSTS) / self.day_s
        for _ in range(int(bursts.poisson(self.bursts))):
            start = int(bursts.integers(STEPS))
            end = start + max(1, round(bursts.standard_exponential() * mean_steps))
            burst = np.minimum(shape[start:end] * self.burst_factor, self.ceiling)
            lifted[start:end] = np.maximum(lifted[start:end], burst)
        return lifted * (self.qps / float(lifted.mean()))

    def open(self, gaps: np.random.Generator, bursts: np.random.Generator) -> ArrivalTimes:
        unit, days = RunningSum(gaps.standard_exponential), _Days(self, bursts)
        return lambda count: days.times(unit.next(count))

    def rate(self, bursts: np.random.Generator) -> RateOverTime:
        return _Days(self, bursts).rate_qps

    def scaled(self, factor: float) -> Diurnal:
        """The same day at `factor` times its rate."""
        return self.model_copy(update={"qps": self.qps * factor})


@ARRIVALS.register("flash")
class Flash(Diurnal):
    """A day with flash crowds: fewer and longer bursts that lift the rate far over capacity, for overload's own sake.

    As `Diurnal`, whose scaling to the mean rate lowers the day between the crowds a little.
    """

    ceiling: Positive = 1.5
    bursts: Annotated[float, Field(ge=0, le=1e4)] = 3.0
    burst_factor: Annotated[float, Field(ge=1, le=HIGHEST)] = 5.0

    DAY_IN_BURSTS: ClassVar[float] = 32.0


class _Days:
    """Inverse of the cumulative rate, drawn a day at a time."""

    def __init__(self, process: Diurnal, bursts: np.random.Generator) -> None:
        self._process, self._bursts = process, bursts
        self._width_s = process.day_s / STEPS
        self._expected = 0.0  # queries expected until the end of the last day drawn
        self._knots: Floats = np.zeros(1)
        self._rates: Floats = np.zeros(0)

    def times(self, work: Floats) -> Floats:
        from deeprec_env.workload.cumulative import inverse_s  # compiled code: loaded when it is needed

        while not work.size or self._expected <= float(work[-1]):
            if not work.size:
                return work
            self._add_day()
        return inverse_s(work, self._knots, self._rates, self._width_s)

    def rate_qps(self, times_s: Floats) -> Floats:
        step = np.floor(times_s / self._width_s).astype(np.int64)
        while step.size and len(self._rates) <= step.max():
            self._add_day()
        return np.asarray(self._rates[step])

    def _add_day(self) -> None:
        rates = self._process.day(self._bursts)
        gained = self._expected + np.cumsum(rates * self._width_s)
        self._knots = np.concatenate([self._knots, gained])
        self._rates = np.concatenate([self._rates, rates])
        self._expected = float(gained[-1])
