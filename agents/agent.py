"""A trained agent as a policy."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from agents.hyperparams import ALGORITHMS
from agents.storage import load_normalisation, read_config, read_state
from deeprec_env.errors import InputError
from deeprec_env.scenario.schema import Scenario
from policies.base import Prepared


class TrainedAgent:
    """A Stable-Baselines3 model with its normalisation of observations."""

    def __init__(self, model: BaseAlgorithm, normalise: VecNormalize | None) -> None:
        self._model, self._normalise = model, normalise

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """The model's action for a raw observation."""
        seen: Any = self._normalise.normalize_obs(observation) if self._normalise else observation
        action, state = self._model.predict(seen, state, episode_start, deterministic)
        return action.astype(np.int64), state


def load_agent(path: str, scenario: Scenario) -> Prepared:
    """The agent in a training's folder (its best model), or in one of the folder's `*_model.zip` files.

    Raises `InputError` if there is none, or if it was trained on other ladders than the scenario's.
    """
    folder, stem = Path(path), "best"
    if folder.suffix == ".zip":
        folder, stem = folder.parent, folder.name.removesuffix("_model.zip")
    file = folder / f"{stem}_model.zip"
    if not file.is_file():
        raise InputError("policy", path, "must be a policy's name, a training's folder or its *_model.zip")
    config = read_config(folder)
    ladders = [list(scenario.control.batch_sizes), list(scenario.thresholds)]
    if config["ladders"] != ladders:
        raise InputError("policy", path, f"was trained on the ladders {config['ladders']}, not {ladders}")
    torch.set_num_threads(1)
    try:
        model = ALGORITHMS[config["algo"]].load(file, device="cpu")
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise InputError("policy", str(file), f"must be a model saved by Stable-Baselines3 ({error})") from None
    queries = int(read_state(folder, "last")["queries"])
    return Prepared(TrainedAgent(model, load_normalisation(folder, stem)), scenario, queries)
