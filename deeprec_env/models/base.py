"""What every recommendation model has in common: it says which inputs it takes and scores items."""

from __future__ import annotations

from torch import Tensor, nn

from deeprec_env.models.inputs import InputSpec


class RecommendationModel(nn.Module):
    """A model that scores items.

    `forward(**inputs)` takes the tensors that `input_spec` names, first dimension = items, and returns probabilities
    float32 (items, outputs).
    """

    input_spec: InputSpec

    def __call__(self, **inputs: Tensor) -> Tensor:
        return super().__call__(**inputs)  # type: ignore[no-any-return]
