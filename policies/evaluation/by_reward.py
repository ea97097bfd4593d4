"""How policies are judged in an environment that says nothing of it: by the reward that they get, and by the tail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from deeprec_env.policies.adaptive.random_policy import RandomPolicy
from deeprec_env.policies.base import TunedPolicy
from deeprec_env.policies.evaluation.day_metrics import day_length_s
from deeprec_env.policies.evaluation.episodes import EpisodeRun
from deeprec_env.policies.evaluation.evaluation import Baseline, Evaluation, Result, Tuning, figure
from deeprec_env.policies.evaluation.paired import POSITIVE, SHARE, Scale
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.summary import joules_each
from deeprec_env.simulation.window_meter import usage


@dataclass(frozen=True)
class RewardedEpisode:
    """One episode under one policy: the mean reward of its windows, and figures of all its queries, drained."""

    scales: ClassVar[Mapping[str, Scale]] = {
        "violation_rate": SHARE,
        **dict.fromkeys(("p95_s", "p99_s", "joules_per_query"), POSITIVE),
    }

    reward: float
    violation_rate: float
    p95_s: float
    p99_s: float
    joules_per_query: float


def _measure(run: EpisodeRun, prepared: TunedPolicy) -> RewardedEpisode:
    records, scenario = run.records, prepared.scenario
    p95_s, p99_s = np.percentile(records.latency_s, (95, 99)).tolist()
    _, energy_j = usage(records, scenario, 0.0, day_length_s(scenario))
    return RewardedEpisode(
        reward=float(np.mean(run.rewards)),
        violation_rate=float((records.latency_s > scenario.sla_s).mean()),
        p95_s=p95_s,
        p99_s=p99_s,
        joules_per_query=joules_each(energy_j, len(records)),
    )


def _judge(episodes: Sequence[RewardedEpisode], scenario: Scenario) -> dict[str, float]:
    reward = float(np.mean([episode.reward for episode in episodes]))
    violation_rate = float(np.mean([episode.violation_rate for episode in episodes]))
    return {"lost_reward": -reward, "reward": reward, "violation_rate": violation_rate}


def _random(tuning: Tuning) -> TunedPolicy:
    space = tuning.spec.make_task(tuning.scenario).action_space
    return TunedPolicy(RandomPolicy(space, tuning.options.seed), tuning.scenario, 0)


def _versus(result: Result, other: str) -> dict[str, object]:
    difference = result.difference(other, "reward")
    return {"difference": difference.value, "difference_ci": difference.ci and list(difference.ci)}


def by_reward(baselines: Mapping[str, Baseline]) -> Evaluation:
    """An evaluation by the reward, with policies by name beside random actions, from which differences are taken."""
    return Evaluation(
        measure=_measure,
        judge=_judge,
        objective="lost_reward",
        baselines={**baselines, "random": _random},
        entry={
            **figure("reward"),
            **figure("violation_rate"),
            **figure("p95_ms", "p95_s", 1e3),
            **figure("p99_ms", "p99_s", 1e3),
            **figure("joules_per_query"),
            "tuning_queries": lambda result: result.prepared.tuning_queries,
            "vs": lambda result: {other: _versus(result, other) for other in result.others},
        },
        columns={
            "reward": lambda result: result.estimate("reward").with_interval(".4f"),
            "violations %": lambda result: result.estimate("violation_rate").with_interval(".2f", 1e2),
            "p95 ms": lambda result: result.estimate("p95_s").with_interval(".2f", 1e3),
            "p99 ms": lambda result: result.estimate("p99_s").with_interval(".2f", 1e3),
            "J/query": lambda result: result.estimate("joules_per_query").in_words(".4f"),
            "vs random": lambda result: (
                result.difference("random", "reward").with_interval("+.4f") if "random" in result.others else "-"
            ),
            "tuning queries": lambda result: result.prepared.tuning_in_words,
        },
        title=lambda compared: f", target {compared.scenario.sla_ms:g} ms, {compared.seeds_in_words}",
    )


BY_REWARD = by_reward({})
