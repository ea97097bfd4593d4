"""Which of the two compiled kernels may serve a scenario: the one place that says so."""

from __future__ import annotations

from typing import Literal

from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import PREDICTED

Kernel = Literal["recursion", "events"]
"""`recursion`: `node.serve_until`, the fast one. `events`: `event_kernel.serve_events`, which serves every scenario."""


def decided_on_entry(scenario: Scenario) -> bool:
    """Whether all that happens to a query at a stage is known when it enters, so that the recursion may serve it.

    So it is if the pool is known from the query's setting and items alone (rule 4), and every pool starts requests in
    the order of their entry, each as soon as a server is free (rule 5): nobody who comes later matters. Queries then
    start the first stage in the order of arrival too. It is not so under another order, offloading by prediction,
    admission (rules 14 to 16), if any of these can be in force, or batching (rule 17).
    """
    further = any(scenario.control.uses(control) for control in ("order", "offload", "admit_ms"))
    return not further and all(stage.batching is None for stage in scenario.stages)


def follows_state(scenario: Scenario) -> bool:
    """Whether the node's state has a say in how much work a query brings to which pool, so that means alone don't."""
    predicted = PREDICTED in scenario.control.further_values("offload")
    return predicted or any(stage.batching is not None for stage in scenario.stages)


def kernel_for(scenario: Scenario) -> Kernel:
    """The fastest kernel that serves a scenario."""
    return "recursion" if decided_on_entry(scenario) else "events"
