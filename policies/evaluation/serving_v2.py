"""How policies are judged in `DeepRec/Serving-v2`: as in v1, those of v1 mapped onto its actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from deeprec_env.envs.environments import SERVING_V2 as SPEC
from deeprec_env.envs.serving_v2_task import with_further_ladders
from deeprec_env.policies.adaptive.control_generalist import ControlGeneralistPolicy
from deeprec_env.policies.adaptive.random_policy import RandomPolicy
from deeprec_env.policies.base import TunedPolicy
from deeprec_env.policies.evaluation.champions import CHAMPIONS, REFERENCES_OF_ALL, ChampionTuning
from deeprec_env.policies.evaluation.evaluation import HEADER, Choices, Tuning
from deeprec_env.policies.evaluation.policy_capacity import capacity_queries, policy_capacities
from deeprec_env.policies.evaluation.serving import SERVING, SPECIALIST, streams_of, traffic_of
from deeprec_env.policies.fixed.best_day import with_best_day
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.policies.on_serving_v2 import on_serving_v2, without_further
from deeprec_env.policies.registry import baselines, prepare
from deeprec_env.scenario.schema import Scenario


def _prepare(scenario: Scenario, engine: str, choices: Choices) -> Scenario:
    traffic = traffic_of(choices)
    found = with_best_day(without_further(scenario), engine=engine)
    control = scenario.control.model_copy(update={"interval_s": found.control.interval_s})
    with_day = scenario.replace(workload=found.workload, capacity=found.capacity, control=control)
    return traffic(with_further_ladders(with_day))


def _mapped(name: str) -> Callable[[Tuning], TunedPolicy]:
    """A policy of v1, tuned as there."""

    def prepared(tuning: Tuning) -> TunedPolicy:
        plain = without_further(tuning.scenario)
        return on_serving_v2(prepare(name, plain, tuning.options, tuning.progress), tuning.scenario)

    return prepared


def _random(tuning: Tuning) -> TunedPolicy:
    space = SPEC.make_task(tuning.scenario).action_space
    return TunedPolicy(RandomPolicy(space, tuning.options.seed), tuning.scenario, 0)


def _generalist(tuning: Tuning) -> TunedPolicy:
    return TunedPolicy(ControlGeneralistPolicy(tuning.scenario), tuning.scenario, 0)


def _capacities(prepared: TunedPolicy, seeds: Sequence[int], options: TuneOptions) -> tuple[float, ...]:
    queries = capacity_queries(prepared.scenario, options.queries)
    return policy_capacities(prepared, seeds, queries=queries, engine=options.engine, make=SPEC.make)


SERVING_V2 = replace(
    SERVING,
    prepare=_prepare,
    tuning=ChampionTuning,
    baselines={name: _mapped(name) for name in baselines()}
    | {"generalist": _generalist, "random": _random}
    | CHAMPIONS
    | REFERENCES_OF_ALL
    | SPECIALIST,
    compared=(*SERVING.compared[:-1], *CHAMPIONS, "rate-oracle"),
    capacities=_capacities,
    header={**HEADER, "streams_sha256": streams_of},
)
