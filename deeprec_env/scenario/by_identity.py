"""What is made of scenarios, remembered by which object they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from deeprec_env.scenario.schema import Scenario

T = TypeVar("T")

MOST = 4096
"""Scenarios that are remembered; of more than that, the latest."""


class ByIdentity(Generic[T]):
    """`of(scenario)` is `make(scenario)`, made once for each object: one drawn again from a pool costs a look-up.

    Scenarios are frozen. To compare two of them would take longer than to make most things of them. Copies and pickles
    remember nothing.
    """

    def __init__(self, make: Callable[[Scenario], T]) -> None:
        self._make = make
        self._made: dict[int, tuple[Scenario, T]] = {}  # with the scenario, so that its identity stays its own

    def of(self, scenario: Scenario) -> T:
        """What is made of a scenario."""
        found = self._made.get(id(scenario))
        if found is None:
            if len(self._made) >= MOST:
                del self._made[next(iter(self._made))]
            found = self._made[id(scenario)] = (scenario, self._make(scenario))
        return found[1]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_made": {}}
