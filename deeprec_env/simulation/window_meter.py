"""Measuring windows and use from records: what every engine that keeps them shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from deeprec_env.scenario.pools import KINDS
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import PLAN
from deeprec_env.simulation.kernel_choice import decided_on_entry
from deeprec_env.simulation.records import Records
from deeprec_env.simulation.windows import Window


class WindowMeter:
    """Measures an engine window by window, from its records."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.first_open = 0  # every query before it completed before the last window's end

    def close_window(self, records_from: Callable[[int], Records], begin_s: float, end_s: float) -> Window:
        """Metrics of [begin_s, end_s) of an engine that stands at `end_s`; `records_from` is its `records`."""
        records = records_from(self.first_open)
        window = measure_window(records, self._scenario, begin_s, end_s)
        still_open = np.flatnonzero(records.completion_s >= end_s)
        self.first_open += int(still_open[0]) if still_open.size else len(records)
        return window


def measure_window(records: Records, scenario: Scenario, begin_s: float, end_s: float) -> Window:
    """Metrics of [begin_s, end_s) from records that hold every query in flight during it."""
    # Numba is loaded when there is something to measure.
    from deeprec_env.simulation.window_metrics import count_at_stage, measure_sample, sample_by_plan

    sample = measure_sample(records.arrival_s, records.items, records.completion_s, begin_s, end_s, scenario.sla_s)
    length_s = end_s - begin_s
    busy_s = _busy_seconds(records, scenario, begin_s, end_s)
    utilisation, energy_j = usage_of(scenario, busy_s, length_s)
    ahead, stages = records.completion_s >= end_s, []
    for stage, log, by_kind in zip(scenario.stages, records.stages, busy_s, strict=True):
        cpu, accelerator = (
            busy / (stage.pools()[kind].servers * length_s) if kind in stage.pools() else 0.0
            for kind, busy in zip(KINDS, by_kind, strict=True)
        )
        stages.append((cpu, accelerator, float(count_at_stage(ahead, log.first, log.end_s, 1, end_s))))
    count = len(scenario.planned_items)
    by_plan = sample_by_plan(
        sample,
        records.arrival_s,
        records.completion_s,
        records.setting[:, PLAN],
        count,
        begin_s,
        end_s,
        scenario.sla_s,
    )
    return Window(
        begin_s=begin_s,
        end_s=end_s,
        p50_s=sample.p50_s,
        p95_s=sample.p95_s,
        p99_s=sample.p99_s,
        violation_rate=sample.violation_rate,
        sample=float(sample.size),
        offered_qps=sample.arrived / length_s,
        completed_qps=sample.completed / length_s,
        mean_items=sample.mean_items,
        cpu_utilisation=utilisation["cpu"] or 0.0,
        accelerator_utilisation=utilisation["accelerator"] or 0.0,
        backlog=float(sample.backlog),
        energy_j=energy_j,
        shed_rate=sample.shed_rate,
        stages=tuple(stages),
        plans=tuple((float(size), float(within)) for size, within in by_plan),
    )


def usage(records: Records, scenario: Scenario, begin_s: float, end_s: float) -> tuple[dict[str, float | None], float]:
    """Utilisation of the busiest pool of each kind (None without one) and energy in joules over [begin_s, end_s)."""
    return usage_of(scenario, _busy_seconds(records, scenario, begin_s, end_s), end_s - begin_s)


def _busy_seconds(records: Records, scenario: Scenario, begin_s: float, end_s: float) -> list[tuple[float, float]]:
    """By stage, the server-seconds inside [begin_s, end_s) on the CPU and on the accelerator."""
    from deeprec_env.simulation.kernels import busy_seconds

    decided, left_s = decided_on_entry(scenario), records.completion_s  # no stage is left later than that
    return [
        busy_seconds(
            log.offloaded,
            log.first,
            log.start_s,
            log.end_s,
            np.empty(0, dtype=np.bool_) if log.carries is None else log.carries,
            left_s,
            begin_s,
            end_s,
            decided and position == 0,
        )
        for position, log in enumerate(records.stages)
    ]


def usage_of(
    scenario: Scenario, busy_s: Sequence[Sequence[float]], length_s: float
) -> tuple[dict[str, float | None], float]:
    """As `usage`, from the busy server-seconds of each stage on (CPU, accelerator)."""
    from deeprec_env.simulation.window_metrics import energy_j

    utilisation: dict[str, float | None] = {"cpu": None, "accelerator": None}
    joules = 0.0
    for stage, by_kind in zip(scenario.stages, busy_s, strict=True):
        for kind, pool in stage.pools().items():
            busy = by_kind[KINDS.index(kind)]
            utilisation[kind] = max(utilisation[kind] or 0.0, busy / (pool.servers * length_s))
            joules += energy_j(pool.idle_w, pool.busy_w, pool.servers, busy, length_s)
    return utilisation, joules
