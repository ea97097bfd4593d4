"""Offered load: how much work a rate brings to each pool, from means alone, without simulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeprec_env.latency import checked
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.pools import PoolKind, PoolSpec, Stage
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.workload.checked import size_probabilities


@dataclass(frozen=True)
class ServiceDemand:
    """Mean server-seconds that a query brings to a pool, with contention as when all its servers are busy.

    With slow phases it is the mean over time (see `Slowness.mean_factor`): exact where they are short, and where they
    are long the pool keeps up with more than the load says. `visits` is the share of the queries that bring any.
    """

    stage: str
    kind: PoolKind
    servers: int
    seconds_per_query: float
    visits: float

    @property
    def label(self) -> str:
        """The pool's name in messages: its kind, after the stage's name in a pipeline."""
        return pool_label(self.stage, self.kind)

    def load(self, qps: float) -> float:
        """Offered load at a rate; at 1 and above the pool can't keep up."""
        return qps * self.seconds_per_query / self.servers

    @property
    def saturation_qps(self) -> float:
        """The rate at which the pool's load is 1 (infinite if it gets no work)."""
        return self.servers / self.seconds_per_query if self.seconds_per_query > 0.0 else np.inf


def pool_label(stage: str, kind: PoolKind) -> str:
    """The name of a stage's pool in messages."""
    return kind if stage == "node" else f"{stage}.{kind}"


def service_demands(scenario: Scenario, setting: Setting) -> list[ServiceDemand]:
    """The work that a mean query brings to every pool under a fixed setting."""
    from deeprec_env.simulation.splitting import offloads, stage_rule  # Numba is loaded when it is needed

    sizes, probability = size_probabilities(scenario.workload.sizes)
    demand = []
    for position, stage in enumerate(scenario.planned_stages[setting.plan]):
        rule = stage_rule(scenario, position, setting)
        items = np.minimum(sizes, rule.most_items)
        offloaded = offloads(rule, items)
        # A query has this many sub-batches, `larger` of them with one item more than the others.
        shares = np.maximum(np.minimum(items, rule.most_parts), 1)
        small, larger = np.divmod(items, shares)
        large = small + (larger > 0)
        if stage.cpu is not None:
            seconds = (shares - larger) * split_seconds(stage, stage.cpu, small, rule.largest, rule.even)
            seconds += larger * split_seconds(stage, stage.cpu, large, rule.largest, rule.even)
            demand.append(_work(stage, "cpu", probability, ~offloaded & (items > 0), seconds))
        if stage.accelerator is not None:
            seconds = (shares - larger) * busy_seconds(stage, stage.accelerator, np.maximum(small, 1))
            seconds += larger * busy_seconds(stage, stage.accelerator, np.maximum(large, 1))
            demand.append(_work(stage, "accelerator", probability, offloaded, seconds))
    return demand


def offered_load(scenario: Scenario, qps: float, setting: Setting) -> dict[str, float | None]:
    """Load of the busiest pool of each kind at a rate (None without one)."""
    loads: dict[str, float | None] = {"cpu": None, "accelerator": None}
    for demand in service_demands(scenario, setting):
        loads[demand.kind] = max(loads[demand.kind] or 0.0, demand.load(qps))
    return loads


def split_seconds(
    stage: Stage, pool: PoolSpec, items: Ints, batch_size: int, even: bool, *, least: bool = False
) -> Floats:
    """`busy_seconds` of queries that are split into requests of `batch_size` items, or as many `even` ones."""
    if even:
        requests = np.maximum((items + batch_size - 1) // batch_size, 1)
        fewer, larger = np.divmod(items, requests)
        parts: Floats = (requests - larger) * busy_seconds(stage, pool, np.maximum(fewer, 1), least=least)
        parts += larger * busy_seconds(stage, pool, fewer + 1, least=least)
        return np.where(items > 0, parts, 0.0)
    full, rest = np.divmod(items, batch_size)
    largest = np.array([max(1, min(batch_size, int(items.max())))])  # what full requests, if there are any, hold
    seconds: Floats = full * busy_seconds(stage, pool, largest, least=least)
    seconds += np.where(rest > 0, busy_seconds(stage, pool, np.maximum(rest, 1), least=least), 0.0)
    return seconds


def busy_seconds(stage: Stage, pool: PoolSpec, items: Ints, *, least: bool = False) -> Floats:
    """Mean server-seconds of requests of `items` items, all servers of the pool busy.

    Slow phases count with their share of the time, or with the `least` that they can be where the pool never idles:
    see `Slowness.mean_factor`.
    """
    slow = 1.0
    if pool.slowness is not None:
        slow = pool.slowness.least_factor if least else pool.slowness.mean_factor
    return checked.mean_s(pool.latency, items) * pool.slowdown(pool.servers) * slow + stage.overhead_s


def _work(
    stage: Stage, kind: PoolKind, probability: Floats, visits: NDArray[np.bool_], seconds: Floats
) -> ServiceDemand:
    mean_s = float(probability @ np.where(visits, seconds, 0.0))
    return ServiceDemand(stage.name, kind, stage.pools()[kind].servers, mean_s, float(probability @ visits))
