"""Policies by name, ready for evaluation."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from deeprec_env.envs import SERVING
from deeprec_env.envs.environments import find_spec
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.errors import InputError, WorkLost
from deeprec_env.extras import not_installed
from deeprec_env.plugins import is_plugin, load_plugin, plugin_names, takes
from deeprec_env.policies.adaptive.generalist import GeneralistPolicy
from deeprec_env.policies.adaptive.load_table import LoadTable, LoadTablePolicy, find_load_table
from deeprec_env.policies.adaptive.random_policy import RandomPolicy
from deeprec_env.policies.adaptive.specialist_file import is_specialist, load_specialist
from deeprec_env.policies.base import Policy, Progress, TunedPolicy, fixed
from deeprec_env.policies.fixed.tune import METHODS, TuneOptions, find_setting
from deeprec_env.policies.objects import is_policy, prepared_object
from deeprec_env.policies.privileged.hindsight import Hindsight
from deeprec_env.policies.privileged.rate_oracle import RateOracle
from deeprec_env.scenario.schema import Scenario

AGENT_LOADERS = "deeprec_env.agents"
"""Entry-point group of functions (path, scenario, environment) -> TunedPolicy that load trained agents."""

OWN_LOADER = "stable-baselines3"
"""The name of ours among them, which loads an agent named by its path alone; another's agent is LOADER:PATH."""

PLUGINS = "deeprec_env.policies"
"""Entry-point group of other packages' policies: functions (scenario, options, progress) -> TunedPolicy."""


BY_LOAD: dict[str, Callable[[LoadTable, int], Policy]] = {
    "load-table": lambda table, seed: LoadTablePolicy(table),
    "rate-oracle": RateOracle,
    "hindsight": lambda table, seed: Hindsight(table),
}
"""Policies that choose from a load table: (table, seed) -> policy."""


REFERENCES = ("rate-oracle", "hindsight")
"""Those of them that see ahead, as no server can."""

_PREPARED = "deeprec_env.policies.base.TunedPolicy, or an object with predict"

_OWN = (*METHODS, *BY_LOAD, "generalist", "random")


def prepare(
    name: str, scenario: Scenario, options: TuneOptions, progress: Progress, environment: str = SERVING
) -> TunedPolicy:
    """The policy of a name, tuned if it needs tuning, or the trained agent in a file or folder of that path.

    `environment` is Gymnasium's name of that in which an agent must have been trained.

    The name may also be that of an entry point of `PLUGINS`, or `module:function`.
    """
    if name in METHODS:
        tuned = find_setting(scenario, name, options, progress)
        return fixed(scenario, tuned.setting, tuned.queries_used)
    if name in BY_LOAD:
        progress(f"{name}: settings by load")
        table = find_load_table(scenario, queries=options.queries, seed=options.seed, engine=options.engine)
        return TunedPolicy(BY_LOAD[name](table, options.seed), table.scenario, table.queries_used)
    if name == "generalist":
        return TunedPolicy(GeneralistPolicy(scenario), scenario, 0)
    if name == "random":
        indices = gym.spaces.MultiDiscrete([len(scenario.control.batch_sizes), len(scenario.thresholds)])
        return TunedPolicy(RandomPolicy(indices, options.seed), scenario, 0)
    if is_users(name):
        return prepared_by_user(name, scenario, options, progress, find_spec(environment))
    return load_agent(name, scenario, environment, policy_names())


def baselines() -> dict[str, Callable[[Any], TunedPolicy]]:
    """The hand-written policies that choose batch size and threshold, each prepared from a comparison's tuning."""

    def prepared(name: str) -> Callable[[Any], TunedPolicy]:
        return lambda tuning: prepare(name, tuning.scenario, tuning.options, tuning.progress)

    return {name: prepared(name) for name in _OWN}


def policy_names() -> list[str]:
    """Names of the hand-written policies, other packages' last."""
    return [*_OWN, *(name for name in plugin_names(PLUGINS) if name not in _OWN)]


def is_users(name: str) -> bool:
    """Whether the name is another package's, or `module:function`, which is neither a policy of ours nor a path."""
    if name in _OWN or (":" in name and is_agent(name)):
        return False
    return is_plugin(PLUGINS, name)


def users_function(name: str) -> Callable[[Scenario, TuneOptions, Progress], Any]:
    """The function that another package's name, or `module:function`, stands for; `InputError` if it is none."""
    allowed = f"a function (scenario, options, progress) that returns a {_PREPARED}"
    return load_plugin("policy", PLUGINS, name, takes(3), allowed)  # type: ignore[no-any-return]


def prepared_by_user(
    name: str, scenario: Scenario, options: TuneOptions, progress: Progress, spec: EnvSpec
) -> TunedPolicy:
    """What another package's function makes; `InputError` if that is no policy of the environment, or if it fails."""
    function = users_function(name)
    try:
        made = function(scenario, options, progress)
    except (InputError, WorkLost):
        raise
    except Exception as error:  # whatever a user's function raises
        if isinstance(error, ModuleNotFoundError) and not_installed(error) is not None:
            raise
        raise InputError("policy", name, f"failed{_place(error)}: {type(error).__name__}: {error}") from error
    if isinstance(made, TunedPolicy):
        return made
    if not is_policy(made):
        raise InputError("policy", name, f"must return a {_PREPARED}, not {type(made).__name__}")
    return prepared_object(name, made, scenario, spec.make_task(scenario))


def _place(error: Exception) -> str:
    """Where a user's function failed: file and line, the last of its own file; empty if it was not even entered."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is ours, which called it
    own = [frame for frame in frames if frame.filename == frames[0].filename]
    return f" at {own[-1].filename}:{own[-1].lineno}" if own else ""


def is_agent(name: str) -> bool:
    """Whether a trained agent may be there: `name` is a path, LOADER:PATH or ALGO:PATH."""
    return Path(name).exists() or _loader_and_path(name)[0] != OWN_LOADER or algorithm_and_path(name)[0] != ""


def agent_path(name: str) -> str:
    """Where an agent is, without the name of its loader or algorithm."""
    loader, path = _loader_and_path(name)
    return algorithm_and_path(path)[1] if loader == OWN_LOADER else path


def algorithm_and_path(name: str) -> tuple[str, str]:
    """What ALGO:PATH says, for agents that do not say their algorithm themselves; of a path alone "" and itself.

    PATH ends with .zip or has a separator in it (a folder in the working one: `ppo:./run`), as no function's name does.
    """
    algo, colon, path = name.partition(":")
    if colon and algo.isidentifier() and not Path(name).exists() and (path.endswith(".zip") or os.sep in path):
        return algo, path
    return "", name


def load_agent(
    name: str, scenario: Scenario, environment: str, others: Sequence[str], trust: bool = False
) -> TunedPolicy:
    """The trained agent at a path, loaded by ours, or at LOADER:PATH, by the loader that a package declares.

    `trust`: ours may unpickle files that `deeprec train` has not written. Raises `InputError`, which names the `others`
    that `name` may be, where there is no loader, and where two packages declare it.
    """
    loader, path = _loader_and_path(name)
    if loader == OWN_LOADER and is_specialist(path):
        return load_specialist(Path(path), scenario, environment)
    if loader not in plugin_names(AGENT_LOADERS):
        raise InputError("policy", name, f"must be one of {', '.join(others)} (agents need the package installed)")
    allowed = "a function (path, scenario, environment) that returns a deeprec_env.policies.base.TunedPolicy"
    load = load_plugin("policy", AGENT_LOADERS, loader, takes(3), allowed)
    loaded = load(path, scenario, environment, **({"trust": trust} if loader == OWN_LOADER else {}))
    if not isinstance(loaded, TunedPolicy):
        raise InputError(
            "policy", name, f"must be loaded as {TunedPolicy.__module__}.TunedPolicy, not {type(loaded).__name__}"
        )
    return loaded


def _loader_and_path(name: str) -> tuple[str, str]:
    """What loads an agent, and where it is; a path that is there is never taken for LOADER:PATH."""
    loader, colon, path = name.partition(":")
    if colon and not Path(name).exists() and loader in plugin_names(AGENT_LOADERS):
        return loader, path
    return OWN_LOADER, name
