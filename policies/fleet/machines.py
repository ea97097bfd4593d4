"""The fleet of `deeprec fleet paper`: machines of four kinds that serve wnd, and its day of traffic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deeprec_env.fleet.draws import draws_of_all
from deeprec_env.fleet.split_nodes import by_node
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.offered_load import service_demands
from deeprec_env.workload.stream import QueryStream, Traffic, episode_seed

WINDOWS = 96
"""Control windows of a day."""

WINDOW_QUERIES = 100
"""Queries of a machine in one of them, at the mean rate."""

STATIC = Setting(25, None)
"""DeepRecSys's baseline: the largest query over the cores, nothing offloaded."""

TROUGH, PEAK, CEILING = 0.2, 0.85, 0.9
"""Of the day, in shares of the rate at which the machines are fully loaded under `STATIC`."""

_TURIN = {
    "servers": 40,
    "latency": {"kind": "profile", "profile": "amd-epyc-turin", "model": "wnd"},
    "idle_w": 60,
    "busy_w": 125,
}
KINDS: dict[str, dict[str, Any]] = {
    "milan": {"preset": "wnd-cpu"},
    "turin": {"node": {"cpu": _TURIN}},
    "skylake-t4": {"preset": "kairos-wnd-skylake-t4"},
    "cascade-lake": {"preset": "kairos-wnd-cascade-lake"},
}
"""Two measured generations of EPYC, and two of Kairos's machines, one with its T4; 40 cores each."""


def fleet(machines: int, settings: Mapping[str, Setting] | None = None) -> Scenario:
    """So many machines, equally many of each kind, and the day of theirs; the settings are `STATIC` without any.

    Traffic is split at random by what the kinds carry under `STATIC`, as an operator would before tuning anything.
    """
    carried = {kind: _static_qps(kind) for kind in KINDS}
    each = machines // len(KINDS)
    qps = each * sum(carried.values()) * 0.5 * (TROUGH + PEAK)
    groups = []
    for kind, described in KINDS.items():
        setting = STATIC if settings is None else settings[kind]
        control = {"batch_size": setting.batch_size, "threshold": setting.threshold}
        groups.append({"name": kind, "count": each, **described, "control": control, "weight": carried[kind]})
    day_s = WINDOWS * WINDOW_QUERIES * each * len(KINDS) / qps
    day = {"kind": "diurnal", "qps": qps, "day_s": day_s, "trough": TROUGH, "peak": PEAK, "ceiling": CEILING}
    return load_scenario(
        {
            "sla_ms": 25,
            "workload": {"arrivals": day, "sizes": {"kind": "production"}},
            "fleet": {"router": {"kind": "weighted"}, "groups": groups},
        }
    )


def day_of(scenario: Scenario, seed: int, split: str) -> Traffic:
    """A day's traffic of a fleet."""
    assert scenario.fleet is not None
    queries = WINDOWS * WINDOW_QUERIES * scenario.fleet.members.size
    return QueryStream(scenario.workload, episode_seed(seed, split)).draw(queries)


def interval_s(scenario: Scenario) -> float:
    """Length of a window of the fleet's day."""
    arrivals: Any = scenario.workload.arrivals
    return float(arrivals.day_s) / WINDOWS


def by_machine(scenario: Scenario, traffic: Traffic) -> list[tuple[int, Traffic]]:
    """By machine the group that it is of and what it gets of the traffic."""
    assert scenario.fleet is not None
    members = scenario.fleet.members
    before = np.zeros(len(members.counts) + 1, dtype=np.int64)
    draw = draws_of_all(traffic.noise_key, traffic.query)
    node = scenario.fleet.router.assign(traffic.query, traffic.items, before, draw, members)
    order, bounds = by_node(node, members.size)
    return [
        (int(members.group[machine]), traffic.chosen(order[bounds[machine] : bounds[machine + 1]]))
        for machine in range(members.size)
    ]


def _static_qps(kind: str) -> float:
    """The rate at which a machine is fully loaded under `STATIC`."""
    alone = load_scenario(
        {
            "sla_ms": 25,
            "workload": {"arrivals": {"kind": "poisson", "qps": 1.0}, "sizes": {"kind": "production"}},
            "fleet": {"router": {"kind": "random"}, "groups": [{"name": kind, "count": 1, **KINDS[kind]}]},
        }
    ).group_scenarios[0]
    return min(demand.saturation_qps for demand in service_demands(alone, STATIC))
