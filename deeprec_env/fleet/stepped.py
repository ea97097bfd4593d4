"""A fleet that is stepped from window to window, its settings and the nodes that are on chosen anew for each (rule 18).

What both engines share; a window is measured from the queries' own times by one function for both.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from deeprec_env.fleet.flow import Flow
from deeprec_env.fleet.provision import Provision
from deeprec_env.fleet.setting import FleetSetting, check_steppable
from deeprec_env.fleet.window import FleetWindow
from deeprec_env.fleet.windows import FleetWindows
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.router import Members
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.records import Records, StageRecords
from deeprec_env.workload.stream import Traffic


class Segment(NamedTuple):
    """Consecutive queries, by their places in the traffic, and the nodes that they may be sent to."""

    begin: int
    end: int
    nodes: Ints


class SteppedFleet(ABC):
    """A fleet under traffic; all nodes are on at first. It is stepped through windows in turn, without gaps.

    Raises `InputError` for groups that are not one stage whose queries' fate is decided on entry.
    """

    def __init__(self, scenario: Scenario, traffic: Traffic) -> None:
        assert scenario.fleet is not None
        check_steppable(scenario)
        self._scenario, self._fleet, self._traffic = scenario, scenario.fleet, traffic
        self._groups = scenario.group_scenarios
        self.provision = Provision(self._fleet.members, [group.start_s for group in self._fleet.groups])
        self.now_s = 0.0
        self._windows = FleetWindows(scenario)
        self._routed = self._entered = 0  # queries that have arrived at the router, and that have entered a node

    @property
    def arrived(self) -> int:
        """Queries that have arrived at the router."""
        return int(np.searchsorted(self._traffic.arrival_s, self.now_s, side="left"))

    @property
    def completed(self) -> int:
        """Queries whose answer is back at the router."""
        return int(np.count_nonzero(self.records().completion_s < math.inf))

    def run_window(self, setting: FleetSetting, begin_s: float, end_s: float) -> FleetWindow:
        """Run from `begin_s`, the present, to `end_s` under a setting and measure the window."""
        self.provision.turn(begin_s, setting.nodes, self.busy_until_s)
        segments, place = [], self._routed
        for _, until_s, nodes in self.provision.segments(begin_s, end_s):
            end = int(np.searchsorted(self._traffic.arrival_s, until_s, side="left"))
            segments.append(Segment(place, end, nodes))
            place = end
        self._routed = place
        self._run(setting, segments, end_s)
        self.now_s = end_s
        flow = self._flow(begin_s)
        enters_s = self._traffic.arrival_s[self._entered : place] + self._fleet.network_s
        self._entered += int(np.searchsorted(enters_s, end_s, side="left"))
        coming = self._traffic.part(self._entered, place)
        return self._windows.measure(flow, coming, self.provision, self.busy_until_s, begin_s, end_s)

    def drain(self) -> None:
        """Run until every query that has arrived has completed, under what is in force."""
        self._run(None, [], math.inf)
        self.now_s = math.inf

    def records(self) -> Records:
        """Of the queries that have entered a node, in the order of arrival, without their requests.

        Arrival is at the router, and completion when the answer is back there.
        """
        flow, settings = self._everything()
        completion_s = flow.leave_s + self._fleet.network_s
        none = np.empty(0)
        stage = StageRecords(flow.offloaded, np.zeros(len(flow.node) + 1, dtype=np.int64), none, none)
        return Records(
            0,
            flow.query,
            flow.arrival_s,
            flow.items,
            settings,
            np.where(completion_s < self.now_s, completion_s, math.inf),
            (stage,),
        )

    @property
    def node(self) -> Ints:
        """(queries,) where each query of `records` went."""
        return self._everything()[0].node

    def close(self) -> None:  # noqa: B027  (most engines hold nothing)
        """Release what the engine holds; a second call does nothing."""

    @property
    @abstractmethod
    def busy_until_s(self) -> Floats:
        """(nodes,) when the last query of each leaves it, infinite where nobody knows yet."""

    @abstractmethod
    def _run(self, setting: FleetSetting | None, segments: Sequence[Segment], end_s: float) -> None:
        """Run up to a time, with the queries of some segments more, under a setting (None: that in force)."""

    @abstractmethod
    def _flow(self, begin_s: float) -> Flow:
        """All queries that have entered a node and were not back at the router before a time, and maybe others."""

    @abstractmethod
    def _everything(self) -> tuple[Flow, Floats]:
        """All queries that have entered a node, and (queries, controls) the settings that they entered under."""


def members_among(members: Members, nodes: Ints) -> Members:
    """The fleet that some of the nodes are: what a router knows of."""
    counts = np.bincount(members.group[nodes], minlength=len(members.counts))
    return Members(members.names, tuple(counts.tolist()), members.weights)
