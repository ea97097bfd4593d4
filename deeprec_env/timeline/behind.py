"""Behind whom a request waited: what the servers of its pool did from its entry to its start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from deeprec_env.scenario.pools import KINDS
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.records import Records
from deeprec_env.timeline.requests import RunRequests

SHOWN = 3
"""Queries that are named: those that took most of the servers' time."""


@dataclass(frozen=True)
class Behind:
    """A wait, by what the pool's servers did meanwhile, in seconds (server-seconds / servers).

    `own_s`: requests of the same query. `earlier_s`, `later_s`: those of queries that had entered before it, or that
    came later and went first. `idle_s`: nothing; an accelerator waits for a batch to fill. `queries`: who they were,
    as (number, items, seconds), the longest first. `found`: requests of others that waited when it entered.
    """

    own_s: float
    earlier_s: float
    later_s: float
    idle_s: float
    queries: tuple[tuple[int, int, float], ...]
    found: int

    def to_json(self) -> dict[str, Any]:
        """As `deeprec explain --json` has it."""
        named = [{"query": query, "items": items, "seconds": seconds} for query, items, seconds in self.queries]
        return {
            "own_s": self.own_s,
            "earlier_s": self.earlier_s,
            "later_s": self.later_s,
            "idle_s": self.idle_s,
            "found_waiting": self.found,
            "queries": named,
        }


def behind(records: Records, scenario: Scenario, position: int, requests: RunRequests, request: int) -> Behind:
    """What a request at a stage waited for."""
    kind = int(requests.away[request])
    entered_s, started_s = requests.entry_s[request], requests.start_s[request]
    pool = requests.place[kind]
    pool = pool[requests.lead[pool] == pool]  # who carries no service keeps no server busy
    pool = pool[: np.searchsorted(requests.start_s[pool], started_s, side="right")]
    overlap_s = np.minimum(requests.end_s[pool], started_s) - np.maximum(requests.start_s[pool], entered_s)
    pool, overlap_s = pool[overlap_s > 0.0], overlap_s[overlap_s > 0.0]
    servers = scenario.stages[position].pools()[KINDS[kind]].servers
    query = requests.query[pool]
    by_query = np.bincount(query, overlap_s, minlength=1) / servers
    mine = int(requests.query[request])
    entries_s = {int(other): requests.entry_s[at] for other, at in zip(query[::-1], pool[::-1], strict=True)}
    others = [other for other in np.flatnonzero(by_query).tolist() if other != mine]
    before = [other for other in others if (entries_s[other], other) < (entered_s, mine)]
    own_s = float(by_query[mine]) if mine < len(by_query) else 0.0
    earlier_s = float(sum(by_query[other] for other in before))
    later_s = float(sum(by_query[other] for other in others)) - earlier_s if len(before) < len(others) else 0.0
    longest = sorted(others, key=lambda other: (-by_query[other], other))[:SHOWN]
    waiting = (requests.entry_s[requests.place[kind]] < entered_s) & (
        requests.start_s[requests.place[kind]] > entered_s
    )
    waiting &= requests.query[requests.place[kind]] != mine
    return Behind(
        own_s=own_s,
        earlier_s=earlier_s,
        later_s=later_s,
        idle_s=max(0.0, float(started_s - entered_s) - own_s - earlier_s - later_s),
        queries=tuple((int(records.query[each]), int(records.items[each]), float(by_query[each])) for each in longest),
        found=int(waiting.sum()),
    )
