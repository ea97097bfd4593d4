"""Small models of Stable-Baselines3 and sb3-contrib, trained and saved as their users do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

from sb3_contrib import QRDQN, TQC
from stable_baselines3 import A2C, DDPG, DQN, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack, VecNormalize

from deeprec_env import load_scenario
from deeprec_env.envs import ServingEnv
from tests.conftest import day_scenario

SCENARIO = load_scenario(day_scenario())
FEW = ("--seeds", 1, "--queries", 1100)


def environments(wrapper: Callable[[Any], Any] = lambda env: env, stack: int = 1, normalise: bool = False) -> VecEnv:
    """Two of them as a user of Stable-Baselines3 makes them."""
    several: VecEnv = DummyVecEnv([lambda: wrapper(ServingEnv(day_scenario()))] * 2)
    if normalise:
        several = VecNormalize(several)
    return VecFrameStack(several, stack) if stack > 1 else several


NET = {"net_arch": [8]}


def trained(kind: type[BaseAlgorithm], several: VecEnv, policy: Any = "MlpPolicy", **changes: Any) -> BaseAlgorithm:
    """A model after a few steps."""
    off_policy = {"buffer_size": 100, "learning_starts": 4, "batch_size": 4}
    on_policy = {"n_steps": 8} if kind is A2C else {"n_steps": 8, "batch_size": 8}
    sizes = off_policy if kind in (DQN, QRDQN, SAC, TD3, DDPG, TQC) else on_policy
    model = kind(policy, several, policy_kwargs=dict(NET), seed=0, device="cpu", **sizes | changes)
    return model.learn(32)


def saved(folder: Path, kind: type[BaseAlgorithm], several: VecEnv, **changes: Any) -> Path:
    """Such a model's file, saved by hand."""
    path = folder / f"{kind.__name__.lower()}.zip"
    trained(kind, several, **changes).save(path)
    return path


FUNCTIONS = """
import numpy as np
class Always:
    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return np.array([2, 12]), state
def make(scenario, options, progress):
    return Always()
def model(scenario, options, progress):
    from stable_baselines3 import PPO
    return PPO.load("PATH", device="cpu")
def learner(scenario, options, progress):
    return Always
class OnlyObservation:
    def predict(self, observation): return np.array([2, 12])
def narrow(scenario, options, progress):
    return OnlyObservation()
"""
