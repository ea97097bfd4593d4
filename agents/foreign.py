"""Agents that `deeprec train` has not left: zips of Stable-Baselines3 and sb3-contrib, and RL Zoo's folders."""

from __future__ import annotations

import os
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from deeprec_env.agents.algorithms import LOADABLE, saved_algorithms
from deeprec_env.agents.storage import CONFIG, DAMAGED, saved_data
from deeprec_env.envs import SERVING
from deeprec_env.envs.environments import find_spec
from deeprec_env.errors import InputError
from deeprec_env.policies.adapted import adapted
from deeprec_env.policies.base import TunedPolicy
from deeprec_env.policies.registry import algorithm_and_path
from deeprec_env.scenario.schema import Scenario

BEST = "best_model.zip"
"""What EvalCallback writes, and RL Zoo with it."""

NORMALISATION = "vecnormalize.pkl"

NO_AGENT = "must be a policy's name, a training's folder or its *_model.zip, or Stable-Baselines3's zip or its folder"

_OF_TRAINING: dict[str, Any] = {
    "learning_rate": 0.0,
    "lr_schedule": None,
    "clip_range": 0.2,
    "clip_range_vf": None,
    "exploration_schedule": None,
    "ep_info_buffer": None,
    "ep_success_buffer": None,
    "action_noise": None,
    "buffer_size": 1,
}
"""What acting does not need, and a file may hold as a function pickled under another Python, or fill memory with."""


def is_foreign(path: str) -> bool:
    """Whether the agent there, if there is one, is none that `deeprec train` left."""
    algo, at = algorithm_and_path(path)
    if algo:
        return True
    found = Path(at)
    if found.is_file():
        return not (found.name.endswith("_model.zip") and (found.parent / CONFIG).is_file())
    return found.is_dir() and not (found / CONFIG).is_file() and _zips(found) != []


def load_foreign(path: str, scenario: Scenario, environment: str = SERVING, *, trust: bool = False) -> TunedPolicy:
    """The agent at PATH or ALGO:PATH, as a policy for the scenario in an environment (Gymnasium's name).

    PATH is a zip, or a folder with one (see `find_zip`); a normalisation beside it is applied (see
    `find_normalisation`). Its actions and observations must be the environment's, as they are or under the wrappers of
    `deeprec_env.envs.wrappers` and `VecFrameStack`. What its training cost in queries is not known.

    Raises `InputError` for what is no such file or does not fit, and unless the caller trusts it: to read it is to
    unpickle it, which can run any code.
    """
    algo, at = algorithm_and_path(path)
    file = find_zip(path, Path(at))
    found = find_normalisation(path, file)
    kind = _algorithm(path, file, algo)
    if not trust:
        files = " and ".join(str(each) for each in (file, found) if each is not None)
        allowed = f"holds pickles ({files}), which can run any code when they are read"
        raise InputError("policy", path, f"{allowed}; if you trust where it comes from: --trust (in Python trust=True)")
    torch.set_num_threads(1)
    model = _model(file, kind)
    normalise = None if found is None else _normalisation(found)
    task = find_spec(environment).make_task(scenario)
    return TunedPolicy(adapted("policy", path, model, task, normalise), scenario, None)


def find_zip(name: str, path: Path) -> Path:
    """The model's file at a path, which may be that of the folder that holds it.

    Of several in a folder: `best_model.zip`, or the one that has a folder of its name beside it (RL Zoo's last model).
    Raises `InputError`, which calls the agent `name`, if there is none, or no telling which.
    """
    if not path.is_dir():
        return path
    zips = _zips(path)
    named = [file for file in zips if file.name == BEST] or [file for file in zips if file.with_suffix("").is_dir()]
    found = named or zips
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError("policy", name, NO_AGENT)
    raise InputError("policy", name, f"holds several models; name one of {', '.join(each.name for each in found)}")


def find_normalisation(name: str, file: Path) -> Path | None:
    """The pickled `VecNormalize` of a model's file; None where there is none.

    In this order: that of a checkpoint (CheckpointCallback writes `rl_model_vecnormalize_100_steps.pkl` beside
    `rl_model_100_steps.zip`), `vecnormalize.pkl` beside it, in the folder of its name, in the only folder beside it
    that has one (RL Zoo's, of the environment's name). Raises `InputError`, which calls the agent `name`, where several
    folders have one.
    """
    folder = file.parent
    of_checkpoint = re.sub(r"(_\d+_steps)$", r"_vecnormalize\1", file.stem)
    places = [folder / NORMALISATION, folder / "vec_normalize.pkl", file.with_suffix("") / NORMALISATION]
    if of_checkpoint != file.stem:
        places.insert(0, folder / f"{of_checkpoint}.pkl")
    for place in places:
        if place.is_file():
            return place
    inside = sorted(folder.glob(f"*{os.sep}{NORMALISATION}"))
    if len(inside) > 1:
        which = ", ".join(str(each.relative_to(folder)) for each in inside)
        raise InputError("policy", name, f"has several normalisations ({which}); put its own beside {file.name}")
    return inside[0] if inside else None


def _zips(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.zip"))


def _algorithm(name: str, file: Path, algo: str) -> type[BaseAlgorithm]:
    """That of a saved model, by what it says of itself, or of the name given."""
    if algo and algo not in LOADABLE:
        raise InputError("policy", name, f"must begin with one of {', '.join(LOADABLE)}")
    try:
        data = saved_data(file)
        saved = saved_algorithms(data)
    except DAMAGED as error:
        raise InputError("policy", name, f"must be a model saved by Stable-Baselines3 ({error})") from None
    if algo and saved and algo not in saved:
        raise InputError("policy", name, f"holds a model of {' or '.join(saved)}, not {algo}")
    if not algo and not saved:
        module = data["policy_class"]["__module__"]
        allowed = f"does not say its algorithm (its policy's class is of {module}); write ALGO:{file}"
        raise InputError("policy", name, f"{allowed} with ALGO one of {', '.join(LOADABLE)}")
    return LOADABLE[algo or saved[0]]


def _model(file: Path, kind: type[BaseAlgorithm]) -> BaseAlgorithm:
    """The model; `InputError` for a file that can't be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what could not be unpickled: what is needed fails below
            return kind.load(file, device="cpu", custom_objects=_OF_TRAINING)
    except DAMAGED as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError("model", str(file), f"must be a model saved by Stable-Baselines3 ({reason})") from None


def _normalisation(file: Path) -> VecNormalize:
    """The pickled normalisation; `InputError` for a file that holds none."""
    try:
        with file.open("rb") as pickled:
            found = pickle.load(pickled)
    except DAMAGED as error:
        raise InputError("agent", str(file), f"must be a pickled VecNormalize ({error})") from None
    if not isinstance(found, VecNormalize):
        raise InputError("agent", str(file), f"must be a pickled VecNormalize, not {type(found).__name__}")
    found.training = False
    return found
