"""The best fixed setting for the day."""

from __future__ import annotations

from deeprec_env.scenario.schema import Scenario
from policies.base import Progress, Setting
from policies.day import DayRuns, geometric_mean
from policies.search import scan_ladders
from policies.static import static_setting


def grid_day(scenario: Scenario, days: DayRuns, progress: Progress) -> Setting:
    """The ladders' setting of lowest day metric on validation days, by scanning along each ladder in turn."""

    def better(setting: Setting, best: float | None) -> float | None:
        progress(f"batch size {setting[0]}, threshold {setting[1]}")
        value = geometric_mean([day.p95_hourly_s for day in days.fixed(setting)])
        return value if best is None or value < best else None

    return scan_ladders(scenario, static_setting(scenario), better)
