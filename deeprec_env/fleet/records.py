"""What happened to every query of a fleet: where it went, and the records of each group's nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.scenario.control import FURTHER
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.router import Members
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import SettingNumbers
from deeprec_env.simulation.records import Records, StageRecords
from deeprec_env.workload.stream import Traffic


@dataclass(frozen=True)
class FleetRecords:
    """Consecutive queries of a fleet, in the order of their arrival, and by group those of its nodes.

    `node` (queries,) is where each went. `groups` holds by group the records of its queries, those of one node after
    those of the other: arrival at the router, and completion when the answer is back there; start and end of requests
    are the nodes'.
    """

    members: Members
    node: Ints
    groups: tuple[Records, ...]

    @cached_property
    def order(self) -> Ints:
        """(queries,) the queries node by node: those of all `groups`, one after the other."""
        return np.argsort(self.node, kind="stable")

    @cached_property
    def bounds(self) -> Ints:
        """(nodes + 1,) where the queries of each node begin in `order`, and the end."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.node, minlength=self.members.size))])

    def within(self, group: int) -> tuple[Ints, Ints]:
        """Of a group's queries their places in the order of arrival, and where those of each of its nodes begin."""
        first, after = self.members.first[group], self.members.first[group + 1]
        bounds = self.bounds[first : after + 1]
        return self.order[bounds[0] : bounds[-1]], bounds - bounds[0]

    @cached_property
    def whole(self) -> Records:
        """All queries in the order of their arrival, as of one node, without their requests."""
        count = len(self.node)
        offloaded = self._arranged([group.offloaded for group in self.groups])
        empty = np.empty(0)
        stage = StageRecords(offloaded, np.zeros(count + 1, dtype=np.int64), empty, empty)
        further = {control for group in self.groups for control in group.controls}
        controls = [name for name in ("batch_size", "threshold", "plan", *FURTHER) if name in further]
        return Records(
            self.groups[0].first,
            self._arranged([group.query for group in self.groups]),
            self._arranged([group.arrival_s for group in self.groups]),
            self._arranged([group.items for group in self.groups]),
            self._arranged([group.setting for group in self.groups]),
            self._arranged([group.completion_s for group in self.groups]),
            (stage,),
            tuple(controls),
        )

    def columns(self) -> dict[str, NDArray[Any]]:
        """What records of a fleet show beside those of a node."""
        return {"group": np.array(self.members.names)[self.members.group[self.node]], "node": self.node}

    def _arranged(self, by_group: Sequence[NDArray[Any]]) -> NDArray[Any]:
        joined = np.concatenate(by_group)
        arranged = np.empty_like(joined)
        arranged[self.order] = joined
        return arranged


def of_one_node(records: FleetRecords, node: int, network_s: float) -> Records:
    """Records of a node's queries as it sees them: from their arrival there to their completion there."""
    group = int(records.members.group[node])
    whole, bounds = records.groups[group], records.within(group)[1]
    at = node - int(records.members.first[group])
    chosen, stages = slice(int(bounds[at]), int(bounds[at + 1])), []
    for log in whole.stages:
        first = log.first[chosen.start : chosen.stop + 1]
        requests = slice(int(first[0]), int(first[-1]))
        stages.append(
            StageRecords(
                log.offloaded[chosen],
                first - first[0],
                log.start_s[requests],
                log.end_s[requests],
                None if log.carries is None else log.carries[requests],
            )
        )
    return Records(
        0,
        whole.query[chosen],
        whole.arrival_s[chosen] + network_s,
        whole.items[chosen],
        whole.setting[chosen],
        whole.completion_s[chosen] - network_s,
        tuple(stages),
        whole.controls,
    )


def at_the_router(records: Records, arrival_s: Floats, network_s: float) -> Records:
    """Records of nodes as the router sees them: queries arrived earlier there, and are back later."""
    return replace(records, arrival_s=arrival_s, completion_s=records.completion_s + network_s)


def of_group(scenario: Scenario, traffic: Traffic, completion_s: Floats, stages: tuple[StageRecords, ...]) -> Records:
    """Records of the queries of a group, under the setting of its nodes."""
    numbers = np.array(scenario.setting.numbers)
    setting = np.broadcast_to(numbers, (len(traffic.items), len(numbers)))
    return Records(0, traffic.query, traffic.arrival_s, traffic.items, setting, completion_s, stages, scenario.controls)


def of_nodes(records: Sequence[Records], stages: int, controls: tuple[str, ...]) -> Records:
    """Records of several nodes as those of one, one after the other; there may be none."""
    if not records:
        records = [_nothing(stages, controls)]
    joined = []
    for stage in range(stages):
        logs = [each.stages[stage] for each in records]
        begins = np.cumsum([0, *(log.first[-1] for log in logs[:-1])])
        ends = [log.first[1:] + begin for log, begin in zip(logs, begins, strict=True)]
        carries = [log.carries for log in logs if log.carries is not None]
        joined.append(
            StageRecords(
                np.concatenate([log.offloaded for log in logs]),
                np.concatenate([[0], *ends]),
                np.concatenate([log.start_s for log in logs]),
                np.concatenate([log.end_s for log in logs]),
                np.concatenate(carries) if carries else None,
            )
        )
    return Records(
        0,
        np.concatenate([each.query for each in records]),
        np.concatenate([each.arrival_s for each in records]),
        np.concatenate([each.items for each in records]),
        np.concatenate([each.setting for each in records]),
        np.concatenate([each.completion_s for each in records]),
        tuple(joined),
        controls,
    )


def _nothing(stages: int, controls: tuple[str, ...]) -> Records:
    none, nobody = np.empty(0), Traffic.nothing()
    log = StageRecords(np.empty(0, dtype=np.bool_), np.zeros(1, dtype=np.int64), none, none)
    setting = np.empty((0, len(SettingNumbers._fields)))
    return Records(0, nobody.query, none, nobody.items, setting, none, (log,) * stages, controls)
