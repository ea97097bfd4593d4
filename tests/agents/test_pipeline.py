from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

from deeprec_env import InputError, load_scenario
from deeprec_env.agents.agent import load_agent
from deeprec_env.agents.hyperparams import load_hyperparams
from deeprec_env.agents.training import TrainSettings, train
from deeprec_env.envs import PIPELINE, PipelineEnv, environments
from deeprec_env.envs.environments import find_spec
from deeprec_env.policies.evaluation.comparison import compare
from tests.conftest import plans_day

HYPERPARAMS = f"""
{PIPELINE}:
  normalize: "{{'norm_obs': True, 'norm_reward': True}}"
  n_envs: 2
  n_timesteps: 96
  policy: MlpPolicy
  n_steps: 24
  batch_size: 24
  n_epochs: 2
  policy_kwargs: "{{'net_arch': [8]}}"
"""


def small(folder: Path, **changes: Any) -> TrainSettings:
    path = folder / "tiny.yml"
    path.write_text(HYPERPARAMS, encoding="utf-8")
    arguments = {"scenario": plans_day(), "env": "pipeline", "hyperparams": path, "validate_every": 48}
    return TrainSettings(**arguments | changes)


def test_an_agent_of_plans_trains_goes_on_and_is_compared(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    trained = train(small(tmp_path), folder)
    assert set(trained.best) == {"lost_goodput", "quality", "violation_rate", "timesteps"}
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (config["environment"], config["reward"]) == (PIPELINE, "quality")
    assert config["ladders"][0] == ["both", "fewer", "rough", "rank"]

    scenario = load_scenario(plans_day())
    comparison = compare(environments.PIPELINE, scenario, ["random", str(folder)], seeds=2)
    assert comparison.policies[str(folder)].prepared.tuning_queries == trained.queries
    prepared = load_agent(str(folder), scenario, PIPELINE)
    env = PipelineEnv(scenario)
    action, _ = prepared.policy.predict(env.reset(seed=0)[0])
    assert env.action_space.contains(action)

    longer = small(tmp_path, timesteps=192)
    with pytest.raises(InputError, match="environment"):
        train(TrainSettings(scenario=plans_day(), timesteps=192), folder, resume=True)
    assert train(longer, folder, resume=True).timesteps == 192

    with pytest.raises(InputError, match=r"was trained in DeepRec/Pipeline-v0, not in DeepRec/Serving-v1"):
        load_agent(str(folder), scenario)
    other = plans_day()
    other["plans"] = other["plans"][:3]
    with pytest.raises(InputError, match="was trained on the ladders"):
        compare(environments.PIPELINE, load_scenario(other), [str(folder)], seeds=1)


def test_both_engines_train_the_same_agent(tmp_path: Path) -> None:
    from stable_baselines3 import PPO

    weights = []
    for engine in ("compiled", "asyncio"):
        train(small(tmp_path, engine=engine, timesteps=48), tmp_path / engine)
        model = PPO.load(tmp_path / engine / "last_model.zip", device="cpu")
        weights.append(np.concatenate([tensor.numpy().ravel() for tensor in model.policy.state_dict().values()]))
    assert np.allclose(weights[0], weights[1], atol=1e-5)


def test_the_shipped_file_has_hyperparameters_for_every_environment() -> None:
    for each in environments.SPECS:
        assert load_hyperparams("ppo", environment=each.hyperparams_key).n_envs > 1


def test_rewards_and_environments_are_checked(tmp_path: Path) -> None:
    assert small(tmp_path).reward == "quality"
    assert TrainSettings(scenario="wnd").reward == "tail"
    with pytest.raises(InputError, match="reward"):
        small(tmp_path, reward="tail")
    with pytest.raises(InputError, match="env"):
        find_spec("serving-v1")
