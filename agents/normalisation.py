"""The normalisation an agent was trained under, as numbers on disk: reading it runs nothing, as a pickle could."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from deeprec_env.errors import InputError
from deeprec_env.scenario.parts import Floats

_FLAGS = ("norm_obs", "norm_reward")
_NUMBERS = ("clip_obs", "clip_reward", "gamma", "epsilon")
_STATISTICS = ("mean", "var", "count")


@dataclass(frozen=True)
class Normalisation:
    """A `VecNormalize` without environments: its settings, and mean, variance and count of observations and returns."""

    settings: dict[str, Any]
    observations: tuple[Floats, Floats, float]
    returns: tuple[Floats, Floats, float]

    def normalize_obs(self, obs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Observations (fields,) or (n, fields), as `VecNormalize` makes them."""
        if not self.settings["norm_obs"]:
            return obs
        mean, variance, _ = self.observations
        limit = self.settings["clip_obs"]
        scaled = (obs - mean) / np.sqrt(variance + self.settings["epsilon"])
        return np.clip(scaled, -limit, limit).astype(np.float32)  # type: ignore[no-any-return]

    def over(self, venv: VecEnv) -> VecNormalize:
        """The same over environments, to train on."""
        shape, wanted = self.observations[0].shape, venv.observation_space.shape
        if shape != wanted:
            raise InputError("agent", shape, f"its normalisation must be of observations {wanted}")
        over = VecNormalize(venv, **self.settings)
        over.ret_rms = _running(self.returns)
        if over.norm_obs:
            over.obs_rms = _running(self.observations)  # type: ignore[assignment]
        return over


def normalisation_path(folder: Path, stem: str) -> Path:
    """Where the normalisation of the model `stem` is."""
    return folder / f"{stem}_vecnormalize.npz"


def save_normalisation(normalise: VecNormalize, path: Path) -> None:
    """Write settings and statistics."""
    shape = normalise.observation_space.shape
    observations: Any = normalise.obs_rms if normalise.norm_obs else RunningMeanStd(shape=shape or ())
    arrays = {name: getattr(normalise, name) for name in (*_FLAGS, *_NUMBERS)}
    for prefix, running in (("obs", observations), ("ret", normalise.ret_rms)):
        arrays |= {f"{prefix}_{name}": getattr(running, name) for name in _STATISTICS}
    with path.open("wb") as file:
        np.savez(file, **arrays)


def load_normalisation(folder: Path, stem: str) -> Normalisation | None:
    """The normalisation saved beside a model; None if there is none.

    Raises `InputError` for a file that is none, and for the pickle that trainings left before 0.2.
    """
    path = normalisation_path(folder, stem)
    if not path.is_file():
        pickled = path.with_suffix(".pkl")
        if pickled.is_file():
            raise InputError("agent", str(pickled), "is a pickle, of an older version, and is not read; train it again")
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        settings = {name: bool(arrays[name]) for name in _FLAGS} | {name: float(arrays[name]) for name in _NUMBERS}
        observations, returns = (_statistics(arrays, prefix) for prefix in ("obs", "ret"))
    except (OSError, EOFError, ValueError, TypeError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError("agent", str(path), f"must be the normalisation saved beside its model ({error})") from None
    return Normalisation(settings, observations, returns)


def _statistics(arrays: dict[str, NDArray[Any]], prefix: str) -> tuple[Floats, Floats, float]:
    mean, variance = (arrays[f"{prefix}_{name}"].astype(np.float64) for name in _STATISTICS[:2])
    if mean.shape != variance.shape or not (np.isfinite(mean).all() and (variance >= 0.0).all()):
        raise ValueError(f"{prefix}_mean and {prefix}_var must be of one shape, variances at least 0")
    return mean, variance, float(arrays[f"{prefix}_count"])


def _running(statistics: tuple[Floats, Floats, float]) -> RunningMeanStd:
    mean, variance, count = statistics
    running = RunningMeanStd(shape=mean.shape)
    running.mean, running.var, running.count = mean.copy(), variance.copy(), count
    return running
