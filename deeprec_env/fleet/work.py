"""The mean work that queries bring to a node: what a router knows of it (rules 15 and 18)."""

from __future__ import annotations

import numpy as np

from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.arrays import NodeArrays
from deeprec_env.simulation.mean_tables import mean_tables
from deeprec_env.simulation.prediction import NANOSECONDS, whole_ns
from deeprec_env.simulation.splitting import cut, offloads, rule_at, share


def work_table(scenario: Scenario, node: NodeArrays, largest: int) -> Ints:
    """(items + 1, pools) nanoseconds of a query of 0, 1, ... `largest` items, under the scenario's setting.

    Where it is predicted who goes to the accelerator, the work is that on the CPU.
    """
    setting = scenario.setting
    mean_s = mean_tables(scenario, largest)[setting.plan]
    table = np.zeros((largest + 1, len(node.servers)), dtype=np.int64)
    for stage, overhead_s in enumerate(node.overhead_s):
        rule = rule_at(node, stage, setting.numbers)
        for items in range(1, largest + 1):
            entering = min(items, rule.most_items)
            away = bool(offloads(rule, entering))
            pool = 2 * stage + away
            alone = node.slowdown[pool, 1]
            for position in range(node.sub_batches if entering else 0):
                held = share(entering, min(rule.most_parts, entering), position)
                if held:
                    parts = cut(rule, held, away)
                    small = parts.requests - parts.large
                    for count, each in ((parts.large, parts.large_items), (small, parts.small_items)):
                        table[items, pool] += whole_ns(mean_s[pool, each] * alone + overhead_s, count)
    return table


def work_scale(node: NodeArrays) -> Floats:
    """(pools,) what makes a pool's nanoseconds the seconds of all its servers; 0 where there is no pool."""
    servers = np.maximum(node.servers, 1)
    return np.where(node.servers > 0, 1.0 / (servers * NANOSECONDS), 0.0)
