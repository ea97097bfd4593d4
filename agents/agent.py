"""A trained agent as a policy."""

from __future__ import annotations

from pathlib import Path

import torch

from deeprec_env.agents.foreign import NO_AGENT, is_foreign, load_foreign
from deeprec_env.agents.hyperparams import loaded_wrapper
from deeprec_env.agents.normalisation import load_normalisation, normalisation_path
from deeprec_env.agents.storage import CONFIG, load_model, read_config, read_state
from deeprec_env.envs import SERVING
from deeprec_env.envs.environments import find_spec
from deeprec_env.errors import InputError
from deeprec_env.policies.adapted import TrainedAgent as TrainedAgent
from deeprec_env.policies.base import TunedPolicy
from deeprec_env.scenario.schema import Scenario


def find_agent(path: str) -> tuple[Path, str]:
    """Folder and stem of the agent at a path: a training's folder (its best model) or one of its `*_model.zip` files.

    Raises `InputError` if there is none.
    """
    folder, stem = Path(path), "best"
    if folder.suffix == ".zip":
        folder, stem = folder.parent, folder.name.removesuffix("_model.zip")
    if not (folder / f"{stem}_model.zip").is_file():
        raise InputError("policy", path, NO_AGENT)
    return folder, stem


def load_agent(path: str, scenario: Scenario, environment: str = SERVING, trust: bool = False) -> TunedPolicy:
    """The agent at a path (see `find_agent`), as a policy for the scenario in an environment (Gymnasium's name).

    One that `deeprec train` has not left there is read if the caller trusts it (see `load_foreign`).

    Raises `InputError` if there is none, or if it was trained in another environment, or on other ladders (other
    choices) than the scenario's.
    """
    if is_foreign(path):
        return load_foreign(path, scenario, environment, trust=trust)
    folder, stem = find_agent(path)
    config = read_config(folder)
    trained = config.get("environment", SERVING)
    if trained != environment:
        raise InputError("policy", path, f"was trained in {trained}, not in {environment}")
    task = find_spec(environment).make_task(scenario)
    ladders = task.choices
    if config["ladders"] != ladders:
        raise InputError("policy", path, f"was trained on the ladders {config['ladders']}, not {ladders}")
    wrapper = loaded_wrapper(config.get("hyperparams", {}).get("env_wrapper"), f"{folder / CONFIG}: env_wrapper")
    torch.set_num_threads(1)
    model = load_model(folder, stem, config["algo"])
    mapping = wrapper.mapping(task.action_space) if wrapper else None
    space = mapping.space if mapping else task.action_space
    if model.action_space != space:
        raise InputError("model", path, f"chooses from {model.action_space}, not from {space} as {CONFIG} says")
    queries = int(read_state(folder, "last")["queries"])
    normalise = load_normalisation(folder, stem)
    if normalise is None and config.get("hyperparams", {}).get("normalize", False) not in (None, False, "False"):
        raise InputError("agent", path, f"lacks {normalisation_path(folder, stem).name}, with which it was trained")
    return TunedPolicy(TrainedAgent(model, normalise, mapping), scenario, queries)
