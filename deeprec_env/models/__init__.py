"""The eight recommendation models of DeepRecSys, in PyTorch, and how others are found."""

from __future__ import annotations

from typing import Protocol

from deeprec_env.errors import InputError
from deeprec_env.models import find
from deeprec_env.models.base import RecommendationModel
from deeprec_env.models.dien import DIEN
from deeprec_env.models.din import DIN
from deeprec_env.models.dlrm import DLRM_RMC1, DLRM_RMC2, DLRM_RMC3
from deeprec_env.models.inputs import draw_inputs
from deeprec_env.models.ncf import NCF
from deeprec_env.models.wide_deep import MT_WND, WND
from deeprec_env.plugins import plugin_names


class ModelConfig(Protocol):
    """Typed sizes of a model that can build it."""

    def build(self, rows_scale: float = 1.0) -> RecommendationModel:
        """The model with tables of `rows_scale` times the rows."""
        ...


MODELS: dict[str, ModelConfig] = {
    "dlrm-rmc1": DLRM_RMC1,
    "dlrm-rmc2": DLRM_RMC2,
    "dlrm-rmc3": DLRM_RMC3,
    "ncf": NCF,
    "wnd": WND,
    "mt-wnd": MT_WND,
    "din": DIN,
    "dien": DIEN,
}


def model_names() -> list[str]:
    """The shipped models, then those of installed packages."""
    return list(dict.fromkeys([*MODELS, *plugin_names(find.GROUP)]))


def check_model(name: str) -> None:
    """Raise `InputError` unless there is such a model: shipped, of an entry point, or `package.module:factory`."""
    if name not in MODELS:
        find.find(name, MODELS)


def build_model(name: str, rows_scale: float = 1.0) -> RecommendationModel:
    """The named model in evaluation mode, with tables of `rows_scale` times the rows; `InputError` if unknown."""
    if not 0.0 < rows_scale <= 1.0:
        raise InputError("rows_scale", rows_scale, "must be above 0 and at most 1")
    if name in MODELS:
        return MODELS[name].build(rows_scale).eval()
    return find.build(find.find(name, MODELS), name, rows_scale).eval()


__all__ = [
    "MODELS",
    "ModelConfig",
    "RecommendationModel",
    "build_model",
    "check_model",
    "draw_inputs",
    "model_names",
]
