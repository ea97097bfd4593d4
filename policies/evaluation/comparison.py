"""Fair comparison: every policy on the same test episodes of an environment, paired, with what its tuning cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deeprec_env import console
from deeprec_env.arguments import whole
from deeprec_env.envs.environments import findable_name
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.errors import InputError
from deeprec_env.executors.executor import Executor, Threads
from deeprec_env.layout import EMPTY
from deeprec_env.plugins import plugin_names
from deeprec_env.policies.base import Progress, TunedPolicy
from deeprec_env.policies.evaluation.evaluation import (
    SPLIT,
    Choices,
    Comparison,
    Evaluation,
    Result,
    Tuning,
    evaluation_of,
)
from deeprec_env.policies.evaluation.judging import WINDOWS, Judged, judge_all
from deeprec_env.policies.evaluation.recorded import recorded_policy
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.policies.objects import label, prepared_object
from deeprec_env.policies.registry import (
    PLUGINS,
    agent_path,
    algorithm_and_path,
    is_agent,
    is_users,
    load_agent,
    prepared_by_user,
    users_function,
)
from deeprec_env.progress import part
from deeprec_env.provenance import ask
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.engines import FORK, engine_kind
from deeprec_env.sources import RESULTS

MOST_EPISODES, MOST_WINDOWS = 10**4, 10**6
"""Bounds of a comparison: what is above runs for days."""

_PREPARED = 0.4  # the share of the work, about, that it takes to prepare policies


def compare(
    spec: EnvSpec,
    scenario: Scenario,
    policies: Sequence[Any] | None = None,
    *,
    labels: Sequence[str] | None = None,
    seed: int = 0,
    seeds: int = 5,
    options: TuneOptions = TuneOptions(),
    choices: Choices | None = None,
    progress: Progress = lambda what: None,
    recorded: Mapping[str, Any] | None = None,
    trust: bool = False,
    executor: Executor = Threads(1),
) -> Comparison:
    """Run policies (names, paths of trained agents, or objects) on the test episodes of `seed` .. `seed + seeds - 1`.

    Without `policies`, those that the environment's evaluation names; `labels` are what the results call them (default:
    names and paths as given, objects by their class). The scenario gets its day if it has none. Tuning uses validation
    traffic alone. `recorded`: what some policies did (see `recording`), by label; they do it again, and have no
    capacity. `trust`: files that `deeprec train` has not written may be unpickled. `executor` runs the episodes and
    finds the capacities; policies are prepared here. Raises `InputError` for bad input.
    """
    evaluation = evaluation_of(spec)
    given = list(evaluation.compared or evaluation.baselines) if policies is None else list(policies)
    names = list(labels or _labels(given))
    chosen = _checked(spec, evaluation, choices or {})
    whole("seeds", seeds, 1, MOST_EPISODES)
    whole("seed", seed, 0)
    whole(WINDOWS, chosen.get(WINDOWS, 1), 1, MOST_WINDOWS)
    if len(set(names)) < len(names):
        raise InputError("policies", ",".join(names), "must name each policy once")
    if not given:
        known = ", ".join(baseline_names(evaluation))
        raise InputError("policies", "", f"must name at least one of {known}, or the path of a trained agent")
    replayed = recorded or {}
    for name, policy in zip(names, given, strict=True):
        if name not in replayed:
            _check_name(evaluation, policy, options.engine)
    scenario = evaluation.prepare(scenario, options.engine, chosen)
    question = ask(
        "evaluate",
        scenario,
        seed=seed,
        split=SPLIT,
        engine=options.engine,
        sources=(*RESULTS, "envs", "policies"),
        environment=findable_name(spec),
        policies=[_in_full(evaluation, policy, name) for name, policy in zip(names, given, strict=True)],
        labels=names,
        seeds=seeds,
        choices=chosen,
        options=options.to_json(),
    )
    telling = progress
    tuning = evaluation.tuning(spec, scenario, options, chosen, lambda what: telling(what))
    # Agents before all else: a damaged file, or what does not fit, is said before the others take their time.
    agents = {
        name: _prepared(evaluation, policy, tuning, name, trust)
        for name, policy in zip(names, given, strict=True)
        if name not in replayed and _is_agent(evaluation, policy)
    }
    ready: dict[str, TunedPolicy] = {}
    for number, (name, policy) in enumerate(zip(names, given, strict=True)):
        telling = part(progress, _PREPARED * number / len(given), _PREPARED * (number + 1) / len(given))
        telling(f"{name}: preparing")
        if name in replayed:
            ready[name] = recorded_policy(name, replayed[name], scenario)
        else:
            ready[name] = agents[name] if name in agents else _prepared(evaluation, policy, tuning, name, trust)
    episode_seeds = tuple(range(seed, seed + seeds))
    ours = {name for name, policy in zip(names, given, strict=True) if isinstance(policy, str) and not is_users(policy)}
    telling = part(progress, _PREPARED, 1.0)
    judged = judge_all(Judged(spec, options, chosen, episode_seeds, ready), ours - set(replayed), executor, telling)
    results: dict[str, Result] = {}
    for name, prepared in ready.items():
        episodes, actions, capacities = judged[name]
        results[name] = Result(name, prepared, episodes, capacities, results, actions)
    return Comparison(spec, evaluation, scenario, episode_seeds, chosen, results, question)


def is_here(evaluation: Evaluation, name: str) -> bool:
    """Whether there is a policy of that name, or an agent at that path, on this machine."""
    if name in evaluation.baselines:
        return True
    if not is_users(name):
        return Path(agent_path(name)).exists()
    try:
        users_function(name)
    except InputError:
        return False
    return True


def baseline_names(evaluation: Evaluation) -> list[str]:
    """Names of the policies that an environment has, other packages' last."""
    return [*evaluation.baselines, *(name for name in plugin_names(PLUGINS) if name not in evaluation.baselines)]


def print_comparison(compared: Comparison, name: str) -> None:
    """Print the table; `name` is the scenario's."""
    columns, rows = ("policy", *compared.evaluation.columns), compared.rows()
    console.print_table(f"{name}{compared.evaluation.title(compared)}", columns, rows)
    shown = {column for column, *cells in zip(columns, *rows, strict=True) if not set(cells) <= set(EMPTY)}
    console.print_notes({column: words for column, words in compared.evaluation.notes.items() if column in shown})


def _checked(spec: EnvSpec, evaluation: Evaluation, choices: Choices) -> dict[str, Any]:
    for name, value in choices.items():
        if name not in evaluation.choices:
            raise InputError(name, value, f"must be left out: {spec.name} leaves no choice of it")
    return {**evaluation.choices, **choices}


def _labels(given: Sequence[Any]) -> list[str]:
    """Names and paths as they are; objects by their class, numbered where one comes again."""
    found: list[str] = []
    seen: Counter[str] = Counter()
    for policy in given:
        if isinstance(policy, str):
            found.append(policy)
            continue
        name = label(policy)
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return found


def _in_full(evaluation: Evaluation, policy: Any, name: str) -> str:
    """A policy's name as it is; the path of an agent in full, so that it is found from any folder; of an object <NAME>.

    <NAME> is found nowhere: what an object did can be repeated, the object can't be had again.
    """
    if not isinstance(policy, str):
        return f"<{name}>"
    if policy in evaluation.baselines:
        return policy
    algo, path = algorithm_and_path(policy)
    if not Path(path).exists():
        return policy
    return f"{algo}:{Path(path).resolve()}" if algo else str(Path(path).resolve())


def _check_name(evaluation: Evaluation, name: Any, engine: str) -> None:
    """Raise `InputError` unless a policy of that name can run on the engine, or there may be an agent at that path."""
    if not isinstance(name, str):
        return  # an object, which is looked at with the agents
    if name in evaluation.references:
        engine_kind(engine, FORK, asker=name)
    elif name in evaluation.baselines:
        return
    elif is_users(name):
        users_function(name)
    elif not is_agent(name):
        known = ", ".join(baseline_names(evaluation))
        raise InputError("policy", name, f"must be one of {known}, or the path of a trained agent")


def _is_agent(evaluation: Evaluation, policy: Any) -> bool:
    return not isinstance(policy, str) or (policy not in evaluation.baselines and not is_users(policy))


def _prepared(evaluation: Evaluation, policy: Any, tuning: Tuning, name: str, trust: bool) -> TunedPolicy:
    """`name`: what the results call it."""
    spec, scenario = tuning.spec, tuning.scenario
    if not isinstance(policy, str):
        return prepared_object(name, policy, scenario, spec.make_task(scenario))
    if policy in evaluation.baselines:
        return evaluation.baselines[policy](tuning)
    if is_users(policy):
        return prepared_by_user(policy, scenario, tuning.options, tuning.progress, spec)
    return load_agent(policy, scenario, spec.id, baseline_names(evaluation), trust)
