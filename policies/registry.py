"""Policies by name, ready for evaluation."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

from deeprec_env.errors import InputError
from deeprec_env.scenario.schema import Scenario
from policies.base import Policy, Prepared, Progress, fixed
from policies.hindsight import Hindsight
from policies.load_table import LoadTable, LoadTablePolicy, find_load_table
from policies.random_policy import RandomPolicy
from policies.rate_oracle import RateOracle
from policies.tune import METHODS, TuneOptions, find_setting

AGENT_LOADERS = "deeprec_env.agents"
"""Entry-point group of functions (path, scenario) -> Prepared that load trained agents; the agents package has one."""


BY_LOAD: dict[str, Callable[[LoadTable, int], Policy]] = {
    "load-table": lambda table, seed: LoadTablePolicy(table),
    "rate-oracle": RateOracle,
    "hindsight": lambda table, seed: Hindsight(table),
}
"""Policies that choose from a load table: (table, seed) -> policy."""


REFERENCES = ("rate-oracle", "hindsight")
"""Those of them that see ahead, as no server can."""


def prepare(name: str, scenario: Scenario, options: TuneOptions, progress: Progress) -> Prepared:
    """The policy of a name, tuned if it needs tuning, or the trained agent in a file or folder of that path."""
    if name in METHODS:
        tuned = find_setting(scenario, name, options, progress)
        return fixed(scenario, tuned.setting, tuned.queries_used)
    if name in BY_LOAD:
        progress(f"{name}: settings by load")
        table = find_load_table(scenario, queries=options.queries, seed=options.seed, engine=options.engine)
        return Prepared(BY_LOAD[name](table, options.seed), table.scenario, table.queries_used)
    if name == "random":
        return Prepared(RandomPolicy(scenario, options.seed), scenario, 0)
    return _agent_loader(name)(name, scenario)


def check_name(name: str, engine: str = "compiled") -> None:
    """Raise `InputError` unless `name` is a policy's that can run on the engine, or a path where an agent may be."""
    if name not in policy_names() and not Path(name).exists():
        raise InputError("policy", name, f"must be one of {', '.join(policy_names())}, or the path of a trained agent")
    if name in REFERENCES and engine != "compiled":
        raise InputError("engine", engine, f"can't be copied in mid-run, as {name} needs; use compiled")


def policy_names() -> list[str]:
    """Names of the hand-written policies."""
    return [*METHODS, *BY_LOAD, "random"]


def _agent_loader(name: str) -> Callable[[str, Scenario], Prepared]:
    loaders = list(entry_points(group=AGENT_LOADERS))
    if not loaders:
        raise InputError(
            "policy", name, f"must be one of {', '.join(policy_names())} (agents need the package installed)"
        )
    return loaders[0].load()  # type: ignore[no-any-return]
