"""The settings that `deeprec fleet paper` compares: one for all machines, one for each kind, a load table on each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

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


@dataclass(frozen=True)
class Settings:
    """What was found on a validation day: the best fixed settings by p95 of the day, and the kinds' load tables."""

    common: dict[str, Setting]
    own: dict[str, Setting]
    tables: dict[str, LoadTable]
    queries_used: int


def find_settings(seed: int, progress: Callable[[str, int], None]) -> Settings:
    """Search all settings of the ladders on a few machines of each kind; `progress` is told what is done.

    The router looks at nothing, so that each kind is searched by itself, and all combine to the whole fleet.
    """
    small = fleet(SEARCHED * len(KINDS))
    parts, used = by_machine(small, day_of(small, seed, "validation")), 0
    latencies_s: dict[tuple[str, Setting], Floats] = {}
    for number, (kind, scenario) in enumerate(zip(KINDS, small.group_scenarios, strict=True)):
        progress(f"fleet paper: settings of {kind}", 0)
        own = [traffic for group, traffic in parts if group == number]
        for setting in scenario.settings():
            chosen = scenario.with_setting(setting)
            latencies_s[kind, setting] = np.concatenate([run(chosen, traffic).latency_s for traffic in own])
            used += len(latencies_s[kind, setting])
        progress(f"fleet paper: settings of {kind}", 1)

    def of(kind: str, setting: Setting) -> Setting:
        """A common setting on a kind that may have no accelerator."""
        return setting if (kind, setting) in latencies_s else setting.replace(threshold=None)

    def pooled_p95_s(setting: Setting) -> float:
        return p95_s(np.concatenate([latencies_s[kind, of(kind, setting)] for kind in KINDS]))

    best = min(dict.fromkeys(setting for _, setting in latencies_s), key=pooled_p95_s)
    own_best = {
        kind: min((setting for name, setting in latencies_s if name == kind), key=lambda s: p95_s(latencies_s[kind, s]))
        for kind in KINDS
    }
    tables = {}
    for kind, scenario in zip(KINDS, small.group_scenarios, strict=True):
        progress(f"fleet paper: load table of {kind}", 0)
        alone = scenario.with_setting(own_best[kind])
        tables[kind] = find_load_table(alone, queries=TABLE_QUERIES, seed=seed, engine="compiled")
        used += tables[kind].queries_used
        progress(f"fleet paper: load table of {kind}", 1)
    return Settings({kind: of(kind, best) for kind in KINDS}, own_best, tables, used)


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
