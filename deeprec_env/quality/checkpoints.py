"""Trained models on disk: one file a model, whole or not there, with the settings it was trained with."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deeprec_env.errors import InputError
from deeprec_env.files import replacing_path
from deeprec_env.quality.models import DLRM_SIZES, NEUMF_SIZES, DlrmSize, Interaction, Ranker

SCHEMA_VERSION = 1


@dataclass
class Checkpoint:
    """A model after `epochs` epochs.

    `settings` are all that its weights depend on; `shape` is the rows of its tables, the dense inputs and the
    interaction; `state` the weights; `optimisers` where they were; `result` the metrics once training is done.
    """

    settings: dict[str, Any]
    shape: dict[str, Any]
    epochs: int
    state: dict[str, Any]
    optimisers: list[dict[str, Any]]
    result: dict[str, Any] | None = None

    def model(self) -> Ranker:
        """The model with its weights, in evaluation mode."""
        shape = self.shape
        ranker = build(self.settings["model"], tuple(shape["rows"]), shape["dense_inputs"], shape["interaction"])
        ranker.load_state_dict(self.state)
        return ranker.eval()


def build(name: str, rows: tuple[int, ...], dense_inputs: int, interaction: Interaction) -> Ranker:
    """The named model, untrained."""
    if name in NEUMF_SIZES:
        return NEUMF_SIZES[name].build(rows, dense_inputs)
    size = DLRM_SIZES[name]
    return DlrmSize(size.dim, size.bottom, size.top, interaction).build(rows, dense_inputs)


def checkpoint_path(folder: Path, model: str) -> Path:
    """Where the folder of a training keeps this model."""
    return folder / f"{model}.pt"


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file, whole or not at all."""
    content = {"schema_version": SCHEMA_VERSION, **vars(checkpoint)}
    # What is no tensor goes as JSON: the file then loads without running anything that is in it.
    for key in ("settings", "shape", "result"):
        content[key] = json.dumps(content[key])
    with replacing_path(path) as temporary:
        torch.save(content, temporary)


def load(path: Path) -> Checkpoint:
    """Read a file that `save` wrote; `InputError` if it is none."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content.pop("schema_version") != SCHEMA_VERSION:
            raise ValueError("of another version")
        for key in ("settings", "shape", "result"):
            content[key] = json.loads(content[key])
        return Checkpoint(**content)
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
        pickle.UnpicklingError,
    ) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            "checkpoints", str(path), f"must be a model that 'deeprec quality train' wrote ({reason})"
        ) from None
