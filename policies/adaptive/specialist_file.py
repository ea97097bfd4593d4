"""Specialists from their files: for which environment and scenario one is, and the one that is shipped for a scenario.

A file is an agent for one scenario in one environment: in all others it is refused, and the message says what differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from deeprec_env.envs.environments import find_spec
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.envs.task import Task
from deeprec_env.errors import InputError
from deeprec_env.policies.adaptive.policy_network import PolicyNetwork, read_policy
from deeprec_env.policies.adaptive.specialist import History, SpecialistPolicy
from deeprec_env.policies.base import TunedPolicy
from deeprec_env.scenario.schema import Scenario

AGENT = "specialist.safetensors"
"""The file of an agent in the folder of its training."""

SHIPPED = "specialist-*.safetensors"
"""Those of the package."""

_SHOWN = 3


def made_for(task: Task) -> dict[str, Any]:
    """What must agree between the scenario that a specialist was trained on and that which it acts for.

    All but the traffic: pools and their latencies, target, ladders, length of a window, and the unit of rates.
    """
    scenario = task.scenario
    latencies = [hashlib.sha256(str(model.fingerprint).encode()).hexdigest()[:16] for model in scenario.latencies]
    parts = scenario.model_dump(mode="json", include={"sla_ms", "p99_factor", "node", "pipeline", "plans"})
    return {
        **parts,
        "latencies": latencies,
        "ladders": {name: list(task.ladders[name]) for name in task.controls},
        "control": {"interval_s": task.interval_s},
        "capacity": {"qps": task.scale_qps},
    }


def load_specialist(path: Path, scenario: Scenario, environment: str) -> TunedPolicy:
    """The specialist in a file, or in a training's folder, for a scenario in an environment (Gymnasium's name).

    Raises `InputError` for damaged bytes, and where it was made for another environment or scenario.
    """
    file = path / AGENT if path.is_dir() else path
    network = read_policy(file)
    _check_environment(str(path), network, environment)
    task = find_spec(environment).make_task(scenario)
    different = _differing(network, task)
    if different:
        made = network.facts.get("scenario")
        raise InputError("policy", str(path), f"was trained on {made}, from which this scenario differs in {different}")
    return _prepared(str(path), network, task, scenario)


def shipped_specialist(spec: EnvSpec, scenario: Scenario) -> TunedPolicy:
    """The specialist of the package for a scenario in an environment; `InputError` where it has none."""
    task, near = spec.make_task(scenario), dict[str, str]()
    damaged: InputError | None = None
    for file in shipped_files():
        try:
            network = read_policy(file)
        except InputError as error:
            damaged = error
            continue
        if network.facts.get("environment") == spec.id:
            different = _differing(network, task)
            if not different:
                return _prepared(file.name, network, task, scenario)
            near[str(network.facts.get("scenario"))] = different
    if damaged is not None:
        raise damaged
    if not near:
        raise InputError("policy", "specialist", f"is shipped for no scenario in {spec.id}")
    closest = min(near, key=lambda name: len(near[name]))
    train = f"deeprec train SCENARIO --recipe specialist --env {spec.name}"
    allowed = f"is shipped for {', '.join(near)}; this scenario differs from {closest} in {near[closest]}"
    raise InputError("policy", "specialist", f"{allowed}; train one with {train}")


def shipped_files() -> Iterator[Path]:
    """The files of the package's specialists."""
    folder = resources.files("deeprec_env.policies") / "shipped"
    with resources.as_file(folder) as path:
        yield from sorted(path.glob(SHIPPED))


def is_specialist(path: str) -> bool:
    """Whether a path is that of a specialist's file, or of the folder of its training."""
    return path.endswith(".safetensors") or (Path(path) / AGENT).is_file()


def _check_environment(path: str, network: PolicyNetwork, environment: str) -> None:
    trained = network.facts.get("environment")
    if trained != environment:
        raise InputError("policy", path, f"was trained in {trained}, not in {environment}")


def _prepared(path: str, network: PolicyNetwork, task: Task, scenario: Scenario) -> TunedPolicy:
    facts = network.facts
    fields, controls = facts.get("fields"), tuple(facts.get("controls", ()))
    if fields != list(task.fields) or controls != task.controls:
        allowed = (
            f"was trained on the fields {fields} and controls {list(controls)}, which {facts['environment']} has not"
        )
        raise InputError("policy", path, allowed)
    try:
        levels = [[task.ladders[name].index(setting[name]) for name in controls] for setting in facts["repertoire"]]
    except (KeyError, ValueError, TypeError) as error:
        raise InputError("policy", path, f"must hold settings on the scenario's ladders ({error})") from None
    repertoire = np.array(levels, dtype=np.int64)
    shapes = network.tensors["weight0"].shape[0], network.tensors["weight2"].shape[1]
    if shapes != (History(fields).width, len(repertoire)):
        raise InputError("policy", path, f"must take {History(fields).width} features, not {shapes[0]}")
    places = {name: facts.get(name) for name in ("carries", "crowd", "first")}
    for name, place in places.items():
        if place is not None and place not in range(len(repertoire)):
            raise InputError("policy", path, f"must name one of its settings under {name}, not {place}")
    return TunedPolicy(SpecialistPolicy(network, fields, repertoire, **places), scenario, facts.get("tuning_queries"))


def _differing(network: PolicyNetwork, task: Task) -> str:
    """The key paths at which a scenario is not the one that a network was made for, the first few; empty: nowhere."""
    keys = list(_keys(network.facts.get("made_for"), made_for(task)))
    return ", ".join(keys[:_SHOWN]) + (f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else "")


def _keys(one: Any, other: Any, at: str = "") -> Iterator[str]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in [*one, *(key for key in other if key not in one)]:
            yield from _keys(one.get(key), other.get(key), f"{at}.{key}" if at else str(key))
    elif one != other:
        yield at or "all"
