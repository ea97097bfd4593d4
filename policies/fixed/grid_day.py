"""The best fixed setting for the day."""

from __future__ import annotations

import math

from deeprec_env.policies.base import Progress
from deeprec_env.policies.evaluation.day_metrics import DayMetrics, DayRuns, geometric_mean
from deeprec_env.policies.fixed.refine import leaders, saturation_rates
from deeprec_env.progress import Step
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting

KEPT = 12
"""Settings that go on from the first round of days to the last."""


def grid_day(scenario: Scenario, days: DayRuns[DayMetrics], progress: Progress) -> Setting:
    """The ladders' setting of lowest day metric (geometric mean) on validation days: all of them, exhaustively.

    All settings run an eighth of the days, the best `KEPT` of them all days. Settings with a pool that the day's mean
    rate overloads are left out (unless all are): their backlog grows all day.
    """
    mean_qps = scenario.workload.arrivals.mean_qps
    able = [setting for setting, qps in saturation_rates(scenario).items() if qps > mean_qps]

    settings, first = able or scenario.settings(), math.ceil(len(days) / 8)
    of_all = len(settings) * first + min(KEPT, len(settings)) * (len(days) - first)
    done = 0

    def value(setting: Setting, count: int) -> float:
        nonlocal done
        words = f"batch size {setting.batch_size}, threshold {setting.threshold}, {count} days"
        progress(Step(words, done / of_all))
        done += count if count == first else count - first
        return geometric_mean([day.p95_hourly_s for day in days.fixed(setting, count)])

    return leaders(settings, value, [(first, KEPT), (len(days), 1)])[0]
