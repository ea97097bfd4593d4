"""Policies of `DeepRec/Pipeline-v0` by name, tuned on validation days and ready for evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import gymnasium as gym

from deeprec_env.envs import PipelineEnv
from deeprec_env.envs.pipeline_task import PIPELINE_CONTROLS
from deeprec_env.policies.adaptive.degrade import RULES, DegradePolicy
from deeprec_env.policies.adaptive.plan_table import HEADROOMS, PlanTablePolicy, best_by_load
from deeprec_env.policies.adaptive.random_policy import RandomPolicy
from deeprec_env.policies.base import FixedPolicy, Policy, TunedPolicy
from deeprec_env.policies.evaluation.day_metrics import DayRuns
from deeprec_env.policies.evaluation.episodes import run_policy
from deeprec_env.policies.evaluation.evaluation import Tuning
from deeprec_env.policies.evaluation.plan_metrics import PipelineDay, front, mean_goodput, pipeline_day
from deeprec_env.policies.fixed.best_plan import ISO_QUALITY, best_of_plan, best_plan, plans_of_quality
from deeprec_env.policies.fixed.refine import leaders
from deeprec_env.policies.privileged.plan_oracle import PlanOracle
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.engines import FORK, engine_kind
from deeprec_env.workload.diurnal import Diurnal

KEPT = 12
"""Candidates of a policy that go on from the first round of days to the last."""


@dataclass(frozen=True)
class PipelineTuning(Tuning):
    """A comparison's tuning, on validation days; what several policies need is found once.

    `options.queries` are those of every run of the load table. The choice "quality_floor" is the share of the best
    plan's quality that best-fixed-iso keeps.
    """

    def __post_init__(self) -> None:
        plans_of_quality(self.scenario, self.quality_floor)

    @property
    def quality_floor(self) -> float:
        """Share of the best plan's quality that best-fixed-iso keeps."""
        return float(self.choices.get("quality_floor", ISO_QUALITY))

    @property
    def seeds(self) -> range:
        """Seeds of the validation days."""
        return range(self.options.seed, self.options.seed + self.options.days)

    def new_days(self) -> DayRuns[PipelineDay]:
        """The validation days, none of them run yet."""
        engine = self.options.engine
        return DayRuns(self.scenario, pipeline_day, seeds=self.seeds, split="validation", engine=engine)

    @cached_property
    def steps(self) -> tuple[list[Setting], int]:
        """The setting of each plan worth choosing, from the best plan to the cheapest; and the queries that took."""
        days = self.new_days()
        return [best_of_plan(self.scenario, plan, days, self.progress) for plan in front(self.scenario)], (
            days.queries_used
        )


def _fixed(tuning: PipelineTuning, floor: float) -> TunedPolicy:
    days = tuning.new_days()
    setting = best_plan(tuning.scenario, plans_of_quality(tuning.scenario, floor), days, tuning.progress)
    policy = FixedPolicy(*tuning.scenario.action(setting, PIPELINE_CONTROLS))
    return TunedPolicy(policy, tuning.scenario, days.queries_used, setting)


def _degrade(tuning: PipelineTuning) -> TunedPolicy:
    scenario, (steps, used) = tuning.scenario, tuning.steps
    actions = [scenario.action(setting, PIPELINE_CONTROLS) for setting in steps]
    return _best(tuning, [DegradePolicy(actions, rule) for rule in RULES], used)


def _load_table(tuning: PipelineTuning) -> TunedPolicy:
    scenario, (steps, used) = tuning.scenario, tuning.steps
    arrivals, capacity = scenario.workload.arrivals, scenario.capacity
    assert isinstance(arrivals, Diurnal)
    assert capacity is not None
    by_load, more = best_by_load(
        scenario,
        steps,
        highest=arrivals.peak_qps * arrivals.ceiling / arrivals.peak / capacity.qps,
        queries=tuning.options.queries,
        seed=tuning.options.seed,
        engine=tuning.options.engine,
    )
    return _best(tuning, [PlanTablePolicy(scenario, by_load, headroom) for headroom in HEADROOMS], used + more)


def _best(tuning: PipelineTuning, policies: Sequence[Policy], used: int) -> TunedPolicy:
    """The policy of highest goodput on validation days: all run an eighth of them, the best `KEPT` all."""
    env = PipelineEnv(tuning.scenario, engine=tuning.options.engine)

    def value(which: int, days: int) -> float:
        nonlocal used
        tuning.progress(f"{type(policies[which]).__name__} {which + 1} of {len(policies)}, {days} days")
        records = [run_policy(env, policies[which], seed, "validation") for seed in tuning.seeds[:days]]
        used += sum(map(len, records))
        return -mean_goodput([pipeline_day(each, tuning.scenario) for each in records])

    rounds = [(math.ceil(tuning.options.days / 8), KEPT), (tuning.options.days, 1)]
    best = leaders(range(len(policies)), value, rounds)[0]
    env.close()
    return TunedPolicy(policies[best], tuning.scenario, used)


def _rate_oracle(tuning: PipelineTuning) -> TunedPolicy:
    engine_kind(tuning.options.engine, FORK, asker="rate-oracle")
    steps, used = tuning.steps
    return TunedPolicy(PlanOracle(tuning.scenario, steps, tuning.options.seed), tuning.scenario, used)


def _random(tuning: PipelineTuning) -> TunedPolicy:
    control, plans = tuning.scenario.control, tuning.scenario.planned_stages
    indices = gym.spaces.MultiDiscrete([len(plans), len(control.batch_sizes), len(tuning.scenario.thresholds)])
    policy: Policy = RandomPolicy(indices, tuning.options.seed)
    return TunedPolicy(policy, tuning.scenario, 0)


POLICIES: dict[str, Callable[[PipelineTuning], TunedPolicy]] = {
    "best-fixed": lambda tuning: _fixed(tuning, 0.0),
    "best-fixed-iso": lambda tuning: _fixed(tuning, tuning.quality_floor),
    "degrade": _degrade,
    "load-table": _load_table,
    "rate-oracle": _rate_oracle,
    "random": _random,
}
"""Policies by name: tuning -> policy and cost. best-fixed-iso keeps to plans of about the best quality; load-table
takes the best plan for the measured rate; rate-oracle sees ahead, as no server can."""
