"""The best fixed setting for the day."""

from __future__ import annotations

from deeprec_env.scenario.schema import Scenario
from policies.base import Progress, Setting
from policies.day import DayRuns, geometric_mean
from policies.search import scan_ladders
from policies.static import static_setting


def grid_day(scenario: Scenario, days: DayRuns, progress: Progress, *, violations: float = 0.001) -> Setting:
    """The ladders' setting of lowest day metric (mean over the hours of the hour's p95) on validation days.

    Found by scanning along each ladder in turn. A setting with a higher share of violations than `violations` counts
    only where it lowers that share.
    """

    def better(setting: Setting, best: float | None) -> float | None:
        progress(f"batch size {setting[0]}, threshold {setting[1]}")
        metrics = days.fixed(setting)
        excess = max(0.0, sum(day.violation_rate for day in metrics) / len(metrics) - violations)
        value = geometric_mean([day.p95_hourly_s for day in metrics]) * (1.0 + 1e3 * excess)
        return value if best is None or value < best else None

    return scan_ladders(scenario, static_setting(scenario), better)
