"""Gymnasium environments."""

import gymnasium as gym

from deeprec_env.envs.capacity import CapacityEnv
from deeprec_env.envs.pipeline import PipelineEnv
from deeprec_env.envs.serving import ServingEnv

SERVING = "DeepRec/Serving-v1"
CAPACITY = "DeepRec/Capacity-v0"
PIPELINE = "DeepRec/Pipeline-v0"

_ENTRY_POINTS = {
    SERVING: ("deeprec_env.envs.serving:ServingEnv", "deeprec_env.envs.vector:ServingVectorEnv"),
    "DeepRec/Serving-v0": ("deeprec_env.envs.first:serving_env", "deeprec_env.envs.first:serving_vector_env"),
    CAPACITY: ("deeprec_env.envs.capacity:CapacityEnv", "deeprec_env.envs.vector:CapacityVectorEnv"),
    PIPELINE: ("deeprec_env.envs.pipeline:PipelineEnv", "deeprec_env.envs.vector:PipelineVectorEnv"),
}


def register_environments() -> None:
    """Make the environments known to Gymnasium; a second call does nothing."""
    for name, (single, vector) in _ENTRY_POINTS.items():
        if name not in gym.registry:
            gym.register(name, entry_point=single, vector_entry_point=vector)


__all__ = ["CAPACITY", "PIPELINE", "SERVING", "CapacityEnv", "PipelineEnv", "ServingEnv", "register_environments"]
