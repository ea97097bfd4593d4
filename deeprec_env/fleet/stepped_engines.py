"""The engines of a fleet whose nodes come and go, by name."""

from __future__ import annotations

from deeprec_env.fleet.stepped import SteppedFleet
from deeprec_env.scenario.schema import Scenario
from deeprec_env.workload.stream import Traffic


def make_stepped(scenario: Scenario, traffic: Traffic, engine: str = "compiled") -> SteppedFleet:
    """A fleet at time 0, on an engine: both give the same bytes."""
    if engine == "asyncio":
        from deeprec_env.fleet.stepped_asyncio import AsyncioSteppedFleet

        return AsyncioSteppedFleet(scenario, traffic)
    from deeprec_env.fleet.stepped_compiled import CompiledSteppedFleet  # Numba is loaded with the first run

    return CompiledSteppedFleet(scenario, traffic)
