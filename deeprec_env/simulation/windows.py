"""Control windows: what a live server could know at the end of each (rule 11), computed from records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deeprec_env.scenario.schema import Pool, Scenario
from deeprec_env.simulation.engine import Engine
from deeprec_env.simulation.records import Records


@dataclass(frozen=True)
class Window:
    """Metrics of the window [begin_s, end_s).

    The sample is the latency of every query that completed in the window and the age of every query in flight at its
    end that is older than the target. Of an empty sample percentiles and violation rate are 0. Utilisation is that of
    the busiest pool of its kind (0 without one).
    """

    begin_s: float
    end_s: float
    p50_s: float
    p95_s: float
    p99_s: float
    violation_rate: float
    sample: int
    offered_qps: float
    completed_qps: float
    mean_items: float
    cpu_utilisation: float
    accelerator_utilisation: float
    backlog: int
    energy_j: float

    @classmethod
    def empty(cls) -> Window:
        """The window before the first: nothing has happened."""
        return cls(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0.0)


class WindowMeter:
    """Measures an engine window by window; one for all engines."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._first_open = 0  # every query before it completed before the last window's end

    def close_window(self, engine: Engine, begin_s: float, end_s: float) -> Window:
        """Metrics of [begin_s, end_s); the engine stands at `end_s`."""
        records = engine.records(self._first_open)
        window = measure_window(records, self._scenario, begin_s, end_s)
        still_open = np.flatnonzero(records.completion_s >= end_s)
        self._first_open += int(still_open[0]) if still_open.size else len(records)
        return window


def measure_window(records: Records, scenario: Scenario, begin_s: float, end_s: float) -> Window:
    """Metrics of [begin_s, end_s) from records that hold every query in flight during it."""
    completed = (records.completion_s >= begin_s) & (records.completion_s < end_s)
    in_flight = records.completion_s >= end_s
    age_s = end_s - records.arrival_s[in_flight]
    sample = np.concatenate([records.latency_s[completed], age_s[age_s > scenario.sla_s]])
    p50_s, p95_s, p99_s = np.percentile(sample, (50, 95, 99)).tolist() if sample.size else (0.0, 0.0, 0.0)
    arrived = (records.arrival_s >= begin_s) & (records.arrival_s < end_s)
    length_s = end_s - begin_s
    utilisation, energy_j = usage(records, scenario, begin_s, end_s)
    return Window(
        begin_s=begin_s,
        end_s=end_s,
        p50_s=p50_s,
        p95_s=p95_s,
        p99_s=p99_s,
        violation_rate=float(np.mean(sample > scenario.sla_s)) if sample.size else 0.0,
        sample=int(sample.size),
        offered_qps=int(arrived.sum()) / length_s,
        completed_qps=int(completed.sum()) / length_s,
        mean_items=float(records.items[arrived].mean()) if arrived.any() else 0.0,
        cpu_utilisation=utilisation["cpu"] or 0.0,
        accelerator_utilisation=utilisation["accelerator"] or 0.0,
        backlog=int(in_flight.sum()),
        energy_j=energy_j,
    )


def usage(records: Records, scenario: Scenario, begin_s: float, end_s: float) -> tuple[dict[str, float | None], float]:
    """Utilisation of the busiest pool of each kind (None without one) and energy in joules over [begin_s, end_s)."""
    from deeprec_env.simulation.kernels import busy_seconds  # Numba is loaded when there is something to measure

    utilisation: dict[str, float | None] = {"cpu": None, "accelerator": None}
    energy_j = 0.0
    for stage, log in zip(scenario.stages, records.stages, strict=True):
        busy = busy_seconds(log.offloaded, log.first, log.start_s, log.end_s, begin_s, end_s)
        for (kind, pool), busy_s in zip(stage.pools().items(), busy, strict=False):
            share = busy_s / (pool.servers * (end_s - begin_s))
            utilisation[kind] = max(utilisation[kind] or 0.0, share)
            energy_j += _energy_j(pool, busy_s, end_s - begin_s)
    return utilisation, energy_j


def _energy_j(pool: Pool, busy_s: float, length_s: float) -> float:
    """Energy at power idle_w + (busy_w - idle_w) * busy / servers, the busy servers integrated over time."""
    return pool.idle_w * length_s + (pool.busy_w - pool.idle_w) * busy_s / pool.servers
