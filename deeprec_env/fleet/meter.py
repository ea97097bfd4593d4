"""What the nodes of a fleet did between two instants, added up block by block: busy time, completions, energy.

Sums run by group, node, query and part (rule 18).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeprec_env.fleet.records import FleetRecords
from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.kernel_choice import decided_on_entry
from deeprec_env.simulation.kernels import busy_seconds
from deeprec_env.simulation.summary import Usage, use_of
from deeprec_env.simulation.window_meter import usage_of

KINDS = ("cpu", "accelerator")


@dataclass(frozen=True)
class GroupUse:
    """Of a group's counted queries how many there were and how many were offloaded; rates, utilisation and energy.

    `work_sent`: mean work sent to the busiest pool of each kind, in the time of all its servers (None without).
    """

    queries: int
    offloaded: int
    usage: Usage
    energy_j: float
    work_sent: dict[str, float | None]


class FleetMeter:
    """Adds up the blocks of a run; queries before the `warmup`-th are not counted, rates are of [begin_s, end_s)."""

    def __init__(self, scenario: Scenario, warmup: int, begin_s: float, end_s: float) -> None:
        assert scenario.fleet is not None
        self._members, self._scenarios = scenario.fleet.members, scenario.group_scenarios
        self._warmup, self._begin_s, self._end_s = warmup, begin_s, end_s
        groups = len(self._scenarios)
        self._busy_s = [
            np.zeros((count, len(group.stages), 2))
            for count, group in zip(self._members.counts, self._scenarios, strict=True)
        ]
        self._sent_s = [np.zeros((len(group.stages), 2)) for group in self._scenarios]
        self._completed, self._counted, self._offloaded = (np.zeros(groups, dtype=np.int64) for _ in range(3))

    def add(self, block: FleetRecords, begin: int) -> None:
        """The next block, whose first query is the `begin`-th."""
        for number, (records, scenario) in enumerate(zip(block.groups, self._scenarios, strict=True)):
            places, bounds = block.within(number)
            counted = begin + places >= self._warmup
            done_s = records.completion_s
            self._completed[number] += int(((done_s > self._begin_s) & (done_s <= self._end_s)).sum())
            self._counted[number] += int(counted.sum())
            self._offloaded[number] += int((records.offloaded & counted).sum())
            for stage, log in enumerate(records.stages):
                carries = np.empty(0, dtype=np.bool_) if log.carries is None else log.carries
                _add_busy(
                    self._busy_s[number][:, stage],
                    bounds,
                    log.offloaded,
                    log.first,
                    log.start_s,
                    log.end_s,
                    carries,
                    done_s,
                    self._begin_s,
                    self._end_s,
                    decided_on_entry(scenario) and stage == 0,
                )
                seconds = (log.end_s - log.start_s) * (1.0 if log.carries is None else log.carries)
                of_query = np.diff(np.concatenate([[0.0], np.cumsum(seconds)])[log.first])
                for kind, away in enumerate((~log.offloaded, log.offloaded)):
                    self._sent_s[number][stage, kind] += float(of_query[counted & away].sum())

    def groups(self) -> list[GroupUse]:
        """What each group did."""
        length_s, found = self._end_s - self._begin_s, []
        for number, scenario in enumerate(self._scenarios):
            nodes = [usage_of(scenario, busy.tolist(), length_s) for busy in self._busy_s[number]]
            energy_j = sum((joules for _, joules in nodes), 0.0)
            utilisation = mean_of([utilisation for utilisation, _ in nodes])
            sent_s = (self._sent_s[number] / len(nodes)).tolist()
            found.append(
                GroupUse(
                    int(self._counted[number]),
                    int(self._offloaded[number]),
                    use_of(int(self._completed[number]), length_s, utilisation, energy_j),
                    energy_j,
                    usage_of(scenario, sent_s, length_s)[0],
                )
            )
        return found

    def fleet(self, groups: list[GroupUse]) -> Usage:
        """What the whole fleet did; utilisation is the mean over the nodes that have such a pool."""
        energy_j = sum((group.energy_j for group in groups), 0.0)
        utilisation = over_nodes([group.usage.utilisation for group in groups], self._members.counts)
        return use_of(int(self._completed.sum()), self._end_s - self._begin_s, utilisation, energy_j)


def mean_of(each: list[dict[str, float | None]]) -> dict[str, float | None]:
    """The mean of what is known, by kind of pool; None where nobody has one."""
    return over_nodes(each, [1] * len(each))


def over_nodes(each: list[dict[str, float | None]], counts: tuple[int, ...] | list[int]) -> dict[str, float | None]:
    """`mean_of`, where each stands for as many nodes."""
    found: dict[str, float | None] = {}
    for kind in KINDS:
        known = [(value[kind], count) for value, count in zip(each, counts, strict=True) if value[kind] is not None]
        nodes = sum(count for _, count in known)
        found[kind] = sum((value or 0.0) * count for value, count in known) / nodes if known else None
    return found


@compiled
def _add_busy(
    busy_s: Floats,
    bounds: Ints,
    offloaded: NDArray[np.bool_],
    first: Ints,
    start_s: Floats,
    end_s: Floats,
    carries: NDArray[np.bool_],
    left_s: Floats,
    begin_s: float,
    until_s: float,
    in_order: bool,
) -> None:
    """Add to (nodes, kinds) the `busy_seconds` of each node, whose queries begin at `bounds`."""
    for node in range(len(bounds) - 1):
        begin, end = bounds[node], bounds[node + 1]
        if begin == end:
            continue
        cpu_s, accelerator_s = busy_seconds(
            offloaded[begin:end],
            first[begin : end + 1],
            start_s,
            end_s,
            carries,
            left_s[begin:end],
            begin_s,
            until_s,
            in_order,
        )
        busy_s[node, 0] += cpu_s
        busy_s[node, 1] += accelerator_s
