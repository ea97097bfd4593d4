"""Recorded arrivals."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from deeprec_env.errors import InputError
from deeprec_env.memory import check_memory
from deeprec_env.scenario.parts import ARRIVALS, ArrivalProcess, ArrivalTimes, Floats
from deeprec_env.workload.columns import FilePath, read_cells, seconds

Scale = Annotated[float, Field(gt=0, le=1e6)]


@ARRIVALS.register("trace")
class Trace(ArrivalProcess):
    """The arrivals recorded in a file, the first at time 0; after the last they begin again, a mean gap later.

    A warning says once that they do. `path` (relative to the scenario file; .gz: compressed) is a CSV with a header
    whose `column` holds the times, or without `column` a text file with one time a line: numbers of seconds, or dates
    with times. `time_scale` stretches the time (2: half as fast). `rate_scale` is how many queries a recorded one
    stands for, on average (0.5: every other one, at random; 3: each three times, the copies spread at random over the
    gap behind it), which leaves the course of the rate as it is. Sizes of the same file:
    `sizes: {kind: file, path: ..., column: ..., replay: true}`.
    """

    path: FilePath
    column: str | None = None
    time_scale: Scale = 1.0
    rate_scale: Scale = 1.0

    _times_s: Floats = PrivateAttr()
    _period_s: float = PrivateAttr()

    @model_validator(mode="after")
    def _read(self) -> Self:
        times_s = seconds(self.path, read_cells(self.path, self.column)) * self.time_scale
        if len(times_s) < 2 or times_s[-1] == 0.0:
            raise InputError("path", self.path, "must hold at least two times, not all the same")
        self._times_s = times_s
        self._period_s = float(times_s[-1]) * len(times_s) / (len(times_s) - 1)
        return self

    @property
    def files(self) -> Mapping[str, Path]:
        return {self.path: Path(self.path)}

    @property
    def mean_qps(self) -> float:
        return self.rate_scale * len(self._times_s) / self._period_s

    def open(self, gaps: np.random.Generator, bursts: np.random.Generator) -> ArrivalTimes:
        return _Replay(self, gaps).next


class _Replay:
    """The trace over and over, drawn a pass at a time."""

    def __init__(self, trace: Trace, rng: np.random.Generator) -> None:
        self._trace, self._rng = trace, rng
        self._passes = 0
        self._ahead: Floats = np.empty(0)

    def next(self, count: int) -> Floats:
        while len(self._ahead) < count:
            self._ahead = np.concatenate([self._ahead, self._pass()])
        taken, self._ahead = self._ahead[:count], self._ahead[count:]
        return taken

    def _pass(self) -> Floats:
        times_s, period_s = self._trace._times_s, self._trace._period_s
        if self._passes:
            _say_that_it_begins_again(self._trace.path, len(times_s), period_s)
        begin_s = self._passes * period_s
        self._passes += 1
        if self._trace.rate_scale == 1.0:
            return begin_s + times_s
        check_memory("rate_scale", self._trace.rate_scale, 48.0 * self._trace.rate_scale * len(times_s))
        whole, part = divmod(self._trace.rate_scale, 1.0)
        copies = int(whole) + (self._rng.random(len(times_s)) < part)
        first = np.repeat(np.cumsum(copies) - copies, copies)
        gap_s = np.repeat(np.diff(times_s, append=period_s), copies)
        offset_s = self._rng.random(len(gap_s)) * gap_s
        offset_s[np.arange(len(first)) == first] = 0.0  # the first copy keeps its time
        return np.sort(begin_s + np.repeat(times_s, copies) + offset_s)


@functools.cache
def _say_that_it_begins_again(path: str, times: int, period_s: float) -> None:
    """Once a process and trace: a run of many days draws it anew for each."""
    warnings.warn(
        f"trace {path}: more queries are asked for than its {times} times, {period_s:g} s: they begin again",
        stacklevel=4,
    )
