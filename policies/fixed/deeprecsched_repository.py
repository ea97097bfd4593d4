"""DeepRecSched as its repository runs it: on a live, noisy server whose load it moves while it watches p95."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Protocol

import numpy as np
from pydantic import Field

from deeprec_env.policies.base import Progress
from deeprec_env.policies.fixed.static import static_setting
from deeprec_env.progress import Step, part
from deeprec_env.scenario.bounds import Count, NonNegative, Positive
from deeprec_env.scenario.component import Strict
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.engines import stoppable_engine
from deeprec_env.simulation.offered_load import service_demands
from deeprec_env.simulation.simulate import with_options
from deeprec_env.workload.stream import QueryStream, episode_seed


class RepositoryOptions(Strict):
    """Parameters of the repository's scheduler, with the values of its scripts where it has them.

    `gap_steps` points of the log grid of mean gaps lie between `shortest_gap` and `longest_gap`, in gaps at which the
    static setting's busiest pool is fully loaded; `nominal_gap` is where each configuration starts.
    """

    batch_sizes: Annotated[tuple[Count, ...], Field(min_length=1)] = (512, 384, 256, 192, 128, 96, 64, 48, 32)
    thresholds: Annotated[tuple[Count, ...], Field(min_length=1)] = (96, 128, 192, 256, 384, 512)
    req_granularity: Count = 64
    stable_region: NonNegative = 0.10
    sched_timeout: Count = 128
    arr_steps: Count = 32
    gap_steps: Annotated[int, Field(ge=2)] = 100
    shortest_gap: Positive = 0.25
    longest_gap: Positive = 20.0
    nominal_gap: Positive = 2.0


class GapMeter(Protocol):
    """Measures how fast queries may follow each other under a setting."""

    def median_gap_s(self, setting: Setting) -> float:
        """Median mean gap of a configuration's last windows."""


class LiveTuner:
    """Finds, for one configuration, the shortest mean gap at which a live server holds its p95; counts the queries.

    On an engine that stops after completions, whatever the tuning's: it moves the load in mid-run.
    """

    def __init__(self, scenario: Scenario, options: RepositoryOptions, *, seed: int) -> None:
        self._scenario, self._options, self._seed = scenario, options, seed
        busiest = min(service_demands(scenario, static_setting(scenario)), key=lambda demand: demand.saturation_qps)
        unit_s = 1.0 / busiest.saturation_qps
        self._gaps_s: Floats = unit_s * np.geomspace(options.shortest_gap, options.longest_gap, options.gap_steps)
        self._nominal = int(np.argmin(np.abs(np.log(self._gaps_s / (unit_s * options.nominal_gap)))))
        self._configurations = 0
        self.queries_used = 0

    def median_gap_s(self, setting: Setting) -> float:
        """Median mean gap of the last `arr_steps` windows of a configuration, each tried on fresh traffic."""
        options, position = self._options, self._nominal
        scenario = with_options(self._scenario.with_setting(setting), qps=1.0 / float(self._gaps_s[position]))
        windows, size = options.sched_timeout, options.req_granularity
        seed = episode_seed(self._seed, "validation", self._configurations)
        self._configurations += 1
        engine = stoppable_engine(scenario, QueryStream(scenario.workload, seed).draw(2 * windows * size))
        tried: list[float] = []
        try:
            for window in range(windows):
                engine.run_until_completed((window + 1) * size)
                tried.append(float(self._gaps_s[position]))
                latency_s = engine.finished_latency_s(window * size, (window + 1) * size)
                moved = self._move(position, float(np.percentile(latency_s, 95)))
                if moved != position:
                    engine.stretch_gaps(float(self._gaps_s[moved] / self._gaps_s[position]))
                    position = moved
            self.queries_used += engine.arrived
        finally:
            engine.close()
        return float(np.median(tried[-options.arr_steps :]))

    def _move(self, position: int, p95_s: float) -> int:
        """A grid step slower above the target, a step faster well below it, else none."""
        if p95_s > self._scenario.sla_s:
            return min(position + 1, len(self._gaps_s) - 1)
        if p95_s < self._scenario.sla_s / (1.0 + self._options.stable_region):
            return max(position - 1, 0)
        return position


def deeprecsched_repository(
    scenario: Scenario, tuner: GapMeter, progress: Progress, options: RepositoryOptions
) -> Setting:
    """Batch sizes first with offloading off, then thresholds; the first one worse than the one before ends it.

    Source: DeepRecSys repository, scheduler and its scripts (values: `RepositoryOptions`).
    """
    largest = int(scenario.workload.sizes.probabilities()[0][-1])
    sizes = [size for size in options.batch_sizes if size <= largest] or [largest]
    never = scenario.setting.replace(threshold=None)
    batch_size, gap_s = _descend(
        sizes,
        lambda size: tuner.median_gap_s(never.replace(batch_size=size)),
        part(progress, 0.0, 0.5 if scenario.has_accelerator else 1.0),
        "batch size",
    )
    best = never.replace(batch_size=batch_size)
    if not scenario.has_accelerator:
        return best
    threshold, offloaded_gap_s = _descend(
        options.thresholds,
        lambda limit: tuner.median_gap_s(best.replace(threshold=limit)),
        part(progress, 0.5, 1.0),
        "threshold",
    )
    return best.replace(threshold=threshold) if offloaded_gap_s < gap_s else best


def _descend(values: Sequence[int], gap_s: Callable[[int], float], progress: Progress, what: str) -> tuple[int, float]:
    tried: list[tuple[int, float]] = []
    before = math.inf
    for step, value in enumerate(values):
        progress(Step(f"{what} {value}", step / len(values)))
        gap = gap_s(value)
        if gap > before:
            return tried[-1]
        tried.append((value, gap))
        before = gap
    return min(tried, key=lambda pair: pair[1])
