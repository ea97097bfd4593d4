"""The best fixed plan, with the batch size and the threshold that suit it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from deeprec_env.envs.pipeline_day import best_quality, rated_plans
from deeprec_env.errors import InputError
from deeprec_env.policies.base import Progress
from deeprec_env.policies.evaluation.day_metrics import DayRuns
from deeprec_env.policies.evaluation.plan_metrics import PipelineDay, mean_goodput
from deeprec_env.policies.fixed.refine import leaders
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting

KEPT = 12
"""Settings of a plan that go on from the first round of days to the last."""

ISO_QUALITY = 0.99
"""Share of the best plan's quality from which plans count as equally good."""


def best_of_plan(scenario: Scenario, plan: int, days: DayRuns[PipelineDay], progress: Progress) -> Setting:
    """Batch size and threshold of highest goodput under a plan on validation days: all of them, exhaustively.

    All run an eighth of the days, the best `KEPT` of them all days.
    """
    settings = [setting.replace(plan=plan) for setting in scenario.settings()]

    def value(setting: Setting, count: int) -> float:
        of_plan = f"batch size {setting.batch_size}, threshold {setting.threshold}"
        progress(f"plan {scenario.plan_names[plan]}, {of_plan}, {count} days")
        return -mean_goodput(days.fixed(setting, count))

    return leaders(settings, value, [(math.ceil(len(days) / 8), KEPT), (len(days), 1)])[0]


def best_plan(scenario: Scenario, plans: Sequence[int], days: DayRuns[PipelineDay], progress: Progress) -> Setting:
    """The setting of highest goodput, of the best ones of some plans."""
    settings = [best_of_plan(scenario, plan, days, progress) for plan in plans]
    return max(settings, key=lambda setting: mean_goodput(days.fixed(setting)))


def plans_of_quality(scenario: Scenario, floor: float) -> list[int]:
    """The plans whose quality is at least a share `floor` of the best one's; `InputError` for what is no share."""
    if not 0.0 <= floor <= 1.0:
        raise InputError("quality_floor", floor, "must be from 0 to 1, in the best plan's quality")
    least = floor * best_quality(scenario)
    return [index for index, plan in enumerate(rated_plans(scenario)) if (plan.quality or 0.0) >= least]
