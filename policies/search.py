"""Searching the ladders for one setting: a scan along each in turn, and capacities counted in queries."""

from __future__ import annotations

from collections.abc import Callable

from deeprec_env.analysis.capacity import Capacity, find_capacity
from deeprec_env.scenario.schema import Scenario, Threshold
from policies.base import Setting


class CapacityMeter:
    """Capacities of settings of one scenario on validation traffic, and the queries they took. Remembers them."""

    def __init__(self, scenario: Scenario, *, queries: int, seed: int, engine: str) -> None:
        self.scenario, self._queries, self._seed, self._engine = scenario, queries, seed, engine
        self._known: dict[Setting, Capacity] = {}
        self.queries_used = 0

    def capacity(self, batch_size: int, threshold: Threshold) -> Capacity:
        """The capacity of a setting."""
        setting = (batch_size, threshold)
        if setting not in self._known:
            self._known[setting] = self.find(setting)
        return self._known[setting]

    def above(self, setting: Setting, qps: float) -> float:
        """The capacity of a setting if it exceeds `qps`, else 0, which is quickly known."""
        return self.find(setting, at_least=qps).qps

    def find(self, setting: Setting, *, effort: int = 1, at_least: float = 0.0) -> Capacity:
        """The capacity of a setting with `effort` times the meter's queries a rate; 0 if below `at_least`."""
        found = find_capacity(
            self.scenario,
            batch_size=setting[0],
            threshold=setting[1],
            queries=effort * self._queries,
            seed=self._seed,
            engine=self._engine,
            at_least=at_least,
            p95_only=False,
            confirm=False,
        )
        self.queries_used += found.queries_used
        return found


def scan_ladders(
    scenario: Scenario, start: Setting, better: Callable[[Setting, float | None], float | None]
) -> Setting:
    """Scan the batch sizes, then the thresholds, and so on until a scan of either changes nothing.

    The first scan is at the threshold of `start`, which itself is no candidate unless it is on the ladders.
    `better(setting, best)` gives the setting's value if it beats `best` (None: nothing yet), else None. Coarse: it
    finds the best setting where batch size and threshold hardly interact; the whole grid is 13 times the work.
    """
    best: float | None = None
    current = start
    tried: set[Setting] = set()
    while True:
        before = current
        for ladder in ("batch_size", "threshold"):
            if ladder == "batch_size":
                candidates = [(size, current[1]) for size in scenario.control.batch_sizes]
            else:
                candidates = [(current[0], threshold) for threshold in scenario.thresholds]
            for candidate in candidates:
                if candidate in tried:
                    continue
                tried.add(candidate)
                value = better(candidate, best)
                if value is not None:
                    best, current = value, candidate
        if current == before:
            return current
