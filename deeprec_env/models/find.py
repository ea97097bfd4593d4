"""Models by name: the shipped ones, those of installed packages (entry points) and a user's own (module:factory)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, cast

from torch import nn

from deeprec_env.errors import InputError
from deeprec_env.models.base import RecommendationModel
from deeprec_env.models.inputs import DenseInput, IndexInput

GROUP = "deeprec_env.models"
"""Group of the entry points: name -> a ModelConfig, or a factory as for `package.module:factory`."""


def installed() -> dict[str, EntryPoint]:
    """The entry points of installed packages, by name."""
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)}


def find(name: str, shipped: Iterable[str]) -> Any:
    """What builds a model that is not shipped: an entry point's object, or the attribute of `package.module:factory`.

    Modules are looked for as Python does, and in the current folder. `InputError` if the name is neither, or if what
    it names can't be imported.
    """
    entries = installed()
    if name in entries:
        try:
            return entries[name].load()
        except Exception as error:
            raise InputError("model", name, f"its entry point {entries[name].value} fails: {_said(error)}") from error
    module_name, colon, attribute = name.partition(":")
    if not (colon and module_name and attribute):
        raise InputError("model", name, f"must be 'all' or one of {', '.join([*shipped, *entries])}, or module:factory")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise InputError("model", name, f"module {module_name} can't be imported: {_said(error)}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise InputError("model", name, f"{module_name} has no attribute {attribute}")
        found = getattr(found, part)
    if not callable(found) and not hasattr(found, "build"):
        raise InputError("model", name, f"must be a factory, or have build(rows_scale); is a {type(found).__name__}")
    return found


def build(found: Any, name: str, rows_scale: float) -> RecommendationModel:
    """The model of what `find` found, its inputs checked.

    `found` has `build(rows_scale)`, or it is called without arguments and returns a model or what has `build`.
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
    return cast(RecommendationModel, made)


def _is_config(value: Any) -> bool:
    return callable(getattr(value, "build", None)) and not isinstance(value, type | nn.Module)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
