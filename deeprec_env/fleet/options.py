"""A fleet with other traffic, or with other settings of all its groups."""

from __future__ import annotations

from typing import Any

from deeprec_env.errors import InputError
from deeprec_env.scenario.control import Control
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.simulate import with_options

OF_TRAFFIC = ("qps", "arrivals")
OF_SETTINGS = ("batch_size", "threshold", "split_rule", "order", "offload", "admit")
_ACCELERATOR = {"threshold": "scenario", "offload": None}
"""What groups without an accelerator leave as it is, where others have one."""


def with_fleet_options(scenario: Scenario, **options: Any) -> Scenario:
    """A fleet with stationary arrivals of `qps` (Poisson or its own) and other settings, where they are given.

    Options are those of `simulate`; what needs an accelerator goes to the groups that have one. Raises `InputError` for
    an unknown option, and for what the groups can't do.
    """
    assert scenario.fleet is not None
    for name, value in options.items():
        if name not in (*OF_TRAFFIC, *OF_SETTINGS):
            if value is None:
                continue
            raise InputError(name, value, f"must be left out of a fleet; it has {', '.join(OF_TRAFFIC + OF_SETTINGS)}")
    traffic = {name: options[name] for name in OF_TRAFFIC if name in options}
    settings = {name: options[name] for name in OF_SETTINGS if name in options}
    nodes, groups = scenario.group_scenarios, []
    some = any(node.has_accelerator for node in nodes)
    for group, node in zip(scenario.fleet.groups, nodes, strict=True):
        given = settings if node.has_accelerator or not some else settings | _ACCELERATOR
        own = with_options(node, **given).control
        if own != node.control:
            named = group.control.model_fields_set if group.control is not None else frozenset()
            changed = {name for name in Control.model_fields if getattr(own, name) != getattr(node.control, name)}
            control = Control(**{name: getattr(own, name) for name in named | changed})
            group = group.model_copy(update={"control": control})
        groups.append(group)
    moved = scenario if not traffic else _with_traffic(scenario, traffic)
    if groups == list(scenario.fleet.groups):
        return moved
    return moved.replace(fleet=scenario.fleet.model_copy(update={"groups": tuple(groups)}))


def _with_traffic(scenario: Scenario, traffic: dict[str, Any]) -> Scenario:
    arrivals = with_options(scenario.group_scenarios[0], **traffic).workload.arrivals
    return scenario if arrivals == scenario.workload.arrivals else scenario.with_arrivals(arrivals)
