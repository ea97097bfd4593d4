"""The queue-theoretic controller: settings by formulas at the measured rate, without one simulated query of tuning.

As model-based autoscaling and admission control do (Urgaonkar et al. 2005, for tiers of servers): at every load the
best of the settings that keep all pools stable, ranked as runs are (`stationary.ranked`), but by what `QueueingModel`
says of them. Where even the best has more late queries than `stationary.TIED`, by the formulas, it sheds what would be.
"""

from __future__ import annotations

from deeprec_env.policies.adaptive.load_table import LEVELS
from deeprec_env.policies.adaptive.queueing_model import QueueingModel
from deeprec_env.policies.adaptive.rate_table import BEYOND, RateTable
from deeprec_env.policies.adaptive.stationary import TIED, Outcome, ranked
from deeprec_env.policies.base import Progress
from deeprec_env.policies.fixed.refine import saturation_rates
from deeprec_env.policies.on_serving_v2 import without_further
from deeprec_env.progress import Step
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting

FIRST = 0.6
"""Load that the first window is taken to have, before any is measured: about the mean of a day whose peak is 0.95."""

KEPT = 4
"""Settings that a level ranks."""


def find_queueing_table(scenario: Scenario, unit_qps: float, progress: Progress) -> RateTable:
    """The settings of all levels; load 1 is `unit_qps` queries a second."""
    model, most_qps = QueueingModel(scenario), saturation_rates(without_further(scenario))
    levels, ranking = (*LEVELS, *BEYOND), []
    limits = [limit for limit in scenario.ladders["admit_ms"] if limit is not None and limit <= scenario.sla_ms]
    for number, level in enumerate(levels):
        progress(Step(f"load {level:g}", number / len(levels)))
        qps = level * unit_qps
        best = best_settings(model, scenario.sla_s, most_qps, qps)
        within = predicted(model, scenario.sla_s, best[0], qps)
        holds = most_qps[best[0]] > qps and within.late <= TIED
        admit_ms = None if holds or not limits else max(limits)
        ranking.append(tuple(setting.replace(admit_ms=admit_ms) for setting in best))
    first = ranking[levels.index(FIRST)][0]
    return RateTable(levels, tuple(ranking), first, 0)


def best_settings(model: QueueingModel, sla_s: float, most_qps: dict[Setting, float], qps: float) -> list[Setting]:
    """Of the settings that keep every pool stable the best by the formulas; of none such those that carry most."""
    stable = [setting for setting, most in most_qps.items() if most > qps]
    if not stable:
        return sorted(most_qps, key=lambda setting: -most_qps[setting])[:KEPT]
    return ranked({setting: predicted(model, sla_s, setting, qps) for setting in stable})[:KEPT]


def predicted(model: QueueingModel, sla_s: float, setting: Setting, qps: float) -> Outcome:
    """What the formulas say of a setting at a rate, before anybody is shed."""
    p95_s, p99_s, late = model.latencies(setting, qps)
    return Outcome(p95_s / sla_s, p99_s / sla_s, late)
