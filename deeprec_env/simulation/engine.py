"""What every engine does: a node under traffic, run in simulated time and controlled from outside."""

from __future__ import annotations

from typing import Protocol

from deeprec_env.scenario.bounds import Threshold
from deeprec_env.simulation.records import Records
from deeprec_env.simulation.windows import Window
from deeprec_env.workload.stream import Traffic


class Engine(Protocol):
    """What an environment, the summary and a tuner need of an engine. Times are simulated seconds."""

    @property
    def arrived(self) -> int:
        """Queries that have arrived."""

    @property
    def now_s(self) -> float:
        """Simulated time."""

    @property
    def completed(self) -> int:
        """Queries that have completed."""

    def control(self, batch_size: int, threshold: Threshold, plan: int | None = None) -> None:
        """Put settings in force for the queries that arrive from now on; `plan` is an index, None the scenario's."""

    def expect(self, ahead: Traffic) -> None:
        """Let `ahead` be the arrivals still to come, instead of those before.

        None may lie before `now_s`. Its queries are numbered on from `arrived`, and their service noise is by its key.
        """

    def advance(self, until_s: float) -> None:
        """Run up to a time; what happens at it is still to come."""

    def run_window(
        self, batch_size: int, threshold: Threshold, begin_s: float, end_s: float, plan: int | None = None
    ) -> Window:
        """Run from `begin_s`, the present, to `end_s` under these settings and measure the window; in turn, no gaps."""

    def run_until_completed(self, queries: int) -> None:
        """Run until so many queries have completed."""

    def drain(self) -> None:
        """Run until every query of the traffic has completed."""

    def records(self, first_query: int = 0) -> Records:
        """What is known of the queries that have arrived, from `first_query` on."""

    def close(self) -> None:
        """Release what the engine holds; a second call does nothing."""
