"""A control window of a fleet: its own figures and those of its groups."""

from __future__ import annotations

from typing import NamedTuple

from deeprec_env.simulation.windows import Window


class GroupWindow(NamedTuple):
    """A group in a window. Latencies are seen from the router; a query counts from when it enters its node.

    `offered_qps` and `mean_items`: of the queries that entered. Utilisation: the busy share of the servers of the nodes
    that were up, or drained (0 without any). `serving`, `starting` and `draining`: nodes at the window's end.
    """

    p50_s: float = 0.0
    p95_s: float = 0.0
    p99_s: float = 0.0
    violation_rate: float = 0.0
    sample: float = 0.0
    offered_qps: float = 0.0
    completed_qps: float = 0.0
    mean_items: float = 0.0
    cpu_utilisation: float = 0.0
    accelerator_utilisation: float = 0.0
    backlog: float = 0.0
    energy_j: float = 0.0
    serving: float = 0.0
    starting: float = 0.0
    draining: float = 0.0


class FleetWindow(Window):
    """A window of a fleet: its own figures, and by group those of `groups`."""

    groups: tuple[GroupWindow, ...]

    @classmethod
    def joined(cls, whole: Window, groups: tuple[GroupWindow, ...]) -> FleetWindow:
        """Both together."""
        found = cls(*whole)
        found.groups = groups
        return found

    @classmethod
    def before_the_first(cls, counts: tuple[int, ...]) -> FleetWindow:
        """Nothing has happened, and all nodes serve."""
        return cls.joined(Window.empty(), tuple(GroupWindow(serving=float(count)) for count in counts))
