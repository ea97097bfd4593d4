"""Control windows: what a live server could know at the end of each (rule 11), computed from records."""

from __future__ import annotations

from collections import namedtuple
from typing import Any, NamedTuple


class Window(NamedTuple):
    """Metrics of the window [begin_s, end_s).

    The sample is the latency of every query that completed in the window and the age of every query in flight at its
    end that is older than the target. Of an empty sample percentiles and violation rate are 0. Utilisation is that of
    the busiest pool of its kind (0 without one).

    `shed_rate` is the share of the window's arrivals that were shed; each of them counts in the violation rate as one
    that is late. `waiting_cpu` and `waiting_accelerator` are requests in all queues of that kind at the window's end,
    `predicted_s` is the predicted latency of a query of median size that would arrive then under the window's setting
    (rule 15; 0 of a pipeline with sub-batches). These three are measured of nodes whose scenario uses a control that
    they are meant for, which are those not `decided_on_entry`; of others they are 0.

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
    shed_rate: float = 0.0
    waiting_cpu: float = 0.0
    waiting_accelerator: float = 0.0
    predicted_s: float = 0.0
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
