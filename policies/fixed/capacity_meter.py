"""Capacities of settings, counted in queries."""

from __future__ import annotations

from deeprec_env.analysis.capacity import CapacityEstimate, find_capacity
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting


class CapacityMeter:
    """Capacities of settings of one scenario on validation traffic, and the queries they took. Remembers them."""

    def __init__(self, scenario: Scenario, *, queries: int, seed: int, engine: str, arrivals: str = "poisson") -> None:
        self.scenario, self._queries, self._seed, self._engine = scenario, queries, seed, engine
        self._arrivals = arrivals
        self._known: dict[Setting, CapacityEstimate] = {}
        self.queries_used = 0

    def capacity(self, setting: Setting) -> CapacityEstimate:
        """The capacity of a setting."""
        if setting not in self._known:
            self._known[setting] = self.find(setting)
        return self._known[setting]

    def find(self, setting: Setting, *, effort: int = 1, at_least: float = 0.0) -> CapacityEstimate:
        """The capacity of a setting with `effort` times the meter's queries a rate; 0 if below `at_least`."""
        found = find_capacity(
            self.scenario.with_setting(setting),
            arrivals=self._arrivals,
            queries=effort * self._queries,
            seed=self._seed,
            engine=self._engine,
            at_least=at_least,
            p95_only=False,
            confirm=False,
        )
        self.queries_used += found.queries_used
        return found
