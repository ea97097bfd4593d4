"""What a specialist learns from: the tables of the scenario, the settings that they hold, and what these cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch

from deeprec_env.analysis.day import with_flash
from deeprec_env.envs.environments import SERVING, SERVING_V2
from deeprec_env.envs.serving_v2_task import with_further_ladders
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.policies.adaptive.load_table import LEVELS, find_load_table
from deeprec_env.policies.adaptive.load_table_p99 import find_load_table_p99, first_setting
from deeprec_env.policies.adaptive.rate_table import ALL_LEVELS, BEYOND, RateTable, RateTablePolicy
from deeprec_env.policies.adaptive.stationary import StationaryRuns
from deeprec_env.policies.base import Policy
from deeprec_env.policies.evaluation.champions import CHAMPIONS, ChampionTuning
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.progress import Progress, Step, part
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import PREDICTED, Setting
from deeprec_env.simulation.offered_load import service_demands

PER_LEVEL = 3
"""Settings of a level, best first, that come into the repertoire."""

SOFTNESS = 0.05
"""Logarithms of p95 that settings differ by which are tried about alike while the tables are watched."""

HIGH_P99, P99_WEIGHT = 1.2, 0.5
"""From this share of the target on p99 counts too, and how much: capacity's rule allows twice the target."""

LATE_WEIGHTS = {SERVING.id: 2.0, SERVING_V2.id: 10.0}
"""Of the share of late or refused queries, in costs and rewards, by environment. Where none can be refused it is less
than in the reward `tail`: with all of it training gives up p95 for fewer violations than any table has. Where they can
it is more: else training buys p95 by refusing more than the champion does."""

OVERLOADED = 3.0
"""What a setting costs more where a pool gets more work than it can do. A pool that few queries visit drowns unseen: no
run is long enough for p95 to tell."""

FIRST_CARRIES = 0.75
"""Load in capacity that the setting of the first window has to carry where none can be refused: it's not known yet."""

CROWD_SETTINGS = 8
"""Of so many with most goodput above capacity that for crowds is chosen."""

SEED = 0
"""Of the validation traffic that tables are found on, as `deeprec evaluate` finds them."""

_CARRIED_PERCENT = 95  # the load, in per cent of capacity, from which on it is told what carries most

_LEAST = 1e-3  # targets: shorter latencies are not told apart


@dataclass(frozen=True)
class Teacher:
    """Tables by name, as policies; the settings that they hold; and what each costs at stationary loads.

    `measure` names the table whose violations are tolerated, `measure_in_crowds` that under flash crowds (None: they
    are not looked at). `costs` is (loads, settings): the logarithm of p95 in targets, dearer with p99, with late
    queries, and by `OVERLOADED` where a pool is. `saturation` (settings,) holds the loads at which the busiest pool of
    each is full, infinite where that can't be told (offload by prediction) or who is late is refused. `carries` is the
    place of the setting that carries most, `crowds` those of the settings with most goodput above capacity, none where
    no query can be refused, and `first` that of the cheapest one to begin with, None where they can.
    """

    tables: dict[str, Policy]
    measure: str
    measure_in_crowds: str | None
    repertoire: tuple[Setting, ...]
    loads: Floats
    costs: Floats
    saturation: Floats
    carries: int
    crowds: tuple[int, ...]
    first: int | None
    queries_used: int

    def cost_at(self, loads: Floats) -> Floats:
        """What each setting costs at some loads (n,) more than the best one there, (n, settings)."""
        place = np.interp(loads, self.loads, np.arange(len(self.loads)))
        below = np.minimum(place.astype(np.int64), len(self.loads) - 2)
        share = (place - below)[:, None]
        costs = (1.0 - share) * self.costs[below] + share * self.costs[below + 1]
        return np.asarray(costs - costs.min(axis=-1, keepdims=True))

    def chooser(self, smoothed: int) -> Callable[[torch.Tensor], torch.Tensor]:
        """Logits of features by what settings cost at the smoothed load, at that place: the tables, a little unsure."""

        def choose(features: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(-self.cost_at(features[:, smoothed].numpy()) / SOFTNESS).float()

        return choose


def find_teacher(spec: EnvSpec, scenario: Scenario, queries: int, progress: Progress) -> Teacher:
    """The tables of a scenario for an environment, found on validation traffic, and the costs of what they hold."""
    return TEACHERS[spec.id](scenario, queries, progress)


def _of_load_tables(scenario: Scenario, queries: int, progress: Progress) -> Teacher:
    runs = StationaryRuns(scenario, seed=SEED, engine="compiled")
    progress("load-table")
    found = find_load_table(scenario, queries=queries, seed=SEED, engine="compiled")
    # Its own first window is that of the highest level, which nobody should learn.
    by_p95 = RateTable(LEVELS, found.ranking, first_setting(runs, LEVELS, list(found.ranking), queries), 0)
    by_p99 = find_load_table_p99(runs, queries, part(progress, 0.5, 0.8))
    tables = {"load-table": by_p95, "load-table-p99": by_p99}
    repertoire = tuple(dict.fromkeys((*repertoire_of(tables.values()), *_at_capacity(scenario))))
    progress(Step("what settings cost", 0.8))
    saturation = saturation_loads(runs, repertoire)
    costs = stationary_costs(runs, repertoire, saturation, LEVELS, queries, LATE_WEIGHTS[SERVING.id])
    policies: dict[str, Policy] = {
        name: RateTablePolicy(table, scenario, SERVING.task.controls) for name, table in tables.items()
    }
    return Teacher(
        tables=policies,
        measure="load-table",
        measure_in_crowds=None,
        repertoire=repertoire,
        loads=np.array(LEVELS),
        costs=costs,
        saturation=saturation,
        carries=carries_most(runs, repertoire, saturation, 2 * queries),
        crowds=(),
        first=_first_place(costs, saturation),
        queries_used=found.queries_used + runs.queries_used,
    )


def _at_capacity(scenario: Scenario) -> tuple[Setting, ...]:
    """The setting that the capacity was found with, where it is on the ladders."""
    assert scenario.capacity is not None
    batch_size, threshold = scenario.capacity.batch_size, scenario.capacity.threshold
    on_ladders = batch_size in scenario.control.batch_sizes and threshold in scenario.thresholds
    return (Setting(batch_size, threshold),) if on_ladders else ()


def repertoire_of(tables: Iterable[RateTable], per_level: int = PER_LEVEL) -> tuple[Setting, ...]:
    """The best `per_level` settings of every level of some tables, and their first ones, each once, by level."""
    each = list(tables)
    found: dict[Setting, None] = {}
    for level in range(max(len(table.levels) for table in each)):
        for table in each:
            found |= dict.fromkeys(table.ranking[level][:per_level] if level < len(table.levels) else ())
    return tuple(found | dict.fromkeys(table.first for table in each))


def stationary_costs(
    runs: StationaryRuns,
    repertoire: Sequence[Setting],
    saturation: Floats,
    loads: Sequence[float],
    queries: int,
    weight: float,
) -> Floats:
    """What each setting costs at each load, (loads, settings): see `Teacher`. `weight`: of late queries."""
    outcomes = [[runs.outcome(setting, load, queries) for setting in repertoire] for load in loads]
    costs = [
        [
            math.log(max(each.p95, _LEAST)) + P99_WEIGHT * max(0.0, each.p99 - HIGH_P99) + weight * each.late
            for each in row
        ]
        for row in outcomes
    ]
    return np.asarray(np.array(costs) + OVERLOADED * (np.array(loads)[:, None] >= saturation))


def saturation_loads(runs: StationaryRuns, repertoire: Sequence[Setting]) -> Floats:
    """The loads at which the busiest pools are full, (settings,): see `Teacher`."""
    qps = [
        math.inf
        if setting.offload == PREDICTED or setting.admit_ms is not None
        else min(demand.saturation_qps for demand in service_demands(runs.scenario, setting))
        for setting in repertoire
    ]
    return np.array(qps) / runs.unit_qps


def _first_place(costs: Floats, saturation: Floats) -> int | None:
    """The place of the cheapest setting on an idle node, of those that carry `FIRST_CARRIES`; None: there is none."""
    able = saturation >= FIRST_CARRIES
    return int(np.where(able, costs[0], np.inf).argmin()) if able.any() else None


def carries_most(runs: StationaryRuns, repertoire: Sequence[Setting], saturation: Floats, queries: int) -> int:
    """The place of the setting that holds the highest load: each load is tried by those that hold all below it.

    Of several the one with fewest late queries at the load that none holds any more. Holding is what capacity's rule
    says: who is refused is late for ever, in p99 too.
    """
    p99_factor = math.inf if runs.scenario.p99_factor is None else runs.scenario.p99_factor
    late_for_ever = 0.05 if math.isinf(p99_factor) else 0.01
    most_late = [0.05 if setting.admit_ms is None else late_for_ever for setting in repertoire]
    left = list(range(len(repertoire)))
    for percent in count(_CARRIED_PERCENT):
        load = percent / 100.0
        outcomes = {place: runs.outcome(repertoire[place], load, queries) for place in left}
        left.sort(key=lambda place: outcomes[place].late)
        held = [place for place in left if load < saturation[place] and outcomes[place].p99 <= p99_factor]
        held = [place for place in held if outcomes[place].late <= most_late[place]]
        if not held:
            break
        left = held
    return left[0]


def _of_champion(scenario: Scenario, queries: int, progress: Progress) -> Teacher:
    """The champions of days and of flash crowds, and all tables that they are made of."""
    options = TuneOptions(queries=queries, seed=SEED)
    spent, policies = 0, dict[str, Policy]()
    for name, traffic in {"champion": scenario, "champion of flash": with_flash(scenario)}.items():
        tuning = ChampionTuning(SERVING_V2, with_further_ladders(traffic), options, {}, progress)
        prepared = CHAMPIONS["champion"](tuning)
        policies[name], spent = prepared.policy, spent + (prepared.tuning_queries or 0)
    repertoire, runs = _refusing(tuning.tables().values(), tuning.scenario), tuning.runs
    progress("what settings cost")
    saturation, before = saturation_loads(runs, repertoire), runs.queries_used
    costs = stationary_costs(
        runs, repertoire, saturation, ALL_LEVELS, max(1000, queries // 4), LATE_WEIGHTS[SERVING_V2.id]
    )
    carries = carries_most(runs, repertoire, saturation, queries)
    late = [[runs.outcome(setting, load, queries // 2).late for setting in repertoire] for load in BEYOND]
    crowds = np.mean(late, axis=0).argsort()[:CROWD_SETTINGS]
    spent += runs.queries_used - before
    return Teacher(
        tables=policies,
        measure="champion",
        measure_in_crowds="champion of flash",
        repertoire=repertoire,
        loads=np.array(ALL_LEVELS),
        costs=costs,
        saturation=saturation,
        carries=carries,
        crowds=tuple(crowds.tolist()),
        first=None,
        queries_used=spent,
    )


def _refusing(tables: Iterable[RateTable], scenario: Scenario) -> tuple[Setting, ...]:
    """The best settings of all levels of some tables, each with the limit on admission that is nearest to the target.

    It costs nothing while nobody would be late, and crowds come unannounced. Closer limits refuse who would have been
    in time: they pay off where a crowd lasts for long.
    """
    limits = [limit for limit in scenario.ladders["admit_ms"] if limit is not None and limit <= scenario.sla_ms]
    limit = max(limits, default=None)
    return tuple(dict.fromkeys(each.replace(admit_ms=limit) for each in repertoire_of(tables, per_level=1)))


TEACHERS: dict[str, Callable[[Scenario, int, Progress], Teacher]] = {
    SERVING.id: _of_load_tables,
    SERVING_V2.id: _of_champion,
}
"""By environment how its tables are found: (scenario, queries of a cell, progress) -> teacher."""
