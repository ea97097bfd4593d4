"""A trained agent on disk: model, normalisation and configuration in one folder, each file whole or not there."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from deeprec_env.errors import InputError
from deeprec_env.files import replacing

CONFIG = "config.json"


def save_checkpoint(folder: Path, stem: str, model: BaseAlgorithm, state: dict[str, Any]) -> None:
    """Write STEM_model.zip, STEM_state.json and, if the model trains under VecNormalize, STEM_vecnormalize.pkl."""
    temporary = folder / f".{stem}_model.zip"
    model.save(temporary)
    os.replace(temporary, folder / f"{stem}_model.zip")
    normalise = model.get_vec_normalize_env()
    if normalise is not None:
        temporary = folder / f".{stem}_vecnormalize.pkl"
        normalise.save(str(temporary))
        os.replace(temporary, folder / f"{stem}_vecnormalize.pkl")
    with replacing(folder / f"{stem}_state.json") as file:
        json.dump(state, file, indent=2)


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
    return config


def load_normalisation(folder: Path, stem: str) -> VecNormalize | None:
    """The normalisation saved beside a model, without an environment; None if there is none."""
    path = folder / f"{stem}_vecnormalize.pkl"
    if not path.is_file():
        return None
    with path.open("rb") as file:
        loaded = pickle.load(file)
    if not isinstance(loaded, VecNormalize):
        raise InputError("agent", str(path), "must hold a VecNormalize")
    return loaded
