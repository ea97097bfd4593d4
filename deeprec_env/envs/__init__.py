"""Gymnasium environments."""

import gymnasium as gym

from deeprec_env.envs.serving import ServingEnv

SERVING = "DeepRec/Serving-v0"


def register_environments() -> None:
    """Make the environments known to Gymnasium; a second call does nothing."""
    if SERVING not in gym.registry:
        gym.register(
            SERVING,
            entry_point="deeprec_env.envs.serving:ServingEnv",
            vector_entry_point="deeprec_env.envs.vector:ServingVectorEnv",
        )


__all__ = ["SERVING", "ServingEnv", "register_environments"]
