"""What engines do: a node under traffic, run in time and controlled from outside.

An engine is a function of scenario, traffic and settings over time, and of nothing else. Callers ask for no more than
they use: any `Engine` steps through windows, a `ForkableEngine` can be copied in mid-run, a `StoppableEngine` stops
after a completion.
"""

from __future__ import annotations

from typing import Protocol, Self, runtime_checkable

from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.records import Records
from deeprec_env.simulation.windows import Window
from deeprec_env.workload.stream import Traffic


class Engine(Protocol):
    """What an environment, the summary and a tuner need of every engine. Times are seconds on the engine's clock."""

    @property
    def now_s(self) -> float:
        """The present."""

    @property
    def arrived(self) -> int:
        """Queries that have arrived."""

    @property
    def completed(self) -> int:
        """Queries that have completed."""

    def control(self, setting: Setting) -> None:
        """Put a setting in force for the queries that arrive from now on."""

    def expect(self, ahead: Traffic) -> None:
        """Let `ahead` be the arrivals still to come, instead of those before; none may lie before `now_s`."""

    def advance(self, until_s: float) -> None:
        """Run up to a time; what happens at it is still to come."""

    def run_window(self, setting: Setting, begin_s: float, end_s: float) -> Window:
        """Run from `begin_s`, the present, to `end_s` under a setting and measure the window; in turn, no gaps."""

    def drain(self) -> None:
        """Run until every query of the traffic has completed."""

    def records(self, first: int = 0) -> Records:
        """What is known of the queries that have arrived, from the `first`-th on."""

    def close(self) -> None:
        """Release what the engine holds; a second call does nothing."""


@runtime_checkable
class ForkableEngine(Engine, Protocol):
    """An engine that can be copied in mid-run."""

    @property
    def first_known(self) -> int:
        """How many queries have come before the first that is still known: of a fork the oldest that was in flight."""

    def fork(self, future: Traffic) -> Self:
        """The node as it is now, to go on by itself with `future` as the traffic still to come, as in `expect`.

        Queries in flight go on as they are. The fork forgets the queries before the oldest in flight.
        """


class StoppableEngine(Engine, Protocol):
    """An engine that can stop after a completion, and whose traffic can be moved there."""

    def run_until_completed(self, queries: int) -> None:
        """Run until n queries have completed."""

    def finished_latency_s(self, begin: int, end: int) -> list[float]:
        """Latencies of the queries that completed `begin`-th to before `end`-th, in that order."""

    def stretch_gaps(self, factor: float) -> None:
        """Make every gap of the arrivals still to come `factor` times as long."""
