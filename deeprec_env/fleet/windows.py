"""Control windows of a fleet: rule 11 for the whole, seen from the router, and for every group. One for all engines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deeprec_env.fleet.flow import Flow
from deeprec_env.fleet.provision import Provision
from deeprec_env.fleet.window import FleetWindow, GroupWindow
from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.pools import KINDS
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.window_metrics import measure_sample
from deeprec_env.simulation.windows import Window
from deeprec_env.workload.stream import Traffic


class FleetWindows:
    """Measures the windows of a fleet."""

    def __init__(self, scenario: Scenario) -> None:
        assert scenario.fleet is not None
        self._members, self._network_s = scenario.fleet.members, scenario.fleet.network_s
        self._sla_s = scenario.sla_s
        self._pools = [
            [
                (kind, stage.pools()[name])
                for stage in group.stages
                for kind, name in enumerate(KINDS)
                if name in stage.pools()
            ]
            for group in scenario.group_scenarios
        ]

    def measure(
        self, flow: Flow, coming: Traffic, provision: Provision, busy_until_s: Floats, begin_s: float, end_s: float
    ) -> FleetWindow:
        """The window [begin_s, end_s).

        `flow` holds every query that was in a node during it, `coming` those that arrived before its end and have not
        entered theirs; `busy_until_s` (nodes,) is when the last query of each leaves, infinite where nobody knows yet.
        """
        completion_s = flow.leave_s + self._network_s
        sample = measure_sample(
            np.concatenate([flow.arrival_s, coming.arrival_s]),
            np.concatenate([flow.items, coming.items]),
            np.concatenate([completion_s, np.full(len(coming.items), np.inf)]),
            begin_s,
            end_s,
            self._sla_s,
        )
        busy_s = np.zeros((self._members.size, len(KINDS)))
        busy_by_node(flow.node, flow.offloaded, flow.first, flow.start_s, flow.end_s, begin_s, end_s, busy_s)
        length_s = end_s - begin_s
        powered_s = np.where(provision.on, length_s, np.clip(busy_until_s, begin_s, end_s) - begin_s)
        up_s = np.where(provision.on, end_s - np.clip(provision.up_s, begin_s, end_s), powered_s)
        serving = provision.serving(end_s)
        kinds = serving, provision.on & ~serving, ~provision.on & (busy_until_s >= end_s)
        entered = flow.arrival_s + self._network_s >= begin_s
        groups = tuple(
            self._group(number, flow, completion_s, entered, busy_s, powered_s, up_s, kinds, begin_s, end_s)
            for number in range(len(self._members.counts))
        )
        busy = [self._mean_utilisation(kind, busy_s, up_s) for kind in range(len(KINDS))]
        whole = Window(
            begin_s=begin_s,
            end_s=end_s,
            p50_s=sample.p50_s,
            p95_s=sample.p95_s,
            p99_s=sample.p99_s,
            violation_rate=sample.violation_rate,
            sample=float(sample.size),
            offered_qps=sample.arrived / length_s,
            completed_qps=sample.completed / length_s,
            mean_items=sample.mean_items,
            cpu_utilisation=busy[0],
            accelerator_utilisation=busy[1],
            backlog=float(sample.backlog),
            energy_j=sum((group.energy_j for group in groups), 0.0),
        )
        return FleetWindow.joined(whole, groups)

    def _group(
        self,
        number: int,
        flow: Flow,
        completion_s: Floats,
        entered: NDArray[np.bool_],
        busy_s: Floats,
        powered_s: Floats,
        up_s: Floats,
        kinds: tuple[NDArray[np.bool_], ...],
        begin_s: float,
        end_s: float,
    ) -> GroupWindow:
        nodes = slice(int(self._members.first[number]), int(self._members.first[number + 1]))
        own = (flow.node >= nodes.start) & (flow.node < nodes.stop)
        sample = measure_sample(flow.arrival_s[own], flow.items[own], completion_s[own], begin_s, end_s, self._sla_s)
        length_s, fresh = end_s - begin_s, flow.items[own & entered]
        energy_j = 0.0
        for kind, pool in self._pools[number]:
            busy_w = (pool.busy_w - pool.idle_w) * busy_s[nodes, kind] / pool.servers
            energy_j += float((pool.idle_w * powered_s[nodes] + busy_w).sum())
        cpu, accelerator = (
            max(
                (
                    float(busy_s[nodes, kind].sum()) / (pool.servers * max(float(up_s[nodes].sum()), 1e-300))
                    for of, pool in self._pools[number]
                    if of == kind
                ),
                default=0.0,
            )
            for kind in range(len(KINDS))
        )
        serving, starting, draining = (float(np.count_nonzero(state[nodes])) for state in kinds)
        return GroupWindow(
            p50_s=sample.p50_s,
            p95_s=sample.p95_s,
            p99_s=sample.p99_s,
            violation_rate=sample.violation_rate,
            sample=float(sample.size),
            offered_qps=len(fresh) / length_s,
            completed_qps=sample.completed / length_s,
            mean_items=float(fresh.sum()) / len(fresh) if len(fresh) else 0.0,
            cpu_utilisation=cpu,
            accelerator_utilisation=accelerator,
            backlog=float(sample.backlog),
            energy_j=energy_j,
            serving=serving,
            starting=starting,
            draining=draining,
        )

    def _mean_utilisation(self, kind: int, busy_s: Floats, up_s: Floats) -> float:
        """The busy share of all servers of a kind whose nodes were up, or drained; 0 without any."""
        busy = seconds = 0.0
        for number, pools in enumerate(self._pools):
            nodes = slice(int(self._members.first[number]), int(self._members.first[number + 1]))
            for of, pool in pools:
                if of == kind:
                    busy += float(busy_s[nodes, kind].sum())
                    seconds += pool.servers * float(up_s[nodes].sum())
        return busy / seconds if seconds > 0.0 else 0.0


@compiled
def busy_by_node(
    node: Ints,
    offloaded: NDArray[np.bool_],
    first: Ints,
    start_s: Floats,
    end_s: Floats,
    begin_s: float,
    until_s: float,
    busy_s: Floats,
) -> None:
    """Add to (nodes, CPU and accelerator) the server-seconds inside [begin_s, until_s), in (query, part) order."""
    for query in range(len(node)):
        kind = 1 if offloaded[query] else 0
        for request in range(first[query], first[query + 1]):
            overlap_s = min(end_s[request], until_s) - max(start_s[request], begin_s)
            if overlap_s > 0.0:
                busy_s[node[query], kind] += overlap_s
