"""The offered load of a fleet's groups, from means alone, without simulation; and fleets that can't carry theirs."""

from __future__ import annotations

from typing import Any

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.scenario.parts import Floats, Ints, SizeDistribution
from deeprec_env.scenario.schema import Scenario, Workload
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.kernel_choice import follows_state
from deeprec_env.simulation.offered_load import offered_load, service_demands
from deeprec_env.workload.checked import size_probabilities

Loads = dict[str, float | None]


class Sent(SizeDistribution):
    """The sizes of the queries that a router sends to a group."""

    items: Any
    share: Any

    def probabilities(self) -> tuple[Ints, Floats]:
        """The sizes and how probable each is."""
        return self.items, self.share

    def draw(self, rng: np.random.Generator, count: int) -> Ints:
        """Sizes, independent of each other."""
        return np.asarray(rng.choice(self.items, count, p=self.share), dtype=np.int64)


def node_traffic(scenario: Scenario) -> list[tuple[Scenario, float]] | None:
    """By group a node under the sizes that it gets, and their rate in queries a second.

    None where the router follows state, so that nobody knows before.
    """
    assert scenario.fleet is not None
    fleet, members, workload = scenario.fleet, scenario.fleet.members, scenario.workload
    items, probability = size_probabilities(workload.sizes)
    shares = np.ones((1, len(items))) if members.size == 1 else fleet.router.shares(items, members)
    if shares is None:
        return None
    found = []
    for group, share, count in zip(scenario.group_scenarios, shares, members.counts, strict=True):
        if (share == share[0]).all():
            found.append((group, workload.arrivals.mean_qps * float(share[0]) / count))
            continue
        sent = probability * share
        total = float(sent.sum())
        if total > 0.0:
            chosen = sent > 0.0
            sizes = Sent(kind="sent", items=items[chosen], share=sent[chosen] / total)
            group = group.replace(workload=Workload(arrivals=workload.arrivals, sizes=sizes))
        found.append((group, workload.arrivals.mean_qps * total / count))
    return found


def expected_loads(scenario: Scenario) -> list[Loads | None]:
    """By group the load of its busiest pool of each kind under the settings; None where it depends on state."""
    traffic = node_traffic(scenario)
    if traffic is None:
        return [None] * len(scenario.group_scenarios)
    return [None if follows_state(node) else offered_load(node, qps, node.setting) for node, qps in traffic]


def check_carried(scenario: Scenario) -> None:
    """Raise `InputError` for a fleet whose offered load no setting of its groups can carry: it names group and load.

    Groups that may shed, or whose loads depend on state, are not looked at.
    """
    assert scenario.fleet is not None
    if any(_is_its_own_matter(group) for group in scenario.group_scenarios):
        return
    names, traffic = scenario.fleet.members.names, node_traffic(scenario)
    if traffic is not None:
        for name, (node, qps) in zip(names, traffic, strict=True):
            load = _least_load(node, qps)
            if load >= 1.0:
                raise _too_much(name, load)
        return
    qps = scenario.workload.arrivals.mean_qps
    load = qps / float(np.dot(carried_qps(scenario), scenario.fleet.members.counts))
    if load >= 1.0:
        raise _too_much(", ".join(names), load)


def carried_qps(scenario: Scenario) -> list[float]:
    """By group, the rate at which the busiest pool of one of its nodes is full, under the best of its settings."""
    return [1.0 / _least_load(node, 1.0) for node in scenario.group_scenarios]


def _too_much(names: str, load: float) -> InputError:
    allowed = f"has an offered load of {load:.3g}, whatever its settings; must be below 1"
    return InputError("fleet.groups", names, allowed)


def _is_its_own_matter(group: Scenario) -> bool:
    return follows_state(group) or any(group.control.further_values("admit_ms") - {None})


def _least_load(node: Scenario, qps: float) -> float:
    """The load of the busiest pool under the best setting: that of the node is looked at first, then the ladders'."""

    def load(setting: Setting) -> float:
        return max(demand.load(qps) for demand in service_demands(node, setting))

    own = load(node.setting)
    return own if own < 1.0 and qps != 1.0 else min(own, *map(load, node.settings()))
