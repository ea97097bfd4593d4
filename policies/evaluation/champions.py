"""The classical champions of `DeepRec/Serving-v2` by name, tuned on validation traffic and ready for evaluation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from deeprec_env.envs.serving_v2_task import V2_CONTROLS
from deeprec_env.policies.adaptive.champion import ALL_DAYS, ChampionPolicy, combined, find_champion
from deeprec_env.policies.adaptive.control_table import (
    all_settings,
    find_control_table,
    find_small_table,
    predicted_settings,
)
from deeprec_env.policies.adaptive.load_table_p99 import find_load_table_p99
from deeprec_env.policies.adaptive.queueing import find_queueing_table
from deeprec_env.policies.adaptive.rate_table import RateTable, RateTablePolicy
from deeprec_env.policies.adaptive.stationary import Outcome, StationaryRuns
from deeprec_env.policies.adaptive.target_delay import TargetDelayPolicy
from deeprec_env.policies.base import Policy, TunedPolicy
from deeprec_env.policies.evaluation.day_metrics import day_metrics, geometric_mean
from deeprec_env.policies.evaluation.episodes import run_policy
from deeprec_env.policies.evaluation.evaluation import Tuning
from deeprec_env.policies.privileged.all_controls import ControlCandidates, HindsightOfAll, RateOracleOfAll
from deeprec_env.simulation.engines import FORK, engine_kind

TABLES: dict[str, Callable[[ChampionTuning, StationaryRuns], RateTable]] = {
    "load-table-p99": lambda tuning, runs: find_load_table_p99(runs, tuning.options.queries, tuning.progress),
    "predicted-offload": lambda tuning, runs: find_small_table(
        runs, predicted_settings(tuning.scenario), tuning.options.queries, tuning.progress
    ),
    "control-table": lambda tuning, runs: find_control_table(
        runs, all_settings(tuning.scenario), tuning.options.queries, tuning.progress
    ),
    "queueing": lambda tuning, runs: find_queueing_table(tuning.scenario, runs.unit_qps, tuning.progress),
}
"""How the tables by load are found."""

_remembered: deque[tuple[tuple[object, ...], RateTable]] = deque(maxlen=16)


@dataclass(frozen=True)
class ChampionTuning(Tuning):
    """A comparison's tuning; what several policies need is found once, and each names its whole cost."""

    @cached_property
    def runs(self) -> StationaryRuns:
        """Runs at stationary rates, of which traffic's course through the day is no part."""
        return StationaryRuns(self.scenario, seed=self.options.seed, engine=self.options.engine)

    def table(self, name: str) -> RateTable:
        """A table of `TABLES`, remembered."""
        runs, options = self.runs, self.options
        asked = (name, runs.scenario, self.scenario.ladders, options.queries, options.seed, options.engine)
        for known, table in _remembered:
            if known == asked:
                return table
        self.progress(name)
        found = TABLES[name](self, runs)
        _remembered.append((asked, found))
        return found

    def tables(self) -> Mapping[str, RateTable]:
        """All of them."""
        return {name: self.table(name) for name in TABLES}


def _by_table(name: str) -> Callable[[ChampionTuning], TunedPolicy]:
    def prepared(tuning: ChampionTuning) -> TunedPolicy:
        table = tuning.table(name)
        return TunedPolicy(RateTablePolicy(table, tuning.scenario, V2_CONTROLS), tuning.scenario, table.queries_used)

    return prepared


def _target_delay(tuning: ChampionTuning) -> TunedPolicy:
    table = tuning.table("load-table-p99")
    policy = TargetDelayPolicy(RateTablePolicy(table, tuning.scenario, V2_CONTROLS), tuning.scenario)
    return TunedPolicy(policy, tuning.scenario, table.queries_used)


def _champion(tuning: ChampionTuning) -> TunedPolicy:
    scenario, options, tables = tuning.scenario, tuning.options, tuning.tables()
    used = sum(table.queries_used for table in tables.values())
    env = tuning.spec.make(scenario, engine=options.engine)

    def judge(policy: Policy, days: int) -> Outcome:
        nonlocal used
        records = [run_policy(env, policy, options.seed + day, "validation") for day in range(days)]
        used += sum(map(len, records))
        metrics = [day_metrics(each, scenario) for each in records]
        return Outcome(
            geometric_mean([day.p95_hourly_s for day in metrics]) / scenario.sla_s,
            geometric_mean([day.p99_day_s for day in metrics]) / scenario.sla_s,
            sum(day.violation_rate for day in metrics) / days,
        )

    best = find_champion(tables, scenario, judge, tuning.progress, min(ALL_DAYS, options.days))
    env.close()
    return TunedPolicy(ChampionPolicy(best, combined(best, tables[best.table], scenario)), scenario, used)


def _seeing_ahead(name: str) -> Callable[[ChampionTuning], TunedPolicy]:
    def prepared(tuning: ChampionTuning) -> TunedPolicy:
        engine_kind(tuning.options.engine, FORK, asker=name)
        table = tuning.table("control-table")
        near = ControlCandidates(table, tuning.scenario, tuning.runs.unit_qps)
        policy = HindsightOfAll(near) if name == "hindsight" else RateOracleOfAll(near, tuning.options.seed)
        return TunedPolicy(policy, tuning.scenario, table.queries_used)

    return prepared


CHAMPIONS: dict[str, Callable[[ChampionTuning], TunedPolicy]] = {
    **{name: _by_table(name) for name in TABLES},
    "target-delay": _target_delay,
    "champion": _champion,
}
"""Policies by name: tuning -> policy and cost."""

REFERENCES_OF_ALL = {name: _seeing_ahead(name) for name in ("rate-oracle", "hindsight")}
"""Those that see ahead."""
