"""Offered load: how much work a rate brings to each pool, from means alone, without simulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Pool, Scenario, Stage, Threshold


@dataclass(frozen=True)
class PoolWork:
    """Mean server-seconds that a query brings to a pool, with contention as when all its servers are busy.

    `visits` is the share of the queries that bring any.
    """

    stage: str
    kind: str
    servers: int
    seconds_per_query: float
    visits: float

    @property
    def label(self) -> str:
        """The pool's name in messages: its kind, behind the stage's name in a pipeline."""
        return self.kind if self.stage == "node" else f"{self.stage}.{self.kind}"

    def load(self, qps: float) -> float:
        """Offered load at a rate; at 1 and above the pool can't keep up."""
        return qps * self.seconds_per_query / self.servers

    @property
    def largest_qps(self) -> float:
        """The rate at which the pool's load is 1 (infinite if it gets no work)."""
        return self.servers / self.seconds_per_query if self.seconds_per_query > 0.0 else np.inf


def pool_work(scenario: Scenario, batch_size: int, threshold: Threshold) -> list[PoolWork]:
    """The work that a mean query brings to every pool under fixed settings."""
    items, probability = scenario.workload.sizes.probabilities()
    work = []
    for stage in scenario.stages:
        offloaded = np.zeros(len(items), dtype=bool)
        if stage.accelerator is not None and threshold is not None:
            offloaded = items >= threshold
        full, rest = np.divmod(items, batch_size)
        largest = np.array([min(batch_size, int(items.max()))])  # the part that full requests of such a size would take
        seconds = full * _busy_s(stage, stage.cpu, largest)
        seconds += np.where(rest > 0, _busy_s(stage, stage.cpu, np.maximum(rest, 1)), 0.0)
        work.append(_work(stage, "cpu", probability, ~offloaded, seconds))
        if stage.accelerator is not None:
            work.append(_work(stage, "accelerator", probability, offloaded, _busy_s(stage, stage.accelerator, items)))
        if stage.keep is not None:
            items = np.minimum(items, stage.keep)
    return work


def offered_load(scenario: Scenario, qps: float, batch_size: int, threshold: Threshold) -> dict[str, float | None]:
    """Load of the busiest pool of each kind at a rate (None without one)."""
    loads: dict[str, float | None] = {"cpu": None, "accelerator": None}
    for work in pool_work(scenario, batch_size, threshold):
        loads[work.kind] = max(loads[work.kind] or 0.0, work.load(qps))
    return loads


def _busy_s(stage: Stage, pool: Pool, items: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Floats:
    return pool.latency.mean_s(items) * pool.slowdown(pool.servers) + stage.overhead_s


def _work(stage: Stage, kind: str, probability: Floats, visits: NDArray[np.bool_], seconds: Floats) -> PoolWork:
    mean_s = float(probability @ np.where(visits, seconds, 0.0))
    return PoolWork(stage.name, kind, stage.pools()[kind].servers, mean_s, float(probability @ visits))
