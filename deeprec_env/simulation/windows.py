"""Control windows: what a live server could know at the end of each (rule 11), computed from records."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from deeprec_env.scenario.pools import KINDS
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import PLAN
from deeprec_env.simulation.records import Records


class Window(NamedTuple):
    """Metrics of the window [begin_s, end_s).

    The sample is the latency of every query that completed in the window and the age of every query in flight at its
    end that is older than the target. Of an empty sample percentiles and violation rate are 0. Utilisation is that of
    the busiest pool of its kind (0 without one).

    `stages` holds for each stage the busy share of its CPU, that of its accelerator (0 without one), and the queries
    that are there at the window's end: in flight, and through with all stages before. `plans` holds for each plan how
    many of the sample's queries had it, and how many of these were within the target.
    """

    begin_s: float
    end_s: float
    p50_s: float
    p95_s: float
    p99_s: float
    violation_rate: float
    sample: float
    offered_qps: float
    completed_qps: float
    mean_items: float
    cpu_utilisation: float
    accelerator_utilisation: float
    backlog: float
    energy_j: float
    stages: tuple[tuple[float, float, float], ...] = ()
    plans: tuple[tuple[float, float], ...] = ()

    @classmethod
    def of(cls, row: Any, stages: int) -> Window:
        """The window of a row of `width`, of numbers or of arrays, one entry for each of several nodes."""
        plans = stage_place(stages)
        of_stages, of_plans = row[_SINGLE:plans], row[plans:]
        by_stage = tuple(zip(of_stages[0::3], of_stages[1::3], of_stages[2::3], strict=True))
        fields: list[Any] = [*row[:_SINGLE], by_stage, tuple(zip(of_plans[0::2], of_plans[1::2], strict=True))]
        return cls(*fields)

    @classmethod
    def empty(cls, stages: int = 0, plans: int = 0) -> Window:
        """The window before the first: nothing has happened."""
        return cls.of([0.0] * width(stages, plans), stages)


_SINGLE = len(Window._fields) - 2

AT: Any = namedtuple("AT", Window._fields[:_SINGLE])(*range(_SINGLE))
"""Where a `Window`'s single numbers stand in its row, by name."""

CPU_BUSY, ACCELERATOR_BUSY, BACKLOG, PER_STAGE = 0, 1, 2, 3
"""Where a stage's numbers stand in its part of the row, and the length of that."""


def stage_place(stage: int) -> int:
    """Where a stage's part of the row begins; with the number of stages, where the plans' begins."""
    return _SINGLE + PER_STAGE * stage


def width(stages: int, plans: int) -> int:
    """Length of a window as a row: its single numbers, three for each stage, two for each plan."""
    return stage_place(stages) + 2 * plans


class WindowMeter:
    """Measures an engine window by window, from its records."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._first_open = 0  # every query before it completed before the last window's end

    def close_window(self, records_from: Callable[[int], Records], begin_s: float, end_s: float) -> Window:
        """Metrics of [begin_s, end_s) of an engine that stands at `end_s`; `records_from` is its `records`."""
        records = records_from(self._first_open)
        window = measure_window(records, self._scenario, begin_s, end_s)
        still_open = np.flatnonzero(records.completion_s >= end_s)
        self._first_open += int(still_open[0]) if still_open.size else len(records)
        return window


def measure_window(records: Records, scenario: Scenario, begin_s: float, end_s: float) -> Window:
    """Metrics of [begin_s, end_s) from records that hold every query in flight during it."""
    # Numba is loaded when there is something to measure.
    from deeprec_env.simulation.window_metrics import count_at_stage, measure_sample, sample_by_plan

    sample = measure_sample(records.arrival_s, records.items, records.completion_s, begin_s, end_s, scenario.sla_s)
    length_s = end_s - begin_s
    busy_s = _busy_seconds(records, begin_s, end_s)
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
        stages=tuple(stages),
        plans=tuple((float(size), float(within)) for size, within in by_plan),
    )


def usage(records: Records, scenario: Scenario, begin_s: float, end_s: float) -> tuple[dict[str, float | None], float]:
    """Utilisation of the busiest pool of each kind (None without one) and energy in joules over [begin_s, end_s)."""
    return usage_of(scenario, _busy_seconds(records, begin_s, end_s), end_s - begin_s)


def _busy_seconds(records: Records, begin_s: float, end_s: float) -> list[tuple[float, float]]:
    """By stage, the server-seconds inside [begin_s, end_s) on the CPU and on the accelerator."""
    from deeprec_env.simulation.kernels import busy_seconds

    left_s = records.completion_s  # no stage is left later than that
    return [
        busy_seconds(log.offloaded, log.first, log.start_s, log.end_s, left_s, begin_s, end_s, position == 0)
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
