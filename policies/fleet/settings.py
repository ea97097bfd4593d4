"""The settings that `deeprec fleet paper` compares: one for all machines, one for each kind, a load table on each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deeprec_env.executors.executor import Executor, Threads
from deeprec_env.policies.adaptive.load_table import MEMORY, LoadTable, find_load_table
from deeprec_env.policies.fleet.machines import KINDS, by_machine, day_of, fleet, interval_s
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.compiled_engine import CompiledEngine
from deeprec_env.simulation.simulate import run
from deeprec_env.workload.stream import Traffic

SEARCHED = 2
"""Machines of each kind on which settings are searched."""

TABLE_QUERIES = 4000
"""Of a cell of the load tables."""


ByKind = dict[str, Setting]
"""The setting of every machine of a kind."""


@dataclass(frozen=True)
class Settings:
    """What was found on a validation day: the best fixed settings by p95 of the day, and the kinds' load tables.

    `common` is one for all machines, `own` one for each kind; `common_batch` and `own_batch` are the best of those that
    offload nothing.
    """

    common_batch: ByKind
    common: ByKind
    own_batch: ByKind
    own: ByKind
    tables: dict[str, LoadTable]
    queries_used: int


def find_settings(seed: int, progress: Callable[[str, int], None], *, executor: Executor = Threads(1)) -> Settings:
    """Search all settings of the ladders on a few machines of each kind; `progress` is told what is done.

    The router looks at nothing, so that each kind is searched by itself, and all combine to the whole fleet.
    """
    kinds = tuple(KINDS)
    latencies_s: dict[tuple[str, Setting], Floats] = {}
    for number, found in executor.results(_latencies, seed, kinds):
        latencies_s |= {(kinds[number], setting): latency_s for setting, latency_s in found.items()}
        progress(f"fleet paper: settings of {kinds[number]}", 1)
    used = sum(map(len, latencies_s.values()))

    def of(kind: str, setting: Setting) -> Setting:
        """A common setting on a kind that may have no accelerator."""
        return setting if (kind, setting) in latencies_s else setting.replace(threshold=None)

    def best_common(settings: set[Setting]) -> ByKind:
        def pooled_p95_s(setting: Setting) -> float:
            return p95_s(np.concatenate([latencies_s[kind, of(kind, setting)] for kind in kinds]))

        in_order = [setting for setting in dict.fromkeys(setting for _, setting in latencies_s) if setting in settings]
        best = min(in_order, key=pooled_p95_s)
        return {kind: of(kind, best) for kind in kinds}

    def best_own(settings: set[Setting]) -> ByKind:
        def of_kind(kind: str) -> list[Setting]:
            return [setting for name, setting in latencies_s if name == kind and setting in settings]

        return {kind: min(of_kind(kind), key=lambda setting: p95_s(latencies_s[kind, setting])) for kind in kinds}

    all_settings = {setting for _, setting in latencies_s}
    kept_on_cpu = {setting for setting in all_settings if setting.threshold is None}
    own = best_own(all_settings)
    found_tables: dict[str, LoadTable] = {}
    for number, table in executor.results(_table, (seed, own), kinds):
        found_tables[kinds[number]] = table
        used += table.queries_used
        progress(f"fleet paper: load table of {kinds[number]}", 1)
    tables = {kind: found_tables[kind] for kind in kinds}
    batches = best_common(kept_on_cpu), best_own(kept_on_cpu)
    return Settings(batches[0], best_common(all_settings), batches[1], own, tables, used)


def _few_machines(kind: str) -> tuple[Scenario, int]:
    """The fleet that settings are searched on, and which of its groups the kind is."""
    return fleet(SEARCHED * len(KINDS)), list(KINDS).index(kind)


def _latencies(seed: int, kind: str) -> dict[Setting, Floats]:
    """By setting of the ladders the latencies of a kind's machines on the validation day."""
    small, group = _few_machines(kind)
    own = [traffic for number, traffic in by_machine(small, day_of(small, seed, "validation")) if number == group]
    scenario, found = small.group_scenarios[group], {}
    for setting in scenario.settings():
        chosen = scenario.with_setting(setting)
        found[setting] = np.concatenate([run(chosen, traffic).latency_s for traffic in own])
    return found


def _table(shared: tuple[int, ByKind], kind: str) -> LoadTable:
    """The load table of a kind."""
    seed, own = shared
    small, group = _few_machines(kind)
    alone = small.group_scenarios[group].with_setting(own[kind])
    return find_load_table(alone, queries=TABLE_QUERIES, seed=seed, engine="compiled")


def p95_s(latency_s: Floats) -> float:
    """Of some latencies."""
    return float(np.percentile(latency_s, 95))


def load_table_latencies(scenario: Scenario, traffic: Traffic, tables: dict[str, LoadTable]) -> list[Floats]:
    """By machine its latencies on a day when each follows the load table of its kind by the rate that it measures."""
    found, window_s = [], interval_s(scenario)
    for group, own in by_machine(scenario, traffic):
        table = tables[list(KINDS)[group]]
        found.append(_followed(scenario.group_scenarios[group], own, table, window_s))
    return found


def _followed(scenario: Scenario, traffic: Traffic, table: LoadTable, window_s: float) -> Floats:
    """As `LoadTablePolicy`, one machine: the level above the smoothed rate, at first the highest."""
    engine, load, window = CompiledEngine(scenario, traffic), math.inf, 0
    last_s = float(traffic.arrival_s[-1])
    while window * window_s <= last_s:
        setting = table.ranking[int(table.indices(np.array([load]))[0])][0]
        measured = engine.run_window(setting, window * window_s, (window + 1) * window_s).offered_qps / table.unit_qps
        load = measured if math.isinf(load) else MEMORY * load + (1.0 - MEMORY) * measured
        window += 1
    engine.drain()
    return engine.records().latency_s
