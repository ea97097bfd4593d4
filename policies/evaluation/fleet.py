"""How policies are judged in `DeepRec/Fleet-v0`: by energy a query, tail and violations, on test days."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from deeprec_env.analysis.day import with_flash
from deeprec_env.arguments import choice
from deeprec_env.envs.fleet import FleetEnv
from deeprec_env.envs.fleet_task import FleetTask
from deeprec_env.errors import InputError
from deeprec_env.policies.adaptive.random_policy import RandomPolicy
from deeprec_env.policies.base import Policy, PrivilegedPolicy, TunedPolicy
from deeprec_env.policies.evaluation.episodes import EpisodeRun, run_episode
from deeprec_env.policies.evaluation.evaluation import HEADER, Choices, Evaluation, Result, Tuning, figure
from deeprec_env.policies.evaluation.paired import POSITIVE, SHARE, Scale
from deeprec_env.policies.fixed.refine import leaders
from deeprec_env.policies.fleet import rate_ahead
from deeprec_env.policies.fleet.autoscaler import TARGETS, Autoscaler
from deeprec_env.policies.fleet.everything_on import EverythingOn
from deeprec_env.policies.fleet.provisioning import HEADROOMS, ProvisioningPolicy, ProvisioningTable, find_table
from deeprec_env.policies.fleet.rate_ahead import RateAhead
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.header import devices
from deeprec_env.workload.diurnal import Diurnal

KEPT = 4
"""Candidates of a policy that go on from the first round of days to the last."""

DAYS = 8
"""Validation days at most: a fleet's has the queries of many a node's."""

BASE = "autoscaler"
"""The policy that the table compares with."""


@dataclass(frozen=True)
class FleetDay:
    """One day under one policy: of all queries that arrived in it, drained, and of its windows. Times in seconds.

    `windows_over`: the share of the windows whose p95 or p99 was over its limit. `nodes`: that served, on average.
    """

    scales: ClassVar[Mapping[str, Scale]] = {
        **dict.fromkeys(("violation_rate", "windows_over"), SHARE),
        **dict.fromkeys(("joules_per_query", "p95_s", "p99_s", "nodes"), POSITIVE),
    }

    reward: float
    joules_per_query: float
    p95_s: float
    p99_s: float
    violation_rate: float
    windows_over: float
    nodes: float
    queries: int


def fleet_day(run: EpisodeRun, scenario: Scenario) -> FleetDay:
    """The figures of a day; energy is that of its windows, not of what is drained after them."""
    assert scenario.fleet is not None
    latency_s, windows = run.records.latency_s, run.infos[1:]
    p95_s, p99_s = np.percentile(latency_s, (95, 99)).tolist()
    limit_ms = math.inf if scenario.p99_factor is None else scenario.p99_factor * scenario.sla_ms
    over = [info["p95_ms"] > scenario.sla_ms or info["p99_ms"] > limit_ms for info in windows]
    names = scenario.fleet.members.names
    return FleetDay(
        reward=float(np.mean(run.rewards)),
        joules_per_query=sum(info["energy_j"] for info in windows) / max(1, len(latency_s)),
        p95_s=p95_s,
        p99_s=p99_s,
        violation_rate=float((latency_s > scenario.sla_s).mean()),
        windows_over=float(np.mean(over)),
        nodes=float(np.mean([sum(info[f"{name}.serving"] for name in names) for info in windows])),
        queries=len(latency_s),
    )


@dataclass(frozen=True)
class FleetTuning(Tuning):
    """A comparison's tuning, on validation days; what several policies need is found once."""

    @cached_property
    def task(self) -> FleetTask:
        """The task that policies act in."""
        made = self.spec.make_task(self.scenario)
        assert isinstance(made, FleetTask)
        return made

    @cached_property
    def table(self) -> ProvisioningTable:
        """The provisioning table."""
        return find_table(self.task, self.options, self.progress)

    def best(self, policies: Sequence[Policy], used: int = 0) -> TunedPolicy:
        """The policy of highest reward on validation days: all run an eighth of `DAYS`, the best `KEPT` all."""
        env = FleetEnv(self.scenario, engine=self.options.engine)
        first, spent = self.options.seed, used

        def value(which: int, days: int) -> float:
            nonlocal spent
            self.progress(f"{type(policies[which]).__name__} {which + 1} of {len(policies)}, {days} days")
            runs = [run_episode(env, policies[which], seed, "validation") for seed in range(first, first + days)]
            spent += sum(len(run.records) for run in runs)
            return -float(np.mean([np.mean(run.rewards) for run in runs]))

        days = min(self.options.days, DAYS)
        rounds = [(math.ceil(days / 8), KEPT), (days, 1)]
        best = leaders(range(len(policies)), value, rounds)[0]
        env.close()
        return TunedPolicy(policies[best], self.scenario, spent)


def _autoscaler(tuning: FleetTuning) -> TunedPolicy:
    return tuning.best([Autoscaler(tuning.task, target) for target in TARGETS])


def _provisioning(tuning: FleetTuning) -> TunedPolicy:
    table = tuning.table
    policies = [ProvisioningPolicy(tuning.task, table, headroom) for headroom in HEADROOMS]
    return tuning.best(policies, table.queries_used)


def _rate_ahead(tuning: FleetTuning) -> TunedPolicy:
    table = tuning.table
    policies = [RateAhead(tuning.task, table, headroom) for headroom in rate_ahead.HEADROOMS]
    return tuning.best(policies, table.queries_used)


POLICIES: dict[str, Callable[[FleetTuning], TunedPolicy]] = {
    "all-on": lambda tuning: TunedPolicy(EverythingOn(tuning.task), tuning.scenario, 0),
    "autoscaler": _autoscaler,
    "provisioning": _provisioning,
    "rate-oracle": _rate_ahead,
    "random": lambda tuning: TunedPolicy(
        RandomPolicy(tuning.task.action_space, tuning.options.seed), tuning.scenario, 0
    ),
}
"""By name: tuning -> policy and cost. rate-oracle sees ahead, as no server can."""

TRAFFICS: dict[str, Callable[[Scenario], Scenario]] = {"day": lambda scenario: scenario, "flash": with_flash}


def _prepare(scenario: Scenario, engine: str, choices: Choices) -> Scenario:
    traffic = choice("traffic", choices["traffic"], TRAFFICS)
    if scenario.fleet is None:
        raise InputError("fleet", None, "is needed: DeepRec/Fleet-v0 is about groups of nodes behind a router")
    if not isinstance(scenario.workload.arrivals, Diurnal):
        kind = scenario.workload.arrivals.kind
        raise InputError("workload.arrivals.kind", kind, "must be diurnal: policies are compared on days")
    return TRAFFICS[traffic](scenario)


def _judge(days: Sequence[FleetDay], scenario: Scenario) -> dict[str, float]:
    names = ("reward", "joules_per_query", "violation_rate", "windows_over")
    means = {name: float(np.mean([getattr(day, name) for day in days])) for name in names}
    return {"lost_reward": -means["reward"], **means}


def _versus(result: Result, other: str) -> dict[str, Any]:
    ratio, difference = result.ratio(other, "joules_per_query"), result.difference(other, "reward")
    named = {"ratio": None, "ci": None} if ratio is None else ratio.as_ratio()
    return named | {"difference": difference.value, "difference_ci": difference.ci and list(difference.ci)}


def describe(prepared: TunedPolicy) -> str:
    """What a policy does, in words."""
    own = getattr(prepared.policy, "in_words", "adaptive")
    return f"sees ahead: {own}" if isinstance(prepared.policy, PrivilegedPolicy) else str(own)


def _devices(compared: Any) -> dict[str, Any]:
    fleet = compared.scenario.fleet
    return {
        name: devices(group) for name, group in zip(fleet.members.names, compared.scenario.group_scenarios, strict=True)
    }


FLEET = Evaluation(
    measure=lambda run, prepared: fleet_day(run, prepared.scenario),
    judge=_judge,
    objective="lost_reward",
    prepare=_prepare,
    choices={"traffic": "day"},
    tuning=FleetTuning,
    baselines=POLICIES,
    validation_seeds=(1000, 1001, 1002, 1003),
    header={
        **{key: cell for key, cell in HEADER.items() if key != "devices"},
        "traffic": lambda compared: compared.choices["traffic"],
        "devices": _devices,
    },
    entry={
        **figure("joules_per_query"),
        **figure("p95_day_ms", "p95_s", 1e3),
        **figure("p99_day_ms", "p99_s", 1e3),
        **figure("violation_rate"),
        **figure("windows_over"),
        **figure("nodes"),
        **figure("reward"),
        "goodput": lambda result: 1.0 - result.mean("violation_rate"),
        "setting": lambda result: describe(result.prepared),
        "tuning_queries": lambda result: result.prepared.tuning_queries,
        "vs": lambda result: {other: _versus(result, other) for other in result.others},
    },
    columns={
        "does": lambda result: describe(result.prepared),
        "mJ/query": lambda result: result.estimate("joules_per_query").with_interval(".2f", 1e3),
        "p95 ms": lambda result: result.estimate("p95_s").with_interval(".2f", 1e3),
        "p99 ms": lambda result: result.estimate("p99_s").with_interval(".2f", 1e3),
        "violations %": lambda result: result.estimate("violation_rate").with_interval(".3f", 1e2),
        "windows over %": lambda result: result.estimate("windows_over").with_interval(".1f", 1e2),
        "nodes": lambda result: result.estimate("nodes").in_words(".1f"),
        "reward": lambda result: result.estimate("reward").with_interval(".4f"),
        f"reward less {BASE}'s": lambda result: (
            result.difference(BASE, "reward").with_interval("+.4f") if BASE in result.others else "-"
        ),
        "tuning queries": lambda result: result.prepared.tuning_in_words,
    },
    title=lambda compared: (
        f", {compared.choices['traffic']}, target {compared.scenario.sla_ms:g} ms, {compared.seeds_in_words}"
    ),
)
