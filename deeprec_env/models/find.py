"""Models by name: the shipped ones, those of installed packages (entry points) and a user's own (module:factory)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from deeprec_env.errors import InputError
from deeprec_env.models.base import RecommendationModel
from deeprec_env.models.inputs import DenseInput, IndexInput, draw_inputs
from deeprec_env.plugins import is_plugin, load_plugin, plugin_names

GROUP = "deeprec_env.models"
"""Group of the entry points: name -> a ModelConfig, or a factory as for `package.module:factory`."""


def find(name: str, shipped: Iterable[str]) -> Any:
    """What builds a model that is not shipped: an entry point's object, or the attribute of `package.module:factory`.

    `InputError` if the name is neither, or if what it names can't be imported.
    """
    if not is_plugin(GROUP, name):
        known = ", ".join([*shipped, *plugin_names(GROUP)])
        raise InputError("model", name, f"must be 'all' or one of {known}, or module:factory")
    return load_plugin("model", GROUP, name, _builds, "a factory, or have build(rows_scale)")


def _builds(found: Any) -> bool:
    return callable(found) or hasattr(found, "build")


def build(found: Any, name: str, rows_scale: float) -> RecommendationModel:
    """The model of what `find` found, its inputs checked.

    `found` has `build(rows_scale)`, or it is called without arguments and returns a model or what has `build`. The
    model is tried on two items.
    """
    made = found if _is_config(found) else found()
    if _is_config(made):
        made = made.build(rows_scale)
    elif rows_scale != 1.0:
        raise InputError("rows_scale", rows_scale, f"must be 1: {name} returns a model, nothing with build(rows_scale)")
    if not isinstance(made, nn.Module):
        raise InputError("model", name, f"must make a torch.nn.Module, made a {type(made).__name__}")
    spec = getattr(made, "input_spec", None)
    if not (isinstance(spec, dict) and spec and all(isinstance(v, IndexInput | DenseInput) for v in spec.values())):
        raise InputError(
            "model", name, "needs input_spec: a dict from each input's name to an IndexInput or DenseInput, got "
            + ("none" if spec is None else repr(spec))
        )  # fmt: skip
    model = cast(RecommendationModel, made)
    try:
        with torch.inference_mode():
            model.eval()(**draw_inputs(spec, 2, np.random.default_rng(0)))
    except Exception as error:  # whatever a user's forward raises
        said = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise InputError("model", name, f"its forward must take what its input_spec says ({said})") from error
    return model


def _is_config(value: Any) -> bool:
    return callable(getattr(value, "build", None)) and not isinstance(value, type | nn.Module)
