"""A trained agent on disk: model, normalisation and configuration in one folder, each file whole or not there."""

from __future__ import annotations

import json
import pickle
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from deeprec_env.agents.algorithms import ALGORITHMS, algorithm, saved_algorithms
from deeprec_env.agents.normalisation import normalisation_path, save_normalisation
from deeprec_env.errors import InputError
from deeprec_env.files import replacing, replacing_path

CONFIG = "config.json"

DAMAGED = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError, RuntimeError),
    *(EOFError, ImportError, IndexError, pickle.UnpicklingError, zipfile.BadZipFile),
)
"""What reading a damaged or foreign file of Stable-Baselines3 raises."""


def save_checkpoint(
    folder: Path, stem: str, model: BaseAlgorithm, state: dict[str, Any], *, to_resume: bool = False
) -> None:
    """Write STEM_model.zip, STEM_state.json and, if the model trains under VecNormalize, STEM_vecnormalize.npz.

    With `to_resume` also STEM_replay_buffer.pkl of an algorithm that has one. All are written before the first of them
    takes its name, the state last.
    """
    normalise = model.get_vec_normalize_env()
    with ExitStack() as files:  # left in reverse: what is entered first takes its name last
        json.dump(state, files.enter_context(replacing(folder / f"{stem}_state.json")), indent=2)
        with files.enter_context(replacing_path(folder / f"{stem}_model.zip")).open("wb") as file:
            model.save(file)
        if normalise is not None:
            save_normalisation(normalise, files.enter_context(replacing_path(normalisation_path(folder, stem))))
        if to_resume and isinstance(model, OffPolicyAlgorithm):
            with files.enter_context(replacing_path(folder / f"{stem}_replay_buffer.pkl")).open("wb") as file:
                model.save_replay_buffer(file)


def load_model(folder: Path, stem: str, algo: str, venv: VecEnv | None = None, **arguments: Any) -> BaseAlgorithm:
    """The model saved as `stem`; with environments to train on, also its replay buffer.

    Raises `InputError` for a file that is none, or that holds a model of another algorithm.
    """
    path = folder / f"{stem}_model.zip"
    try:
        saved = saved_algorithms(saved_data(path))
        if algo not in saved:
            raise InputError(
                "model",
                str(path),
                f"holds a model of {' or '.join(saved) or 'none we know'}, not {algo} as {CONFIG} says",
            )
        model = ALGORITHMS[algo].load(path, env=venv, device="cpu", **arguments)
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError("model", str(path), f"must be a model saved by Stable-Baselines3 ({error})") from None
    if venv is not None and isinstance(model, OffPolicyAlgorithm):
        path = folder / f"{stem}_replay_buffer.pkl"
        try:
            with path.open("rb") as file:
                model.load_replay_buffer(file)
        except DAMAGED as error:
            raise InputError("model", str(path), f"must be the replay buffer of the training ({error})") from None
    return model


def saved_data(path: Path) -> dict[str, Any]:
    """What a saved model says of itself, as JSON: nothing of it is unpickled. Raises one of `DAMAGED` for another."""
    with zipfile.ZipFile(path) as archive:
        return dict(json.loads(archive.read("data")))


def read_state(folder: Path, stem: str) -> dict[str, Any]:
    """What `save_checkpoint` was told beside the model."""
    path = folder / f"{stem}_state.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError("agent", str(path), f"must be a checkpoint's state ({error})") from None


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of the training that filled the folder."""
    path = folder / CONFIG
    try:
        config = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError("agent", str(path), f"must be a training's {CONFIG} ({error})") from None
    for key in ("algo", "ladders"):
        if key not in config:
            raise InputError("agent", str(path), f"must be a training's {CONFIG}; it lacks {key}")
    algorithm(config["algo"], f"{path}: algo")
    return config
