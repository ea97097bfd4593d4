from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deeprec_env.envs.rewards import OF_ARRAYS, Scale
from deeprec_env.simulation.windows import AT, Window, width

STAGES, PLANS, NODES = 1, 2, 400


def rows(rng: np.random.Generator) -> Any:
    """Windows of many nodes: some over the target, some empty, some that shed all they had."""
    found = rng.random((NODES, width(STAGES, PLANS)))
    found[:, AT.p95_s] = rng.lognormal(-3.0, 1.0, NODES)
    found[:, AT.sample] = rng.integers(0, 4, NODES)
    found[:, AT.shed_rate] = rng.integers(0, 2, NODES) * 0.5
    found[:, AT.end_s] = found[:, AT.begin_s] + 0.1
    return found


@pytest.mark.parametrize("reward", sorted(OF_ARRAYS, key=lambda each: str(each.__name__)))
def test_rewards_of_arrays_are_those_of_each(reward: Any) -> None:
    rng = np.random.default_rng(0)
    given = rows(rng)
    scales = Scale(
        rng.uniform(0.02, 0.1, NODES),
        rng.integers(0, 2, NODES) * 300.0,
        rng.uniform(100.0, 900.0, NODES),
        rng.random((PLANS, NODES)),
    )
    together = np.asarray(reward(Window.of(given.T.copy(), STAGES), scales))
    alone = [
        float(reward(Window.of(row, STAGES), Scale(*(float(each[i]) for each in scales[:3]), tuple(scales[3][:, i]))))
        for i, row in enumerate(given.tolist())
    ]
    assert together.tobytes() == np.array(alone).tobytes()
    assert len(set(alone)) > NODES // 3
