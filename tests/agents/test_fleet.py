"""Agents for fleets: imitation, training, and their place in a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

from deeprec_env import evaluate, load_scenario
from deeprec_env.agents.fleet import imitation
from deeprec_env.agents.fleet.imitation import imitate
from deeprec_env.agents.training import TrainSettings, train
from deeprec_env.envs.environments import FLEET
from deeprec_env.policies.base import FixedPolicy
from tests.conftest import fleet_day


def test_an_agent_begins_as_its_teacher_and_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imitation, "DAYS", 6)
    file = tmp_path / "fleet.yml"
    file.write_text(
        "DeepRec/Fleet-v0: {policy: MlpPolicy, n_envs: 2, n_steps: 12, batch_size: 24, n_epochs: 1, n_timesteps: 24, "
        "normalize: true, learning_rate: 0.00001}\n"
    )
    settings = TrainSettings(fleet_day(), env="fleet", hyperparams=file, log=())
    wanted, agreed = np.array([1, 2, 3, 4, 0, 1]), []

    def begin(model: Any) -> int:
        env = FLEET.make(load_scenario(fleet_day()))
        observation, _ = env.reset(seed=5)
        agreed.append((model.predict(observation, deterministic=True)[0] == wanted).all())
        spent = imitate(model, env, FixedPolicy(*wanted), seed=7)
        agreed.append((model.predict(observation, deterministic=True)[0] == wanted).all())
        return spent

    found = train(settings, tmp_path / "agent", begin=begin)
    assert agreed == [False, True]
    assert found.queries > 6 * 1500  # those of the six days
    compared = evaluate(fleet_day(), ["all-on", str(tmp_path / "agent")], env="fleet", seeds=1)
    assert set(compared.to_json()["policies"]) == {"all-on", str(tmp_path / "agent")}
