"""The comparison of policies from Python, with the command line's names as keywords."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeprec_env.errors import InputError
from deeprec_env.progress import Progress

if TYPE_CHECKING:  # all that it needs is loaded when it is called: this module is imported with the package
    from deeprec_env.envs.spec import EnvSpec
    from deeprec_env.envs.task import AnyScenario
    from deeprec_env.policies.evaluation.evaluation import Comparison


def evaluate(
    scenario: AnyScenario,
    policies: Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    env: str | EnvSpec = "serving",
    traffic: str | None = None,
    windows: int | None = None,
    quality_floor: float | None = None,
    seeds: int = 5,
    queries: int | None = None,
    engine: str = "compiled",
    seed: int = 0,
    trust: bool = False,
    cluster: str | None = None,
    progress: Progress = lambda what: None,
) -> Comparison:
    """Compare policies on the same test episodes, as `deeprec evaluate` does.

    `policies` (default: those of the environment) are names, paths of agents, `module:function`, and objects: a
    `TunedPolicy`, a model of Stable-Baselines3 (under the `VecNormalize` it was trained with), or anything with
    `predict(observation, state, episode_start, deterministic)` that returns action and state. A mapping says what the
    results call them; else objects are called by their class. `env`: a name as the command takes it, or an `EnvSpec`.
    `trust`: files that `deeprec train` has not written may be unpickled, which can run any code. `cluster`: the Ray
    cluster that runs the episodes, "auto" or "HOST:PORT"; objects among the policies are then pickled.

    The result holds, by policy, its figures with their intervals, episode by episode; its `to_json` is what the command
    prints with `--json`. Raises `InputError` for bad input, before any policy runs.
    """
    from deeprec_env.analysis.capacity import TUNING_QUERIES
    from deeprec_env.envs.environments import find_spec
    from deeprec_env.envs.spec import EnvSpec
    from deeprec_env.executors.executor import Threads, executor_of
    from deeprec_env.policies.evaluation.comparison import compare
    from deeprec_env.policies.fixed.tune import TuneOptions
    from deeprec_env.scenario.load import load_scenario

    choices = {"traffic": traffic, "windows": windows, "quality_floor": quality_floor}
    given, labels = _given(policies)
    return compare(
        env if isinstance(env, EnvSpec) else find_spec(env),
        load_scenario(scenario),
        given,
        labels=labels,
        seed=seed,
        seeds=seeds,
        options=TuneOptions(queries=TUNING_QUERIES if queries is None else queries, engine=engine),
        choices={name: value for name, value in choices.items() if value is not None},
        progress=progress,
        trust=trust,
        executor=executor_of(cluster, Threads(1)),
    )


def _given(policies: Any) -> tuple[list[Any] | None, list[str] | None]:
    """The policies, paths as text, and what they are called, where that is said."""
    if policies is None:
        return None, None
    if isinstance(policies, str | Path) or not isinstance(policies, Sequence | Mapping):
        raise InputError("policies", policies, "must be a list of names, paths and objects, or a mapping of them")
    each = policies.values() if isinstance(policies, Mapping) else policies
    given = [str(policy) if isinstance(policy, Path) else policy for policy in each]
    if not isinstance(policies, Mapping):
        return given, None
    for name in policies:
        if not isinstance(name, str) or not name:
            raise InputError("policies", name, "must be a name")
    return given, list(policies)
