"""Where a training's figures are logged: what Stable-Baselines3 knows, and Weights & Biases."""

from __future__ import annotations

import importlib
import itertools
import numbers
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter, Logger, make_output_format

from deeprec_env.arguments import choice
from deeprec_env.errors import InputError
from deeprec_env.extras import is_installed

LOGS = {"csv": "progress{}.csv", "json": "progress{}.json", "log": "log{}.txt"}
"""Logs that are one file, which Stable-Baselines3 begins anew whenever it opens it."""

FORMATS = ("tensorboard", *LOGS, "stdout", "wandb")

TENSORBOARD = "tb_1"
"""Folder of TensorBoard's files within a training's."""


def check_formats(given: Sequence[str]) -> tuple[str, ...]:
    """The formats, each once; `InputError` for one that is not known, and for W&B where it is not installed."""
    formats = tuple(dict.fromkeys(choice("log", name, FORMATS) for name in given))
    if "wandb" in formats and not is_installed("wandb"):
        raise InputError("log", "wandb", "needs Weights & Biases: pip install wandb")
    return formats


def make_logger(formats: Sequence[str], folder: Path, config: Mapping[str, Any]) -> Logger:
    """A logger into a training's folder; a resumed training's files have a number, so that none is written over.

    `config` is what W&B shows of the run.
    """
    suffix = next(
        each for each in _suffixes() if not any((folder / name.format(each)).exists() for name in LOGS.values())
    )
    writers: list[KVWriter] = []
    for name in formats:
        if name == "wandb":
            writers.append(WandbWriter(folder, config))
        else:
            at = folder / TENSORBOARD if name == "tensorboard" else folder
            writers.append(make_output_format(name, str(at), suffix))
    return Logger(str(folder), writers)


def _suffixes() -> Iterator[str]:
    yield ""
    yield from (f"_{number}" for number in itertools.count(1))


class WandbWriter(KVWriter):
    """Logs numbers to a run of Weights & Biases; its own variables (WANDB_PROJECT, WANDB_MODE) say where."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        wandb: Any = importlib.import_module("wandb")  # in no extra: its server, and what is sent there, are the user's
        self._run = wandb.init(name=folder.name, group=folder.parent.name, dir=str(folder), config=dict(config))

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Log what is a number, at a timestep."""
        plain = {key: float(value) for key, value in key_values.items() if isinstance(value, numbers.Real)}
        self._run.log(plain, step=step)

    def close(self) -> None:
        """End the run."""
        self._run.finish()
