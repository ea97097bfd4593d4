"""Policies by name, ready for evaluation."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

from deeprec_env.errors import InputError
from deeprec_env.scenario.schema import Scenario
from policies.base import Prepared, Progress, fixed
from policies.random_policy import RandomPolicy
from policies.tune import METHODS, TuneOptions, find_setting

AGENT_LOADERS = "deeprec_env.agents"
"""Entry-point group of functions (path, scenario) -> Prepared that load trained agents; the agents package has one."""


def prepare(name: str, scenario: Scenario, options: TuneOptions, progress: Progress) -> Prepared:
    """The policy of a name, tuned if it needs tuning, or the trained agent in a file or folder of that path."""
    if name in METHODS:
        tuned = find_setting(scenario, name, options, progress)
        return fixed(scenario, tuned.setting, tuned.queries_used)
    if name == "random":
        return Prepared(RandomPolicy(scenario, options.seed), scenario, 0)
    return _agent_loader(name)(name, scenario)


def check_name(name: str) -> None:
    """Raise `InputError` unless `name` is a policy's, or a path where an agent may be."""
    if name not in policy_names() and not Path(name).exists():
        raise InputError("policy", name, f"must be one of {', '.join(policy_names())}, or the path of a trained agent")


def policy_names() -> list[str]:
    """Names of the hand-written policies."""
    return [*METHODS, "random"]


def _agent_loader(name: str) -> Callable[[str, Scenario], Prepared]:
    loaders = list(entry_points(group=AGENT_LOADERS))
    if not loaders:
        raise InputError(
            "policy", name, f"must be one of {', '.join(policy_names())} (agents need the package installed)"
        )
    return loaders[0].load()  # type: ignore[no-any-return]
