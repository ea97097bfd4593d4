"""Every shipped model runs on weights in shared memory."""

from __future__ import annotations

import numpy as np
import pytest

from deeprec_env.live import plan as planning
from deeprec_env.live.shared_memory import SharedBlock
from deeprec_env.models import MODELS

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("name", MODELS)
def test_a_shipped_model_is_attached_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_MOST_DRAWN", 64)
    from deeprec_env.live.model_memory import attach_model, fill, plan_model, tensors

    plan = plan_model(name, 1e-4, "cpu", 1, 4)
    block = SharedBlock.create(plan.size_bytes)
    fill(plan, block, 0)
    model = attach_model(name, 1e-4, plan.weights, block)
    drawn = {key: value[:4] for key, value in tensors(plan.drawn, block).items()}
    with torch.inference_mode():
        scores = model(**drawn)
    assert scores.shape == (4, plan.outputs)
    assert np.isfinite(scores.numpy()).all()
    assert len(set(scores[:, 0].tolist())) == 4  # items differ, so weights and indices are real ones
