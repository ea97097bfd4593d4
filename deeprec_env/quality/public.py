"""Checkpoints of the public DLRM code (facebookresearch/dlrm), read without running anything that is in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deeprec_env.errors import InputError
from deeprec_env.quality.models import DlrmSize, Interaction, interaction_width

_SCALAR = np.float64(0).__reduce__()[0]
_PLAIN: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float32)),
    type(np.dtype(np.float64)),
]
"""What such files hold beside tensors: accuracies, as NumPy's numbers."""

Weights = dict[str, Tensor]


def load_public(path: Path, size: DlrmSize, rows: tuple[int, ...], dense_inputs: int) -> tuple[Weights, Interaction]:
    """The weights for a `RankingDlrm` of that size, and how its features interact, told from the top MLP's first input.

    The file holds "state_dict" (or is one) with emb_l.N.weight, bot_l.N.weight and .bias, top_l.N. Its tables have a
    row for every category in the order of first appearance; ours are those of the training part, after a row of zeros
    for the categories that it lacks. Raises `InputError` for a file that is none, lacks weights, has others, or whose
    shapes are not the model's.
    """
    weights = _read(path)
    wanted: dict[str, tuple[int, ...]] = {}
    for layers, inputs, widths in (("bot_l", dense_inputs, size.bottom), ("top_l", 0, size.top)):
        for position, width in enumerate(widths):
            wanted[f"{layers}.{2 * position}.weight"] = (width, inputs)
            wanted[f"{layers}.{2 * position}.bias"] = (width,)
            inputs = width
    tables = [f"emb_l.{table}.weight" for table in range(len(rows))]
    _same_keys(path, set(weights), {*wanted, *tables})
    interaction: Interaction = "dot"
    first = weights["top_l.0.weight"].shape
    if tuple(first) == (size.top[0], interaction_width("cat", len(rows), size.dim)):
        interaction = "cat"
    wanted["top_l.0.weight"] = (size.top[0], interaction_width(interaction, len(rows), size.dim))
    for key, shape in wanted.items():
        if tuple(weights[key].shape) != shape:
            raise InputError("weights", f"{path}, {key} {tuple(weights[key].shape)}", f"must be {shape} for this model")
    for key, count in zip(tables, rows, strict=True):
        found = tuple(weights[key].shape)
        if len(found) != 2 or found[1] != size.dim or found[0] < count - 1:
            raise InputError(
                "weights",
                f"{path}, {key} {found}",
                f"must have dimension {size.dim} and at least {count - 1} rows, the categories of the training part",
            )
    unseen = torch.zeros(1, size.dim)
    parts = [part for key, n in zip(tables, rows, strict=True) for part in (unseen, weights[key][: n - 1].float())]
    names = {"bot_l": "bottom", "top_l": "top"}
    layers_of = {f"{names[key[:5]]}{key[5:]}": weights[key].float() for key in wanted}
    return {"tables": torch.cat(parts), **layers_of}, interaction


def _read(path: Path) -> Weights:
    try:
        with torch.serialization.safe_globals(_PLAIN):
            content = torch.load(path, map_location="cpu", weights_only=True)
        weights = content.get("state_dict", content)
        return {str(key).removeprefix("module."): tensor for key, tensor in weights.items() if torch.is_tensor(tensor)}
    except (OSError, RuntimeError, EOFError, AttributeError, pickle.UnpicklingError) as error:
        # What torch says of a pickle recommends to load it unsafely.
        text = "" if isinstance(error, pickle.UnpicklingError) else str(error).strip()
        reason = text.splitlines()[0] if text else type(error).__name__
        raise InputError("weights", str(path), f"must be a checkpoint of the public DLRM code ({reason})") from None


def _same_keys(path: Path, found: set[str], wanted: set[str]) -> None:
    for what, keys in (("lacks", wanted - found), ("has", found - wanted)):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise InputError("weights", str(path), f"must hold this model's weights; it {what} {min(keys)}{more}")
