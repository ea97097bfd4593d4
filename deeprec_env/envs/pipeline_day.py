"""The day of a pipeline: traffic that its best plan can keep up with but for the bursts, which a cheaper one could."""

from __future__ import annotations

from deeprec_env.errors import InputError
from deeprec_env.scenario.plans import Plan
from deeprec_env.scenario.schema import Capacity, Scenario
from deeprec_env.simulation.offered_load import service_demands
from deeprec_env.workload.diurnal import Diurnal

WINDOWS, QUERIES_PER_WINDOW = 96, 200

TROUGH, PEAK = 0.2, 0.9
"""Lowest and highest rate of a day without bursts, in what the best plan keeps up with."""

BURSTS, BURST_WINDOWS, BURST_FACTOR = 6.0, 4.0, 1.6
"""Bursts a day, mean windows of one, and how many times the rate it is."""

BURST_SHARE = 0.95
"""Bursts never lift the rate over this share of what the plan that carries most keeps up with."""


def rated_plans(scenario: Scenario) -> tuple[Plan, ...]:
    """The scenario's plans; `InputError` without any, or for one without a quality."""
    if scenario.plans is None:
        raise InputError("plans", None, "must be there: DeepRec/Pipeline-v0 chooses between them")
    for plan in scenario.plans:
        if plan.quality is None or plan.quality <= 0.0:
            raise InputError(f"plans.{plan.name}.quality", plan.quality, "must be above 0 in DeepRec/Pipeline-v0")
    return scenario.plans


def best_quality(scenario: Scenario) -> float:
    """The highest quality of the plans."""
    return max(plan.quality or 0.0 for plan in rated_plans(scenario))


def saturation_qps(scenario: Scenario, plan: int) -> float:
    """The highest rate that some batch size and threshold of the ladders keep up with under a plan."""
    return max(
        min(demand.saturation_qps for demand in service_demands(scenario, setting.replace(plan=plan)))
        for setting in scenario.settings()
    )


def with_pipeline_day(scenario: Scenario) -> Scenario:
    """The scenario with a day of traffic: as it is if it has one, else the day of its reference.

    The reference is the scenario's capacity; without one, the highest rate that a plan of the highest quality keeps up
    with. It counts as the capacity from here on.
    """
    plans = rated_plans(scenario)
    largest = [saturation_qps(scenario, index) for index in range(len(plans))]
    capacity = scenario.capacity or Capacity(
        qps=max(qps for qps, plan in zip(largest, plans, strict=True) if plan.quality == best_quality(scenario)),
        batch_size=scenario.control.batch_size,
        threshold=scenario.control.threshold,
        found_by="the work of a mean query of the plan of highest quality",
    )
    scenario = scenario.replace(capacity=capacity)
    if isinstance(scenario.workload.arrivals, Diurnal):
        return scenario
    mean_qps = 0.5 * (TROUGH + PEAK) * capacity.qps
    interval_s = float(f"{QUERIES_PER_WINDOW / mean_qps:.4g}")
    day = Diurnal(
        kind="diurnal",
        qps=float(f"{mean_qps:.6g}"),
        day_s=WINDOWS * interval_s,
        trough=TROUGH,
        peak=PEAK,
        ceiling=max(PEAK, min(PEAK * BURST_FACTOR, BURST_SHARE * max(largest) / capacity.qps)),
        bursts=BURSTS,
        burst_factor=BURST_FACTOR,
        burst_s=BURST_WINDOWS * interval_s,
    )
    control = scenario.control.model_copy(update={"interval_s": interval_s})
    return scenario.with_arrivals(day).replace(control=control)
