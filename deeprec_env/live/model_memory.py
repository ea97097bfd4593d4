"""Models in shared memory: their weights written once by the dispatcher, and looked at by every worker (torch)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from deeprec_env.errors import InputError
from deeprec_env.live.plan import InputField, ModelPlan
from deeprec_env.live.shared_memory import ArrayPlace, SharedBlock
from deeprec_env.models import MODELS, RecommendationModel, build_model, draw_inputs
from deeprec_env.models.inputs import DenseInput, IndexInput
from deeprec_env.models.layers import EmbeddingTables, SequenceTable


def check_device(device: str) -> None:
    """Raise `InputError` where CUDA is asked for and absent."""
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device", device, "no CUDA device is available to torch here; use cpu")


def plan_model(model: str, rows_scale: float, device: str, workers: int, most_items: int) -> ModelPlan:
    """What a model needs; of a shipped one, no weight is made for it. `InputError` where it does not fit in memory."""
    built = _skeleton(model, rows_scale)
    fields = {name: _field(wanted) for name, wanted in built.input_spec.items()}
    state: dict[str, Tensor] = dict(built.named_parameters())
    weights = {name: (str(value.dtype).removeprefix("torch."), tuple(value.shape)) for name, value in state.items()}
    return ModelPlan.of(model, rows_scale, device, fields, _outputs(built), weights, workers, most_items)


def fill(plan: ModelPlan, block: SharedBlock, seed: int) -> None:
    """Write the weights and the drawn inputs into the block."""
    torch.manual_seed(seed)
    if plan.model in MODELS:
        attached = attach_model(plan.model, plan.rows_scale, plan.weights, block)
        with torch.no_grad():
            for module in attached.modules():
                if isinstance(module, EmbeddingTables | SequenceTable):
                    nn.init.uniform_(module.weight, -0.05, 0.05)
                elif callable(reset := getattr(module, "reset_parameters", None)):
                    reset()
    else:
        built = build_model(plan.model, plan.rows_scale)
        for name, value in built.named_parameters():
            _tensor(plan.weights[name], block).copy_(value.detach())
    spec = {
        name: DenseInput(field.shape[0]) if field.rows is None else IndexInput(field.shape, field.rows)
        for name, field in plan.fields.items()
    }
    for name, drawn in draw_inputs(spec, plan.drawn_items, np.random.default_rng(seed)).items():
        _tensor(plan.drawn[name], block).copy_(drawn)


def attach_model(
    model: str, rows_scale: float, weights: Mapping[str, ArrayPlace], block: SharedBlock
) -> RecommendationModel:
    """The model in evaluation mode whose weights are those in the block."""
    built = _skeleton(model, rows_scale)
    for name, place in weights.items():
        owner, _, attribute = name.rpartition(".")
        shared = nn.Parameter(_tensor(place, block), requires_grad=False)
        setattr(built.get_submodule(owner), attribute, shared)
    for module in built.modules():
        if isinstance(module, EmbeddingTables) and module.offsets.is_meta:
            tables = module.tables
            module.offsets = (torch.arange(tables.count) * tables.rows).view(1, -1, 1)
    left = [name for name, value in (*built.named_parameters(), *built.named_buffers()) if value.is_meta]
    assert not left, left
    return built.eval()


def tensors(places: Mapping[str, ArrayPlace], block: SharedBlock) -> dict[str, Tensor]:
    """Tensors that are arrays of the block, by name."""
    return {name: _tensor(place, block) for name, place in places.items()}


def _tensor(place: ArrayPlace, block: SharedBlock) -> Tensor:
    dtype: torch.dtype = getattr(torch, place.dtype)
    return torch.frombuffer(block.buffer, dtype=dtype, count=place.count, offset=place.offset).view(place.shape)


def _skeleton(model: str, rows_scale: float) -> RecommendationModel:
    """The model, a shipped one without its weights."""
    if model not in MODELS:
        return build_model(model, rows_scale)
    with torch.device("meta"):
        return build_model(model, rows_scale)


def _outputs(model: RecommendationModel) -> int:
    device = next(model.parameters()).device
    drawn = draw_inputs(model.input_spec, 2, np.random.default_rng(0))
    with torch.inference_mode():
        return int(model.eval()(**{name: value.to(device) for name, value in drawn.items()}).shape[1])


def _field(wanted: IndexInput | DenseInput) -> InputField:
    if isinstance(wanted, DenseInput):
        return InputField((wanted.width,), None)
    return InputField(wanted.shape, wanted.rows)
